"""SIGTERM while an app is at work in somebody's program: it stops in order, and no body is blamed for it."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.app.program import LIMIT_S, eventually, open_gate

AT_WORK = Path("runs.db.at-work")
ROOT = Path(__file__).parents[2]

HEAD = """
import asyncio, os, signal, sys, threading, time
from pathlib import Path
from tests.app.program import make

app = make()

@app.task
async def stuck() -> None:
    Path("stuck").touch()
    time.sleep(60)

async def serve(task="gated", *args):
    try:
        async with app:
            await app.start(app.tasks[task], *args)
            await asyncio.Event().wait()
    finally:
        print("finally", signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, flush=True)
"""

SERVES = (
    HEAD
    + """
asyncio.run(serve("gated", "x"))
print("not reached")
"""
)

STUCK = (
    HEAD
    + """
asyncio.run(serve("stuck"))
"""
)

OWN = (
    HEAD
    + """
async def main():
    stop = asyncio.Event()
    {before}
    async with app:
        {inside}
        await app.start(app.tasks["gated"], "x")
        await stop.wait()
    print("stopped", signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, flush=True)

asyncio.run(main())
"""
)
TAKES = "asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)"

TWO = (
    HEAD
    + """
other = make(store="sqlite:///other.db")

async def main():
    async with app, other:
        await app.start(app.tasks["gated"], "x")
        await other.start(other.tasks["gated"], "x")
        await asyncio.Event().wait()

asyncio.run(main())
"""
)

THREAD = (
    HEAD
    + """
thread = threading.Thread(target=asyncio.run, args=(serve("gated", "x"),), daemon=True)
thread.start()
while not Path("stop").exists():
    time.sleep(0.001)
print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, flush=True)
"""
)

FORKS = (
    HEAD
    + """
async def main():
    async with app:
        run = await app.start(app.tasks["gated"], "x")
        while not any(Path("runs.db.at-work").read_bytes()):
            await asyncio.sleep(0.001)
        child = os.fork()
        if child == 0:
            print("forked", flush=True)
            while True:
                signal.pause()
        while not Path("stop").exists():
            await asyncio.sleep(0.001)
        os.kill(child, signal.SIGTERM)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), Path("runs.db.at-work").exists(), flush=True)
        Path("gate").touch()
        await run.result()

asyncio.run(main())
"""
)

LEFT_OPEN = (
    HEAD
    + """
loop = asyncio.new_event_loop()
loop.run_until_complete(app.__aenter__())
loop.run_until_complete(app.start(app.tasks["gated"], "x"))
while not any(Path("runs.db.at-work").read_bytes()):
    loop.run_until_complete(asyncio.sleep(0.001))
{end}
"""
)


@contextmanager
def program(text: str) -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", text]
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until(process: subprocess.Popen[str], is_reached) -> None:
    eventually(lambda: is_reached() or process.poll() is not None)
    assert process.poll() is None, process.communicate()


def is_at_work(path: Path = AT_WORK) -> bool:
    return path.exists() and any(path.read_bytes())


def row(store: str = "runs.db") -> tuple[str, int, int]:
    """Return the state, attempt and deaths of the first run."""
    with closing(sqlite3.connect(store)) as connection:
        return connection.execute("SELECT state, attempt, crashes FROM runs WHERE id = 1").fetchone()


def test_a_program_that_leaves_sigterm_its_default_stops_in_order_and_ends_with_143():
    with program(SERVES) as process:
        wait_until(process, is_at_work)
        process.terminate()
        out, err = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, out, err) == (143, "finally True\n", "")
    assert row() == ("pending", 1, 0)


def test_a_body_that_ends_within_the_grace_is_recorded():
    with program(SERVES) as process:
        wait_until(process, is_at_work)
        process.terminate()
        eventually(lambda: not AT_WORK.exists())
        open_gate()
        process.communicate(timeout=LIMIT_S)
    assert process.returncode == 143
    assert row() == ("completed", 1, 0)


def test_the_second_sigterm_ends_the_program_at_once_and_three_such_ends_blame_nobody():
    for _ in range(4):
        with program(SERVES) as process:
            wait_until(process, is_at_work)
            process.terminate()
            eventually(lambda: not AT_WORK.exists())
            process.terminate()
            assert process.wait(timeout=4) == -signal.SIGTERM  # less than the bodies' 5 s
    with program(SERVES) as process:
        wait_until(process, is_at_work)
        open_gate()
        wait_until(process, lambda: row()[0] == "completed")
        process.terminate()
        process.communicate(timeout=LIMIT_S)


def test_a_body_that_blocks_the_loop_is_not_blamed_for_the_kill_that_follows():
    for _ in range(3):
        with program(STUCK) as process:
            wait_until(process, lambda: Path("stuck").exists() and is_at_work())
            Path("stuck").unlink()
            process.terminate()
            eventually(lambda: not AT_WORK.exists())
            process.kill()
            process.communicate(timeout=LIMIT_S)
    with program(STUCK) as process:
        wait_until(process, lambda: Path("stuck").exists() and is_at_work())
        assert row()[2] == 0


@pytest.mark.parametrize(("before", "inside"), [(TAKES, ""), ("", TAKES)])
def test_a_handler_of_the_programs_own_is_left_alone(before: str, inside: str):
    with program(OWN.format(before=before, inside=inside or "pass")) as process:
        wait_until(process, is_at_work)
        process.terminate()
        out, err = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, out, err) == (0, "stopped False\n", "")
    assert row() == ("pending", 1, 0)


def test_of_two_apps_in_one_program_both_stop():
    with program(TWO) as process:
        wait_until(process, lambda: is_at_work() and is_at_work(Path("other.db.at-work")))
        process.terminate()
        process.communicate(timeout=LIMIT_S + 10)
    assert process.returncode == 143
    assert row() == row("other.db") == ("pending", 1, 0)


def test_in_another_thread_nothing_is_taken():
    with program(THREAD) as process:
        wait_until(process, is_at_work)
        Path("stop").touch()
        out, _ = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, out) == (0, "True\n")


def test_a_fork_of_the_program_ends_by_sigterm_and_takes_nothing_along():
    with program(FORKS) as process:
        assert process.stdout.readline() == "forked\n"
        Path("stop").touch()
        out, err = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, out) == (0, f"{-signal.SIGTERM} True\n"), err


@pytest.mark.parametrize("end", ["", "os.kill(os.getpid(), signal.SIGTERM)", "sys.exit('no')"])
def test_a_program_that_ends_with_the_app_at_work_blames_nobody(end: str):
    with program(LEFT_OPEN.format(end=end)) as process:
        process.communicate(timeout=LIMIT_S)
    assert process.returncode == {"": 0, "sys.exit('no')": 1}.get(end, -signal.SIGTERM)
    assert not AT_WORK.exists()


BLOCKING = (
    HEAD
    + """
try:
    with app.blocking as blocking:
        blocking.start(app.tasks["gated"], "x").result()
finally:
    print("finally", flush=True)
"""
)


def test_a_script_that_waits_for_an_app_in_the_background_unwinds_and_ends_with_143():
    with program(BLOCKING) as process:
        wait_until(process, is_at_work)
        process.terminate()
        out, err = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, out) == (143, "finally\n"), err
    assert row() == ("pending", 1, 0)
