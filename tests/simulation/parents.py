"""Tasks that start children: the same kind of programs as data, run from the top in each attempt.

Their calls find their children by content or by key. A step that fails does so by the attempt alone, so that
`answers.py` can say what must come of it.
"""

import asyncio
from typing import Any

from fanfold import FanfoldError, KeyConflict, Retry, current
from fanfold.errors import Evicted
from tests.simulation import leaves, opened
from tests.simulation.leaves import (
    app,
    begin,
    boom,
    deaf,
    flaky,
    note_begin,
    quitter,
    slow,
    stale,
    stubborn,
    sync_flaky,
    sync_work,
    ticket,
    work,
)
from tests.simulation.values import FAILED, KNOWN, combine

TIMEOUT_S = 20  # of an attempt of an async parent; nothing but `overrun` takes so long


@app.task(timeout=TIMEOUT_S)
async def parent(code: list[Any]) -> int:
    await begin()
    return await step(code)


@app.task
def sync_parent(code: list[Any]) -> int:
    note_begin()
    return sync_step(code)


def configured(how: str, most: int, delay_s: float) -> Any:
    """Return the task that runs a code in up to `most` attempts: on the loop or in a thread."""
    retry = Retry(max_attempts=most, delay=delay_s, backoff=2, jitter=0.5)
    return (parent if how == "async" else sync_parent).options(retry=retry)


# Async ----------------------------------------------------------------------------------------------------------------


async def step(code: list[Any]) -> int:
    """Interpret one step."""
    return await STEPS[code[0]](*code[1:])


async def steps(*codes: Any) -> int:
    return combine([await step(code) for code in codes])


async def call(x: int, ms: int) -> int:
    return await work(x, ms)


async def sync(x: int) -> int:
    return await sync_work(x)


async def fail(x: int) -> int:
    return await (boom, quitter)[x % 2](x)


async def retried(x: int, fails: int) -> int:
    return await (flaky, sync_flaky)[x % 2](x, fails)


async def late(x: int, attempts: int) -> int:
    return await slow(x, attempts)


async def afresh(x: int, until: int) -> int:
    return await stale(x, until)


async def twice(x: int, ms: int) -> int:
    return combine(await asyncio.gather(work(x, ms), work(x, ms)))


async def tickets(count: int) -> int:
    """Make equal calls: each is a child of its own."""
    return _all_differ(await asyncio.gather(*(ticket() for _ in range(count))))


async def keyed(x: int, name: str) -> int:
    return await _keyed(x, name)


async def nested(how: str, most: int, delay_s: float, code: list[Any]) -> int:
    return await configured(how, most, delay_s)(code)


async def flow(code: list[Any]) -> int:
    return await app.tasks["program"](code)


async def gather(*codes: Any) -> int:
    return combine(await asyncio.gather(*(step(code) for code in codes)))


async def group(*codes: Any) -> int:
    async with asyncio.TaskGroup() as tasks:
        made = [tasks.create_task(step(code)) for code in codes]
    return combine([task.result() for task in made])


async def catch(code: list[Any]) -> int:
    try:
        return await step(code)
    except (FanfoldError, ExceptionGroup):
        return FAILED


async def fails_until(attempt: int) -> int:
    return _fail_until(attempt)


async def spawn(x: int, ms: int) -> int:
    work(x, ms)
    return KNOWN


async def spawn_nested(how: str, most: int, delay_s: float, code: list[Any]) -> int:
    configured(how, most, delay_s)(code)
    return KNOWN


async def cancel(x: int, ms: int, after_s: float) -> int:
    handle = (work, stubborn, deaf)[x % 3](x, ms)
    if after_s:
        await asyncio.sleep(after_s)
    handle.cancel()
    return KNOWN


async def timeout(seconds: float, code: list[Any]) -> int:
    try:
        async with asyncio.timeout(seconds):
            await step(code)
    except (TimeoutError, FanfoldError, ExceptionGroup):
        return KNOWN
    return KNOWN


async def impatient(x: int, until: int) -> int:
    """Cancel a child and fail, in the first attempts; a later one starts it afresh."""
    async with asyncio.timeout(0.05 if current().attempt <= until else None):
        return await work(x, 900)


