"""A run that another holder took: whoever held it before drops it, and what it still does is not recorded."""

import asyncio
from typing import Any

from fanfold import App
from fanfold.model import lifecycle
from fanfold.testing import TestApp
from tests.engine.desk import on_a_loop

TWO_SWEEPS_S = 61


def steal(test: TestApp, id: int) -> None:
    """Take a run from its holder behind everybody's back, as another machine would that thinks its worker is dead."""
    database: Any = test._at_work.session.opened.writer
    database._connection.execute(
        "UPDATE runs SET state = ?, owner = NULL, epoch = epoch + 1 WHERE id = ?", (lifecycle.PENDING, id)
    )


@on_a_loop
async def test_a_body_whose_lease_is_lost_is_stopped_and_the_run_starts_again():
    app, began, open_, ended = App("leases"), [], asyncio.Event(), []

    @app.task
    async def slow(n: int) -> int:
        began.append(n)
        try:
            await open_.wait()
        finally:
            ended.append(len(began))
        return n

    async with TestApp(app) as test:
        run = await test.start(slow, 3)
        await test.settle()
        steal(test, run.id)
        await test.advance(TWO_SWEEPS_S)
        assert (began, ended) == ([3, 3], [1])
        open_.set()
        assert await test.result(run) == 3
        status = await run.status()
    assert (status.state, ended) == (lifecycle.COMPLETED, [1, 2])


@on_a_loop
async def test_a_workflow_whose_lease_is_lost_goes_on_from_its_record():
    app, open_, calls = App("leases"), asyncio.Event(), []

    @app.task
    async def step(n: int) -> int:
        calls.append(n)
        if n == 2:
            await open_.wait()
        return n

    @app.workflow
    async def steps() -> int:
        return await step(1) + await step(2) + await step(3)

    async with TestApp(app) as test:
        run = await test.start(steps)
        await test.settle()
        steal(test, run.id)
        open_.set()  # the next call of the old one is refused: it is dropped at once
        await test.settle()
        await test.advance(TWO_SWEEPS_S)
        assert await test.result(run) == 6
    assert calls == [1, 2, 3]
