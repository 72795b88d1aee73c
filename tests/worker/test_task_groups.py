"""Groups in tasks, async and in threads: where items are made, what nobody waits for, few slots, odd items, crashes."""

import asyncio
import sqlite3
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from fanfold import App, GroupFailed, InvalidInput, TaskFailed, current, open_group
from fanfold.testing import TestApp
from fanfold.worker import members
from tests.engine.desk import on_a_loop

app = App("task groups", store="sqlite://", threads=1, slots=1)
started = Counter[int]()
pulled: list[int] = []
threads: set[int] = set()


@app.task
async def double(n: int) -> int:
    started[n] += 1
    await asyncio.sleep(0)
    return 2 * n


@app.task
async def listed(count: int) -> list[int]:
    return await double.map(range(count))


def read(count: int) -> Iterator[int]:
    yield from range(count)


@app.task
def in_thread(count: int) -> list[int]:
    return double.map(read(count)).result()


async def arriving(count: int) -> AsyncIterator[int]:
    for n in range(count):
        await asyncio.sleep(0)
        yield n


@app.task
async def from_async(count: int) -> int:
    return await double.map(arriving(count)).fold(add, 0)


def add(total: int, value: int) -> int:
    return total + value


@app.task
def folded_in_thread(count: int) -> int:
    with open_group() as group:
        for n in range(count):
            group.spawn(double, n)
        return group.fold(add, 0).result()


@app.task
async def iterated(count: int) -> list[int]:
    return sorted([outcome.value or 0 async for outcome in double.map(range(count))])


@app.task
async def tree(n: int, depth: int) -> int:
    started[n] += 1
    if depth:
        for child in range(2):
            current().group.spawn(tree, 2 * n + child, depth - 1)
    return 1


@app.workflow
async def nodes(depth: int) -> int:
    async with open_group(concurrency=2) as group:
        group.spawn(tree, 1, depth)
        return await group.fold(add, 0)


def run_outside(task: Any, *args: Any) -> Any:
    """Run a root with real threads, as few as there can be."""

    async def run() -> Any:
        async with app:
            return await (await app.start(task, *args)).result(timeout=30)

    return asyncio.run(run())


@pytest.fixture(autouse=True)
def _fresh() -> None:
    started.clear()
    pulled.clear()
    threads.clear()


@pytest.mark.parametrize("at", [0, *range(1, 10)])
@pytest.mark.parametrize("task", [listed, in_thread])
@on_a_loop
async def test_a_task_maps_on_the_loop_and_in_a_thread(task, at: int):
    async with TestApp(app, crash_at=at or ()) as test:
        assert await test.run(task, 5) == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("at", [0, *range(1, 12)])
@pytest.mark.parametrize("task", [from_async, folded_in_thread])
@on_a_loop
async def test_a_task_folds(task, at: int):
    async with TestApp(app, crash_at=at or ()) as test:
        assert await test.run(task, 6) == 30


@pytest.mark.parametrize("at", [0, *range(1, 12)])
@on_a_loop
async def test_a_task_iterates_over_outcomes(at: int):
    async with TestApp(app, crash_at=at or ()) as test:
        assert await test.run(iterated, 4) == [0, 2, 4, 6]


@pytest.mark.parametrize("at", [0, *range(1, 24)])
@on_a_loop
async def test_members_add_members_until_the_last_has_ended(at: int):
    async with TestApp(app, crash_at=at or ()) as test:
        assert await test.run(nodes, 3) == 15


# Where items are made, and how many -----------------------------------------------------------------------------------


def rows_of(database: str) -> Iterator[int]:
    """Read with a connection that SQLite lets nobody use but the thread that made it."""
    connection = sqlite3.connect(database)
    for (n,) in connection.execute("SELECT n FROM numbers ORDER BY n"):
        threads.add(threading.get_ident())
        yield n
    connection.close()


@app.task
def from_a_cursor(database: str) -> int:
    threads.add(threading.get_ident())
    rows = rows_of(database)
    first = next(rows)
    return sum(double.map(rows).result()) + 2 * first


