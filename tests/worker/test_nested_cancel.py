"""Cancelling nested workflows: each hears of its own cancel before the ends of its children, and compensates."""

import asyncio

import pytest

from fanfold import App
from fanfold.model import lifecycle
from fanfold.testing import TestApp
from tests.engine.desk import on_a_loop


@pytest.mark.parametrize("crash_at", range(5, 14))
@on_a_loop
async def test_a_nested_workflow_hears_of_its_cancel_before_the_ends_of_its_children_whatever_crashes(crash_at: int):
    app, undone = App("nested"), list[str]()

    @app.task
    async def endless() -> None:
        await asyncio.get_running_loop().create_future()

    @app.task
    async def undo(what: str) -> None:
        undone.append(what)

    @app.workflow
    async def inner() -> None:
        try:
            await endless()
        except asyncio.CancelledError:
            await undo("inner")
            raise

    @app.workflow
    async def outer() -> None:
        try:
            await inner()
        except asyncio.CancelledError:
            await undo("outer")
            raise

    async with TestApp(app, crash_at=(crash_at,)) as test:
        run = await test.start(outer)
        await test.settle()
        await test._at_work.unless_it_dies(test._at_work.session.engine.cancel(run.id))
        await test.settle()
        rows = await test.queries.runs()
        states = {row.name: row.state for row in rows if row.name in ("inner", "outer", "endless")}
    assert states == dict.fromkeys(("inner", "outer", "endless"), lifecycle.CANCELLED)
    assert sorted(set(undone)) == ["inner", "outer"]


@on_a_loop
async def test_a_nested_workflow_whose_child_waits_for_a_slot_hears_of_its_cancel_first():
    app, undone = App("nested", slots=1), list[str]()

    @app.task
    async def endless(n: int) -> None:
        await asyncio.get_running_loop().create_future()

    @app.task
    async def undo(what: str) -> None:
        undone.append(what)

    @app.workflow
    async def inner() -> None:
        try:
            await asyncio.gather(endless(1), endless(2))
        except asyncio.CancelledError:
            await undo("inner")
            raise

    @app.workflow
    async def outer() -> None:
        try:
            await inner()
        except asyncio.CancelledError:
            await undo("outer")
            raise

    async with TestApp(app) as test:
        run = await test.start(outer)
        await test.settle()
        await test._at_work.unless_it_dies(test._at_work.session.engine.cancel(run.id))
        await test.settle()
        states = {row.name: row.state for row in await test.queries.runs()}
    assert states == dict.fromkeys(("inner", "outer", "endless"), lifecycle.CANCELLED) | {"undo": lifecycle.COMPLETED}
    assert sorted(set(undone)) == ["inner", "outer"]
