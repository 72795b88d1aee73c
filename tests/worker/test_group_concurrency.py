"""How many members of a group run at once, and groups among whatever else asyncio offers: nested, cut, side by side."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from fanfold import App, GroupFailed, NotAllowed, TaskFailed, open_group, sleep
from fanfold.model import lifecycle
from fanfold.model.run import MAX_DEPTH
from fanfold.testing import TestApp
from fanfold.worker import members
from tests.engine.desk import on_a_loop

app = App("concurrency")
at_work: list[int] = []


@app.task
async def counted(n: int) -> int:
    at_work[0] += 1
    at_work[1] = max(at_work)
    try:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    finally:
        at_work[0] -= 1
    return n


@app.task
async def double(n: int) -> int:
    return 2 * n


@app.workflow
async def bounded(count: int, most: int) -> list[int]:
    async with open_group(concurrency=most) as group:
        for n in range(3):
            group.spawn(counted, n)
        return [*await counted.map(range(count), concurrency=most), *await group]


@app.workflow
async def inner(n: int) -> int:
    return sum(await double.map(range(n)))


@app.workflow
async def outer(count: int) -> list[int]:
    return await inner.map(range(count), concurrency=2)


@app.workflow
async def deep(left: int) -> int:
    return 0 if left == 0 else 1 + (await deep.map([left - 1]))[0]


@pytest.fixture(autouse=True)
def _fresh() -> None:
    at_work[:] = [0, 0]


@pytest.mark.parametrize("at", [0, *range(1, 16)])
@on_a_loop
async def test_never_do_more_members_run_than_concurrency_allows(at: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(members, "WINDOW", 5)
    async with TestApp(app, crash_at=(at, at + 3) if at else ()) as test:
        assert await test.run(bounded, 12, 2) == [*range(12), *range(3)]
    assert at_work[1] <= 4, "two groups of two"


@pytest.mark.parametrize("at", [0, *range(1, 10)])
@on_a_loop
async def test_a_concurrency_of_one_runs_members_one_by_one_in_their_order(at: int):
    order: list[int] = []

    @app.workflow(name="serial")
    async def serial() -> list[int]:
        return await counted.map(range(5), concurrency=1)

    async def noted(n: int) -> int:
        order.append(n)
        return n

    async with TestApp(app, crash_at=at or ()) as test:
        test.stub(counted, noted)
        assert await test.run(serial) == [0, 1, 2, 3, 4]
    assert list(dict.fromkeys(order)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("at", [0, *range(1, 18)])
@on_a_loop
async def test_members_that_are_workflows_have_groups_of_their_own(at: int):
    async with TestApp(app, crash_at=at or ()) as test:
        assert await test.run(outer, 5) == [0, 0, 2, 6, 12]


@on_a_loop
async def test_groups_are_levels_of_their_own_and_nest_as_deep_as_runs_may():
    async with TestApp(app) as test:
        assert await test.run(deep, MAX_DEPTH // 2) == MAX_DEPTH // 2
        with pytest.raises((GroupFailed, TaskFailed), match=f"nested {MAX_DEPTH} deep"):
            await test.run(deep, MAX_DEPTH // 2 + 1)


@pytest.mark.parametrize("at", [0, *range(1, 12)])
@on_a_loop
async def test_groups_go_with_gather_wait_wait_for_shield_and_task_groups(at: int):
    @app.workflow(name="mixed")
    async def mixed() -> list[Any]:
        gathered = await asyncio.gather(double.map([1]), double(2), double.map([3]).fold(max, 0))
        done, left = await asyncio.wait({double.map([4]), double(5)})
        waited = sorted(str(handle.result()) for handle in done)
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(_awaited(double.map([6])))
        limited = await asyncio.wait_for(asyncio.shield(double.map([7])), 60)
        return [*gathered, waited, len(left), task.result(), limited]

    async with TestApp(app, crash_at=at or ()) as test:
        assert await test.run(mixed) == [[2], 4, 6, ["10", "[8]"], 0, [12], [14]]


async def _awaited(group: Any) -> Any:
    return await group


async def _hangs(n: int) -> int:
    return n if n == 0 else await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("how", ["timeout", "wait_for", "task_group", "with", "cancel"])
@on_a_loop
async def test_whatever_cancels_a_group_cancels_its_members(how: str):
    @app.workflow(name="cut")
    async def cut() -> str:
        said = ""
        try:
            await _cut(how)
        except* (TimeoutError, LookupError, asyncio.CancelledError):
            said = "cut"
        return said

    async with TestApp(app) as test:
        test.stub(double, _hangs)
        run = await test.start(cut)
        await test.advance(20)
        assert await test.result(run) == "cut"
        await test.settle()
        (group,) = [child for child in await test.queries.tree_level(run.id, 0, 9) if child.kind == "group"]
        found = await test.queries.tree_level(group.id, 0, 9)
    assert group.state == lifecycle.CANCELLED
    assert [member.state for member in found] == [lifecycle.COMPLETED, lifecycle.CANCELLED, lifecycle.CANCELLED]


async def _cut(how: str) -> None:
    group = double.map(range(3)) if how != "with" else open_group()
    if how == "timeout":
        async with asyncio.timeout(5):
            await group
    elif how == "wait_for":
        await asyncio.wait_for(group, 5)
    elif how == "task_group":
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_awaited(group))
            await sleep(5)
            raise LookupError
    elif how == "with":
        async with group:
            for n in range(3):
                group.spawn(double, n)
            await sleep(5)
            raise LookupError
    else:
        await sleep(5)
        assert group.cancel()
        await group


@pytest.mark.parametrize("at", [0, *range(1, 8)])
@on_a_loop
async def test_a_list_that_changes_after_the_call_changes_no_items(at: int):
    @app.workflow(name="batches")
    async def batches() -> list[list[int]]:
        groups: list[Any] = []
        batch: list[int] = []
        for n in range(4):
            batch.append(n)
            if len(batch) == 2:
                groups.append(double.map(batch))
                batch.clear()
        return [await group for group in groups]

    async with TestApp(app, crash_at=at or ()) as test:
        assert await test.run(batches) == [[0, 2], [4, 6]]


@on_a_loop
async def test_what_the_items_call_is_no_durable_call():
    def items() -> Iterator[Any]:
        yield double(1)

    @app.workflow(name="nested_calls")
    async def nested_calls() -> list[int]:
        return await double.map(items())

    async with TestApp(app) as test:
        with pytest.raises(TaskFailed, match="NotInRun"):
            await test.run(nested_calls)


@on_a_loop
async def test_a_summary_is_known_after_the_end_and_a_delay_goes_without_concurrency():
    @app.workflow(name="early")
    async def early() -> list[str]:
        said: list[str] = []
        group = open_group(concurrency=1)
        for call in (lambda: group.summary, lambda: group.spawn(double.options(delay=5), 1)):
            try:
                call()
            except (NotAllowed, TypeError) as error:
                said.append(str(error))
        await group
        return [*said, str(group.summary)]

    async with TestApp(app) as test:
        first, second, third = await test.run(early)
    assert "once it has ended" in first
    assert "do not go together" in second
    assert third == "no members"
