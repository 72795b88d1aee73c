"""What a workflow's loop promises and refuses, one thing at a time."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from fanfold import App, InvalidInput, NonDeterminism, NotAllowed, TaskFailed, current, sleep
from fanfold.testing import TestApp
from fanfold.worker.refused import REFUSED

Body = Callable[[], Coroutine[Any, Any, Any]]


def run(body: Body, crash_at: tuple[int, ...] = ()) -> Any:
    """Run `body` as a workflow and return its result."""
    app = App("loop")
    app.task(one)

    @app.workflow(name="main")
    async def main_(n: int) -> list[Any]:
        return [await body()]

    async def test() -> Any:
        async with TestApp(app, crash_at=crash_at) as test:
            APPS.append(app)
            return (await test.run(main_, 0))[0]

    return asyncio.run(test())


APPS: list[App] = []
CALLS: list[int] = []


async def one(n: int) -> int:
    CALLS.append(n)
    return n


def call(n: int) -> Any:
    return APPS[-1].tasks["one"](n)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_a_replay_cannot_repeat_is_refused_with_the_way_out(name: str):
    async def body() -> str:
        try:
            found = getattr(asyncio.get_running_loop(), name)(None, None)
            if asyncio.iscoroutine(found):
                await found
        except NotAllowed as refused:
            return str(refused)
        return "not refused"

    message = run(body)
    assert REFUSED[name] in message
    assert "Do this in a task" in message


def test_to_thread_is_refused():
    async def body() -> str:
        try:
            await asyncio.to_thread(print)
        except NotAllowed as refused:
            return str(refused)
        return "not refused"

    assert "threads" in run(body)


def test_as_completed_over_coroutines_is_refused():
    async def child() -> int:
        return 1

    async def body() -> str:
        try:
            for future in asyncio.as_completed([child(), child()]):
                await future
        except NotAllowed as refused:
            gc.collect()
            return str(refused)
        return "not refused"

    assert "create_task" in run(body)


def test_wait_over_a_bare_future_is_refused_and_over_a_loops_own_is_not():
    async def body() -> list[str]:
        own = asyncio.get_running_loop().create_future()
        own.set_result(1)
        done, _ = await asyncio.wait({own})
        try:
            await asyncio.wait({asyncio.Future(), own})
        except NotAllowed as refused:
            return [str(len(done)), str(refused)]
        return ["not refused"]

    count, message = run(body)
    assert count == "1"
    assert "create_future" in message


def test_wait_for_uses_the_same_places_as_code_in_place():
    app = App("places")
    app.task(one)

    @app.workflow
    async def places(n: int) -> int:
        async def inner() -> int:
            return await app.tasks["one"](1) + await app.tasks["one"](2)

        return await asyncio.wait_for(inner(), 10) + await app.tasks["one"](3)

    async def test() -> list[str]:
        async with TestApp(app) as test:
            run = await test.start(places, 0)
            assert await run.result() == 6
            return sorted(child.key for child in await test.queries.children(run.id) if child.name == "one")

    assert asyncio.run(test()) == ["p:/1:2", "p:/1:3", "p:/1:4"]


def test_what_the_body_left_running_is_cancelled_at_the_end_as_by_asyncio_run():
    async def body() -> str:
        said: list[str] = []

        async def left() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                said.append(str(await call(7)))

        task = asyncio.create_task(left())
        await asyncio.sleep(0)
        LEFT.append((task, said))
        return "done"

    assert run(body) == "done"
    task, said = LEFT[-1]
    assert task.cancelled()
    assert said == ["7"]


LEFT: list[Any] = []


def test_an_async_generator_is_closed_at_the_end():
    closed: list[bool] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            closed.append(True)

    async def body() -> int:
        stream = numbers()
        LEFT.append(stream)
        return await stream.__anext__()

    assert run(body) == 1
    assert closed == [True]


def test_an_evicted_workflow_makes_no_calls():
    CALLS.clear()

    async def body() -> int:
        try:
            await sleep(3600)
        finally:
            await call(1)
        return await call(2)

    assert run(body, crash_at=(2,)) == 2
    assert CALLS == [1, 2]


def test_context_variables_stay_in_their_task():
    variable = contextvars.ContextVar("variable", default="outer")

    async def body() -> list[str]:
        async def child(name: str) -> str:
            variable.set(name)
            await call(1)
            return variable.get()

        found = await asyncio.gather(child("a"), child("b"))
        return [*found, variable.get()]

    assert run(body) == ["a", "b", "outer"]


def test_time_is_that_of_the_last_delivery():
    async def body() -> list[float]:
        before = asyncio.get_running_loop().time()
        await asyncio.sleep(90)
        return [current().now() - before]

    assert run(body, crash_at=(3,)) == [pytest.approx(90, abs=1e-3)]


def test_chance_is_the_same_after_a_crash():
    seen: list[Any] = []

    async def body() -> str:
        seen.append((current().random().random(), str(current().uuid())))
        await call(1)
        return seen[-1][1]

    assert run(body, crash_at=(3,)) == seen[0][1]
    assert len(seen) == 2
    assert seen[0] == seen[1]


def test_an_error_in_a_callback_is_logged(caplog: pytest.LogCaptureFixture):
    async def body() -> int:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(0)
        return 1

    with caplog.at_level(logging.ERROR, "fanfold"):
        assert run(body) == 1
    assert "a callback raised" in caplog.text


def test_sets_of_tasks_do_not_collide():
    async def body() -> int:
        loop = asyncio.get_running_loop()
        return len({hash(loop.create_future()) % 65_536 for _ in range(10_000)})

    assert run(body) > 8_000


def test_a_failed_child_raises_what_it_recorded():
    app = App("failing")

    @app.task
    async def fail(n: int) -> int:
        raise KeyError(n)

    @app.workflow
    async def catch(n: int) -> list[str]:
        try:
            await fail(n)
        except TaskFailed as error:
            return [error.error_type, error.message, str(error.caused_by(LookupError)), str(error.caused_by("OSError"))]
        return []

    async def test() -> list[str]:
        async with TestApp(app) as test:
            return await test.run(catch, 3)

    assert asyncio.run(test()) == ["KeyError", "3", "True", "False"]


def test_code_that_no_longer_fits_its_record_stands_still_and_starts_nothing():
    app = App("changed")
    app.task(one)
    first = True

    @app.workflow
    async def changing(n: int) -> int:
        nonlocal first
        was_first, first = first, False
        await app.tasks["one"](1 if was_first else 2)
        await sleep(60)
        return await app.tasks["one"](3)

    async def test() -> str:
        async with TestApp(app, crash_at=4) as test:
            with pytest.raises(NonDeterminism) as stopped:
                await test.run(changing, 0)
            return str(stopped.value)

    CALLS.clear()
    message = asyncio.run(test())
    assert 'the record has one({"n":1})' in message
    assert 'now calls one({"n":2})' in message
    assert 3 not in CALLS
    assert 2 not in CALLS


def test_a_result_that_cannot_be_stored_fails_the_run():
    async def body() -> Any:
        return {1: 2}

    with pytest.raises(TaskFailed) as failed:
        run(body)
    assert failed.value.caused_by(InvalidInput)
