"""Workflows as data: what a random program does on fanfold.

A program is a JSON list, `[what, *arguments]`; `answers.py` says what it must come to, whatever crashes on the way.
Where the answer depends on who is first (a race, a timeout), the program makes a call that depends on it, so that a
replay that decides otherwise is found, and then goes on with a value that does not.
"""

import asyncio
from typing import Any

from fanfold import FanfoldError, KeyConflict, current, sleep
from tests.simulation import leaves, maps, opened
from tests.simulation.leaves import (
    app,
    bomb,
    boom,
    deaf,
    flaky,
    named_like_a_timer,
    named_like_an_event,
    poison,
    slow,
    stubborn,
    sync_bomb,
    sync_flaky,
    sync_work,
    tally,
    work,
)
from tests.simulation.parents import configured
from tests.simulation.values import CONFLICT, FAILED, KNOWN, combine, work_value


@app.workflow
async def program(code: list[Any]) -> int:
    return await run(code)


async def run(code: list[Any]) -> int:
    """Interpret one node."""
    return await NODES[code[0]](*code[1:])


async def seq(*nodes: Any) -> int:
    return combine([await run(node) for node in nodes])


async def call(x: int, ms: int) -> int:
    return await work(x, ms)


async def sync(x: int) -> int:
    return await sync_work(x)


async def keyed(x: int, name: str) -> int:
    return await work.options(key=name)(x)


async def conflict(x: int, name: str) -> int:
    first = work.options(key=name)(x)
    try:
        await work.options(key=name)(x + 1)
    except KeyConflict:
        return CONFLICT + await first
    raise AssertionError("two inputs under one key")


async def delayed(x: int, seconds: float) -> int:
    return await work.options(delay=seconds, priority=x % 3)(x)


async def fail(x: int) -> int:
    return await boom(x)


async def refused(x: int) -> int:
    await poison(x)
    return 0


async def named(x: int) -> int:
    """Call tasks that have the names of what the engine makes itself."""
    named_like_a_timer(x)
    return await named_like_an_event(x) + await named_like_a_timer(x + 1)


async def bag(x: int) -> int:
    """Hand over a set that iterates in another order in every process."""
    values = [x * 8, x * 8 + 64, x * 8 + 128]
    leaves.bodies.turns = getattr(leaves.bodies, "turns", 0) + 1
    return await tally(set(values if leaves.bodies.turns % 2 else reversed(values)))


async def child(code: list[Any]) -> int:
    return await program(code)


async def task(how: str, most: int, delay_s: float, code: list[Any]) -> int:
    return await configured(how, most, delay_s)(code)


async def spawn_task(how: str, most: int, delay_s: float, code: list[Any]) -> int:
    configured(how, most, delay_s)(code)
    return KNOWN


async def cancel_task(how: str, most: int, delay_s: float, code: list[Any], after_s: float) -> int:
    handle = configured(how, most, delay_s)(code)
    if after_s:
        await asyncio.sleep(after_s)
    handle.cancel()
    return KNOWN


async def retried(x: int, fails: int) -> int:
    return await (flaky, sync_flaky)[x % 2](x, fails)


async def late(x: int, attempts: int) -> int:
    return await slow(x, attempts)


async def explode(x: int) -> int:
    return await (bomb, sync_bomb)[x % 2](x)


async def nap(seconds: float) -> int:
    await asyncio.sleep(seconds)
    return KNOWN


async def durable_nap(seconds: float) -> int:
    await sleep(seconds)
    return KNOWN


async def gather(*nodes: Any) -> int:
    return combine(await asyncio.gather(*(run(node) for node in nodes)))


async def gather_handles(*pairs: Any) -> int:
    return combine(await asyncio.gather(*(work(x, ms) for x, ms in pairs)))


async def group(*nodes: Any) -> int:
    async with asyncio.TaskGroup() as tasks:
        made = [tasks.create_task(run(node)) for node in nodes]
    return combine([task.result() for task in made])


