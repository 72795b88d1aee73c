"""Iterating over groups in workflows: pages of outcomes are deliveries, so whatever happens beside them is replayed."""

import asyncio
from typing import Any

import pytest

from fanfold import App, GroupFailed, NonDeterminism, TaskFailed, open_group, sleep
from fanfold.testing import TestApp
from fanfold.worker import feeds
from tests.engine.desk import on_a_loop

app = App("pages")


@app.task
async def double(n: int) -> int:
    await asyncio.sleep(0)
    if n % 10 == 7:
        raise OSError(f"no {n}")
    return 2 * n


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "PAGE", 2)
    monkeypatch.setattr("fanfold.store.queries.PAGE", 2)
    monkeypatch.setattr("fanfold.worker.replay.PAGE", 2)


@app.workflow
async def beside(numbers: list[int]) -> tuple[list[tuple[int | None, bool]], list[str]]:
    told: list[str] = []

    async def ticks() -> None:
        for number in range(3):
            await sleep(1)
            told.append(f"tick {number}")

    ticking = asyncio.create_task(ticks())
    found: list[tuple[int | None, bool]] = []
    async for outcome in double.map(numbers, failures="collect"):
        found.append((outcome.index, outcome.ok))
        if outcome.index == 0:
            told.append(f"child {await double(50)}")
    await ticking
    return sorted(found), sorted(told)


@pytest.mark.parametrize("at", [0, *range(1, 24)])
@on_a_loop
async def test_pages_beside_timers_and_children_are_replayed(at: int):
    async with TestApp(app, crash_at=(at, at + 5) if at else ()) as test:
        found, told = await test.run(beside, [1, 2, 7, 4, 5])
    assert found == [(0, True), (1, True), (2, False), (3, True), (4, True)]
    assert told == ["child 100", "tick 0", "tick 1", "tick 2"]


@pytest.mark.parametrize("at", [0, *range(1, 14)])
@on_a_loop
async def test_each_loop_over_a_group_begins_with_the_first_outcome(at: int):
    @app.workflow(name="twice")
    async def twice() -> list[int]:
        group = double.map([1, 2, 3, 4, 5])
        async for _ in group:
            break
        once = [outcome.index async for outcome in group]
        async with asyncio.TaskGroup() as both:
            found = [both.create_task(_indexes(group)) for _ in range(2)]
        return [len(once), *(len(task.result()) for task in found), *sorted(set(found[0].result()))]

    async with TestApp(app, crash_at=at or ()) as test:
        assert await test.run(twice) == [5, 5, 5, 0, 1, 2, 3, 4]


async def _indexes(group: Any) -> list[int]:
    return [outcome.index async for outcome in group]


@pytest.mark.parametrize("at", [0, *range(1, 12)])
@on_a_loop
async def test_a_loop_that_is_left_early_leaves_its_group_alone(at: int):
    @app.workflow(name="left")
    async def left() -> int:
        async for outcome in double.map(range(6)):
            return outcome.value or 0
        return -1

    async with TestApp(app, crash_at=at or ()) as test:
        run = await test.start(left)
        await test.result(run)
        (group,) = [child for child in await test.queries.tree_level(run.id, 0, 9) if child.kind == "group"]
    assert group.children.completed == 6


@pytest.mark.parametrize("at", [0, *range(1, 14)])
@on_a_loop
async def test_a_loop_over_a_group_that_fails_ends_with_its_failure(at: int):
    @app.workflow(name="failing")
    async def failing() -> tuple[bool, str]:
        seen: list[bool] = []
        try:
            async for outcome in double.map([1, 2, 7, 3, 4]):
                seen.append(outcome.ok)  # noqa: PERF401 - it is left by an exception
        except GroupFailed as failed:
            return seen.count(False) == 1, failed.summary.errors[0].error_type
        return False, ""

    async with TestApp(app, crash_at=at or ()) as test:
        assert await test.run(failing) == (True, "OSError")


@pytest.mark.parametrize("at", [0, *range(1, 14)])
@on_a_loop
async def test_a_page_that_comes_too_late_for_a_timeout_is_asked_for_again(at: int):
    gate = asyncio.Event()

    async def slow(n: int) -> int:
        if n:
            await gate.wait()
        return n

    @app.workflow(name="late")
    async def late() -> list[int]:
        group = double.map([0, 1, 2])
        seen: list[int] = []
        try:
            async with asyncio.timeout(10):
                async for outcome in group:
                    seen.append(outcome.value or 0)  # noqa: PERF401 - it is left by an exception
        except TimeoutError:
            gate.set()
        return [*seen, *sorted([outcome.value or 0 async for outcome in group])]

    async with TestApp(app, crash_at=at or ()) as test:
        test.stub(double, slow)
        run = await test.start(late)
        await test.advance(30)
        assert await test.result(run) == [0, 0, 1, 2]


@on_a_loop
async def test_an_empty_group_has_no_outcomes():
    @app.workflow(name="empty")
    async def empty() -> list[int]:
        async with open_group() as group:
            mapped = [outcome.id async for outcome in double.map([])]
            return [*mapped, *[outcome.id async for outcome in group]]

    async with TestApp(app) as test:
        assert await test.run(empty) == []


@on_a_loop
async def test_an_idle_workflow_comes_back_between_two_pages():
    @app.workflow(name="idle")
    async def idle() -> list[int]:
        seen: list[int] = []
        async for outcome in double.map([1, 2, 3, 4, 5]):
            seen.append(outcome.value or 0)
            await sleep(1000)
        return sorted(seen)

    async with TestApp(app) as test:
        assert await test.run(idle) == [2, 4, 6, 8, 10]


@pytest.mark.parametrize("change", ["call", "fold", "list"])
@on_a_loop
async def test_code_that_asks_for_no_page_where_one_is_recorded_stands_still(change: str):
    does = ["pages"]

    @app.workflow(name="changing")
    async def changing() -> int:
        group = double.map([1, 2, 3])
        if does[0] == "call":
            await double(1)
        elif does[0] == "fold":
            await group.fold(max, 0)
        elif does[0] == "list":
            await group
        else:
            async for _ in group:
                pass
        await sleep(5)
        return 1

    async with TestApp(app) as test:
        run = await test.start(changing)
        await test.settle()
        does[0] = change
        await test.crash()
        with pytest.raises(NonDeterminism):
            await test.result(run)


@on_a_loop
async def test_results_whose_type_has_changed_since_pause_the_workflow():
    app = App("retyped")

    async def number(n: int) -> int:
        return n

    async def text(n: int) -> str:
        return str(n)

    task = app.task(number)

    @app.workflow
    async def reads() -> int:
        async for _ in task.map([1]):
            pass
        await sleep(5)
        return 1

    async with TestApp(app) as test:
        run = await test.start(reads)
        await test.settle()
        task.signature = App("other").task(text).signature
        await test.crash()
        with pytest.raises((NonDeterminism, TaskFailed), match="can no longer be read"):
            await test.result(run)
