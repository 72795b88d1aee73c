"""Tasks that start children: found again by content or key, waited for without a slot, async and in threads."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from fanfold import App, KeyConflict, Retry, TaskFailed, UnknownTask, current
from fanfold.testing import TestApp
from tests.engine.desk import on_a_loop

ONCE_MORE = Retry(max_attempts=2, delay=1, jitter=0)


def family(app: App, calls: list[Any]) -> Any:
    """Return a child task that writes down its calls."""

    @app.task
    async def square(n: int) -> int:
        calls.append(n)
        return n * n

    return square


@on_a_loop
async def test_an_async_task_gathers_children():
    app, calls = App("parents"), []
    square = family(app, calls)

    @app.task
    async def total(n: int) -> int:
        return sum(await asyncio.gather(*(square(i) for i in range(n))))

    async with TestApp(app) as test:
        run = await test.start(total, 10)
        assert await test.result(run) == 285
        children = (await run.status()).children
    assert sorted(calls) == list(range(10))
    assert (children.spawned, children.completed) == (10, 10)


@on_a_loop
async def test_a_sync_task_in_a_thread_waits_for_children():
    app, calls = App("parents"), []
    square = family(app, calls)

    @app.task
    def total(n: int) -> int:
        return sum(handle.result() for handle in [square(i) for i in range(n)])

    async with TestApp(app) as test:
        assert await test.run(total, 10) == 285
    assert sorted(calls) == list(range(10))


@pytest.mark.parametrize("where", ["loop", "thread"])
@on_a_loop
async def test_a_retried_parent_finds_the_children_that_it_has(where: str):
    app, calls = App("parents"), []
    square = family(app, calls)

    @app.task(retry=ONCE_MORE)
    async def in_loop() -> int:
        first = await square(1) + await square.options(key="two")(2)
        if current().attempt == 1:
            raise OSError("after two children")
        return first + await square(3)

    @app.task(retry=ONCE_MORE)
    def in_thread() -> int:
        first = square(1).result() + square.options(key="two")(2).result()
        if current().attempt == 1:
            raise OSError("after two children")
        return first + square(3).result()

    async with TestApp(app) as test:
        run = await test.start(in_loop if where == "loop" else in_thread)
        assert await test.result(run) == 14
        assert (await run.status()).children.spawned == 3
    assert calls == [1, 2, 3]


@on_a_loop
async def test_a_retried_parent_gets_a_fresh_child_for_a_failed_one():
    app, tries = App("parents"), []

    @app.task
    async def fragile(n: int) -> int:
        tries.append(n)
        if len(tries) < 3:
            raise OSError(f"try {len(tries)}")
        return n

    @app.task(retry=Retry(max_attempts=5, delay=1))
    async def parent() -> int:
        return await fragile(7)

    async with TestApp(app) as test:
        run = await test.start(parent)
        assert await test.result(run) == 7
        children = (await run.status()).children
    assert tries == [7, 7, 7]
    assert (children.spawned, children.failed, children.completed) == (3, 2, 1)


@on_a_loop
async def test_equal_calls_are_counted_and_each_has_a_child_of_its_own():
    app, calls = App("parents"), []
    square = family(app, calls)

    @app.task(retry=ONCE_MORE)
    async def parent() -> list[int]:
        found = await asyncio.gather(square(3), square(3), square(3))
        if current().attempt == 1:
            raise OSError("once more")
        return found

    async with TestApp(app) as test:
        assert await test.run(parent) == [9, 9, 9]
    assert calls == [3, 3, 3]


@pytest.mark.parametrize("at", range(1, 16))
@pytest.mark.parametrize("where", ["loop", "thread"])
@on_a_loop
async def test_a_crash_at_any_commit_starts_no_child_twice(at: int, where: str):
    app, started = App("parents"), Counter[int]()

    @app.task
    async def leaf(n: int) -> int:
        started[current().id] += 1
        return n

    @app.task
    async def in_loop() -> int:
        return await leaf(1) + sum(await asyncio.gather(leaf(2), leaf(3), leaf(3))) + await leaf.options(key="k")(5)

    @app.task
    def in_thread() -> int:
        first = leaf(1).result()
        rest = [leaf(2), leaf(3), leaf(3)]
        return first + sum(handle.result() for handle in rest) + leaf.options(key="k")(5).result()

    async with TestApp(app, crash_at=at) as test:
        run = await test.start(in_loop if where == "loop" else in_thread)
        assert await test.result(run) == 14
        assert (await run.status()).children.spawned == 5
    assert max(started.values()) <= 2  # the one at work when it crashed ran again
    assert sum(started.values()) <= 8


@on_a_loop
async def test_a_key_with_another_input_is_a_conflict_in_the_same_attempt_and_in_the_next():
    app, calls = App("parents"), []
    square = family(app, calls)

    @app.task
    async def twice() -> int:
        await square.options(key="k")(1)
        return await square.options(key="k")(2)

    @app.task(retry=ONCE_MORE)
    async def changing() -> int:
        found = await square.options(key="k")(current().attempt)
        if current().attempt == 1:
            raise OSError("once more")
        return found

    async with TestApp(app) as test:
        for task in (twice, changing):
            with pytest.raises(TaskFailed) as failed:
                await test.run(task)
            assert failed.value.caused_by(KeyConflict)
            assert "'k'" in failed.value.message


@pytest.mark.parametrize("kind", ["task", "workflow"])
@on_a_loop
async def test_a_task_of_another_app_is_refused_at_the_call(kind: str):
    app, other = App("mine"), App("other")

    @other.task
    async def helper() -> int:
        return 1

    async def caller() -> int:
        return await helper()

    calls = app.task(caller) if kind == "task" else app.workflow(caller)
    async with TestApp(app) as test:
        with pytest.raises(TaskFailed, match="another app") as failed:
            await test.run(calls)
    assert failed.value.caused_by(UnknownTask)
