"""`fanfold runs`: beside a running engine and without one, bounded, and as data."""

import json
from pathlib import Path

import pytest


def lines(done) -> list[dict]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def mixed(fanfold):
    assert fanfold("run", "app.py:mixed", "--input", "[30]").returncode == 0
    return fanfold


def test_runs_are_listed_newest_first_and_filtered(mixed):
    found = lines(mixed("runs", "list", "-o", "jsonl"))
    assert [run["id"] for run in found] == sorted((run["id"] for run in found), reverse=True)
    assert len(found) == 32
    assert [run["id"] for run in lines(mixed("runs", "list", "--limit", 3, "-o", "jsonl"))] == [32, 31, 30]
    assert {run["name"] for run in lines(mixed("runs", "list", "--task", "broken", "-o", "jsonl"))} == {"broken"}
    assert {run["state"] for run in lines(mixed("runs", "list", "--state", "failed", "-o", "jsonl"))} == {"failed"}
    (root,) = json.loads(mixed("runs", "list", "--roots", "-o", "json").stdout)
    assert root["children"] == {
        "spawned": 31, "open": 0, "running": 0, "completed": 30, "failed": 1, "cancelled": 0
    }  # fmt: skip


def test_a_table_cuts_nothing_off_where_nobody_looks(mixed):
    table = mixed("runs", "list", "--roots").stdout
    assert "31/31, 1 failed" in table
    assert "\x1b" not in table


def test_a_run_is_shown_with_its_error(mixed):
    shown = mixed("runs", "show", 32).stdout
    assert "ValueError: no 30" in shown
    assert "raise ValueError" in shown
    assert json.loads(mixed("runs", "show", 32, "-o", "json").stdout)["error"]["type"] == "ValueError"


def test_a_tree_is_bounded_and_counts_the_rest(mixed):
    assert (
        mixed("runs", "tree", 1, "--width", 2).stdout.splitlines()[-1] == "└─ ... and 29 more: 1 failed, 28 completed"
    )
    assert mixed("runs", "tree", 1, "--depth", 0).stdout.splitlines()[-1] == "└─ ... 31 below: 1 failed, 30 completed"
    whole = mixed("runs", "tree", 1, "--width", 31).stdout.splitlines()
    assert len(whole) == 32
    assert whole[-1].startswith("└─ 32  broken  failed")
    tree = json.loads(mixed("runs", "tree", 1, "--width", 2, "-o", "json").stdout)
    assert [child["run"]["id"] for child in tree["children"]] == [2, 3]
    assert tree["more"] == {"failed": 1, "completed": 28}


@pytest.mark.parametrize("command", ["show", "tree"])
def test_a_run_that_is_not_there_is_exit_code_3(mixed, command):
    done = mixed("runs", command, 99)
    assert (done.returncode, done.stdout) == (3, "")
    assert "no run 99" in done.stderr


@pytest.mark.parametrize("id", ["x", "0", str(1 << 63)])
def test_what_is_no_run_id_is_a_usage_error(mixed, id):
    assert mixed("runs", "show", id).returncode == 2


def test_a_store_that_is_not_there_or_no_store_is_exit_code_8(fanfold):
    Path("empty.db").touch()
    Path("text.db").write_text("no database at all" * 100)
    for name in ("none", "empty", "text"):
        done = fanfold("runs", "list", "--store", f"sqlite:///{name}.db")
        assert (done.returncode, done.stdout) == (8, "")
        assert "Traceback" not in done.stderr


def test_runs_are_read_beside_a_running_engine(fanfold):
    process = fanfold.start("run", "app.py:total", "--input", "[60]")
    fanfold.wait(process, lambda: fanfold.completed() >= 3)
    tree = fanfold("runs", "tree", 1, "--width", 2)
    assert tree.returncode == 0
    assert "... and 58 more: " in tree.stdout
    assert process.communicate(timeout=30)[0] == f"{sum(range(60))}\n"


def test_escape_sequences_of_users_are_shown_and_not_obeyed(fanfold):
    assert fanfold("run", "app.py:twice", "--input", "[1]", "--key", "\x1b[31mred").returncode == 0
    for args in (["list"], ["show", "1"], ["tree", "1"]):
        told = fanfold("runs", *args).stdout
        assert "\x1b" not in told
        assert "\\x1b[31mred" in told
