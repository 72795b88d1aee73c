"""Threads whose attempts are over: told of by name and run, capped, and what they come to is counted only."""

import asyncio
import logging
import threading
from typing import Any

import pytest

from fanfold import App, TaskTimedOut
from tests.app.program import LIMIT_S
from tests.engine.desk import on_a_loop


class Hanging:
    """Plain bodies that time out and go on until they are let go."""

    def __init__(self, threads: int) -> None:
        self.app = app = App("hanging", store="sqlite://", threads=threads)
        self.open = threading.Event()

        @app.task(timeout=0.05)
        def hang(text: str) -> str:
            self.open.wait(LIMIT_S)
            if not text:
                raise ValueError("nothing to say")
            return text

        @app.task
        def quick() -> str:
            return "quick"

        self.hang: Any = hang
        self.quick: Any = quick


@pytest.mark.parametrize(("text", "came_to"), [("late", "returned"), ("", "raised ValueError: nothing to say")])
@on_a_loop
async def test_zombies_are_told_of_capped_and_their_late_ends_counted(
    text: str, came_to: str, caplog: pytest.LogCaptureFixture
):
    hanging = Hanging(threads=2)
    caplog.set_level(logging.WARNING, "fanfold")
    async with hanging.app:
        runs = [await hanging.app.start(hanging.hang, text) for _ in range(2)]
        for run in runs:
            with pytest.raises(TaskTimedOut):
                await run.result(timeout=LIMIT_S)
        waits = await hanging.app.start(hanging.quick)
        assert (await waits.status()).started_at is None or (await waits.status()).output is None
        hanging.open.set()
        assert await waits.result(timeout=LIMIT_S) == "quick"
        async with asyncio.timeout(LIMIT_S):
            while "late ends so far: 2" not in caplog.text:  # noqa: ASYNC110 - a log has no event
                await asyncio.sleep(0.005)
    said = [record.getMessage() for record in caplog.records]
    for run in runs:
        assert any(f"hang (run {run.id}): its thread still runs, though attempt 1 is over" in each for each in said)
        assert any(f"hang (run {run.id}): attempt 1 {came_to} after it was over; that is not" in each for each in said)
    (capped,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert capped.getMessage().endswith(f"of these runs: {runs[0].id}, {runs[1].id}")
