"""What comes back outside of runs: from `app.run`, `app.start`, `app.get`, a `Run`, `app.runs`, `app.blocking`."""

from datetime import datetime, timedelta
from typing import Any, assert_type

from fanfold import App, ChildCounts, Run, RunStatus
from fanfold.blocking import BlockingRun

app = App()


@app.task
def double(n: int) -> int:
    return 2 * n


@app.task
async def shout(text: str, times: int = 1) -> str:
    return text.upper() * times


@app.workflow
async def both(n: int, text: str) -> tuple[int, str]:
    return await double(n), await shout(text)


def run() -> None:
    assert_type(app.run(double, 3), int)
    assert_type(app.run(shout, "a", times=2), str)
    assert_type(app.run(both, 3, text="a"), tuple[int, str])
    assert_type(app.run(both.options(key="once", tags={"by": "hand"}), 3, "a"), tuple[int, str])


async def start() -> None:
    async with app as same:
        assert_type(same, App)
        assert_type(await app.start(double, 3), Run[int])
        started = await app.start(both.options(key="once"), 3, text="a")
        assert_type(started, Run[tuple[int, str]])
        assert_type(started.id, int)
        assert_type(await started.result(), tuple[int, str])
        assert_type(await started.result(timeout=timedelta(minutes=5)), tuple[int, str])
        status = await started.status()
        assert_type(status, RunStatus)
        assert_type(status.children, ChildCounts)
        assert_type(status.children.completed, int)
        assert_type(status.finished_at, int | None)


async def look() -> None:
    async for status in app.runs(state="failed", task=double):
        assert_type(status, RunStatus)
    assert_type([status.name async for status in app.runs(task="shout")], list[str])
    for since in (60, 0.5, timedelta(days=2), datetime(2026, 11, 20)):  # noqa: DTZ001 - local time is allowed
        assert_type([status.tags async for status in app.runs(tags={"by": "hand"}, since=since)], list[dict[str, str]])


async def find() -> None:
    assert_type(await app.get(double, "k"), Run[int])
    assert_type(await app.get(both, key="k"), Run[tuple[int, str]])
    found = await app.get(12)
    assert_type(found, Run[Any])
    assert_type(found.key, str | None)
    await found.cancel()
    async for child in found.children(state="failed"):
        assert_type(child, RunStatus)
    assert_type((await found.status()).progress, dict[str, Any] | None)


def block() -> None:
    with app.blocking as blocking:
        run = blocking.start(both, 3, text="a")
        assert_type(run, BlockingRun[tuple[int, str]])
        assert_type(run.result(timeout=5), tuple[int, str])
        assert_type(run.status(), RunStatus)
        run.cancel()
    assert_type(app.blocking.run(double, 3), int)
    assert_type(app.blocking.get(double, "k"), BlockingRun[int])
    assert_type(app.blocking.get(12), BlockingRun[Any])
    for status in app.blocking.runs(task=double, tags={"by": "hand"}):
        assert_type(status, RunStatus)
    for child in app.blocking.get(12).children(state="failed"):
        assert_type(child, RunStatus)
