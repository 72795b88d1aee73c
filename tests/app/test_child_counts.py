"""What people count as a run's children: tasks, workflows and a group's members, not timers and the like."""

import asyncio

import pytest

from fanfold import App, TaskCancelled, sleep
from fanfold.model.run import ChildCounts
from fanfold.testing import TestApp
from tests.engine.desk import on_a_loop


class Waiting:
    """A workflow that has timers, some dropped, some fired, beside its children."""

    def __init__(self) -> None:
        self.app = app = App("waiting")
        self.open = asyncio.Event()

        @app.task
        async def work(n: int) -> int:
            if n == 3:
                await self.open.wait()
            return n

        @app.task
        async def tidy() -> None:
            """Undo what was done."""

        @app.workflow
        async def waits() -> int:
            try:
                dropped = sleep(1000)
                await sleep(0.01)
                sleep(1000)
                total = sum(await work.map(range(2)))
                dropped.cancel()
                return total + await work(2) + await work(3)
            except asyncio.CancelledError:
                await tidy()
                raise

        self.waits = waits


@on_a_loop
async def test_timers_are_not_counted_among_the_children():
    waiting = Waiting()
    async with TestApp(waiting.app) as test:
        run = await test.start(waiting.waits)
        await test.advance(1)
        assert (await run.status()).children == ChildCounts(4, 1, 1, 3, 0, 0)
        waiting.open.set()
        assert await test.result(run) == 6
        assert (await run.status()).children == ChildCounts(4, 0, 0, 4, 0, 0)
        assert [status.children.spawned async for status in waiting.app.runs(task="waits")] == [4]


@on_a_loop
async def test_the_request_to_cancel_a_workflow_is_not_counted_among_its_children():
    waiting = Waiting()
    async with TestApp(waiting.app) as test:
        run = await test.start(waiting.waits)
        await test.advance(1)
        await run.cancel()
        with pytest.raises(TaskCancelled, match=rf"^waits \(run {run.id}\) was cancelled$"):
            await test.result(run)
        assert (await run.status()).children == ChildCounts(5, 0, 0, 4, 0, 1)


@on_a_loop
async def test_a_root_that_a_task_starts_without_a_key_has_none():
    app = App("starts")

    @app.task
    async def other() -> None:
        """Do nothing."""

    @app.task
    async def starts() -> str | None:
        run = await app.start(other)
        assert run.key is None
        return (await run.status()).key

    async with TestApp(app) as test:
        assert await test.run(starts) is None
        assert [status.key async for status in app.runs()] == [None, None]
