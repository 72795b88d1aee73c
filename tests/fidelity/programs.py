"""Small random asyncio programs: made of the patterns that people write, put together by a seed.

A program is an async function of a `World`, which starts calls and writes down what happens. It knows nothing of the
loop that it runs on.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

FAILS = 7  # a call of a multiple of this fails


class CallFailed(Exception):
    """What a failed call raises, whatever the loop."""


class World(Protocol):
    """Starts calls, and keeps the trace: `say` what every loop does alike, `order` what only durable loops promise."""

    def call(self, n: int, delay: float) -> asyncio.Future[int]: ...
    def say(self, *what: Any) -> None: ...
    def order(self, *what: Any) -> None: ...


Pattern = Callable[[World, random.Random, str], Awaitable[None]]


async def answer(future: Awaitable[Any]) -> str:
    """Await; return the value or the name of what was raised."""
    try:
        return str(await future)
    except asyncio.CancelledError:
        raise
    except Exception as error:
        return "failed" if is_failure(error) else type(error).__name__


def is_failure(error: BaseException) -> bool:
    return isinstance(error, CallFailed) or type(error).__name__ == "TaskFailed"


def calls(world: World, dice: random.Random, most: int = 4) -> list[asyncio.Future[int]]:
    return [world.call(dice.randrange(1, 40), delay(dice)) for _ in range(dice.randrange(1, most + 1))]


def delay(dice: random.Random) -> float:
    """Mostly none; otherwise a time that no other has, so that no two things happen at once."""
    return 0 if dice.random() < 0.6 else dice.randrange(1, 10**6) / 1000


async def one_by_one(world: World, dice: random.Random, name: str) -> None:
    for future in calls(world, dice):
        world.say(name, await answer(future))


async def gathered(world: World, dice: random.Random, name: str) -> None:
    if dice.random() < 0.5:
        found = await asyncio.gather(*calls(world, dice), return_exceptions=True)
        world.say(name, [value if isinstance(value, int) else "failed" for value in found])
        return

    async def nested(n: int) -> int:
        await asyncio.sleep(0)
        return await world.call(n, 0) + await world.call(n + 1, 0)

    world.say(name, await answer(asyncio.gather(*(nested(dice.randrange(1, 40)) for _ in range(3)))))


async def waited(world: World, dice: random.Random, name: str) -> None:
    futures = calls(world, dice, 5)
    number = {future: place for place, future in enumerate(futures)}
    mode = dice.choice([asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION, asyncio.ALL_COMPLETED])
    limit = dice.choice([None, dice.randrange(1, 10**6) / 1000])
    done, pending = await asyncio.wait(futures, timeout=limit, return_when=mode)
    world.say(name, sorted(number[future] for future in done), sorted(number[future] for future in pending))
    world.order(name, [number[future] for future in done], [number[future] for future in pending])
    for future in sorted(pending, key=number.__getitem__):
        world.say(name, await answer(future))
    for future in done:
        future.exception()


async def completed(world: World, dice: random.Random, name: str) -> None:
    for future in asyncio.as_completed(calls(world, dice)):
        world.say(name, await answer(future))


async def timed_out(world: World, dice: random.Random, name: str) -> None:
    limit = dice.randrange(1, 10**6) / 1000
    future = world.call(dice.randrange(1, 40), delay(dice))
    if dice.random() < 0.5:
        world.say(
            name, await answer(asyncio.wait_for(asyncio.shield(future) if dice.random() < 0.5 else future, limit))
        )
    else:
        try:
            async with asyncio.timeout(limit):
                world.say(name, await answer(future))
        except TimeoutError:
            world.say(name, "TimeoutError", future.cancelled())

    async def slow() -> int:
        await asyncio.sleep(dice.randrange(1, 10**6) / 1000)
        return await world.call(3, 0)

    world.say(name, await answer(asyncio.wait_for(slow(), dice.randrange(1, 10**6) / 1000)))


async def grouped(world: World, dice: random.Random, name: str) -> None:
    ended: list[str] = []

    async def child(place: int, n: int, late: float) -> None:
        try:
            ended.append(f"{place}:{await world.call(n, late)}")
        finally:
            ended.append(f"{place} out")

    try:
        async with asyncio.TaskGroup() as group:
            for place in range(3):
                group.create_task(child(place, dice.randrange(1, 40), delay(dice)))
    except* Exception as errors:
        world.say(name, sorted("failed" if is_failure(error) else repr(error) for error in errors.exceptions))
    world.say(name, sorted(ended))
    world.order(name, ended)


async def queued(world: World, dice: random.Random, name: str) -> None:
    queue: asyncio.Queue[int] = asyncio.Queue(dice.randrange(0, 3))

    async def produce() -> None:
        for n in range(4):
            await queue.put(n)
            if dice.random() < 0.4:
                await asyncio.sleep(dice.randrange(1, 10**6) / 1000)
        await queue.put(-1)

    producer = asyncio.create_task(produce())
    while (n := await queue.get()) >= 0:
        world.say(name, n, await answer(world.call(n + 1, 0)))
    await producer


async def locked(world: World, dice: random.Random, name: str) -> None:
    guard = dice.choice([asyncio.Lock(), asyncio.Semaphore(2), asyncio.BoundedSemaphore(1)])

    async def enter(place: int, late: float) -> None:
        async with guard:
            world.say(name, place, await answer(world.call(place + 1, late)))

    await asyncio.gather(*(enter(place, delay(dice)) for place in range(4)))


async def signalled(world: World, dice: random.Random, name: str) -> None:
    event, condition, barrier = asyncio.Event(), asyncio.Condition(), asyncio.Barrier(3)

    async def wait_for_all(place: int, late: float) -> None:
        await event.wait()
        async with condition:
            await condition.wait()
        world.say(name, place, await answer(world.call(place + 1, late)))
        world.say(name, place, await barrier.wait())

    tasks = [asyncio.create_task(wait_for_all(place, delay(dice))) for place in range(3)]
    await asyncio.sleep(dice.choice([0, dice.randrange(1, 10**6) / 1000]))
    event.set()
    await asyncio.sleep(dice.randrange(1, 10**6) / 1000)
    async with condition:
        condition.notify_all()
    await asyncio.gather(*tasks)


async def cancelled(world: World, dice: random.Random, name: str) -> None:
    swallows = dice.random() < 0.3

    async def victim() -> str:
        try:
            await world.call(5, dice.randrange(1, 10**6) / 1000)
        except asyncio.CancelledError:
            world.say(name, "cancelled", await answer(world.call(6, 0)))
            if not swallows:
                raise
        finally:
            world.say(name, "out", await answer(world.call(8, 0)))
        return "back"

    task = asyncio.create_task(victim())
    await asyncio.sleep(dice.choice([0, dice.randrange(1, 10**6) / 1000]))
    task.cancel()
    await asyncio.wait({task})
    world.say(name, "task", "cancelled" if task.cancelled() else task.result())


async def generated(world: World, dice: random.Random, name: str) -> None:
    async def numbers() -> AsyncIterator[str]:
        try:
            for n in range(1, 5):
                yield await answer(world.call(n, 0))
        finally:
            world.say(name, "closed", await answer(world.call(9, 0)))

    most = dice.randrange(1, 6)
    stream = numbers()
    async for value in stream:
        world.say(name, value)
        most -= 1
        if not most:
            break
    await stream.aclose()  # type: ignore[attr-defined]


async def scheduled(world: World, dice: random.Random, name: str) -> None:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[str] = loop.create_future()
    loop.call_soon(world.say, name, "soon")
    timer = loop.call_later(dice.randrange(1, 10**6) / 1000, future.set_result, "later")
    if dice.random() < 0.5:
        timer.cancel()
        loop.call_soon(future.set_result, "cancelled")
    world.say(name, await future)


async def hurried(world: World, dice: random.Random, name: str) -> None:
    """Out of time before it began, on some Pythons in a task of its own; and times that never come."""

    async def never() -> int:
        return await world.call(1, 0)

    async def late(n: int) -> int:
        return await world.call(n, delay(dice))

    world.say(name, await answer(asyncio.wait_for(never(), dice.choice([0, -1]))))
    far = dice.choice([float(sys.maxsize), float("inf"), 1e30])
    world.say(name, await answer(asyncio.wait_for(late(2), far)))
    async with asyncio.timeout(far):
        world.say(name, await answer(asyncio.create_task(late(3))))


async def in_sets(world: World, dice: random.Random, name: str) -> None:
    """Everything that asyncio puts into sets, after things that some Pythons make and others do not."""
    loop = asyncio.get_running_loop()

    async def late(n: int) -> int:
        return await world.call(n, delay(dice))

    for n in range(dice.randrange(3)):
        await asyncio.wait_for(late(n + 1), 10**7)
    made: list[asyncio.Future[Any]] = [asyncio.create_task(late(n)) for n in range(1, 4)]
    made += [loop.create_future() for _ in range(3)]
    made += [asyncio.shield(made[n]) for n in range(2)]
    made += [asyncio.gather(made[n], made[n + 1]) for n in range(2)]
    made += [world.call(n, 0) for n in range(1, 4)]
    for future in made[3:6]:
        loop.call_soon(future.set_result, 1)
    number = {future: place for place, future in enumerate(made)}
    done, _ = await asyncio.wait(made)
    world.order(name, [number[future] for future in done])
    world.say(name, sorted(number[future] for future in done))


async def called_back(world: World, dice: random.Random, name: str) -> None:
    """Calls and tasks that a callback makes, outside any task."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[str] = loop.create_future()

    async def late(n: int) -> None:
        future.set_result(await answer(world.call(n, 0)))

    def start() -> None:
        world.call(1, 0)
        kept.append(loop.create_task(late(2)))

    kept: list[asyncio.Task[None]] = []
    loop.call_later(dice.randrange(1, 10**6) / 1000, start)
    world.say(name, await future)


PATTERNS: tuple[Pattern, ...] = (
    one_by_one, gathered, waited, completed, timed_out, grouped, queued, locked, signalled, cancelled, generated,
    scheduled, hurried, in_sets, called_back,
)  # fmt: skip


async def play(world: World, seed: int) -> None:
    """Run the program of a seed: two strands side by side, each a few patterns in a row."""

    async def strand(name: str, dice: random.Random) -> None:
        for place in range(dice.randrange(1, 4)):
            await dice.choice(PATTERNS)(world, dice, f"{name}{place}")

    await asyncio.gather(*(strand(name, random.Random(f"{seed}{name}")) for name in "ab"))
