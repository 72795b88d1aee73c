"""The filters of `fanfold runs list` and `runs children`, and what they show of a run."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

PROGRAM = """
import asyncio
from app import app, broken, doubles, mixed, twice

async def main():
    async with app:
        runs = [
            await app.start(twice.options(key="gold", tags={"customer": "acme", "tier": "gold"}), 1),
            await app.start(twice.options(tags={"customer": "acme"}), 2),
            await app.start(doubles.options(tags={"customer": "Acme"}), 2),
            await app.start(mixed, 60),
        ]
        for run in runs:
            await run.result()

asyncio.run(main())
"""


@pytest.fixture
def runs(fanfold):
    Path("program.py").write_text(PROGRAM)
    subprocess.run([sys.executable, "program.py"], check=True, timeout=30)
    return lambda *args: fanfold("runs", *args)


def inputs(done) -> list[dict]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["input"] for line in done.stdout.splitlines()]


def test_runs_are_filtered_by_tags(runs):
    listed = lambda *args: inputs(runs("list", "--task", "twice", *args, "-o", "jsonl"))  # noqa: E731
    assert listed("--tag", "customer=acme") == [{"n": 2}, {"n": 1}]
    assert listed("--tag", "customer=acme", "--tag", "tier=gold") == [{"n": 1}]
    assert listed("--tag", "tier=lead") == []


@pytest.mark.parametrize("since", ["90s", "15m", "1h", "2d", "1.5w", "2026-01-01", "2026-01-01T10:00+01:00"])
def test_runs_are_filtered_by_time(runs, since):
    assert len(inputs(runs("list", "--roots", "--since", since, "-o", "jsonl"))) == 4
    assert inputs(runs("list", "--since", "2199-01-01", "-o", "jsonl")) == []


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["--since", "yesterday"], "'yesterday' is no time: write 90s, 15m, 1h"),
        (["--since", "5"], "is no time"),
        (["--tag", "acme"], "'acme' is no tag: write name=value"),
        (["--tag", "=acme"], "is no tag"),
        (["--state", "done"], "'done'"),
        (["--limit", "0"], "--limit"),
    ],
)
def test_a_wrong_filter_is_exit_code_2(runs, wrong, told):
    done = runs("list", *wrong)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr


def test_children_are_listed_oldest_first_and_filtered(runs):
    (mixed,) = json.loads(runs("list", "--task", "mixed", "-o", "json").stdout)
    children = json.loads(runs("children", mixed["id"], "--limit", 100, "-o", "json").stdout)
    assert [child["id"] for child in children] == sorted(child["id"] for child in children)
    assert len(children) == 61
    (failed,) = json.loads(runs("children", mixed["id"], "--state", "failed", "-o", "json").stdout)
    assert failed["name"] == "broken"
    assert inputs(runs("children", mixed["id"], "--task", "twice", "--limit", 2, "-o", "jsonl")) == [{"n": 0}, {"n": 1}]
    table = runs("children", mixed["id"])
    assert len(table.stdout.splitlines()) == 51
    assert "the oldest 50; --limit shows more" in table.stderr


def test_children_of_what_is_not_there_is_exit_code_3(runs):
    assert runs("children", 999).returncode == 3
    assert runs("children", 1).stderr == "no runs\n"


def test_a_run_is_shown_with_its_tags_and_progress(runs):
    with closing(sqlite3.connect("fanfold.db")) as connection, connection:
        said = json.dumps({"done": 40, "total": 100, "message": "page 4"})
        connection.execute("UPDATE runs SET progress = ? WHERE key = 'k:gold'", (said,))
    shown = runs("show", 1).stdout
    assert "progress  40 of 100, page 4" in shown
    assert '"tier":"gold"' in shown
    assert "key       gold" in shown
    assert json.loads(runs("show", 1, "-o", "json").stdout)["progress"]["done"] == 40


@pytest.mark.parametrize("format", ["json", "jsonl", "table"])
@pytest.mark.parametrize("command", [["list"], ["show", "1"], ["tree", "1"], ["children", "1"]])
def test_every_command_has_every_format(runs, command, format):
    done = runs(*command, "-o", format)
    assert done.returncode == 0
    if format == "json":
        json.loads(done.stdout)
    elif format == "jsonl":
        assert all(json.loads(line) for line in done.stdout.splitlines())
