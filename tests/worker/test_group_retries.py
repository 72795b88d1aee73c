"""Tasks with groups that are tried again: what had completed is taken over, folds go on, dropped values run again."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from fanfold import App, GroupFailed, KeyConflict, NotAllowed, Retry, TaskFailed, current, open_group
from fanfold.model import lifecycle
from fanfold.testing import TestApp
from fanfold.worker import folds, members
from tests.engine.desk import on_a_loop

app = App("group retries")
AGAIN = Retry(max_attempts=3, delay=0)
started = Counter[int]()
slips: list[str] = []


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    started.clear()
    slips.clear()
    monkeypatch.setattr(folds, "EVERY_MS", 0)


def slip(name: str) -> bool:
    """Tell whether this is the first time."""
    slips.append(name)
    return slips.count(name) == 1


def add(total: int, value: int) -> int:
    return total + value


def add_but_slip(total: int, value: int) -> int:
    if value == 6 and slip("step"):
        raise OSError("the step slips")
    return total + value


@app.task
async def double(n: int) -> int:
    started[n] += 1
    await asyncio.sleep(0)
    return 2 * n


@app.task
async def slips_at_three(n: int) -> int:
    started[n] += 1
    if n == 3 and slip("member"):
        for _ in range(30):  # the others complete
            await asyncio.sleep(0)
        raise OSError("the member slips")
    return 2 * n


def fail_until_the_third() -> None:
    if current().attempt < 3:
        raise OSError("once more")


# Owners: each returns 30, the doubles of 0 to 5 -----------------------------------------------------------------------


@app.task(retry=AGAIN)
async def lists_late(keeps: int) -> int:
    found = await double.map(range(6))
    fail_until_the_third()
    return sum(found)


@app.task(retry=AGAIN)
async def collects_late(keeps: int) -> int:
    first = sum(await double.map(range(6)))
    second = await double.map(range(6, 9), failures="collect")
    fail_until_the_third()
    return first + sum(outcome.value or 0 for outcome in second) - 42


@app.task(retry=AGAIN)
async def folds_late(keeps: int) -> int:
    total = await double.map(range(6), keep_results=bool(keeps)).fold(add, 0)
    fail_until_the_third()
    return total


@app.task(retry=AGAIN)
async def fails_while_it_folds(keeps: int) -> int:
    total = double.map(range(6), keep_results=bool(keeps)).fold(add, 0)
    await double(50)
    fail_until_the_third()
    return await total


@app.task(retry=AGAIN)
def folds_late_in_a_thread(keeps: int) -> int:
    with open_group(keep_results=bool(keeps)) as group:
        for n in range(6):
            group.spawn(double, n)
        total = group.fold(add, 0).result()
    fail_until_the_third()
    return total


@app.task(retry=AGAIN)
async def iterates_late(keeps: int) -> int:
    total = sum([outcome.value or 0 async for outcome in double.map(range(6))])
    fail_until_the_third()
    return total


@app.task(retry=AGAIN)
async def adds_between(keeps: int) -> int:
    async with open_group() as group:
        for n in range(3):
            group.spawn(double, n)
        await double(50)
        for n in range(3, 6):
            group.spawn(double, n)
        found = await group
    fail_until_the_third()
    return sum(found)


OWNERS: list[Any] = [
    lists_late, collects_late, folds_late, fails_while_it_folds, folds_late_in_a_thread, iterates_late, adds_between
]  # fmt: skip


@pytest.mark.parametrize("keeps", [1, 0])
@pytest.mark.parametrize("owner", OWNERS)
@on_a_loop
async def test_a_later_attempt_has_the_same_result_and_runs_no_member_again(owner: Any, keeps: int):
    async with TestApp(app) as test:
        assert await test.run(owner, keeps) == 30
    assert set(started.values()) == {1}


@pytest.mark.parametrize("owner", OWNERS)
@on_a_loop
async def test_a_later_attempt_has_the_same_result_after_a_crash_at_any_commit(owner: Any):
    async with TestApp(app) as test:
        await test.run(owner, 1)
        commits = test.commits
    for at in range(1, commits + 1):
        async with TestApp(app, crash_at=at) as test:
            run = await test.start(owner, at % 2)
            assert await test.result(run) == 30, f"crashed at commit {at}"


# What failed is started afresh ----------------------------------------------------------------------------------------


@app.task(retry=AGAIN)
async def lists(keeps: int) -> int:
    return sum(await slips_at_three.map(range(6)))


@app.task(retry=AGAIN)
async def totals(keeps: int) -> int:
    return await slips_at_three.map(range(6), keep_results=bool(keeps)).fold(add, 0)


@app.task(retry=AGAIN)
def totals_in_a_thread(keeps: int) -> int:
    with open_group(keep_results=bool(keeps)) as group:
        for n in range(6):
            group.spawn(slips_at_three, n)
        return group.fold(add, 0).result()


@app.task(retry=AGAIN)
async def totals_by_a_step_that_slips(keeps: int) -> int:
    return await double.map(range(6), keep_results=bool(keeps)).fold(add_but_slip, 0)


@pytest.mark.parametrize("owner", [lists, totals, totals_in_a_thread])
@on_a_loop
async def test_a_group_that_failed_is_made_again_of_what_had_completed(owner: Any):
    async with TestApp(app) as test:
        run = await test.start(owner, 1)
        assert await test.result(run) == 30
        groups = [child for child in await test.queries.tree_level(run.id, 0, 9) if child.kind == "group"]
        rows = test._at_work.session.opened.writer._connection.execute(
            "SELECT count(*) FROM runs m JOIN runs o ON o.id = m.same_as AND o.output = m.output WHERE m.parent_id = ?",
            (groups[1].id,),
        ).fetchall()
    assert [group.state for group in groups] == [lifecycle.FAILED, lifecycle.COMPLETED]
    assert rows == [(5,)]
    assert started == Counter({n: 2 if n == 3 else 1 for n in range(6)})


@pytest.mark.parametrize("owner", [totals, totals_in_a_thread, totals_by_a_step_that_slips])
@on_a_loop
async def test_members_whose_values_were_dropped_run_again_for_a_fold_that_begins_again(owner: Any):
    async with TestApp(app) as test:
        assert await test.run(owner, 0) == 30
    assert set(started.values()) <= {1, 2}


@on_a_loop
async def test_a_fold_whose_step_failed_begins_again_over_the_same_members():
    async with TestApp(app) as test:
        assert await test.run(totals_by_a_step_that_slips, 1) == 30
    assert set(started.values()) == {1}


@pytest.mark.parametrize("keeps", [1, 0])
@pytest.mark.parametrize("owner", [totals, totals_in_a_thread, totals_by_a_step_that_slips])
@on_a_loop
async def test_what_is_started_afresh_survives_a_crash_at_any_commit(owner: Any, keeps: int):
    for at in range(1, 22):
        slips.clear()
        async with TestApp(app, crash_at=at) as test:
            run = await test.start(owner, keeps)
            assert await test.result(run) == 30, f"crashed at commit {at}"


# Keys -----------------------------------------------------------------------------------------------------------------


@app.task(retry=AGAIN)
async def keyed(first: int) -> list[int]:
    inputs = [first if current().attempt == 1 else first + 1, 2]
    found = double.map(inputs, key=lambda n: "same" if n != 2 else "two")
    if current().attempt == 1:
        await double(50)
        raise OSError("once more")
    try:
        return await found
    except GroupFailed as failed:
        (error,) = failed.exceptions
        assert isinstance(error, TaskFailed)
        return [-1] if error.caused_by(KeyConflict) else []


@pytest.mark.parametrize("executor", ["loop", "thread"])
@on_a_loop
async def test_items_of_one_key_and_input_are_one_member_and_another_input_is_a_conflict(executor: str):
    @app.task(name=f"conflicts on the {executor}")
    def conflicts(second: int) -> list[int]:
        with open_group() as group:
            group.spawn(double.options(key="one"), 1)
            group.spawn(double.options(key="one"), second)
            return group.result()

    async def asked(second: int) -> list[int]:
        return await double.map([1, second], key=lambda n: "one")

    async with TestApp(app) as test:
        if executor == "loop":
            test.stub(conflicts, asked)
        assert await test.run(conflicts, 1) == [2]
        with pytest.raises(TaskFailed, match=r"KeyConflict: key 'one' of a group of \w+ was recorded as run") as failed:
            await test.run(conflicts, 2)
    assert failed.value.error_type == GroupFailed.__name__


@on_a_loop
async def test_a_changed_input_under_a_key_of_an_earlier_attempt_is_a_conflict(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(members, "WINDOW", 1)  # not all items are made
    room = asyncio.Event()

    async def waits(n: int) -> int:
        if n != 50:
            await room.wait()
        return n

    async with TestApp(app) as test:
        test.stub(double, waits)
        run = await test.start(keyed, 7)
        await test.settle()
        room.set()
        assert await test.result(run) == [-1]


# Closed by the code alone ---------------------------------------------------------------------------------------------


@on_a_loop
async def test_adding_to_a_group_that_failed_raises_why_and_to_a_closed_one_says_so():
    @app.task
    async def adds_late() -> list[str]:
        told: list[str] = []
        group = open_group()
        group.spawn(slips_at_three, 3)
        while not group.done():  # noqa: ASYNC110 - to await it would close it
            await asyncio.sleep(0)
        closed = open_group()
        ended = closed.fold(add, 0)
        for late in (group, closed):
            try:
                late.spawn(double, 1)
            except (GroupFailed, NotAllowed) as refused:
                told.append(f"{type(refused).__name__}: {refused}")
        return [*told, str(await ended)]

    async with TestApp(app) as test:
        failed, closed, total = await test.run(adds_late)
    assert failed.startswith("GroupFailed: 1 of 1 failed: OSError on #0: the member slips")
    assert closed.startswith("NotAllowed: this group is closed")
    assert total == "0"


# Attempts that end from outside ---------------------------------------------------------------------------------------


async def waits_for(is_open: asyncio.Event, n: int) -> int:
    started[n] += 1
    if n % 2:
        await is_open.wait()
    return 2 * n


@app.task(retry=AGAIN, timeout=5)
async def limited(keeps: int) -> int:
    found = await double.map(range(6))
    if current().attempt == 1:
        await asyncio.Event().wait()
    return sum(found)


@app.task(retry=AGAIN, timeout=5)
async def limited_while_it_folds(keeps: int) -> int:
    total = double.map(range(6), keep_results=bool(keeps)).fold(add, 0)
    if current().attempt == 1:
        await asyncio.Event().wait()
    return await total


@pytest.mark.parametrize("owner", [limited, limited_while_it_folds])
@on_a_loop
async def test_members_go_on_when_their_owners_attempt_runs_out_of_time_and_the_next_one_finds_them(owner: Any):
    is_open = asyncio.Event()
    stub: Callable[[int], Any] = lambda n: waits_for(is_open, n)  # noqa: E731 - it closes over the event

    async def held(n: int) -> int:
        return await stub(n)

    async with TestApp(app) as test:
        test.stub(double, held)
        run = await test.start(owner, 1)
        await test.advance(1)
        is_open.set()
        await test.advance(6)
        assert await test.result(run) == 30
        assert (await run.status()).attempt == 2
    assert set(started.values()) == {1}


@pytest.mark.parametrize("at", [0, *range(1, 8)])
@on_a_loop
async def test_cancelling_the_owner_cancels_its_members_and_nothing_starts_after_it(at: int):
    async def endless(n: int) -> int:
        started[n] += 1
        return await asyncio.get_running_loop().create_future()

    async with TestApp(app, crash_at=at or ()) as test:
        test.stub(double, endless)
        run = await test.start(folds_late, 1)
        await test.settle()
        asking = asyncio.ensure_future(run.cancel())
        await test.settle()
        asking.cancel()  # the engine that was asked may be dead
        before = started.copy()
        await test.advance(30)
        with pytest.raises((TaskFailed, asyncio.CancelledError)):
            await test.result(run)
        (group, *_) = [child for child in await test.queries.tree_level(run.id, 0, 9) if child.kind == "group"]
        counts = await test.queries.counts(group.id)
    assert (counts.open, counts.completed, group.state) == (0, 0, lifecycle.CANCELLED)
    assert started == before
