"""`app.start` inside a run: a task starts roots that outlive it, a workflow may not."""

import asyncio

import pytest

from fanfold import App, Retry, TaskFailed, current, sleep
from fanfold.errors import NotAllowed
from tests.app.program import runs_in_a_loop

app = App("starters", store="sqlite:///runs.db", threads=2)


@app.task
async def double(n: int) -> int:
    return 2 * n


@app.task
async def start_two(n: int) -> list[int]:
    first, second = await app.start(double, n), await app.start(double, n + 1)
    return [first.id, second.id]


@app.task(retry=Retry(max_attempts=3, delay=0))
async def start_and_fail_once(n: int) -> list[int]:
    found = [(await app.start(double, n)).id, (await app.start(double.options(key="own"), n)).id]
    if current().attempt == 1:
        FIRST[:] = found
        raise OSError("once")
    return found


@app.task
def start_from_a_thread(n: int) -> list[int]:
    return [app.blocking.start(double, n).id, app.blocking.start(double, n + 1).id]


@app.task
def run_inside(n: int) -> int:
    return app.run(double, n)


@app.workflow
async def start_in_workflow() -> list[str]:
    refused: list[str] = []
    for attempt in (app.start(double, 1), app.get(1), anext(app.runs())):
        try:
            await attempt
        except NotAllowed as error:
            refused.append(str(error))
    for call in (lambda: app.blocking.start(double, 1), lambda: app.blocking.get(1), lambda: app.run(double, 1)):
        try:
            call()
        except NotAllowed as error:
            refused.append(str(error))
    return refused


@app.workflow
async def looks_at(names: list[str]) -> list[str]:
    refused: list[str] = []
    for name in names:
        try:
            await getattr(RUNS[0], name)()
        except NotAllowed as error:
            refused.append(str(error))
    await sleep(0)
    return refused


RUNS: list = []
FIRST: list[int] = []


@runs_in_a_loop
async def test_a_task_starts_roots_of_their_own():
    async with app:
        run = await app.start(start_two, 1)
        ids = await run.result()
        statuses = [await (await app.get(id)).status() for id in ids]
        assert [status.parent_id for status in statuses] == [0, 0]
        assert [await (await app.get(id)).result() for id in ids] == [2, 4]
        assert (await run.status()).children.spawned == 0


@runs_in_a_loop
async def test_a_retried_body_finds_the_roots_that_it_started():
    async with app:
        run = await app.start(start_and_fail_once, 1)
        ids = await run.result()
        assert ids == FIRST
        assert (await run.status()).attempt == 2
        assert len([status async for status in app.runs(task=double)]) == 2
        assert [(await app.get(id)).key for id in ids] == [None, "own"]


@runs_in_a_loop
async def test_each_run_starts_roots_of_its_own():
    async with app:
        first, second = [await (await app.start(start_two, 1)).result() for _ in range(2)]
        assert not set(first) & set(second)


@runs_in_a_loop
async def test_a_sync_task_starts_a_root_without_await():
    async with app:
        ids = await (await app.start(start_from_a_thread, 4)).result()
        runs = [await app.get(id) for id in ids]
        assert [await run.result() for run in runs] == [8, 10]
        assert [run.key for run in runs] == [None, None]


@runs_in_a_loop
async def test_app_run_inside_a_run_is_refused_and_names_the_ways():
    async with app:
        with pytest.raises(TaskFailed, match=r"call double\(...\) for a child, or `await app.start\(double, ...\)`"):
            await (await app.start(run_inside, 4)).result()


def test_a_task_starts_roots_under_app_run_as_well():
    assert len(app.run(start_two, 1)) == 2
    assert len(app.run(start_two, 5)) == 2


@runs_in_a_loop
async def test_what_no_replay_could_repeat_is_refused_in_workflows():
    async with app:
        refused = await (await app.start(start_in_workflow)).result()
        assert len(refused) == 6
        assert all("in a task" in text for text in refused)
        RUNS[:] = [await app.start(double, 1)]
        refused = await (await app.start(looks_at, ["result", "status", "cancel"])).result()
        assert [text.partition(" ")[0] for text in refused] == ["run.result", "run.status", "run.cancel"]
        assert all("Do it in a task" in text for text in refused)


@runs_in_a_loop
async def test_a_body_may_start_something_while_its_app_stops():
    gate = asyncio.Event()
    late = App("late", store="sqlite:///late.db")
    started = asyncio.Event()

    @late.task
    async def last() -> None: ...

    @late.task
    async def lingers() -> int:
        started.set()
        await gate.wait()
        return (await late.start(last)).id

    async with late:
        run = await late.start(lingers)
        await started.wait()
        asyncio.get_running_loop().call_later(0.05, gate.set)
    assert (await run.status()).state == "completed"
    assert [status.name async for status in late.runs()] == ["last", "lingers"]
