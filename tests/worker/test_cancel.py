"""Cancelling runs from outside: bodies have a grace, a workflow compensates, and a second request ends that as well."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fanfold import App, Retry, TaskCancelled, current, sleep
from fanfold.model import lifecycle
from fanfold.testing import TestApp
from tests.engine.desk import on_a_loop


class Saga:
    """A workflow that compensates after its cancel, and tasks that write down what they did."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.open = asyncio.Event()
        self.app = app = App("saga")

        @app.task
        async def book(what: str) -> str:
            self.said.append(f"book {what}")
            if what == "car":
                await asyncio.get_running_loop().create_future()
            return what

        @app.task
        async def undo(what: str) -> str:
            self.said.append(f"undo {what}")
            await self.open.wait()
            self.said.append(f"undone {what}")
            return what

        @app.workflow
        async def trip() -> str:
            try:
                await book("flight")
                await book("car")
            except asyncio.CancelledError:
                await undo("flight")
                await sleep(1)
                raise
            return "booked"

        self.trip = trip


async def ask(test: TestApp, id: int) -> None:
    alive = test._at_work
    await alive.unless_it_dies(alive.session.engine.cancel(id))
    await test.settle()


@on_a_loop
async def test_a_workflow_compensates_after_its_cancel():
    saga = Saga()
    async with TestApp(saga.app) as test:
        run = await test.start(saga.trip)
        await test.settle()
        await ask(test, run.id)
        assert saga.said == ["book flight", "book car", "undo flight"]
        saga.open.set()
        with pytest.raises(TaskCancelled):
            await test.result(run)
        states = [(child.name, child.state) for child in await test.queries.tree_level(run.id, 0, 99)]
    assert saga.said[3:] == ["undone flight"]
    assert ("book", lifecycle.CANCELLED) in states
    assert ("undo", lifecycle.COMPLETED) in states


@pytest.mark.parametrize("crash_at", [(), (6,), (7,), (8,), (9,), (10,)])
@on_a_loop
async def test_a_second_request_cancels_the_compensation_as_well(crash_at: Any):
    saga = Saga()
    async with TestApp(saga.app, crash_at=crash_at) as test:
        run = await test.start(saga.trip)
        await test.settle()
        await ask(test, run.id)
        await ask(test, run.id)
        with pytest.raises(TaskCancelled):
            await test.result(run)
        await test.settle()
        states = {child.name: child.state for child in await test.queries.tree_level(run.id, 0, 99)}
    assert "undone flight" not in saga.said
    assert states["undo"] == lifecycle.CANCELLED


@on_a_loop
async def test_a_task_that_returns_within_its_grace_has_completed():
    app, asked = App("grace"), asyncio.Event()

    @app.task
    async def tidy() -> str:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            asked.set()
            await asyncio.sleep(0)
        return "tidied"

    async with TestApp(app) as test:
        run = await test.start(tidy)
        await test.settle()
        await ask(test, run.id)
        assert await test.result(run) == "tidied"


@on_a_loop
async def test_a_task_that_does_not_end_within_its_grace_is_cancelled_without_it():
    app, release = App("grace"), asyncio.Event()

    @app.task
    async def stubborn() -> str:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        return f"late {current().id}"

    async with TestApp(app) as test:
        run = await test.start(stubborn)
        await test.settle()
        await ask(test, run.id)
        await test.advance(9)
        assert (await run.status()).state == lifecycle.RUNNING
        await test.advance(2)
        with pytest.raises(TaskCancelled):
            await test.result(run)
        release.set()
        await test.settle()
        assert (await run.status()).state == lifecycle.CANCELLED


@on_a_loop
async def test_after_a_roots_cancel_is_recorded_nothing_of_its_tree_starts_that_waited_for_a_slot(tmp_path: Path):
    app = App("queued", store=f"sqlite:///{tmp_path}/queued.db", slots=2)
    started: list[int] = []
    enough = asyncio.Event()

    @app.task
    async def one(n: int) -> int:
        started.append(n)
        if len(started) == 100:
            enough.set()
        await asyncio.sleep(0)
        return n

    @app.task
    async def middle(k: int) -> int:
        return sum(await asyncio.gather(*(one(1000 * k + n) for n in range(500))))

    @app.workflow
    async def root() -> int:
        return sum(await asyncio.gather(*(middle(k) for k in range(20))))

    async with app:
        run = await app.start(root)
        await enough.wait()
        await run.cancel()
        until_then = len(started)
        with pytest.raises(TaskCancelled):
            await run.result()
    assert len(started) == until_then < 10_000


@pytest.mark.parametrize("where", ["loop", "thread"])
@on_a_loop
async def test_a_task_that_raises_something_else_within_its_grace_is_cancelled_and_the_error_is_kept(
    where: str, caplog: pytest.LogCaptureFixture
):
    app = App("grace", default_retry=Retry(delay=0))

    @app.task
    async def child() -> None:
        await asyncio.get_running_loop().create_future()

    @app.task
    async def on_loop() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            raise ValueError("cannot be tidied") from None

    @app.task
    def in_thread() -> None:
        try:
            child().result()
        except asyncio.CancelledError:
            raise ValueError("cannot be tidied") from None

    async with TestApp(app) as test:
        run = await test.start(on_loop if where == "loop" else in_thread)
        await test.settle()
        await ask(test, run.id)
        with pytest.raises(TaskCancelled, match="ValueError: cannot be tidied") as cancelled:
            await test.result(run)
        assert (await run.status()).state == lifecycle.CANCELLED
    assert "cannot be tidied" in cancelled.value.traceback
    assert (cancelled.value.caused_by(ValueError), cancelled.value.attempts) == (True, 1)
    assert f"(run {run.id}) was cancelled, and raised ValueError: cannot be tidied" in caplog.text
