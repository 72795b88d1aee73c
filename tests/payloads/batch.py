"""A workflow that makes a hundred good calls and, in the middle of them, whatever a test wants."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from fanfold import App
from fanfold.testing import TestApp

GOOD = 100
SQUARES = [n * n for n in range(GOOD)]


def app_with(make: Callable[[App], Callable[[], Awaitable[Any]]]) -> tuple[App, Any]:
    """Return an app whose workflow keeps what the bad call came to, and whether the good ones came out right."""
    app = App("payloads")
    bad = make(app)

    @app.task
    async def square(n: int) -> int:
        return n * n

    @app.workflow
    async def batch() -> tuple[list[int], str, str]:
        half = GOOD // 2
        before = [square(n) for n in range(half)]
        try:
            odd: Any = bad()
        except Exception as error:
            kind, told, odd = type(error).__name__, str(error), None
        after = [square(n) for n in range(half, GOOD)]
        if odd is not None:
            try:
                kind, told = "value", repr(await odd)[:2000]
            except Exception as error:
                kind, told = type(error).__name__, "\n".join([str(error), *getattr(error, "__notes__", [])])
        return await asyncio.gather(*before, *after), kind, told

    return app, batch


async def run_with(
    make: Callable[[App], Callable[[], Awaitable[Any]]], *, crash_at: tuple[int, ...] = ()
) -> tuple[str, str]:
    """Run the batch with the bad call that `make` returns for its app; return the class and text of what it came to."""
    app, batch = app_with(make)
    async with TestApp(app, crash_at=crash_at) as test:
        good, kind, told = await test.run(batch)
    assert good == SQUARES
    return kind, told
