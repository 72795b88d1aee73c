"""`make proof`: the long proof, outside CI. Each part prints what it did; the first failure ends it."""

from __future__ import annotations

import os
import subprocess
import sys

PARTS: tuple[tuple[str, ...], ...] = (
    ("-m", "tests.simulation", "--seeds", "100000"),
    ("-m", "tests.simulation.mutants"),
    ("-m", "tests.fidelity", "--programs", "5000"),
    ("-m", "pytest", "tests/store/test_stateful.py", "-o", "timeout=0", "-o", "faulthandler_timeout=0"),
    ("-m", "pytest", "tests/crash"),
)


def main() -> int:
    """Run all parts; return 1 if one failed."""
    environment = os.environ | {"MODEL_EXAMPLES": "1000", "MODEL_STEPS": "50"}
    for part in PARTS:
        print("==", *part, flush=True)
        if subprocess.run([sys.executable, *part], env=environment, check=False).returncode:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
