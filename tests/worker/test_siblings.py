"""Members that add members to their own group: with their result or not at all, within limits, and for how long."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from fanfold import App, Retry, current, errors, open_group
from fanfold.testing import TestApp
from fanfold.worker import siblings
from tests.engine.desk import on_a_loop

app = App("siblings", threads=2)
started = Counter[int]()
told: list[str] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    started.clear()
    told.clear()


def add(total: int, value: int) -> int:
    return total + value


@app.task
async def leaf(n: int) -> int:
    started[n] += 1
    return n


# With the result, or not at all ---------------------------------------------------------------------------------------


@app.task(retry=Retry(max_attempts=3, delay=1))
async def adds_in_each_attempt(n: int) -> int:
    current().group.spawn(leaf, n + current().attempt)
    if current().attempt < 3:
        raise OSError("once more")
    return n


@app.workflow
async def sums(task: str, n: int) -> tuple[int, str]:
    async with open_group(failures="collect") as group:
        group.spawn(app.tasks[task], n)
        total = await group.fold(add, 0)
    return total, str(group.summary)


@pytest.mark.parametrize("at", [0, *range(1, 14)])
@on_a_loop
async def test_what_a_failed_attempt_has_added_is_dropped(at: int):
    async with TestApp(app, crash_at=at or ()) as test:
        assert await test.run(sums, "adds_in_each_attempt", 10) == (23, "all 2 completed")
    assert started.keys() == {13}


@app.task(timeout=5)
async def adds_and_hangs(n: int) -> int:
    current().group.spawn(leaf, n)
    return await asyncio.get_running_loop().create_future()


@app.task
async def adds_and_fails(n: int) -> int:
    current().group.spawn(leaf, n)
    raise OSError("after all")


@app.task
async def adds_and_returns_what_cannot_be_stored(n: int) -> int:
    current().group.spawn(leaf, n)
    return "no number"  # type: ignore[return-value]


@pytest.mark.parametrize("task", ["adds_and_fails", "adds_and_returns_what_cannot_be_stored", "adds_and_hangs"])
@on_a_loop
async def test_a_member_that_fails_adds_nothing(task: str):
    async with TestApp(app) as test:
        run = await test.start(sums, task, 1)
        await test.advance(6)
        total, sentence = await test.result(run)
    assert (total, sentence[:13]) == (0, "1 of 1 failed")
    assert not started


@app.task
async def adds_and_calls(n: int) -> int:
    leaf(n + 1)  # its own child, which it does not wait for
    current().group.spawn(leaf, n + 2)
    return await leaf(n)


@app.task
def adds_in_a_thread(n: int) -> int:
    current().group.spawn(leaf, n + 2)
    return leaf(n).result()


@app.workflow
async def adds_as_a_workflow(n: int) -> int:
    current().group.spawn(leaf, n + 2)
    first = await leaf(n)
    current().group.spawn(leaf, n + 3)
    return first


@pytest.mark.parametrize("at", [0, *range(1, 12)])
@pytest.mark.parametrize(
    ("task", "total", "others"),
    [("adds_and_calls", 12, [5, 6, 7]), ("adds_in_a_thread", 12, [5, 7]), ("adds_as_a_workflow", 20, [5, 7, 8])],
)
@on_a_loop
async def test_a_member_may_have_children_of_its_own_be_a_thread_or_a_workflow(
    at: int, task: str, total: int, others: list[int]
):
    async with TestApp(app, crash_at=at or ()) as test:
        found, sentence = await test.run(sums, task, 5)
    assert (found, sentence) == (total, f"all {1 + len(others) - (2 if task == 'adds_and_calls' else 1)} completed")
    assert sorted(started) == others


# Keys -----------------------------------------------------------------------------------------------------------------


@app.task
async def meets(n: int) -> int:
    """Every number knows the two below it: found again and again, each is one member."""
    started[n] += 1
    for below in (n - 1, n - 2):
        if below >= 0:
            current().group.spawn(meets.options(key=str(below)), below)
    return n


@app.workflow
async def meetings(n: int) -> tuple[int, str]:
    async with open_group() as group:
        group.spawn(meets.options(key=str(n)), n)
        total = await group.fold(add, 0)
    return total, str(group.summary)


@pytest.mark.parametrize("at", [0, *range(1, 20)])
@on_a_loop
async def test_a_key_that_is_there_with_the_same_input_is_no_second_member(at: int):
    async with TestApp(app, crash_at=at or ()) as test:
        assert await test.run(meetings, 9) == (45, "all 10 completed")
    assert started.keys() == set(range(10))


@app.task(retry=Retry(max_attempts=2, delay=0))
async def takes_a_key(n: int) -> int:
    current().group.spawn(leaf, 100 + n)
    current().group.spawn(leaf.options(key="one"), n)
    return n


@app.workflow
async def quarrels() -> tuple[int, str]:
    async with open_group(failures="collect", concurrency=1) as group:
        group.spawn(takes_a_key, 1)
        group.spawn(takes_a_key, 2)
        total = await group.fold(add, 0)
    return total, str(group.summary)


@pytest.mark.parametrize("at", [0, *range(1, 12)])
@on_a_loop
async def test_a_key_with_another_input_fails_the_member_and_nothing_of_it_is_added(at: int):
    async with TestApp(app, crash_at=at or ()) as test:
        total, sentence = await test.run(quarrels)
    assert (total, sentence[:33]) == (1 + 101 + 1, "1 of 4 failed: KeyConflict on #1:"), sentence
    assert sorted(started) == [1, 101]


@app.task
async def contradicts_itself() -> int:
    for n in range(2):
        current().group.spawn(leaf.options(key="one"), n)
    return 0


@on_a_loop
async def test_one_key_with_two_inputs_in_one_member_is_a_conflict():
    @app.workflow
    async def alone() -> None:
        async with open_group() as group:
            group.spawn(contradicts_itself)

    async with TestApp(app) as test:
        with pytest.raises(errors.TaskFailed) as failed:
            await test.run(alone)
    assert failed.value.error_type == errors.GroupFailed.__name__
    assert errors.KeyConflict.__name__ in str(failed.value)
    assert not started


# Limits ---------------------------------------------------------------------------------------------------------------


@app.task
async def adds(count: int, size: int) -> int:
    try:
        for _ in range(count):
            current().group.spawn(swallows, "x" * size)
    except (errors.NotAllowed, errors.PayloadTooLarge) as refused:
        told.append(str(refused))
    return 0


@app.task
async def swallows(text: str) -> int:
    return 1


@app.workflow
async def adding(count: int, size: int) -> int:
    async with open_group() as group:
        group.spawn(adds, count, size)
        return await group.fold(add, 0)


@pytest.mark.parametrize(("count", "refused"), [(10_000, 0), (10_001, 1)])
@on_a_loop
async def test_a_member_adds_ten_thousand_others_and_not_one_more(count: int, refused: int):
    async with TestApp(app) as test:
        assert await test.run(adding, count, 0) == 10_000
    assert len(told) == refused
    assert not refused or "at most 10,000 others" in told[0]


@pytest.mark.parametrize("beyond", [0, 1])
@on_a_loop
async def test_what_a_member_adds_has_eight_mebibytes_of_inputs_and_not_a_byte_more(beyond: int):
    frame = len('{"text":""}')
    async with TestApp(app) as test:
        assert await test.run(adding, 4, (siblings.MOST_BYTES >> 2) - frame + beyond) == 4 - beyond
    assert bool(told) == bool(beyond)
    assert not told or "8 MiB" in told[0]


# Many -----------------------------------------------------------------------------------------------------------------


@app.task
async def link(n: int) -> int:
    if n:
        current().group.spawn(link, n - 1)
    return 1


@app.workflow
async def chain(length: int) -> int:
    async with open_group() as group:
        group.spawn(link, length - 1)
        return await group.fold(add, 0)


@on_a_loop
async def test_two_thousand_siblings_one_after_the_other_are_all_counted():
    async with TestApp(app) as test:
        run = await test.start(chain, 2_000)
        assert await test.result(run) == 2_000
        assert (await run.status()).children.completed == 2_000


# Where there is no group, or not any more -----------------------------------------------------------------------------


@app.task
async def as_a_root() -> int:
    return current().group.id


@app.workflow
async def with_a_child() -> int:
    return await as_a_root()


@app.workflow
async def as_a_workflow() -> int:
    return current().group.id


@pytest.mark.parametrize("start", [as_a_root, with_a_child, as_a_workflow])
@on_a_loop
async def test_who_is_no_member_is_told_so(start: Any):
    async with TestApp(app) as test:
        with pytest.raises(errors.TaskFailed, match=r"is no member of a group: current\(\)\.group is for members"):
            await test.run(start)


@on_a_loop
async def test_a_member_with_a_delay_or_of_another_app_is_refused():
    other = App("other")

    @other.task
    async def foreign(n: int) -> int:
        return n

    @app.task
    async def asks(n: int) -> list[str]:
        found: list[str] = []
        wrong: list[Callable[[], None]] = [
            lambda: current().group.spawn(leaf.options(delay=1), n),
            lambda: current().group.spawn(foreign, n),
            lambda: current().group.spawn(leaf, "x"),  # type: ignore[arg-type]
            lambda: current().group.spawn(lambda: None),  # type: ignore[arg-type]
        ]
        for call in wrong:
            try:
                call()
            except errors.FanfoldError as refused:
                found.append(str(refused))
        return found

    @app.workflow
    async def asked() -> list[list[str]]:
        return await asks.map([1])

    async with TestApp(app) as test:
        (told,) = await test.run(asked)
    words = ["delay= is not for it", "foreign", "Expected `int`", "is not a task"]
    assert [word in said for word, said in zip(words, told, strict=True)] == [True] * 4


@on_a_loop
async def test_what_is_added_after_the_group_was_decided_changes_nothing():
    held: dict[str, asyncio.Event] = {"go": asyncio.Event(), "stays": asyncio.Event()}

    @app.task
    async def stays(n: int) -> int:
        try:
            await held["stays"].wait()
        except asyncio.CancelledError:
            current().group.spawn(leaf, 5)
            held["go"].set()
        return n  # in spite of the cancel request

    @app.task
    async def fails(n: int) -> int:
        raise OSError("ended")

    @app.workflow
    async def broken() -> str:
        group = open_group()
        group.spawn(stays, 1)
        group.spawn(fails, 2)
        try:
            await group
        except errors.GroupFailed:
            await leaf(9)
            return str(group.summary)
        return ""

    async with TestApp(app) as test:
        run = await test.start(broken)
        assert await test.result(run) == "1 of 2 failed, 1 not ended: OSError on #1: ended"
        await asyncio.wait_for(held["go"].wait(), 5)
        await test.settle()
        (group, *_) = await test.queries.tree_level(run.id, 0, 9)
        states = [row.state for row in await test.queries.tree_level(group.id, 0, 9)]
    assert sorted(states) == ["completed", "failed"]
    assert started.keys() == {9}


@on_a_loop
async def test_a_member_of_a_map_adds_members_whose_outcomes_come_last():
    @app.task
    async def grows(n: int) -> int:
        if n < 10:
            current().group.spawn(grows, n + 10)
        return n

    @app.task
    async def in_a_task() -> list[int]:
        return await grows.map(range(3))

    @app.workflow
    async def mapped() -> list[int]:
        return await grows.map(range(3))

    async with TestApp(app) as test:
        for owner in (mapped, in_a_task):
            found = await test.run(owner)
            assert (found[:3], sorted(found[3:])) == ([0, 1, 2], [10, 11, 12])