async def overrun(x: int, until: int) -> int:
    """Run out of time in the first attempts; what is called on the way out reaches nothing."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    if current().attempt > until:
        return await work(x)
    try:
        await asyncio.sleep(3 * TIMEOUT_S)  # a clock that is ahead goes at half its speed
    except asyncio.CancelledError:
        if loop.time() - began >= TIMEOUT_S - 1 and not leaves.bodies.is_asked(current().id):
            _call_from_a_dead_frame(x)
        raise
    return KNOWN


async def nap(seconds: float) -> int:
    await asyncio.sleep(seconds)
    return KNOWN


# In a thread ----------------------------------------------------------------------------------------------------------


def sync_step(code: list[Any]) -> int:
    """Interpret one step in a thread."""
    return SYNC_STEPS[code[0]](*code[1:])


def sync_gather(*codes: Any) -> int:
    """Start all calls, then wait for them."""
    handles = [(work(*code[1:]) if code[0] == "call" else None) for code in codes]
    return combine(
        sync_step(code) if handle is None else handle.result() for code, handle in zip(codes, handles, strict=True)
    )


def sync_twice(x: int, ms: int) -> int:
    handles = work(x, ms), work(x, ms)
    return combine([handle.result() for handle in reversed(handles)])


def sync_tickets(count: int) -> int:
    handles = [ticket() for _ in range(count)]
    return _all_differ([handle.result() for handle in handles])


def sync_catch(code: list[Any]) -> int:
    try:
        return sync_step(code)
    except FanfoldError:
        return FAILED


def sync_spawn(x: int, ms: int) -> int:
    work(x, ms)
    return KNOWN


def sync_spawn_nested(how: str, most: int, delay_s: float, code: list[Any]) -> int:
    configured(how, most, delay_s)(code)
    return KNOWN


def sync_cancel(x: int, ms: int, _after_s: float) -> int:
    (work, stubborn, deaf)[x % 3](x, ms).cancel()
    return KNOWN


def patient(x: int, ms: int, seconds: float) -> int:
    """Stop waiting, and wait again: the child goes on."""
    handle = work(x, ms)
    try:
        return handle.result(timeout=seconds)
    except TimeoutError:
        sync_work(x).result()
    return handle.result()


# Both -----------------------------------------------------------------------------------------------------------------


def _keyed(x: int, name: str) -> Any:
    first, again = work.options(key=name)(x), work.options(key=name)(x)
    if first is not again:
        leaves.bodies.violate(f"one key and input, and two children: {first} {again}")
    try:
        work.options(key=name)(x + 1)
    except KeyConflict:
        return first
    raise AssertionError("two inputs under one key")


def _all_differ(ids: list[int]) -> int:
    if len(set(ids)) != len(ids):
        leaves.bodies.violate(f"equal calls of one task answered by {ids}")
    return KNOWN


def _fail_until(attempt: int) -> int:
    if current().attempt <= attempt:
        raise ValueError(f"attempt {current().attempt} of run {current().id}")
    return KNOWN


def _call_from_a_dead_frame(x: int) -> None:
    try:
        work(x)
    except Evicted:
        return
    leaves.bodies.violate(f"run {current().id} ran out of time, and started a child")


STEPS: dict[str, Any] = {
    function.__name__: function
    for function in (
        steps, call, sync, fail, retried, late, afresh, twice, tickets, keyed, nested, flow, gather, group, catch,
        fails_until, spawn, spawn_nested, cancel, timeout, impatient, overrun, nap,
    )
} | opened.STEPS  # fmt: skip
SYNC_STEPS: dict[str, Any] = {
    "steps": lambda *codes: combine([sync_step(code) for code in codes]),
    "call": lambda x, ms: work(x, ms).result(),
    "sync": lambda x: sync_work(x).result(),
    "fail": lambda x: (boom, quitter)[x % 2](x).result(),
    "retried": lambda x, fails: (flaky, sync_flaky)[x % 2](x, fails).result(),
    "late": lambda x, attempts: slow(x, attempts).result(),
    "afresh": lambda x, until: stale(x, until).result(),
    "twice": sync_twice,
    "tickets": sync_tickets,
    "keyed": lambda x, name: _keyed(x, name).result(),
    "nested": lambda how, most, delay_s, code: configured(how, most, delay_s)(code).result(),
    "flow": lambda code: app.tasks["program"](code).result(),
    "gather": sync_gather,
    "catch": sync_catch,
    "fails_until": _fail_until,
    "spawn": sync_spawn,
    "spawn_nested": sync_spawn_nested,
    "cancel": sync_cancel,
    "patient": patient,
} | opened.SYNC_STEPS
