"""What the app's lifespan yields is `current().state` in the bodies of a process, from the first to the last."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fanfold import App, InvalidInput, TaskFailed, current
from fanfold.testing import TestApp
from tests.engine.desk import on_a_loop

seen: list[Any] = []


@contextlib.asynccontextmanager
async def without() -> AsyncIterator[str]:
    seen.append("entered")
    yield "state"
    seen.append("left")


@contextlib.asynccontextmanager
async def with_app(app: App) -> AsyncIterator[str]:
    yield app.name


def make(lifespan: Any, **options: Any) -> tuple[App, Any, Any]:
    app = App("living", lifespan=lifespan, **options)

    @app.task
    async def on_loop() -> str:
        return str(current().state)

    @app.task
    def in_thread() -> str:
        return str(current().state)

    return app, on_loop, in_thread


@pytest.mark.parametrize(("lifespan", "state"), [(without, "state"), (with_app, "living"), (None, "None")])
@on_a_loop
async def test_bodies_share_what_the_lifespan_yields(lifespan: Any, state: str):
    app, on_loop, in_thread = make(lifespan)
    async with TestApp(app) as test:
        assert await test.run(on_loop) == await test.run(in_thread) == state
        await test.crash()
        assert await test.run(on_loop) == state


def test_it_is_entered_before_the_first_body_and_left_after_the_last(tmp_path: Path):
    app, on_loop, _ = make(without, store=f"sqlite:///{tmp_path}/living.db")
    seen.clear()
    assert app.run(on_loop) == "state"
    assert seen == ["entered", "left"]


def test_one_that_fails_leaves_no_lock(tmp_path: Path):
    @contextlib.asynccontextmanager
    async def broken() -> AsyncIterator[None]:
        raise OSError("no database")
        yield

    app, on_loop, _ = make(broken, store=f"sqlite:///{tmp_path}/living.db")
    for _ in range(2):
        with pytest.raises(OSError, match="no database"):
            app.run(on_loop)


@on_a_loop
async def test_a_workflow_has_no_state():
    app = App("living")

    @app.workflow
    async def asks() -> str:
        return str(current().state)

    async with TestApp(app) as test:
        with pytest.raises(TaskFailed, match="for tasks"):
            await test.run(asks)


@pytest.mark.parametrize("wrong", [3, "lifespan"])
def test_what_is_no_lifespan_is_refused(wrong: Any):
    with pytest.raises(InvalidInput, match="async context manager"):
        App(lifespan=wrong)
