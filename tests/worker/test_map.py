"""`map` and `starmap` in workflows: a group of children, pulled lazily, whose results come in the items' order."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

import pytest

from fanfold import App, GroupFailed, InvalidInput, NonDeterminism, NotInRun, TaskFailed, current
from fanfold.model import lifecycle
from fanfold.store.queries import Queries
from fanfold.testing import TestApp
from fanfold.worker import members
from tests.engine.desk import on_a_loop

app = App("maps")
started = Counter[int]()
pulled: list[int] = []


@app.task
async def square(n: int) -> int:
    started[n] += 1
    if n == 13:
        raise ValueError("no thirteen")
    return n * n


@app.task
def power(base: int, exponent: int = 2) -> int:
    return base**exponent


@app.workflow
async def squares(count: int, first: int = 20) -> list[int]:
    return await square.map(range(first, first + count))


@app.workflow
async def powers() -> list[int]:
    return await power.starmap([(2, 3), (3,), (4, 1)])


@app.workflow
async def several() -> list[list[int]]:
    first = square.map([21, 22])
    one = await square(23)
    return [await first, [one], *await asyncio.gather(square.map(iter([24])), square.map([]))]


def counted(count: int) -> Iterator[int]:
    for n in range(100, 100 + count):
        pulled.append(n)
        yield n


@app.workflow
async def lazily(count: int) -> int:
    return sum(await square.map(counted(count)))


@pytest.fixture(autouse=True)
def _fresh() -> None:
    started.clear()
    pulled.clear()


@pytest.mark.parametrize("count", [0, 1, 2, 25])
@on_a_loop
async def test_the_results_come_in_the_order_of_the_items(count: int):
    async with TestApp(app) as test:
        assert await test.run(squares, count) == [n * n for n in range(20, 20 + count)]


@on_a_loop
async def test_starmap_takes_several_arguments():
    async with TestApp(app) as test:
        assert await test.run(powers) == [8, 9, 4]


@on_a_loop
async def test_groups_and_single_children_go_together():
    async with TestApp(app) as test:
        assert await test.run(several) == [[441, 484], [529], [576], []]


@pytest.mark.parametrize("at", range(1, 14))
@on_a_loop
async def test_a_crash_at_any_commit_starts_no_member_twice_and_loses_none(at: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(members, "WINDOW", 4)
    async with TestApp(app, crash_at=at) as test:
        run = await test.start(squares, 10)
        assert await test.result(run) == [n * n for n in range(20, 30)]
        tree = await test.queries.tree_level(run.id, 0, 100)
        assert [child.children.spawned for child in tree] == [10]
        assert (await test.queries.counts(tree[0].id)).completed == 10


@pytest.mark.parametrize("at", range(1, 12))
@on_a_loop
async def test_several_groups_survive_a_crash_at_any_commit(at: int):
    async with TestApp(app, crash_at=at) as test:
        assert await test.run(several) == [[441, 484], [529], [576], []]


@on_a_loop
async def test_the_items_are_pulled_as_there_is_room(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(members, "WINDOW", 3)
    most = 0
    async with TestApp(app) as test:
        seen: list[int] = []

        async def slow(n: int) -> int:
            seen.append(len(pulled))
            await asyncio.sleep(0)
            return n

        test.stub(square, slow)
        assert await test.run(lazily, 20) == sum(range(100, 120))
    most = max(count - place for place, count in enumerate(seen))
    assert most <= 3
    assert pulled == list(range(100, 120))


@on_a_loop
async def test_the_first_failure_cancels_the_rest_and_is_raised_as_a_group():
    caught: list[BaseException] = []

    @app.workflow
    async def fails() -> str:
        try:
            await square.map(range(10, 17))
        except* TaskFailed as group:
            caught.extend(group.exceptions)
        try:
            await square.map([13])
        except GroupFailed as failed:
            return str(failed.summary)
        return ""

    async with TestApp(app) as test:
        run = await test.start(fails)
        assert await test.result(run) == "1 of 1 failed: ValueError on #0: no thirteen"
        await test.settle()
        tree = await test.queries.tree_level(run.id, 0, 100)
    assert [child.state for child in tree] == [lifecycle.FAILED, lifecycle.FAILED]
    assert [cast("TaskFailed", error).error_type for error in caught] == ["ValueError"]
    assert (tree[0].children.failed, tree[0].children.open) == (1, 0)


@on_a_loop
async def test_cancelling_a_map_cancels_its_members_and_pulls_no_more(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(members, "WINDOW", 5)

    @app.workflow
    async def cut() -> str:
        try:
            async with asyncio.timeout(60):
                await square.map(counted(1000))
        except TimeoutError:
            return "cut"
        return ""

    async def hangs(n: int) -> int:
        return await asyncio.get_running_loop().create_future()

    async with TestApp(app) as test:
        test.stub(square, hangs)
        run = await test.start(cut)
        await test.advance(61)
        assert await test.result(run) == "cut"
        await test.settle()
        (group,) = [child for child in await test.queries.tree_level(run.id, 0, 9) if child.kind == "group"]
    assert (group.state, group.children.cancelled, len(pulled)) == (lifecycle.CANCELLED, 5, 5)


@pytest.mark.parametrize("at", range(1, 9))
@on_a_loop
async def test_what_the_items_raise_is_raised_where_the_map_is_awaited(at: int):
    def broken() -> Iterator[int]:
        yield 1
        raise OSError("the list is gone")

    @app.workflow
    async def reads() -> str:
        try:
            await square.map(broken())
        except GroupFailed as failed:
            (error,) = failed.exceptions
            assert isinstance(error, TaskFailed)
            return f"{failed.message} ({error.caused_by(OSError)})"
        return ""

    async with TestApp(app, crash_at=at) as test:
        run = await test.start(reads)
        assert await test.result(run) == "the items of square.map raised OSError: the list is gone (True)"
        await test.settle()
        (group,) = await test.queries.tree_level(run.id, 0, 9)
    assert (group.state, group.children.spawned, group.children.open) == (lifecycle.FAILED, 0, 0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: power.map(cast("Any", 3)), "iterable"),
        (lambda: square.options(key="k").map([1]), "one key"),
        (lambda: power.starmap(cast("Any", [1])), "tuples"),
        (lambda: square.map(cast("Any", ["x"])), "Expected `int`"),
        (lambda: nothing.map([1]), "required arguments"),
    ],
)
@on_a_loop
async def test_bad_items_are_refused_by_what_is_wrong(call: Any, words: str):
    @app.workflow
    async def wrong() -> None:
        await call()

    async with TestApp(app) as test:
        with pytest.raises(TaskFailed, match=words) as failed:
            await test.run(wrong)
    assert failed.value.error_type in (InvalidInput.__name__, GroupFailed.__name__)


@app.task
async def nothing() -> int:
    return current().id


def test_a_map_outside_a_run_says_what_to_do():
    with pytest.raises(NotInRun, match=r"app\.run"):
        square.map([1])


@on_a_loop
async def test_an_idle_workflow_that_waits_for_a_group_leaves_memory_and_comes_back():
    open_ = asyncio.Event()

    async def waits(n: int) -> int:
        await open_.wait()
        return n

    async with TestApp(app) as test:
        test.stub(square, waits)
        run = await test.start(squares, 3)
        await test.advance(60)
        assert (await run.status()).state == lifecycle.WAITING
        open_.set()
        assert await test.result(run) == [20, 21, 22]


@on_a_loop
async def test_a_groups_members_are_counted_in_its_place():
    async with TestApp(app) as test:
        run = await test.start(several)
        await test.result(run)
        counts = (await run.status()).children
    assert (counts.spawned, counts.completed, counts.open) == (4, 4, 0)


@on_a_loop
async def test_members_that_end_while_a_resumed_map_is_read_shift_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(members, "WINDOW", 6)
    read = Queries.group

    async def late(queries: Queries, id: int) -> tuple[int, int, bool]:
        found = await read(queries, id)
        for _ in range(30):
            await asyncio.sleep(0)
        return found

    monkeypatch.setattr(Queries, "group", late)
    for at in range(2, 14):
        started.clear()
        async with TestApp(app, crash_at=at) as test:
            assert await test.run(squares, 30) == [n * n for n in range(20, 50)]


@on_a_loop
async def test_a_map_that_has_fewer_items_than_were_recorded_stands_still(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(members, "WINDOW", 4)
    counts = [20]

    @app.workflow
    async def shrinking() -> list[int]:
        return await square.map(range(100, 100 + counts[0]))

    async with TestApp(app, crash_at=4) as test:
        run = await test.start(shrinking)
        counts[0] = 1
        with pytest.raises(NonDeterminism, match="its items are now 1"):
            await test.result(run)


@on_a_loop
async def test_a_map_whose_items_are_others_than_were_recorded_stands_still(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(members, "WINDOW", 4)
    first = [100]

    @app.workflow
    async def shifting() -> list[int]:
        return await square.map(range(first[0], 120))

    async with TestApp(app, crash_at=4) as test:
        run = await test.start(shifting)
        first[0] = 101
        with pytest.raises(NonDeterminism, match=r"item 0 of a map of square is now 101, and run \d+ was recorded"):
            await test.result(run)


@on_a_loop
async def test_a_map_whose_last_member_ends_in_one_commit_with_an_earlier_child_of_its_owner_has_its_result():
    app, is_open = App("order"), asyncio.Event()

    @app.task
    async def waits(n: int) -> int:
        await is_open.wait()
        return n

    @app.workflow
    async def both() -> list[int]:
        first, mapped = waits(1), waits.map([2])
        return [await first, *await mapped]

    async with TestApp(app) as test:
        run = await test.start(both)
        await test.settle()
        is_open.set()
        assert await test.result(run) == [1, 2]
