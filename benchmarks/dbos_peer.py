"""The peer that anyone can install: DBOS 3 on its default SQLite store, in an environment of its own.

One workflow fans out to N steps with `asyncio.gather` and sums what they return, like workload P1.
The harness calls `prepare` and then runs this file with the interpreter of that environment; nothing here is
imported by the library.
"""

import argparse
import asyncio
import importlib
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

REQUIREMENT = "dbos>=3.4,<4"
ENVIRONMENT = Path(__file__).parent / ".dbos-venv"
STEPS = 1_000
INSTALL_TIMEOUT_S = 600


class PeerUnavailable(Exception):
    """DBOS could not be installed here; the table says so and shows no ratio."""


def prepare() -> Path:
    """Return the interpreter of the peer's environment, made on first use.

    Raises PeerUnavailable when the packages cannot be had; why goes to standard error, not into the results.
    """
    binaries = ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin")
    python = binaries / ("python.exe" if os.name == "nt" else "python")
    probe = [str(python), "-c", "import dbos"]
    if python.exists() and subprocess.run(probe, capture_output=True, check=False).returncode == 0:
        return python
    venv.create(ENVIRONMENT, clear=True, with_pip=True)
    install = [str(python), "-m", "pip", "install", "--quiet", REQUIREMENT]
    try:
        done = subprocess.run(install, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise PeerUnavailable(f"installing {REQUIREMENT} took longer than {INSTALL_TIMEOUT_S} s") from error
    if done.returncode:
        print(done.stderr.strip(), file=sys.stderr)
        raise PeerUnavailable(f"{REQUIREMENT} could not be installed")
    return python


def measure(directory: Path, steps: int) -> dict[str, Any]:
    """Fan out to `steps` steps in one workflow; return steps per second on the peer's default SQLite settings."""
    dbos: Any = importlib.import_module("dbos")
    peer = dbos.DBOS
    url = f"sqlite:///{directory / 'peer.sqlite'}"
    peer(config={"name": "fan-out", "system_database_url": url, "log_level": "ERROR"})

    @peer.step()
    async def double(i: int) -> int:
        return 2 * i

    @peer.workflow()
    async def fan_out(n: int) -> int:
        return sum(await asyncio.gather(*(double(i) for i in range(n))))

    peer.launch()
    started = time.perf_counter()
    total = asyncio.run(fan_out(steps))
    elapsed_s = time.perf_counter() - started
    if total != steps * (steps - 1):
        raise AssertionError(f"the sum is {total}")
    return {"steps": steps, "wall_s": elapsed_s, "per_s": steps / elapsed_s}


def main() -> None:
    """Measure and print one JSON line, then leave without waiting for the peer's background threads."""
    parser = argparse.ArgumentParser(description="DBOS: steps a second in one workflow on SQLite.")
    parser.add_argument("--n", type=int, default=STEPS, help="steps to fan out to")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
        figures = measure(Path(directory), options.n)
    print(json.dumps({**figures, "dbos": importlib.metadata.version("dbos")}), flush=True)
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