def test_a_generator_that_reads_a_database_runs_in_the_thread_of_its_body(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(members, "WINDOW", 7)
    database = str(tmp_path / "numbers.db")
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE numbers (n)")
        connection.executemany("INSERT INTO numbers VALUES (?)", [(n,) for n in range(100)])
    connection.close()
    assert run_outside(from_a_cursor, database) == 9900
    assert len(threads) == 1


def numbers(count: int = 1 << 40) -> Iterator[int]:
    for n in range(count):
        pulled.append(n)
        yield n


@app.task
async def unending() -> int:
    return await double.map(numbers()).fold(add, 0)


@app.task
def unending_in_a_thread() -> int:
    return double.map(numbers()).fold(add, 0).result()


@app.task
async def unending_async() -> int:
    async def all_numbers() -> AsyncIterator[int]:
        for n in numbers():
            yield n

    return await double.map(all_numbers()).fold(add, 0)


@pytest.mark.parametrize("owner", [unending, unending_in_a_thread, unending_async])
@on_a_loop
async def test_an_endless_generator_is_pulled_only_as_members_end(owner: Any, monkeypatch):
    monkeypatch.setattr(members, "WINDOW", 20)
    room = asyncio.Semaphore(0)

    async def waits(n: int) -> int:
        started[n] += 1
        await room.acquire()
        return n

    async with TestApp(app) as test:
        test.stub(double, waits)
        run = await test.start(owner)
        for ended in (0, 1, 5, 20):
            for _ in range(ended):
                room.release()
            await asyncio.wait_for(until_settled(test, lambda: len(pulled)), 20)
            group = (await test.queries.tree_level(run.id, 0, 9))[0]
            assert group.children.open == 20
            assert len(pulled) == group.children.spawned == 20 + group.children.completed
        assert group.children.completed == 26
        await run.cancel()


async def until_settled(test: TestApp, count: Any) -> None:
    """Wait until nothing changes any more, also nothing that threads do."""
    before = -1
    while before != count():
        before = count()
        for _ in range(5):
            await test.settle()


class Raises(Exception):
    """What items raise."""


def breaks_off(count: int) -> Iterator[int]:
    yield from range(count)
    raise Raises("the list is gone")


@app.task
async def broken_items(count: int) -> str:
    try:
        await double.map(breaks_off(count))
    except GroupFailed as failed:
        return said_by(failed)
    return ""


@app.task
def broken_items_in_a_thread(count: int) -> str:
    try:
        double.map(breaks_off(count), failures="collect").fold(add, 0).result()
    except GroupFailed as failed:
        return said_by(failed)
    return ""


@app.task
async def broken_async_items(count: int) -> str:
    async def breaks() -> AsyncIterator[int]:
        for n in breaks_off(count):
            yield n

    try:
        await double.map(breaks())
    except GroupFailed as failed:
        return said_by(failed)
    return ""


@app.task
async def broken_keys(count: int) -> str:
    try:
        await double.map(range(count), key=lambda n: str(1 / (n - 1)))
    except GroupFailed as failed:
        return str("ZeroDivisionError" in failed.message)
    return ""


def said_by(failed: GroupFailed) -> str:
    (error,) = failed.exceptions
    assert isinstance(error, TaskFailed)
    return str(error.caused_by(Raises) and "the list is gone" in failed.message)


@pytest.mark.parametrize("at", [0, *range(1, 7)])
@pytest.mark.parametrize("owner", [broken_items, broken_items_in_a_thread, broken_async_items, broken_keys])
@on_a_loop
async def test_what_items_raise_is_raised_where_the_group_is_waited_for(owner: Any, at: int):
    async with TestApp(app, crash_at=at or ()) as test:
        run = await test.start(owner, 3)
        assert await test.result(run) == "True"
        await test.settle()
        (group, *_) = await test.queries.tree_level(run.id, 0, 9)
    assert (group.state, group.children.open) == ("failed", 0)


@app.task
def async_items_in_a_thread() -> list[int]:
    return double.map(arriving(3)).result()


@on_a_loop
async def test_async_items_in_a_sync_task_are_refused_by_name():
    async with TestApp(app) as test:
        with pytest.raises(TaskFailed, match=r"double\.map takes an async iterable in async tasks only") as failed:
            await test.run(async_items_in_a_thread)
    assert failed.value.error_type == InvalidInput.__name__


# What nobody waits for ------------------------------------------------------------------------------------------------


@app.task
async def leaves_a_map() -> str:
    double.map(numbers(30))
    return "gone"


@app.task
def leaves_a_map_in_a_thread() -> str:
    double.map(numbers(30))
    return "gone"


@app.task
def leaves_a_fold_in_a_thread() -> str:
    double.map(numbers(30)).fold(add, 0)
    return "gone"


@app.task
async def leaves_a_group_open() -> str:
    group = open_group()
    for n in range(30):
        group.spawn(double, n)
    return "gone"


@app.task
def leaves_a_group_open_in_a_thread() -> str:
    group = open_group()
    for n in range(30):
        group.spawn(double, n)
    return "gone"


@app.workflow
async def leaves_a_group_open_in_a_workflow() -> str:
    group = open_group()
    for n in range(30):
        group.spawn(double, n)
    return "gone"


LEFT: list[Any] = [
    leaves_a_map, leaves_a_map_in_a_thread, leaves_a_fold_in_a_thread, leaves_a_group_open,
    leaves_a_group_open_in_a_thread, leaves_a_group_open_in_a_workflow,
]  # fmt: skip


@pytest.mark.parametrize("at", [0, *range(1, 12)])
@pytest.mark.parametrize("owner", LEFT)
@on_a_loop
async def test_all_members_run_of_a_group_that_nobody_waits_for(owner: Any, at: int, monkeypatch):
    monkeypatch.setattr(members, "WINDOW", 8)
    async with TestApp(app, crash_at=at or ()) as test:
        run = await test.start(owner)
        assert await test.result(run) == "gone"
        group = (await test.queries.tree_level(run.id, 0, 9))[0]
    assert (group.state, group.children.completed, group.children.open) == ("completed", 30, 0)
    assert started.keys() == set(range(30))


@pytest.mark.parametrize("owner", LEFT[:5])
def test_all_members_run_of_a_group_that_nobody_waits_for_with_one_thread_and_one_slot(owner: Any, monkeypatch):
    monkeypatch.setattr(members, "WINDOW", 8)
    assert run_outside(owner) == "gone"
    assert started.keys() == set(range(30))


# Few threads ----------------------------------------------------------------------------------------------------------


@app.task
def below(n: int, depth: int) -> int:
    """Open a group in a thread, whose members do the same, and so on."""
    if not depth:
        return n
    with open_group() as group:
        for child in range(3):
            group.spawn(below, 3 * n + child, depth - 1)
        return group.fold(add, 0).result()


@app.workflow
async def many_below(count: int) -> int:
    return await below.starmap((n, 1) for n in range(count)).fold(add, 0)


@pytest.mark.parametrize(("task", "args", "total"), [(below, (0, 4), 3240), (many_below, (100,), 44850)])
def test_groups_in_threads_get_on_with_one_thread_and_one_slot(task: Any, args: tuple[int, ...], total: int):
    assert run_outside(task, *args) == total
