"""`fanfold start` and `fanfold wait`: a run is recorded by one process, done by another, waited for by a third."""

import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import LIMIT_S


def change(statement: str) -> None:
    with closing(sqlite3.connect("fanfold.db")) as connection, connection:
        connection.execute(statement)


def states(fanfold) -> list[str]:
    return [json.loads(line)["state"] for line in fanfold("runs", "list", "-o", "jsonl").stdout.splitlines()]


def test_a_start_records_the_run_prints_its_id_and_does_nothing_of_it(fanfold):
    done = fanfold("start", "app.py:twice", "--input", '{"n": 21}')
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")
    assert states(fanfold) == ["pending"]


def test_what_was_started_is_done_by_whoever_opens_the_store_next(fanfold):
    fanfold("start", "app.py:doubles", "--input", "[3]", "--key", "later")
    assert fanfold("run", "app.py:doubles", "--input", "[3]", "--key", "later").stdout == "6\n"
    assert fanfold("wait", 1).stdout == "6\n"


def test_a_start_with_a_key_is_one_run_and_another_input_is_exit_code_4(fanfold):
    once = ["start", "app.py:twice", "--key", "k", "--input"]
    assert [fanfold(*once, "[4]").stdout for _ in range(2)] == ["1\n", "1\n"]
    done = fanfold(*once, "[5]")
    assert (done.returncode, done.stdout) == (4, "")
    assert "taken by run 1" in done.stderr


def test_a_wrong_input_is_exit_code_2_and_makes_no_store(fanfold):
    done = fanfold("start", "app.py:twice", "--input", '{"m": 1}')
    assert (done.returncode, done.stdout) == (2, "")
    assert not Path("fanfold.db").exists()


def test_a_start_beside_an_engine_is_exit_code_8_and_says_where_to_start_it(fanfold):
    process = fanfold.start("run", "app.py:gated", "--input", '["x"]')
    fanfold.wait(process, lambda: Path("fanfold.db").exists() and fanfold("runs", "list", "-o", "jsonl").stdout)
    done = fanfold("start", "app.py:twice", "--input", "[1]")
    assert (done.returncode, done.stdout) == (8, "")
    assert f"process {process.pid} has an engine on" in done.stderr
    assert "Start runs in that program" in done.stderr
    Path("gate").touch()
    assert process.communicate(timeout=LIMIT_S)[0] == '"x"\n'


def test_a_wait_prints_the_result_that_another_process_makes(fanfold):
    process = fanfold.start("run", "app.py:gated", "--input", '["x"]')
    fanfold.wait(process, lambda: Path("fanfold.db").exists() and fanfold("runs", "list", "-o", "jsonl").stdout)
    waiting = fanfold.start("wait", 1)
    Path("gate").touch()
    assert waiting.communicate(timeout=LIMIT_S) == ('"x"\n', "")
    assert (waiting.returncode, process.wait(timeout=LIMIT_S)) == (0, 0)


def test_a_wait_for_a_failed_run_is_exit_code_5_with_its_traceback(fanfold):
    fanfold("run", "app.py:broken", "--input", "[3]")
    done = fanfold("wait", 1)
    assert (done.returncode, done.stdout) == (5, "")
    assert "broken (run 1) failed: ValueError: no 3" in done.stderr
    assert 'raise ValueError(f"no {n}")' in done.stderr


def test_a_cancelled_run_is_exit_code_6_of_run_and_of_wait(fanfold):
    fanfold("start", "app.py:twice", "--input", "[1]", "--key", "k")
    change("UPDATE runs SET state = 'cancelled', finished_at = created_at")
    assert fanfold("wait", 1).returncode == 6
    done = fanfold("run", "app.py:twice", "--input", "[1]", "--key", "k")
    assert (done.returncode, done.stdout) == (6, "")
    assert "cancelled" in done.stderr


def test_a_wait_that_is_too_long_is_exit_code_7(fanfold):
    fanfold("start", "app.py:twice", "--input", "[1]")
    done = fanfold.start("wait", 1, "--timeout", 0.05)
    out, err = done.communicate(timeout=LIMIT_S)
    assert (done.returncode, out) == (7, "")
    assert "nobody is at work on sqlite:///fanfold.db" in err
    assert "run 1 has not ended after 0.05 s; it goes on" in err


def test_a_wait_for_a_paused_run_says_why_it_stands_still(fanfold):
    fanfold("start", "app.py:twice", "--input", "[1]")
    change("UPDATE runs SET state = 'paused', blocked = 'another call was recorded'")
    done = fanfold("wait", 1)
    assert (done.returncode, done.stdout) == (1, "")
    assert "run 1 of twice is paused: another call was recorded" in done.stderr


def test_an_interrupted_wait_is_exit_code_130(fanfold):
    fanfold("start", "app.py:twice", "--input", "[1]")
    process = fanfold.start("wait", 1)
    process.stderr.readline()  # nobody is at work: from here on it waits
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err


def test_a_wait_for_what_is_not_there_is_exit_code_3_or_8(fanfold):
    assert fanfold("wait", 1).returncode == 8
    fanfold("start", "app.py:twice", "--input", "[1]")
    done = fanfold("wait", 9)
    assert (done.returncode, done.stdout) == (3, "")
    assert "no run 9" in done.stderr


@pytest.mark.parametrize("wrong", [["x"], ["0"], ["1", "--timeout", "-1"], []])
def test_a_wrong_wait_is_exit_code_2(fanfold, wrong):
    assert fanfold("wait", *wrong).returncode == 2
