"""An attempt runs no longer than its timeout; the time in which it waits for its children does not count."""

import asyncio
import threading

import pytest

from fanfold import App, Retry, TaskFailed, TaskTimedOut, current
from fanfold.model import lifecycle
from fanfold.testing import TestApp
from tests.engine.desk import on_a_loop


@on_a_loop
async def test_an_async_body_is_let_out_through_its_finally_blocks():
    app, out = App("timeouts"), []

    @app.task(timeout=30)
    async def hangs() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            out.append("out")

    async with TestApp(app) as test:
        run = await test.start(hangs)
        await test.advance(29)
        assert out == []
        await test.advance(2)
        with pytest.raises(TaskTimedOut, match="longer than its timeout of 30 s") as failed:
            await test.result(run)
    assert out == ["out"]
    assert failed.value.caused_by(TimeoutError)
    assert isinstance(failed.value, TaskFailed)


@on_a_loop
async def test_a_body_that_does_not_end_when_it_is_asked_to_is_left_behind():
    app, open_ = App("timeouts"), asyncio.Event()

    @app.task(timeout=1)
    async def stubborn() -> int:
        while not open_.is_set():
            try:
                await open_.wait()
            except asyncio.CancelledError:
                continue
        return 3

    async with TestApp(app) as test:
        run = await test.start(stubborn)
        await test.advance(2)
        assert (await run.status()).state == lifecycle.RUNNING
        await test.advance(10)
        with pytest.raises(TaskTimedOut):
            await test.result(run)
        assert test._at_work.session.worker.slots.taken == 0
        open_.set()
        await test.settle()


@on_a_loop
async def test_a_timeout_is_a_failed_attempt_like_any_other():
    app, attempts = App("timeouts"), []

    @app.task(timeout=5, retry=Retry(max_attempts=2, delay=1, retry_on=(TimeoutError,)))
    async def slow_once() -> int:
        attempts.append(current().attempt)
        if len(attempts) == 1:
            await asyncio.get_running_loop().create_future()
        return len(attempts)

    async with TestApp(app) as test:
        run = await test.start(slow_once)
        await test.advance(7)
        assert await test.result(run) == 2
    assert attempts == [1, 2]


@on_a_loop
async def test_a_call_may_have_a_timeout_of_its_own():
    app = App("timeouts", default_timeout=3600)

    @app.task
    async def hangs() -> None:
        await asyncio.get_running_loop().create_future()

    async with TestApp(app) as test:
        run = await test.start(hangs.options(timeout=2))
        await test.advance(3)
        with pytest.raises(TaskTimedOut):
            await test.result(run)


@on_a_loop
async def test_the_time_in_which_a_body_waits_for_its_children_does_not_count():
    app = App("timeouts")

    @app.task
    async def child() -> int:
        await asyncio.get_running_loop().create_future()
        return 1

    @app.task(timeout=10)
    async def parent() -> str:
        try:
            await child.options(timeout=3600)()
        except TaskTimedOut:
            return "the child ran out of time"
        return ""

    async with TestApp(app) as test:
        run = await test.start(parent)
        await test.advance(3601)
        assert await test.result(run) == "the child ran out of time"


def test_a_thread_that_hangs_is_left_behind_and_its_slot_given_to_others(tmp_path):
    app = App("timeouts", store=f"sqlite:///{tmp_path}/timeouts.db", threads=2, slots=1)
    release, late = threading.Event(), []

    @app.task(timeout=0.05)
    def hangs() -> int:
        release.wait(30)
        late.append(1)
        return 1

    @app.task
    def quick(n: int) -> int:
        return n

    @app.workflow
    async def both() -> list[int | str]:
        try:
            first: int | str = await hangs()
        except TaskTimedOut as failed:
            first = failed.error_type
        release_first = await asyncio.gather(*(quick(n) for n in range(5)))
        return [first, *release_first]

    try:
        assert app.run(both) == ["TaskTimedOut", 0, 1, 2, 3, 4]
        assert late == []
    finally:
        release.set()
