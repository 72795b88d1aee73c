"""`fanfold doctor`: what it finds out, and the one thing that it mends."""

import asyncio
import json
from pathlib import Path

import pytest

from fanfold.model.clock import wall_ms
from fanfold.store.opening import SCHEMA_VERSION, open_store

HOUR_MS = 3_600_000


def report(done) -> dict:
    return json.loads(done.stdout)


async def change(statement: str) -> None:
    opened = await open_store("sqlite:///fanfold.db")
    await opened.writer.begin()
    await opened.writer.execute(statement, {})
    await opened.writer.commit()
    opened.close()


async def value(statement: str) -> int:
    opened = await open_store("sqlite:///fanfold.db")
    try:
        return await opened.writer.fetch(statement, {})
    finally:
        opened.close()


@pytest.fixture
def ahead(fanfold):
    """A store whose last writer had a clock that was an hour ahead, with a pending run."""
    fanfold("run", "app.py:twice", "--input", "[1]")
    future = wall_ms() + HOUR_MS
    pending = "UPDATE runs SET state = 'pending', finished_at = NULL"
    asyncio.run(change(f"{pending}, available_at = {future}"))
    asyncio.run(change(f"UPDATE meta SET clock_ms = {future}"))
    return fanfold


def test_a_folder_without_a_store_is_in_order(fanfold):
    done = fanfold("doctor", "-o", "jsonl")
    assert done.returncode == 0
    assert report(done)["file"] is None
    assert report(done)["sqlite"].startswith("3.")
    assert report(done)["commit"] >= 0
    assert {path.name for path in Path().iterdir()} == {"app.py"}


def test_a_store_is_described(fanfold):
    fanfold("run", "app.py:doubles", "--input", "[3]")
    told = report(fanfold("doctor", "-o", "jsonl"))
    assert told["runs"] == {"completed": 4}
    assert (told["schema"], told["engine"], told["troubles"]) == (SCHEMA_VERSION, None, [])
    assert told["clock"]["ahead_ms"] == 0
    assert told["size"] == Path("fanfold.db").stat().st_size
    assert "4 completed" in fanfold("doctor").stdout


def test_the_process_that_has_the_store_is_named(fanfold):
    process = fanfold.start("run", "app.py:gated", "--input", '["x"]')
    fanfold.wait(process, lambda: fanfold("runs", "list", "--state", "running", "-o", "jsonl").stdout)
    told = report(fanfold("doctor", "-o", "jsonl"))
    assert told["engine"] == process.pid
    assert fanfold("doctor", "--accept-clock").returncode == 8
    process.kill()
    process.wait()
    assert report(fanfold("doctor", "-o", "jsonl"))["engine"] is None


def test_a_store_from_the_future_is_refused_until_the_clock_is_accepted(ahead):
    done = ahead("run", "app.py:twice", "--input", "[2]")
    assert done.returncode == 8
    assert "fanfold doctor --accept-clock" in done.stderr
    done = ahead("doctor")
    assert done.returncode == 1
    assert "--accept-clock" in done.stderr

    done = ahead("doctor", "--accept-clock")
    assert done.returncode == 0
    assert "1 pending runs moved" in done.stderr
    assert asyncio.run(value("SELECT max(available_at) FROM runs")) <= wall_ms()
    assert asyncio.run(value("SELECT clock_ms FROM meta")) <= wall_ms()
    assert ahead("run", "app.py:twice", "--input", "[2]").stdout == "4\n"
    assert "nothing to do" in ahead("doctor", "--accept-clock").stderr


def test_paused_runs_are_shown_with_their_reason_and_are_trouble(fanfold):
    fanfold("run", "app.py:twice", "--input", "[1]")
    asyncio.run(change("UPDATE runs SET state = 'paused', blocked = 'another call was recorded'"))
    done = fanfold("doctor", "-o", "jsonl")
    assert done.returncode == 1
    assert "paused: 1 run stands still until somebody deals with the reason" in done.stderr
    told = report(done)
    assert len(told["troubles"]) == 1
    assert told["paused"] == [{"id": 1, "name": "twice", "blocked": "another call was recorded"}]
