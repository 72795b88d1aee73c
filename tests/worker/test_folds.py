"""Folds in workflows: each member counts once, the value is typed, bounded, live from outside; one reader may drop."""

import asyncio
import functools
from dataclasses import dataclass
from typing import Any

import pytest

from fanfold import App, GroupFailed, TaskFailed, open_group, reducers, sleep
from fanfold.model import lifecycle
from fanfold.testing import TestApp
from fanfold.worker import feeds, folds, members
from tests.engine.desk import on_a_loop

app = App("folds")


@dataclass
class Report:
    name: str
    size: int


@app.task
async def double(n: int) -> int:
    await asyncio.sleep(0)
    if n % 10 == 7:
        raise OSError(f"no {n}")
    return 2 * n


@app.task
async def report(n: int) -> Report:
    return Report(f"r{n}", n)


def _size(one: Report) -> int:
    return one.size


def add(total: int, value: int) -> int:
    return total + value


def collected(values: list[int], value: int) -> list[int]:
    values.append(value)
    return values


@app.workflow
async def summed(count: int, *, keeps: bool = True) -> int:
    return await double.map(range(100, 100 + count), failures="collect", keep_results=keeps).fold(add, 0)


def expected(count: int) -> int:
    return sum(2 * n for n in range(100, 100 + count) if n % 10 != 7)


@pytest.fixture
def _many_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "PAGE", 3)
    monkeypatch.setattr(members, "WINDOW", 5)
    monkeypatch.setattr(folds, "EVERY_MS", 0)


@pytest.mark.usefixtures("_many_pages")
@pytest.mark.parametrize("keeps", [True, False])
@pytest.mark.parametrize("at", [0, *range(1, 20)])
@on_a_loop
async def test_a_fold_over_many_pages_counts_each_member_once(at: int, *, keeps: bool):
    async with TestApp(app, crash_at=(at, 2 * at, 2 * at + 1) if at else ()) as test:
        assert await test.run(summed, 24, keeps=keeps) == expected(24)


@pytest.mark.usefixtures("_many_pages")
@on_a_loop
async def test_members_that_ended_while_nobody_looked_are_in_the_fold():
    gate = asyncio.Event()

    async def waits(n: int) -> int:
        await gate.wait()
        return 2 * n

    async with TestApp(app) as test:
        test.stub(double, waits)
        run = await test.start(summed, 4)
        for _ in range(3):
            await test.crash()
            gate.set()
            await asyncio.sleep(0)
        assert await test.result(run) == sum(2 * n for n in range(100, 104))


@on_a_loop
async def test_how_far_a_fold_is_can_be_seen_from_outside():
    gate = asyncio.Event()

    async def waits(n: int) -> int:
        if n > 101:
            await gate.wait()
        return n

    async with TestApp(app) as test:
        test.stub(double, waits)
        run = await test.start(summed, 4)
        await test.advance(1)
        (fold,) = [child for child in await test.queries.tree_level(run.id, 0, 9) if child.kind == "fold"]
        assert (fold.state, fold.output, fold.progress) == (lifecycle.WAITING, 201, {"done": 2})
        gate.set()
        assert await test.result(run) == 406


@on_a_loop
async def test_keep_results_false_drops_the_values_and_keeps_the_failures():
    async with TestApp(app) as test:
        run = await test.start(summed, 9, keeps=False)
        assert await test.result(run) == expected(9)
        (group,) = [child for child in await test.queries.tree_level(run.id, 0, 9) if child.kind == "group"]
        found = await test.queries.tree_level(group.id, 0, 99)
    assert [member.output for member in found] == [None] * 9
    assert [member.state for member in found].count(lifecycle.FAILED) == 1
    assert [member.error["type"] for member in found if member.error] == ["OSError"]


async def _listed(group: Any) -> Any:
    return await group


@pytest.mark.parametrize("at", [0, *range(1, 12)])
@on_a_loop
async def test_two_folds_at_once_each_count_all(at: int):
    @app.workflow(name="two")
    async def two() -> Any:
        group = double.map([1, 2, 3])
        return await asyncio.gather(group.fold(add, 0), group.fold(max, 0))

    async with TestApp(app, crash_at=at or ()) as test:
        assert await test.run(two) == [12, 6]


