"""Tasks that wait for their children: without a slot, in few threads, cancelled with what awaits them."""

import asyncio
import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fanfold import App, Handle, NotAllowed, Retry, TaskCancelled, TaskFailed, current
from fanfold.errors import Evicted
from fanfold.model import lifecycle
from fanfold.testing import TestApp
from tests.engine.desk import on_a_loop

ONCE_MORE = Retry(max_attempts=2, delay=1, jitter=0)


@on_a_loop
async def test_a_parent_completes_after_the_children_that_it_never_awaited():
    app, open_ = App("parents"), asyncio.Event()

    @app.task
    async def slow(n: int) -> int:
        await open_.wait()
        if n == 2:
            raise ValueError("nobody looks")
        return n

    @app.task
    async def parent() -> str:
        for n in range(3):
            slow(n)
        return "started"

    async with TestApp(app) as test:
        run = await test.start(parent)
        await test.settle()
        assert (await run.status()).state == lifecycle.WAITING
        open_.set()
        assert await test.result(run) == "started"
        children = (await run.status()).children
    assert (children.completed, children.failed) == (2, 1)


@on_a_loop
async def test_cancelling_what_awaits_a_child_cancels_it_and_the_end_of_an_attempt_does_not():
    app, ends, open_, cut = App("parents"), [], asyncio.Event(), asyncio.Event()

    @app.task
    async def slow(n: int) -> int:
        try:
            await open_.wait()
        except asyncio.CancelledError:
            ends.append(n)
            cut.set()
            raise
        return n

    @app.task(timeout=10, retry=ONCE_MORE)
    async def parent() -> int:
        if current().attempt == 1:
            try:
                async with asyncio.timeout(0.01):
                    await slow(1)
            except TimeoutError:
                pass
            slow(2)
            slow(3)
            raise OSError("the attempt ends")
        return await slow(2) + await slow(3)

    async with TestApp(app) as test:
        run = await test.start(parent)
        await cut.wait()
        await test.advance(3)
        assert ends == [1]
        open_.set()
        assert await test.result(run) == 5
        children = (await run.status()).children
    assert (children.spawned, children.cancelled, children.completed) == (3, 1, 2)


@on_a_loop
async def test_a_parent_that_fails_for_good_asks_its_children_to_cancel():
    app, ends = App("parents"), []

    @app.task
    async def slow(n: int) -> int:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ends.append(n)
        return n

    @app.task
    async def parent() -> int:
        slow(1)
        slow(2)
        await asyncio.sleep(0.001)
        raise ValueError("no")

    async with TestApp(app) as test:
        run = await test.start(parent)
        with pytest.raises(TaskFailed):
            await test.result(run)
        await test.settle()
        assert (await run.status()).children.cancelled == 2
    assert sorted(ends) == [1, 2]


@on_a_loop
async def test_a_sync_parent_may_wait_for_so_long_and_the_child_goes_on():
    app, open_ = App("parents"), asyncio.Event()

    @app.task
    async def slow() -> int:
        await open_.wait()
        return 4

    @app.task
    def parent() -> int:
        child = slow()
        with pytest.raises(TimeoutError, match="goes on"):
            child.result(timeout=5)
        seen.append("late")
        return child.result()

    seen: list[str] = []
    async with TestApp(app) as test:
        run = await test.start(parent)
        await test.advance(6)
        assert seen == ["late"]
        open_.set()
        assert await test.result(run) == 4


@on_a_loop
async def test_a_child_of_a_cancelled_parent_in_a_thread_is_no_longer_waited_for():
    app, seen = App("parents"), []

    @app.task
    async def slow() -> int:
        await asyncio.get_running_loop().create_future()
        return 1

    @app.task
    def parent() -> int:
        try:
            return slow().result()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async with TestApp(app) as test:
        run = await test.start(parent)
        await test.settle()
        test._at_work.session.engine.commits.cancel([run.id])
        with pytest.raises(TaskCancelled):
            await test.result(run)
        await test.settle()
    assert seen == ["cancelled"]


@pytest.mark.parametrize("where", ["loop", "thread"])
def test_nesting_of_depth_ten_needs_one_slot_and_one_thread(tmp_path, where: str):
    app = App("deep", store=f"sqlite:///{tmp_path}/deep.db", slots=1, threads=1)

    @app.task
    async def on_loop(depth: int) -> int:
        return 1 + (await on_loop(depth - 1) if depth > 1 else 0)

    @app.task
    def in_thread(depth: int) -> int:
        return 1 + (in_thread(depth - 1).result() if depth > 1 else 0)

    assert app.run(on_loop if where == "loop" else in_thread, 10) == 10