async def race(*nodes: Any) -> int:
    made = [asyncio.create_task(run(node)) for node in nodes]
    done, pending = await asyncio.wait(made, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        await work(made.index(task))
    for task in pending:
        task.cancel()
    await asyncio.gather(*made, return_exceptions=True)
    return KNOWN


async def all_of(*pairs: Any) -> int:
    """Walk over the set that `asyncio.wait` returns: its order must be the same on replay."""
    made = [asyncio.create_task(call(x, ms)) for x, ms in pairs]
    done, _ = await asyncio.wait(made)
    return sum([work_value(await work(task.result())) for task in done])


async def as_completed(*pairs: Any) -> int:
    total = 0
    for place, next_one in enumerate(asyncio.as_completed([work(x, ms) for x, ms in pairs])):
        value = await next_one
        await work(value * 10 + place)
        total += value
    return total


async def timeout(seconds: float, node: Any) -> int:
    try:
        async with asyncio.timeout(seconds):
            came = await run(node)
    except TimeoutError:
        came = -7
    except (FanfoldError, ExceptionGroup):
        came = -8
    await work(abs(came))
    return KNOWN


async def wait_for(seconds: float, node: Any) -> int:
    try:
        came = await asyncio.wait_for(run(node), seconds)
    except TimeoutError:
        came = -7
    except (FanfoldError, ExceptionGroup):
        came = -8
    await work(abs(came))
    return KNOWN


async def cancel(x: int, ms: int, after_s: float) -> int:
    handle = (work, stubborn, deaf)[x % 3](x, ms)
    if after_s:
        await asyncio.sleep(after_s)
    handle.cancel()
    if handle.cancelled():
        await work(x + 1)
    return KNOWN


async def cancel_child(code: list[Any], after_s: float) -> int:
    handle = program(code)
    if after_s:
        await asyncio.sleep(after_s)
    handle.cancel()
    return KNOWN


async def shield(x: int, ms: int, seconds: float) -> int:
    handle = work(x, ms)
    try:
        async with asyncio.timeout(seconds):
            await asyncio.shield(handle)
    except TimeoutError:
        await sync_work(x)
    return await handle


async def spawn(x: int, ms: int) -> int:
    work(x, ms)
    return KNOWN


async def spawn_child(code: list[Any]) -> int:
    program(code)
    return KNOWN


async def left_behind(node: Any) -> int:
    """Leave an asyncio task to its fate: it is cancelled when the workflow's function returns."""
    kept = asyncio.create_task(run(node))
    await work(1)
    kept.add_done_callback(lambda task: task.cancelled() or task.exception())
    return KNOWN


async def catch(node: Any) -> int:
    try:
        return await run(node)
    except (FanfoldError, ExceptionGroup):
        return FAILED


async def compensate(x: int, node: Any) -> int:
    try:
        return await run(node)
    finally:
        await work(x, 3)


async def chance(limit: int) -> int:
    context: Any = current()
    drawn = int(context.random().random() * limit)
    await work(drawn)
    await work(int(context.uuid().int % limit))
    await work(int(context.now()) % limit)
    return KNOWN


async def queue(*pairs: Any) -> int:
    todo: asyncio.Queue[Any] = asyncio.Queue(2)
    total = 0

    async def consume() -> None:
        nonlocal total
        while (pair := await todo.get()) is not None:
            value = await work(*pair)  # before `total` is read: the other consumer changes it meanwhile
            total += value

    async with asyncio.TaskGroup() as tasks:
        consumers = [tasks.create_task(consume()) for _ in range(2)]
        for pair in (*pairs, *(None for _ in consumers)):
            await todo.put(pair)
    return total


async def locked(*pairs: Any) -> int:
    lock, go = asyncio.Lock(), asyncio.Event()
    order: list[int] = []

    async def enter(x: int, ms: int) -> None:
        await go.wait()
        async with lock:
            order.append(await work(x, ms))

    made = [asyncio.create_task(enter(x, ms)) for x, ms in pairs]
    await sync_work(1)
    go.set()
    await asyncio.gather(*made)
    return combine(order)


async def generator(stop_after: int, *pairs: Any) -> int:
    async def values() -> Any:
        try:
            for x, ms in pairs:
                yield await work(x, ms)
        finally:
            await work(stop_after)

    total, seen = 0, 0
    async for value in values():
        total, seen = total + value, seen + 1
        if seen == stop_after:
            break
    return total


async def callback(x: int, seconds: float) -> int:
    """Make a call outside any asyncio task."""
    came: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def ring() -> None:
        work(x).add_done_callback(hand_on)

    def hand_on(done: asyncio.Future[int]) -> None:
        if came.done():
            return
        error = done.exception()
        if error is None:
            came.set_result(done.result())
        else:
            came.set_exception(error)

    asyncio.get_running_loop().call_later(seconds, ring)
    return await came


NODES: dict[str, Any] = {
    function.__name__: function
    for function in (
        seq, call, sync, keyed, conflict, delayed, fail, refused, named, bag, child, task,
        spawn_task, cancel_task, retried, late, explode, nap, durable_nap, gather,
        gather_handles, group, race, all_of, as_completed, timeout, wait_for, cancel, cancel_child, shield, spawn,
        spawn_child, left_behind, catch, compensate, chance, queue, locked, generator, callback,
    )
} | maps.NODES | opened.NODES  # fmt: skip
