"""Ctrl-C, in real processes: what is said, what is kept, and that the printed command goes on."""

import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import LIMIT_S

TOTAL = ["run", "app.py:total", "--input", '{"n": 60}']
RESULT = f"{sum(range(60))}\n"


def command_to_go_on(stderr: str) -> list[str]:
    (line,) = re.findall(r"To go on: (.*)", stderr)
    return shlex.split(line)


def test_the_first_ctrl_c_stops_in_order_and_the_printed_command_goes_on(fanfold):
    process = fanfold.start(*TOTAL)
    fanfold.interrupt_in_the_middle(process)
    stdout, stderr = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, stdout) == (130, "")
    assert "Traceback" not in stderr
    done, left = map(int, re.search(r"stopped run 1 after (\d+) done, (\d+) left", stderr).groups())
    assert done == fanfold.completed() >= 5
    assert done + left == 60

    again = fanfold.spawn(command_to_go_on(stderr))
    stdout, stderr = again.communicate(timeout=LIMIT_S)
    assert (again.returncode, stdout) == (0, RESULT)
    assert f"continued run 1: {done} done, {left} left" in stderr


def test_the_second_ctrl_c_leaves_at_once_and_loses_nothing(fanfold):
    process = fanfold.start("run", "app.py:gated", "--input", '["x"]')
    fanfold.wait(process, lambda: Path("fanfold.db-wal").exists())
    assert '"running"' in in_state(fanfold, process, "running")
    process.send_signal(signal.SIGINT)
    assert "stopping" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=4)  # less than the bodies' 5 s: it did not wait for them
    assert (process.returncode, stdout) == (130, "")
    Path("gate").touch()
    again = fanfold.spawn(command_to_go_on(stderr))
    stdout, stderr = again.communicate(timeout=LIMIT_S)
    assert (again.returncode, stdout) == (0, '"x"\n')
    assert "continued run 1" in stderr


def in_state(fanfold, process, state: str) -> str:
    found: list[str] = []

    def is_there() -> bool:
        found[:] = [fanfold("runs", "list", "--state", state, "-o", "jsonl").stdout]
        return bool(found[0])

    fanfold.wait(process, is_there)
    return found[0]


def test_the_second_ctrl_c_is_heard_while_a_body_blocks_the_loop(fanfold):
    process = fanfold.start("run", "app.py:stuck")
    fanfold.wait(process, lambda: Path("stuck").exists())
    process.send_signal(signal.SIGINT)
    # Two signals of one kind that nobody has taken yet are one: the second is sent until it is heard.
    fanfold_ended = []
    for _ in range(1000):
        try:
            process.wait(timeout=0.01)
            fanfold_ended.append(True)
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
    assert fanfold_ended
    assert process.returncode == 130
    assert "To go on: " in process.communicate(timeout=LIMIT_S)[1]


def test_a_run_that_ends_while_it_is_stopped_says_where_its_result_is(fanfold):
    process = fanfold.start("run", "app.py:gated", "--input", '["x"]')
    in_state(fanfold, process, "running")
    process.send_signal(signal.SIGINT)
    assert "stopping" in process.stderr.readline()
    Path("gate").touch()
    stdout, stderr = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, stdout) == (130, "")
    (look,) = re.findall(r"run 1 completed meanwhile. To see it: fanfold (.*)", stderr)
    assert '"x"' in fanfold(*shlex.split(look)).stdout


def test_bodies_have_five_seconds_and_a_thread_of_theirs_keeps_nobody_waiting(fanfold):
    process = fanfold.start("run", "app.py:threaded")
    fanfold.wait(process, lambda: Path("threaded").exists())
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=LIMIT_S)  # the body would take a minute
    assert process.returncode == 130
    assert "stopped run 1" in stderr


@pytest.mark.parametrize("with_variable", [False, True])
def test_a_plain_script_ends_with_130_and_no_traceback(fanfold, with_variable):
    env = {"FANFOLD_STORE": "sqlite:///fanfold.db"} if with_variable else {}
    process = fanfold.spawn([sys.executable, "app.py"], **env)
    fanfold.interrupt_in_the_middle(process)
    stdout, stderr = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, stdout) == (130, "")
    assert "Traceback" not in stderr
    again = fanfold.spawn(["sh", "-c", re.findall(r"To go on: (.*)", stderr)[0]])
    assert ("FANFOLD_STORE=" in stderr) is with_variable
    assert again.communicate(timeout=LIMIT_S)[0] == RESULT


def test_a_caller_catches_ctrl_c_as_the_keyboard_interrupt_that_it_is(fanfold):
    Path("caller.py").write_text(
        "from app import app, total\ntry:\n    app.run(total, 60)\nexcept KeyboardInterrupt:\n    print('caught')\n"
    )
    process = fanfold.spawn([sys.executable, "caller.py"])
    fanfold.interrupt_in_the_middle(process)
    assert process.communicate(timeout=LIMIT_S)[0] == "caught\n"
    assert process.returncode == 0


def test_a_store_in_memory_promises_nothing(fanfold):
    process = fanfold.start(*TOTAL[:2], "--input", '{"n": 1000}', "--store", "sqlite://")
    assert "done" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130
    assert "nothing of it is left" in stderr
