"""The app under test, small and on a file; each test runs in an empty folder of its own."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from fanfold import App

LIMIT_S = 20
STORE = "sqlite:///runs.db"


def make(**options: Any) -> App:
    """Return an app with a few tasks, which are found by name in `app.tasks`."""
    app = App("under test", **({"store": STORE, "threads": 2} | options))

    @app.task
    async def double(n: int) -> int:
        return 2 * n

    @app.task
    def half(n: int) -> int:
        return n // 2

    @app.task
    async def fail(text: str) -> None:
        raise ValueError(text)

    @app.task
    async def gated(name: str) -> str:
        while not is_open():  # noqa: ASYNC110 - what opens the gate may be another process
            await asyncio.sleep(0.005)
        return name

    @app.workflow
    async def total(n: int) -> int:
        found = await asyncio.gather(*(double(i) for i in range(n)), fail("no"), return_exceptions=True)
        return sum(each for each in found if isinstance(each, int))

    return app


def open_gate() -> None:
    """Let `gated` end."""
    Path("gate").touch()


def is_open() -> bool:
    return Path("gate").exists()


def files() -> list[str]:
    """Return what is in the working folder."""
    return sorted(path.name for path in Path().iterdir())


def runs_in_a_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an async test on a loop of its own, with a limit."""

    def run() -> None:
        async def limited() -> None:
            async with asyncio.timeout(LIMIT_S):
                await test()

        asyncio.run(limited())

    run.__name__ = test.__name__
    return run


def eventually(is_reached: Callable[[], object]) -> None:
    """Wait until `is_reached()`, with a limit, in a test that has no loop."""
    give_up_at = time.monotonic() + LIMIT_S
    while not is_reached():
        assert time.monotonic() < give_up_at, "the state was not reached"
        time.sleep(0)
