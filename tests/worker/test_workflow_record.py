"""What a replay makes of a record: whose call is whose, what no longer fits, and what is said of it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from fanfold import App, NonDeterminism, TaskFailed, current, sleep
from fanfold.store.database import BatchRejected, StoreBusy
from fanfold.store.queries import Queries
from fanfold.testing import TestApp
from fanfold.worker.task import Task


def make_app() -> App:
    app = App("record")

    @app.task
    async def a(n: int) -> int:
        return n

    @app.task
    async def b(n: int) -> int:
        return n

    return app


def line_of(function: Any, text: str) -> str:
    """Return file:line of the line of `function` in which `text` stands."""
    lines, first = inspect.getsourcelines(function)
    (found,) = [number for number, line in enumerate(lines) if text in line]
    return f"{__file__}:{first + found}"


def paused(before: Callable[..., Any], after: Callable[..., Any], *args: Any, rest: float = 60) -> str:
    """Run `before` until it waits, then go on with `after`; return why the run stands still."""
    app = make_app()
    one = app.workflow(name="main")(before)
    other: Any = App("other")
    other = other.workflow(name="main")(after)
    other.registry = one.registry  # the code of the same app, changed

    async def test() -> str:
        async with TestApp(app) as test:
            run = await test.start(one, *args)
            await test.advance(rest)
            test._tasks["main"] = other
            await test.crash()
            with pytest.raises(NonDeterminism) as stopped:
                await test.result(run)
            status = await run.status()
            assert status.state == "paused"
            assert status.blocked in str(stopped.value)
            return str(stopped.value)

    CALLS["a"], CALLS["b"] = app.tasks["a"], app.tasks["b"]
    return asyncio.run(test())


CALLS: dict[str, Task[..., Any]] = {}


def a(n: int) -> Any:
    return CALLS["a"](n)


def b(n: int) -> Any:
    return CALLS["b"](n)


async def recorded(n: int) -> int:
    await a(1)
    await b(2)
    await sleep(3600)
    return n


WAYS_OUT = ("put the code back", "current().version", "start another run")


def test_another_call_is_named_with_its_place_and_its_line():
    async def changed(n: int) -> int:
        await a(1)
        await CALLS["a"](2)  # the changed call
        return n

    reason = paused(recorded, changed, 0)
    assert 'at call 2 of the workflow\'s main task the record has b({"n":2}), run 3' in reason
    assert f'the code now calls a({{"n":2}}) at {line_of(changed, "the changed call")}' in reason
    assert all(way in reason for way in WAYS_OUT)
    assert "p:/" not in reason


def test_a_place_in_another_task_is_named_by_its_path():
    async def before(n: int) -> int:
        async def child() -> None:
            await a(1)
            await sleep(3600)

        await asyncio.gather(child(), child())
        return n

    async def after(n: int) -> int:
        async def child() -> None:
            await b(1)
            await sleep(3600)

        await asyncio.gather(child(), child())
        return n

    assert "at call 1 of task /1/1 the record has a(" in paused(before, after, 0)


def test_an_error_before_a_recorded_call_is_shown():
    async def changed(n: int) -> int:
        await a(1)
        raise ValueError("early")

    reason = paused(recorded, changed, 0)
    assert 'call 2 of the workflow\'s main task is recorded as b({"n":2}), run 3' in reason
    assert f"it raised ValueError: early at {line_of(changed, 'early')}" in reason


def test_a_return_before_a_recorded_call_is_shown():
    async def changed(n: int) -> int:
        return await a(1)

    assert "no longer calls it: it returned without it" in paused(recorded, changed, 0)


def test_where_code_waits_that_should_have_called_is_shown():
    async def changed(n: int) -> int:
        await asyncio.Event().wait()  # for ever
        return await a(1)

    reason = paused(recorded, changed, 0)
    assert "was delivered here, but the code has not called it: it waits" in reason
    assert 'call 1 of the workflow\'s main task, a({"n":1}),' in reason
    assert line_of(changed, "for ever") in reason


def test_an_input_that_can_no_longer_be_read_is_shown():
    async def changed(n: str) -> int:
        await a(1)
        return 1

    reason = paused(recorded, changed, 0)
    assert 'its recorded input {"n":0} can no longer be read' in reason
    assert "Expected `str`, got `int`" in reason
    assert line_of(changed, "async def changed") in reason


def test_a_message_that_no_database_takes_is_cleaned():
    async def changed(n: int) -> int:
        raise ValueError("\0\ud800")

    assert "\\x00\\ud800" in paused(recorded, changed, 0)


class Changed:
    """The codec of a result whose annotation has changed since it was recorded."""

    def __init__(self, before: Any, now: Any) -> None:
        self.encode = before.encode
        self.decode = now.decode


@pytest.mark.parametrize("crash_at", [(), 4], ids=["live", "replayed"])
def test_a_result_that_can_no_longer_be_read_pauses_the_run_until_it_can(crash_at: Any):
    app, others = make_app(), App("others")

    @app.workflow
    async def last(n: int) -> int:
        return await app.tasks["a"](n)

    @others.task
    async def listed(n: int) -> list[int]:
        return [n]

    async def test() -> str:
        async with TestApp(app, crash_at=crash_at) as test:
            signature = app.tasks["a"].signature
            before = signature.result
            signature.result = Changed(before, listed.signature.result)  # type: ignore[assignment]
            run = await test.start(last, 5)
            with pytest.raises(NonDeterminism) as stopped:
                await test.result(run)
            signature.result = before
            await test._at_work.session.engine.resume(run.id)
            assert await test.result(run) == 5
            return str(stopped.value)

    reason = asyncio.run(test())
    assert "the recorded result of a, run 2, can no longer be read" in reason
    assert "The record has 5" in reason
    assert f"the code waits at {line_of(last.fn, 'await app')}" in reason


@pytest.mark.parametrize("crash_at", range(1, 10))
def test_two_tasks_may_have_one_key(crash_at: int):
    app = make_app()
    a, b = app.tasks["a"], app.tasks["b"]

    @app.workflow
    async def keyed(n: int) -> int:
        first = await b.options(key="k")(2) + await a.options(key="k")(1)
        return first + await a.options(key="j")(4) + await b.options(key="k")(2)

    async def test() -> int:
        async with TestApp(app, crash_at=crash_at) as test:
            return await test.run(keyed, 0)

    assert asyncio.run(test()) == 9


def test_a_key_that_is_no_longer_called_is_named():
    async def before(n: int) -> int:
        await CALLS["a"].options(key="k")(1)
        await sleep(3600)
        return n

    async def after(n: int) -> int:
        await CALLS["b"].options(key="k")(1)
        await sleep(3600)
        return n

    reason = paused(before, after, 0)
    assert "the call with key 'k'" in reason
    assert 'a({"n":1})' in reason


@pytest.mark.parametrize("error", [StoreBusy("disk I/O error"), BatchRejected("no")], ids=repr)
@pytest.mark.parametrize("method", ["children", "deliveries"])
def test_a_record_that_cannot_be_read_is_read_again(
    method: str, error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    app = make_app()
    read, failures = getattr(Queries, method), 3

    async def failing(queries: Queries, *args: Any) -> Any:
        nonlocal failures
        if failures:
            failures -= 1
            raise error
        return await read(queries, *args)

    @app.workflow
    async def waiting(n: int) -> int:
        found = await app.tasks["a"](n)
        await sleep(3600)
        return found

    async def test() -> tuple[int, int]:
        async with TestApp(app) as test:
            run = await test.start(waiting, 5)
            await test.advance(60)
            monkeypatch.setattr(Queries, method, failing)
            await test.crash()
            before = test.clock.now_ms()
            result = await test.result(run)
            return result, test.clock.now_ms() - before

    result, took_ms = asyncio.run(test())
    assert result == 5
    assert took_ms < 3_600_000
    assert caplog.text.count("cannot be read now") == 3


def test_what_a_callback_makes_counts_outside_of_any_task():
    app = make_app()
    a = app.tasks["a"]

    @app.workflow
    async def calls_back(n: int) -> int:
        loop = asyncio.get_running_loop()
        made: asyncio.Future[Any] = loop.create_future()

        async def child(k: int) -> int:
            return await a(k) + await asyncio.create_task(grandchild(k))

        async def grandchild(k: int) -> int:
            return await a(k + 1)

        def start() -> None:
            a(0)
            made.set_result([loop.create_task(child(1)), loop.create_task(child(10))])

        loop.call_soon(start)
        tasks = [*await made, asyncio.create_task(child(100))]
        return sum(await asyncio.gather(*tasks))

    async def test() -> list[str]:
        async with TestApp(app, crash_at=4) as test:
            run = await test.start(calls_back, 0)
            assert await test.result(run) == 225
            return [child.key for child in await test.queries.children(run.id)]

    assert asyncio.run(test()) == [
        "p:/0/1/1:1", "p:/0/1:1", "p:/0/2/1:1", "p:/0/2:1", "p:/0:1", "p:/1/1/1:1", "p:/1/1:1",
    ]  # fmt: skip


def test_chance_and_hashes_of_a_place_are_not_moved_by_what_other_tasks_do():
    app = make_app()

    def seen(others: int) -> list[Any]:
        found: list[Any] = []

        @app.workflow(name=f"w{others}")
        async def workflow(n: int) -> None:
            async def other() -> None:
                for _ in range(3):
                    await asyncio.sleep(0)
                    asyncio.get_running_loop().create_future()

            async def watched() -> None:
                for _ in range(4):
                    await asyncio.sleep(0)
                found.extend([str(current().uuid()), hash(asyncio.get_running_loop().create_future())])

            task = asyncio.create_task(watched())
            await asyncio.gather(*(other() for _ in range(others)))
            await task

        async def test() -> None:
            async with TestApp(app) as test:
                await test.run(workflow, 0)

        asyncio.run(test())
        return found[1:]

    assert seen(0) == seen(5)


def test_a_failed_run_without_a_record_to_compare_is_a_failure():
    async def fails(n: int) -> int:
        raise ValueError("at once")

    app = make_app()
    main = app.workflow(name="main")(fails)

    async def test() -> None:
        async with TestApp(app) as test:
            await test.run(main, 0)

    with pytest.raises(TaskFailed, match="at once"):
        asyncio.run(test())
