"""Groups that their owner adds members to one by one, in workflows: policies, folds, pages, and what a crash leaves."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from fanfold import App, NotAllowed, open_group
from fanfold.testing import TestApp
from tests.engine.desk import on_a_loop

app = App("open")
started = Counter[int]()


@app.task
async def double(n: int) -> int:
    started[n] += 1
    await asyncio.sleep(0)
    if n % 10 == 7:
        raise OSError(f"no {n}")
    return 2 * n


@app.workflow
async def listed(numbers: list[int]) -> list[int]:
    async with open_group() as group:
        for n in numbers:
            group.spawn(double, n)
        return await group


@app.workflow
async def collected(numbers: list[int]) -> tuple[list[int], int, str]:
    async with open_group(failures="collect") as group:
        for n in numbers:
            group.spawn(double, n)
        outcomes = await group
    values = [outcome.value for outcome in outcomes if outcome.value is not None]
    return values, group.summary.failed, str(group.summary)


@app.workflow
async def folded(numbers: list[int]) -> tuple[int, str]:
    async with open_group(failures="collect") as group:
        for n in numbers:
            group.spawn(double, n)
        total = await group.fold(add, 0)
    return total, str(group.summary)


def add(total: int, value: int) -> int:
    return total + value


@app.workflow
async def mapped_fold(count: int) -> int:
    return await double.map(range(100, 100 + count), failures="collect").fold(add, 0)


@app.workflow
async def paged(numbers: list[int]) -> list[tuple[int | None, bool]]:
    found: list[tuple[int | None, bool]] = []
    async for outcome in double.map(numbers, failures="collect"):
        found.append((outcome.index, outcome.ok))
        await double(outcome.id * 10)
    return sorted(found)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    started.clear()


@pytest.mark.parametrize("at", [0, *range(1, 12)])
@on_a_loop
async def test_an_open_group_gives_the_results_in_the_order_of_its_members(at: int):
    async with TestApp(app, crash_at=at or ()) as test:
        assert await test.run(listed, [1, 2, 3]) == [2, 4, 6]
        assert await test.run(listed, []) == []


@pytest.mark.parametrize("at", [0, *range(1, 12)])
@on_a_loop
async def test_with_collect_all_members_run_and_the_failures_are_counted(at: int):
    async with TestApp(app, crash_at=at or ()) as test:
        values, failed, sentence = await test.run(collected, [1, 7, 17, 4])
    assert (sorted(values), failed) == ([2, 8], 2)
    assert sentence == "2 of 4 failed: OSError on #1, #2: no <n>"


@pytest.mark.parametrize("at", [0, *range(1, 16)])
@on_a_loop
async def test_a_fold_counts_each_member_once(at: int):
    async with TestApp(app, crash_at=at or ()) as test:
        assert await test.run(folded, [1, 7, 17, 4, 5]) == (20, "2 of 5 failed: OSError on #1, #2: no <n>")
        assert await test.run(mapped_fold, 30) == sum(2 * n for n in range(100, 130) if n % 10 != 7)


@pytest.mark.parametrize("at", [0, *range(1, 30)])
@on_a_loop
async def test_pages_come_again_as_they_were(at: int):
    async with TestApp(app, crash_at=at or ()) as test:
        assert await test.run(paged, [1, 2, 7, 4]) == [(0, True), (1, True), (2, False), (3, True)]


async def _listed(group: Any) -> Any:
    return await group


async def _iterated(group: Any) -> Any:
    return [outcome async for outcome in group]


async def _folded(group: Any) -> Any:
    return await group.fold(add, 0)


@pytest.mark.parametrize(("first", "then"), [
    (_folded, _folded), (_folded, _iterated), (_folded, _listed), (_listed, _folded), (_iterated, _folded),
])  # fmt: skip
@on_a_loop
async def test_nothing_reads_what_a_fold_drops(first: Callable[[Any], Any], then: Callable[[Any], Any]):
    @app.workflow(name="dropped")
    async def dropped() -> bool:
        group = double.map([1, 2], keep_results=False)
        await first(group)
        try:
            await then(group)
        except NotAllowed:
            return True
        return False

    for at in range(8):
        async with TestApp(app, crash_at=at or ()) as test:
            assert await test.run(dropped)


@on_a_loop
async def test_results_that_are_folded_are_no_list():
    @app.workflow(name="streamed")
    async def streamed() -> list[str]:
        said: list[str] = []
        group = double.map([1])
        await group.fold(add, 0)
        for wait in (lambda: group, lambda: asyncio.gather(group), lambda: asyncio.wait_for(group, 5)):
            try:
                await wait()
            except NotAllowed as error:
                said.append(str(error))
        async with open_group() as left:
            left.spawn(double, 1)
        try:
            await left
        except NotAllowed as error:
            said.append(str(error))
        return said

    async with TestApp(app) as test:
        said = await test.run(streamed)
    assert len(said) == 4
    assert all("await the fold" in text for text in said)


@on_a_loop
async def test_a_list_that_is_awaited_before_the_fold_begins_is_a_list():
    @app.workflow(name="both")
    async def both() -> tuple[list[int], int]:
        group = double.map([1, 2])
        listed = asyncio.create_task(_listed(group))
        await asyncio.sleep(0)
        total = await group.fold(add, 0)
        return await listed, total

    for at in range(7):
        async with TestApp(app, crash_at=at or ()) as test:
            assert await test.run(both) == ([2, 4], 6)