def test_async_and_sync_tasks_share_one_slot(tmp_path):
    app = App("shared", store=f"sqlite:///{tmp_path}/shared.db", slots=1)

    @app.task
    async def on_loop(n: int) -> int:
        await asyncio.sleep(0)
        return n

    @app.task
    def in_thread(n: int) -> int:
        return n

    @app.workflow
    async def both() -> int:
        return sum(await asyncio.gather(*(task(n) for n in range(20) for task in (on_loop, in_thread))))

    assert app.run(both) == 380


def test_twenty_thousand_sync_parents_need_few_threads(tmp_path):
    app = App("many", store=f"sqlite:///{tmp_path}/many.db", threads=2)
    most = 0

    @app.task
    def child(n: int) -> int:
        return n

    @app.task
    def parent(n: int) -> int:
        nonlocal most
        found = child(n).result()
        most = max(most, threading.active_count())
        return found

    @app.workflow
    async def many(count: int) -> int:
        return sum(await asyncio.gather(*(parent(n) for n in range(count))))

    assert app.run(many, COUNT) == COUNT * (COUNT - 1) // 2
    assert most < 80


COUNT = 20_000


@on_a_loop
async def test_a_call_from_an_attempt_that_is_over_reaches_nothing():
    app, left = App("parents"), []

    @app.task
    async def child(n: int) -> int:
        return n

    @app.task(timeout=1)
    async def parent() -> int:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            try:
                child(1)
            except BaseException as error:
                left.append(type(error).__name__)
                raise
        return 0

    async with TestApp(app) as test:
        run = await test.start(parent)
        await test.advance(2)
        with pytest.raises(TaskFailed):
            await test.result(run)
        assert (await run.status()).children.spawned == 0
    assert left == ["Evicted"]


@on_a_loop
async def test_a_task_may_not_sleep_durably():
    app = App("parents")
    from fanfold import sleep

    @app.task
    async def sleeps() -> None:
        await sleep(1)

    async with TestApp(app) as test:
        with pytest.raises(TaskFailed) as failed:
            await test.run(sleeps)
    assert failed.value.caused_by(NotAllowed)


def test_a_body_may_wait_in_several_threads_of_its_own_with_one_slot(tmp_path: Path):
    app = App("several", store=f"sqlite:///{tmp_path}/several.db", slots=1, threads=1)

    @app.task
    async def child(n: int) -> int:
        return n

    @app.task
    def parent() -> int:
        handles = [child(n) for n in range(6)]
        with ThreadPoolExecutor(3) as pool:
            return sum(pool.map(lambda handle: handle.result(), handles))

    assert app.run(parent) == 15


def wait_in_vain(handle: Handle[int]) -> None:
    """Wait for a child whose parent has returned: its calls reach nothing any more."""
    with contextlib.suppress(Evicted):
        handle.result()


def test_a_body_that_returns_while_a_thread_of_its_own_waits_takes_no_place_along(tmp_path: Path):
    app = App("left", store=f"sqlite:///{tmp_path}/left.db", slots=2, threads=2)
    never = threading.Event()

    @app.task
    async def child(n: int) -> int:
        await asyncio.sleep(0.01)
        return n

    @app.task
    def parent(n: int) -> int:
        threading.Thread(target=wait_in_vain, args=[child(n)], daemon=True).start()
        never.wait(0.005)
        return n

    @app.task
    def plain(n: int) -> int:
        return n

    @app.workflow
    async def both() -> int:
        return sum(await asyncio.gather(*map(parent, range(8)))) + sum(await asyncio.gather(*map(plain, range(8))))

    assert app.run(both) == 56


@pytest.mark.parametrize("where", ["loop", "thread"])
def test_a_task_that_waits_for_a_root_of_its_own_needs_no_slot_meanwhile(tmp_path, where: str):
    app = App("roots", store=f"sqlite:///{tmp_path}/roots.db", slots=1, threads=1)

    @app.task
    async def on_loop(depth: int) -> int:
        return 1 + (await (await app.start(on_loop, depth - 1)).result(60) if depth else 0)

    @app.task
    def in_thread(depth: int) -> int:
        return 1 + (app.blocking.start(in_thread, depth - 1).result(60) if depth else 0)

    assert app.run(on_loop if where == "loop" else in_thread, 3) == 4
