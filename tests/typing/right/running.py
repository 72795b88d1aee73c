"""What comes back outside of runs: from `app.run`, `app.start`, a `Run`, `app.runs`."""

from datetime import timedelta
from typing import assert_type

from fanfold import App, ChildCounts, Run, RunStatus

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
