"""SIGTERM, and SIGHUP, in real processes: they stop in order as Ctrl-C does, and no body is blamed for any of them."""

import os
import re
import shlex
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import FANFOLD, LIMIT_S

AT_WORK = Path("fanfold.db.at-work")
GATED = ["run", "app.py:gated", "--input", '["x"]']


def is_at_work() -> bool:
    return AT_WORK.exists() and any(AT_WORK.read_bytes())


def gated(fanfold, *words: str):
    """Start a body that waits for the gate, and return its process when the store's neighbour says it is at work."""
    process = fanfold.spawn([*words]) if words else fanfold.start(*GATED)
    fanfold.wait(process, is_at_work)
    return process


def acknowledged(process) -> str:
    """Return the line that says that a signal was heard; a line of a run that goes on may stand before it."""
    return next(line for line in process.stderr if "stopping" in line)


def row() -> tuple[str, int, int]:
    """Return the state, attempt and deaths of the first run."""
    with closing(sqlite3.connect("fanfold.db")) as connection:
        return connection.execute("SELECT state, attempt, crashes FROM runs WHERE id = 1").fetchone()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_to_end_stops_in_order_and_the_printed_command_goes_on(fanfold, number, code):
    process = gated(fanfold)
    process.send_signal(number)
    heard = f"gated: stopping: nothing new starts, what runs has 5 s. A second {number.name} stops at once\n"
    assert acknowledged(process) == heard
    assert not AT_WORK.exists()
    stdout, stderr = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, stdout) == (code, "")
    assert "Traceback" not in stderr
    assert row() == ("pending", 1, 0)
    Path("gate").touch()
    again = fanfold.spawn(shlex.split(re.findall(r"To go on: (.*)", stderr)[0]))
    stdout, stderr = again.communicate(timeout=LIMIT_S)
    assert (again.returncode, stdout) == (0, '"x"\n')
    assert "continued run 1" in stderr


def test_a_body_that_is_stopped_again_and_again_is_never_a_suspect(fanfold):
    for _ in range(4):
        process = gated(fanfold)
        process.send_signal(signal.SIGTERM)
        acknowledged(process)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=4)  # less than the bodies' 5 s
        assert process.returncode == 143
        assert "stopped at once; what was recorded stays. To go on: " in stderr
    Path("gate").touch()
    assert fanfold(*GATED).stdout == '"x"\n'
    assert row() == ("completed", 1, 0)


def test_a_body_that_is_left_at_once_by_ctrl_c_is_never_a_suspect(fanfold):
    for _ in range(4):
        process = gated(fanfold)
        process.send_signal(signal.SIGINT)
        acknowledged(process)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=4) == 130  # less than the bodies' 5 s
    Path("gate").touch()
    assert fanfold(*GATED).stdout == '"x"\n'


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_acknowledged_while_a_body_blocks_the_loop_and_what_follows_blames_nobody(fanfold, number):
    process = fanfold.start("run", "app.py:stuck")
    fanfold.wait(process, lambda: Path("stuck").exists() and is_at_work())
    process.send_signal(number)
    assert acknowledged(process).startswith("stuck: stopping")
    process.kill()  # as a supervisor does that was patient for long
    process.communicate(timeout=LIMIT_S)
    fanfold("start", "app.py:twice", "--input", "[1]")
    assert row() == ("pending", 1, 0)


def test_what_ends_a_process_that_nobody_asked_to_end_is_held_against_its_bodies(fanfold):
    process = gated(fanfold)
    process.kill()
    process.communicate(timeout=LIMIT_S)
    fanfold("start", "app.py:twice", "--input", "[1]")
    assert row() == ("pending", 1, 1)


OWN = """
import signal
from app import app, gated

def on_term(number, frame):
    print("heard", flush=True)

signal.signal(signal.SIGTERM, on_term)
print(app.run(gated, "x"), signal.getsignal(signal.SIGTERM) is on_term, flush=True)
"""

FINALLY = """
import signal
from app import app, gated

try:
    app.run(gated, "x")
except Exception:
    print("not reached")
finally:
    print("finally", signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, flush=True)
"""

CELL = """
import asyncio
from app import app, gated

async def cell():
    app.run(gated, "x")

try:
    asyncio.run(cell())
finally:
    print("not reached", flush=True)
"""


def test_a_handler_of_the_programs_own_is_left_alone(fanfold):
    Path("own.py").write_text(OWN)
    process = gated(fanfold, sys.executable, "own.py")
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "heard\n"
    assert AT_WORK.exists()
    Path("gate").touch()
    assert process.communicate(timeout=LIMIT_S)[0] == "x True\n"


def test_a_script_runs_its_own_finally_blocks_and_ends_with_143(fanfold):
    Path("script.py").write_text(FINALLY)
    process = gated(fanfold, sys.executable, "script.py")
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, stdout) == (143, "finally True\n")
    assert "Traceback" not in stderr


def test_a_kernel_whose_cell_runs_ends_by_the_signal_when_the_cell_has_stopped_in_order(fanfold):
    Path("cell.py").write_text(CELL)
    process = gated(fanfold, sys.executable, "cell.py")
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, stdout) == (-signal.SIGTERM, "")
    assert "stopped run 1" in stderr
    assert row() == ("pending", 1, 0)


IN_PROCESS = """
import os, pathlib, subprocess, sys, time
from fanfold import App

app = App("tried", processes=1)

@app.task(executor="process")
def gated(name: str) -> str:
    child = os.fork()
    if child == 0:
        time.sleep(60)
    started = subprocess.Popen(["sleep", "60"])
    os.kill(child, 15)
    started.terminate()
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), started.wait()]
    pathlib.Path("codes").write_text(str(codes))
    while not pathlib.Path("gate").exists():
        time.sleep(0.005)
    return name
"""


def test_a_body_in_a_process_has_its_grace_when_a_supervisor_ends_the_whole_group(fanfold):
    Path("app.py").write_text(IN_PROCESS)
    process = fanfold.spawn([FANFOLD, *GATED], is_group=True)
    fanfold.wait(process, Path("codes").exists)
    assert Path("codes").read_text() == "[-15, -15]"
    os.killpg(process.pid, signal.SIGTERM)
    acknowledged(process)
    Path("gate").touch()
    _, stderr = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 143
    assert "run 1 completed meanwhile" in stderr
