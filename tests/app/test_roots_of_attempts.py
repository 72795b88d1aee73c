"""Roots that a task's attempts start: found again by what is called, and out of reach of an attempt that is over."""

import asyncio
import threading

import pytest

from fanfold import App, Retry, TaskTimedOut, current
from fanfold.errors import Evicted
from fanfold.testing import TestApp
from tests.app.program import LIMIT_S, runs_in_a_loop
from tests.engine.desk import on_a_loop


class Attempts:
    """A task that starts roots in two attempts, of which the first fails; it writes down which."""

    def __init__(self) -> None:
        self.ids: dict[int, list[int]] = {}
        self.app = app = App("attempts")

        @app.task
        async def double(n: int) -> int:
            return 2 * n

        @app.task(retry=Retry(max_attempts=2, delay=0))
        async def starts(first: list[int], then: list[int]) -> list[int]:
            attempt = current().attempt
            ids = [(await app.start(double, n)).id for n in (first if attempt == 1 else then)]
            self.ids[attempt] = ids
            if attempt == 1:
                raise OSError("once")
            return ids

        self.starts = starts
        self.double = double


@pytest.mark.parametrize(
    ("first", "then", "same"),
    [
        ([1, 2], [1, 2], [0, 1]),
        ([1, 2], [2, 1], [1, 0]),  # in another order
        ([1], [3], [None]),  # with another input: the time, for instance
        ([1], [3, 1], [None, 0]),
        ([1, 1, 2], [1, 2, 1, 1], [0, 2, 1, None]),  # equal ones are counted
    ],
)
@on_a_loop
async def test_a_retried_body_finds_the_roots_of_the_same_input_and_starts_others(
    first: list[int], then: list[int], same: list[int | None]
):
    attempts = Attempts()
    async with TestApp(attempts.app) as test:
        found = await test.run(attempts.starts, first, then)
        before = attempts.ids[1]
        assert [before.index(id) if id in before else None for id in found] == same
        assert len(set(found)) == len(found)
        assert [await (await attempts.app.get(id)).result() for id in found] == [2 * n for n in then]


@pytest.mark.parametrize("key", [None, "own"])
@on_a_loop
async def test_an_attempt_that_is_over_starts_no_root_and_takes_none_from_its_successor(key: str | None):
    attempts = Attempts()
    app, double, begun, called = attempts.app, attempts.double, asyncio.Event(), asyncio.Event()
    raised: list[type[BaseException]] = []

    @app.task(timeout=1, retry=Retry(max_attempts=2, delay=0))
    async def overlaps() -> list[int]:
        if current().attempt == 2:
            first = await app.start(double, 7)
            begun.set()
            await called.wait()
            return [first.id, (await app.start(double, 7)).id]
        while not begun.is_set():
            try:
                await begun.wait()
            except asyncio.CancelledError:
                continue  # it does not end when it is asked to
        try:
            await app.start(double if key is None else double.options(key=key), 7)
        except BaseException as error:
            raised.append(type(error))
        called.set()
        return []

    async with TestApp(app) as test:
        run = await test.start(overlaps)
        await test.advance(20)
        ids = await test.result(run)
        roots = [run.id for run in await test.queries.runs(before=1 << 62, most=99, name="double")]
    assert raised == [Evicted]
    assert (len(ids), sorted(roots)) == (2, sorted(set(ids)))


@runs_in_a_loop
async def test_a_thread_whose_attempt_is_over_starts_no_root():
    app = App("threads", store="sqlite:///runs.db", threads=2)
    over, raised, ended = threading.Event(), [], threading.Event()

    @app.task
    async def double(n: int) -> int:
        return 2 * n

    @app.task(timeout=0.05)
    def hangs() -> None:
        over.wait(LIMIT_S)
        try:
            app.blocking.start(double, 7)
        except BaseException as error:
            raised.append(type(error))
        ended.set()

    async with app:
        with pytest.raises(TaskTimedOut):
            await (await app.start(hangs)).result()
        over.set()
        assert await asyncio.to_thread(ended.wait, LIMIT_S)
        assert [run.id async for run in app.runs(task=double)] == []
    assert raised == [Evicted]
