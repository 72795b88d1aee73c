"""The command in a process of its own, in the test's folder, over a small app."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from fanfold.cli.main import fanfold as fanfold_command
from fanfold.errors import StoreUnavailable
from fanfold.store.database import BatchRejected, StoreBusy
from fanfold.store.opening import open_reader
from fanfold.store.queries import Queries

FANFOLD = str(Path(sys.executable).with_name("fanfold"))
STORE = "sqlite:///fanfold.db"
LIMIT_S = 30

APP = """
import asyncio, pathlib, time
from fanfold import App

app = App("tried", threads=2)

@app.task
def slow(n: int) -> int:
    time.sleep(0.02)
    return n

@app.task
def gated(name: str) -> str:
    while not pathlib.Path("gate").exists():
        time.sleep(0.005)
    return name

@app.task
async def stuck() -> None:
    pathlib.Path("stuck").touch()
    time.sleep(60)

@app.task
async def threaded() -> None:
    pathlib.Path("threaded").touch()
    await asyncio.to_thread(time.sleep, 60)

@app.task
async def twice(n: int) -> int:
    return 2 * n

@app.task
def broken(n: int) -> int:
    raise ValueError(f"no {n}")

@app.workflow
async def total(n: int) -> int:
    return sum(await asyncio.gather(*(slow(i) for i in range(n))))

@app.workflow
async def doubles(n: int) -> int:
    return sum(await asyncio.gather(*(twice(i) for i in range(n))))

@app.workflow
async def mixed(n: int) -> int:
    found = await asyncio.gather(*(twice(i) for i in range(n)), broken(n), return_exceptions=True)
    return len(found)

if __name__ == "__main__":
    print(app.run(total, 60))
"""


class Command:
    """Starts `fanfold`, and looks at the store beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[str]] = []

    def __call__(self, *args: object, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; those that only look, and import nobody's code, in this process: it is quicker."""
        if args[0] not in ("run", "start") and not env:
            looked = CliRunner().invoke(fanfold_command, [*map(str, args)])
            return subprocess.CompletedProcess([], looked.exit_code, looked.stdout, looked.stderr)
        process = self.start(*args, **env)
        stdout, stderr = process.communicate(timeout=LIMIT_S)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def start(self, *args: object, **env: str) -> subprocess.Popen[str]:
        """Start a command."""
        return self.spawn([FANFOLD, *map(str, args)], **env)

    def spawn(self, words: list[str], *, is_group: bool = False, **env: str) -> subprocess.Popen[str]:
        """Start a process that is ended with the test; as a group of its own if `is_group`."""
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True, env=os.environ | env,
            start_new_session=is_group,
        )  # fmt: skip
        self.started.append(process)
        return process

    def wait(self, process: subprocess.Popen[str], is_reached: object) -> None:
        """Wait until `is_reached()`, as long as the process lives."""
        give_up_at = time.monotonic() + LIMIT_S
        while not is_reached():
            assert time.monotonic() < give_up_at, "the state was not reached"
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.005)
                raise AssertionError(f"the process has ended: {process.communicate()}")

    def completed(self, root: int = 1) -> int:
        """Return how many children of a run are completed in the store, which need not be there yet."""
        return asyncio.run(self._completed(root))

    async def _completed(self, root: int) -> int:
        try:
            reader = await open_reader(STORE)
        except (StoreUnavailable, BatchRejected, StoreBusy):
            return 0  # not there yet, or being made
        try:
            return (await Queries(reader).counts(root)).completed
        finally:
            reader.close()

    def interrupt_in_the_middle(self, process: subprocess.Popen[str]) -> None:
        """Press Ctrl-C when some children are done."""
        self.wait(process, lambda: self.completed() >= 5)
        process.send_signal(signal.SIGINT)


@pytest.fixture
def fanfold(tmp_path: Path) -> Iterator[Command]:
    (tmp_path / "app.py").write_text(APP)
    command = Command(tmp_path)
    yield command
    for process in command.started:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=LIMIT_S)
