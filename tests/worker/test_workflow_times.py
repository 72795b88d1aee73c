"""How long a workflow may wait, and what of its timers is written."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from fanfold import App, InvalidInput, sleep
from fanfold.model.duration import MAX_DELAY_S
from fanfold.model.run import TIMER_NAME
from fanfold.testing import TestApp


def ran(body: Callable[[], Awaitable[Any]], crash_at: tuple[int, ...] = ()) -> tuple[Any, list[str]]:
    """Run `body` as a workflow; return its result and the inputs of the timers that were written."""
    app = App("times")

    @app.workflow
    async def workflow(n: int) -> list[Any]:
        return [await body()]

    async def test() -> tuple[Any, list[str]]:
        async with TestApp(app, crash_at=crash_at) as test:
            run = await test.start(workflow, 0)
            (found,) = await test.result(run)
            timers = [child for child in await test.queries.children(run.id) if child.name == TIMER_NAME]
            return found, [timer.input or "" for timer in timers]

    return asyncio.run(test())


@pytest.mark.parametrize(
    "delay",
    [MAX_DELAY_S + 1, sys.maxsize, 1e30, float("inf"), float("nan"), -float("nan"), 10**400, timedelta(days=40_000)],
    ids=lambda delay: f"{delay:.3g}" if isinstance(delay, float) else type(delay).__name__,
)
def test_a_sleep_of_more_than_a_hundred_years_is_refused_where_it_is_called(delay: Any):
    async def body() -> str:
        try:
            sleep(delay)
        except InvalidInput as refused:
            return str(refused)
        return "not refused"

    message, timers = ran(body)
    assert "100 years" in message or "seconds" in message
    assert timers == []


@pytest.mark.parametrize("delay", [-1, -1e30, -float("inf"), 0, timedelta(days=-1)], ids=str)
def test_a_sleep_of_less_than_nothing_is_one_of_nothing(delay: Any):
    async def body() -> str:
        await sleep(delay)
        return "slept"

    assert ran(body) == ("slept", ['{"delay_ms":0}'])


def test_a_sleep_of_a_hundred_years_comes_to_its_end():
    async def body() -> str:
        await sleep(MAX_DELAY_S)
        return "slept"

    assert ran(body, crash_at=(2,))[0] == "slept"


FAR = [MAX_DELAY_S * 2, 9.3e15, float(sys.maxsize), sys.maxsize, 1e30, float("inf")]
CENTURY = [f'{{"delay_ms":{round(MAX_DELAY_S * 1000)}}}']


@pytest.mark.parametrize("delay", FAR, ids=str)
def test_what_stock_asyncio_waits_for_ever_for_is_waited_for_a_hundred_years(delay: Any):
    async def slept() -> float:
        loop = asyncio.get_running_loop()
        before = loop.time()
        await asyncio.sleep(delay)
        return round(loop.time() - before) - MAX_DELAY_S

    async def in_time() -> str:
        await sleep(1)
        return "in time"

    async def waited() -> str:
        return await asyncio.wait_for(in_time(), delay)

    async def limited() -> str:
        async with asyncio.timeout(delay):
            return await in_time()

    async def called() -> str:
        loop = asyncio.get_running_loop()
        loop.call_later(delay, print)
        loop.call_at(delay, print)
        return "in time"

    assert ran(slept) == (0, CENTURY)
    for body in (waited, limited):
        assert ran(body, crash_at=(2,)) == ("in time", sorted([*CENTURY, '{"delay_ms":1000}'], reverse=True))
    assert ran(called) == ("in time", [])


def test_timers_that_are_armed_and_dropped_in_one_turn_are_never_written():
    async def body() -> str:
        loop = asyncio.get_running_loop()
        timers = [loop.call_later(60 + n, print) for n in range(50)]
        handles = [sleep(100 + n) for n in range(50)]
        for given_up in (*timers, *handles):
            given_up.cancel()
        await sleep(1)
        return "done"

    assert ran(body) == ("done", ['{"delay_ms":1000}'])
    assert ran(body, crash_at=(2,)) == ("done", ['{"delay_ms":1000}'])


def test_timers_that_are_left_when_the_code_returns_at_once_are_not_written():
    async def body() -> str:
        asyncio.get_running_loop().call_later(60, print)
        sleep(60)
        return "done"

    assert ran(body) == ("done", [])


def test_dropping_many_timers_takes_time_in_proportion():
    async def body() -> int:
        handles = [sleep(100 + n) for n in range(30_000)]
        for handle in handles:
            handle.cancel()
        return len(handles)

    assert ran(body) == (30_000, [])