@pytest.mark.parametrize("pause_s", [1, 100])
@pytest.mark.parametrize("at", [0, *range(1, 12)])
@on_a_loop
async def test_a_group_that_ended_long_ago_can_be_folded(at: int, pause_s: int):
    @app.workflow(name="late")
    async def late() -> tuple[list[int], int, int]:
        group = double.map([1, 2, 3])
        results = await group
        await sleep(pause_s)
        total = await group.fold(add, 0)
        await sleep(pause_s)
        return results, total, sum([outcome.value or 0 async for outcome in group])

    async with TestApp(app, crash_at=at or ()) as test:
        assert await test.run(late) == ([2, 4, 6], 12, 12)


@pytest.mark.parametrize("at", [0, *range(1, 12)])
@on_a_loop
async def test_what_nobody_awaits_is_done_before_its_workflow_completes(at: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(members, "WINDOW", 2)
    monkeypatch.setattr(feeds, "AT_ONCE", 1)

    @app.workflow(name="hasty")
    async def hasty() -> str:
        double.map(range(4)).fold(add, 0)
        double.map(range(5))
        open_group().spawn(double, 1)
        open_group()
        return "returned"

    async with TestApp(app, crash_at=at or ()) as test:
        run = await test.start(hasty)
        assert await test.result(run) == "returned"
        tree = await test.queries.tree_level(run.id, 0, 9)
    assert {child.state for child in tree} == {lifecycle.COMPLETED}
    assert [child.output for child in tree if child.kind == "fold"] == [12]
    assert sorted(child.children.completed for child in tree) == [0, 0, 1, 4, 5]


def _raises(total: int, value: int) -> int:
    raise ZeroDivisionError(value)


def _exits(total: int, value: int) -> int:
    raise SystemExit(1)


def _halves(total: Any, value: Any):  # type: ignore[no-untyped-def] - the type is that of what it begins with
    return total + 0.5


def _endless(total: float, value: int) -> float:
    return float("inf")


def _other(total: int, value: int) -> int:
    return str(value)  # type: ignore[return-value]


def _grows(total: str, value: int) -> str:
    return total + "x" * (folds.MAX_ACCUMULATOR - 2 if value == 2 else 1)


async def _coroutine(total: int, value: int) -> int:
    return total


class Total:
    def __call__(self, total: float, value: int) -> float:
        return total + value / 4


def _scaled(factor: int, total: int, value: int) -> int:
    return total + factor * value


@pytest.mark.parametrize(("step", "initial", "error", "words"), [
    (_raises, 0, "ZeroDivisionError", "2"),
    (_exits, 0, "SystemExit", "1"),
    (_other, 0, "InvalidInput", "Expected `int`, got `str`"),
    (_halves, 0, "InvalidInput", "else that of `initial`"),
    (_grows, "", "PayloadTooLarge", "1,048,576"),
    (_endless, 0.0, "InvalidInput", "infinity"),
])  # fmt: skip
@on_a_loop
async def test_a_fold_fails_with_what_is_wrong(step: Any, initial: Any, error: str, words: str):
    @app.workflow(name="wrong")
    async def wrong() -> str:
        try:
            await double.map([1, 2]).fold(step, initial)
        except TaskFailed as failed:
            return f"{failed.error_type}: {failed.message}"
        return ""

    async with TestApp(app) as test:
        said = await test.run(wrong)
    assert said.startswith(error)
    assert words in said


@pytest.mark.parametrize(("step", "initial", "words"), [
    (add, "x", "Expected `int`"),
    (add, None, "Expected `int`"),
    (_coroutine, 0, "plain function"),
    (double, 0, r"\.fn"),
    (double.options(key="a"), 0, r"\.fn"),
    (3, 0, "plain function"),
    (_halves, object(), "cannot be stored"),
    (_halves, "x" * folds.MAX_ACCUMULATOR, "1,048,576"),
])  # fmt: skip
@on_a_loop
async def test_a_fold_that_cannot_begin_is_refused_at_the_call(step: Any, initial: Any, words: str):
    @app.workflow(name="refused")
    async def refused() -> int:
        group = double.map([1])
        group.fold(step, initial)
        return 0

    async with TestApp(app) as test:
        with pytest.raises(TaskFailed, match=words) as failed:
            await test.run(refused)
    assert failed.value.error_type in ("InvalidInput", "PayloadTooLarge")


TYPED: list[tuple[Any, Any, Any]] = [
    (Total(), 0, 1.5),
    (functools.partial(_scaled, 10), 0, 60),
    (max, 0, 4),
    (reducers.top(1), list[int](), [4]),
    (reducers.min(), None, 2),
    (reducers.sample(5), reducers.Sample[int](), 2),
]


@pytest.mark.parametrize(("step", "initial", "value"), TYPED)
@on_a_loop
async def test_a_fold_is_typed_by_its_step_or_by_what_it_begins_with(step: Any, initial: Any, value: Any):
    @app.workflow(name="typed")
    async def typed() -> Any:
        found = await double.map([1, 2]).fold(step, initial)
        return found.seen if isinstance(found, reducers.Sample) else found

    async with TestApp(app) as test:
        assert await test.run(typed) == value


@pytest.mark.parametrize("at", [0, *range(1, 9)])
@on_a_loop
async def test_a_ready_reducer_takes_the_type_of_the_tasks_results(at: int):
    @app.workflow(name="largest")
    async def largest() -> list[Report]:
        group = report.map(range(5))
        best = await group.fold(reducers.top(2, key=_size), [])
        only = await group.fold(reducers.max(key=_size), None)
        return [*best, *([] if only is None else [only])]

    async with TestApp(app, crash_at=at or ()) as test:
        assert await test.run(largest) == [Report("r4", 4), Report("r3", 3), Report("r4", 4)]


@on_a_loop
async def test_a_step_that_changes_its_value_in_place_leaves_the_initial_one_alone():
    initial = list[int]()

    @app.workflow(name="in_place")
    async def in_place() -> list[int]:
        return sorted(await double.map([1, 2]).fold(collected, initial))

    for at in range(8):
        async with TestApp(app, crash_at=at or ()) as test:
            assert await test.run(in_place) == [2, 4]
    assert initial == []


@pytest.mark.parametrize("at", [0, *range(1, 12)])
@on_a_loop
async def test_the_fold_of_a_group_that_fails_raises_its_failure(at: int):
    @app.workflow(name="failing")
    async def failing() -> str:
        try:
            await double.map([1, 7, 2]).fold(add, 0)
        except GroupFailed as failed:
            return failed.summary.errors[0].error_type
        return ""

    async with TestApp(app, crash_at=at or ()) as test:
        assert await test.run(failing) == "OSError"


@pytest.mark.parametrize("at", [0, *range(1, 12)])
@on_a_loop
async def test_a_fold_that_is_given_up_takes_nothing_more_and_its_group_goes_on(at: int):
    taken: list[int] = []

    def step(total: int, value: int) -> int:
        taken.append(value)
        return total + value

    async def slow(n: int) -> int:
        if n:
            await gate.wait()
        return n

    @app.workflow(name="given_up")
    async def given_up() -> Any:
        group = double.map([0, 1, 2])
        listed = asyncio.create_task(_listed(group))
        await asyncio.sleep(0)
        try:
            await asyncio.wait_for(group.fold(step, 0), 10)
        except TimeoutError:
            gate.set()
        return await listed

    gate = asyncio.Event()
    async with TestApp(app, crash_at=at or ()) as test:
        test.stub(double, slow)
        run = await test.start(given_up)
        await test.advance(30)
        assert await test.result(run) == [0, 1, 2]
    assert set(taken) == {0}


@on_a_loop
async def test_an_empty_group_folds_to_what_it_began_with():
    async with TestApp(app) as test:
        assert await test.run(summed, 0) == 0
        assert await test.run(summed, 1) == 200
