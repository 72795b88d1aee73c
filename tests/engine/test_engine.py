"""The engine over a real store in memory: who is told of what, after which commit."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fanfold.engine.engine import Ended, Engine
from fanfold.engine.sweeper import EVERY_MS
from fanfold.engine.writers import drive
from fanfold.errors import KeyConflict, StoreUnavailable
from fanfold.model import lifecycle
from fanfold.model.clock import MAX_AHEAD_MS, VirtualClock
from fanfold.model.commands import Block, Cancel, ClaimRequest
from fanfold.model.run import WORKFLOW, NewRun
from fanfold.store.database import BatchRejected, StoreBusy
from fanfold.store.opening import OpenStore, open_store
from tests.engine.desk import FakeWorker, completed, on_a_loop, turn
from tests.store.bench import QUEUE, new_run, timer


@asynccontextmanager
async def engine(opened: OpenStore | None = None, clock: VirtualClock | None = None) -> AsyncIterator[Engine]:
    """An engine on a store in memory, closed when all is committed."""
    made = Engine(opened or drive(open_store("sqlite://")), clock or VirtualClock())
    await made.start(FakeWorker())
    made.worker = made._listener
    yield made
    if opened is None:
        await made.commits.idle()
        made.close()
    else:
        await made.commits.idle()
        made.stop()


async def inserted(engine: Engine, *rows: NewRun) -> None:
    engine.commits.spawn(rows)
    await engine.commits.idle()


@on_a_loop
async def test_a_root_that_is_inserted_as_claimed_is_started_after_its_commit():
    async with engine() as it:
        assert await it.start_root(new_run(1)) == 1
        assert it.worker.told("inserted") == [[1]]


@on_a_loop
async def test_the_same_key_and_input_give_the_same_root():
    async with engine() as it:
        first, second = (new_run(id, key="k:a", digest=7) for id in (1, 2))
        assert [await it.start_root(first), await it.start_root(second)] == [1, 1]
        assert it.worker.told("inserted") == [[1]]


@on_a_loop
async def test_the_same_key_with_another_input_is_a_conflict_that_names_the_run():
    async with engine() as it:
        await it.start_root(new_run(1, key="k:a", digest=7))
        with pytest.raises(KeyConflict, match="key 'a' of work is taken by run 1") as raised:
            await it.start_root(new_run(2, key="k:a", digest=8))
        assert raised.value.run_id == 1


@on_a_loop
async def test_who_waits_hears_of_the_end_after_its_commit_or_at_once():
    async with engine() as it:
        await it.start_root(new_run(1))
        waiting = asyncio.ensure_future(it.wait(1))
        await turn()
        assert not waiting.done()
        it.commits.end(completed(1, output="5"))
        assert await waiting == await it.wait(1) == Ended(1, lifecycle.COMPLETED, "5", None)
        assert it._waiters == {}


@on_a_loop
async def test_who_gives_up_waiting_is_forgotten():
    async with engine() as it:
        await it.start_root(new_run(1))
        waiting = asyncio.ensure_future(it.wait(1))
        await turn()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert it._waiters == {}


@on_a_loop
async def test_deliveries_come_in_order_with_their_first_number():
    async with engine() as it:
        parent = new_run(1, kind=WORKFLOW)
        await inserted(it, parent)
        await inserted(it, *(new_run(id, parent) for id in (2, 3, 4)))
        it.commits.end(completed(3, 1))
        await it.commits.idle()
        it.commits.end(completed(4, 1))
        it.commits.end(completed(2, 1))
        await it.commits.idle()
        assert it.worker.told("delivered") == [[1, 1, 3], [1, 2, 4, 2]]


@on_a_loop
async def test_a_child_that_is_refused_is_told_to_the_worker():
    async with engine() as it:
        parent = new_run(1)
        await inserted(it, parent)
        await inserted(
            it, new_run(2, parent, key="k:a"), new_run(3, parent, key="k:a"), new_run(4, parent, parent_epoch=9)
        )
        assert it.worker.told("refused") == [[3, 2], [4, None]]
        assert it.worker.told("inserted") == [[1], [2]]


@on_a_loop
async def test_timers_fire_when_the_clock_reaches_them_and_not_before():
    clock = VirtualClock()
    async with engine(clock=clock) as it:
        workflow = new_run(1, kind=WORKFLOW)
        await inserted(it, workflow)
        await inserted(it, timer(2, workflow, 500), timer(3, workflow, 200), timer(4, workflow, 200))
        clock.move_to(clock.now_ms() + 199)
        await it.commits.idle()
        assert it.worker.told("delivered") == []
        clock.move_to(clock.now_ms() + 1)
        await it.commits.idle()
        assert it.worker.told("delivered") == [[1, 1, 3, 4]]
        clock.move_to(clock.now_ms() + 1_000_000)
        await it.commits.idle()
        assert it.worker.told("delivered") == [[1, 1, 3, 4], [1, 3, 2]]


@on_a_loop
async def test_a_failure_cancels_the_whole_tree_below_it_and_stops_running_tasks():
    async with engine() as it:
        root = new_run(1)
        await inserted(it, root)
        child = new_run(2, root)
        await inserted(it, child, new_run(3, root, state=lifecycle.PENDING))
        await inserted(it, new_run(4, child))
        it.commits.end_parent(completed(1, state=lifecycle.FAILED, output=None))
        await it.commits.idle()
        assert it.worker.told("stopping") == [[2]]
        it.commits.end_parent(completed(2, 1, state=lifecycle.CANCELLED, output=None))
        await it.commits.idle()
        assert it.worker.told("stopping") == [[2], [4]]
        assert (await it.queries.outcome(3))[1] == lifecycle.CANCELLED


@on_a_loop
async def test_a_blocked_run_is_told_to_whoever_waits():
    async with engine() as it:
        await inserted(it, new_run(1, kind=WORKFLOW))
        waiting = asyncio.ensure_future(it.wait(1))
        await turn()
        it.commits.block(Block(1, 1, "the code has changed"))
        assert await waiting == Ended(1, lifecycle.PAUSED, None, "the code has changed")


@on_a_loop
async def test_a_block_of_an_old_epoch_is_told_to_nobody():
    async with engine() as it:
        await inserted(it, new_run(1, kind=WORKFLOW))
        waiting = asyncio.ensure_future(it.wait(1))
        await turn()
        it.commits.block(Block(1, 9, "stale"))
        await it.commits.idle()
        is_told = waiting.done()
        waiting.cancel()
        assert not is_told


@on_a_loop
async def test_a_dead_process_is_recovered_at_the_start_and_its_ids_are_not_given_again():
    opened = drive(open_store("sqlite://"))
    async with engine(opened) as first:
        last = max(first.ids.take() for _ in range(20_000))
        await inserted(first, new_run(last), new_run(last - 1, kind=WORKFLOW))
        first.commits.cancel([last - 1])
        await first.commits.idle()
    async with engine(opened) as second:
        assert (second.released, second.ids.take() > last) == (2, True)
        second.commits.claim(ClaimRequest(QUEUE, ("work",), 9))
        await second.commits.idle()
        assert sorted(second.worker.told("claimed")[0]) == [last - 1, last]
    opened.close()


@on_a_loop
async def test_a_cancel_that_was_not_carried_out_is_at_the_next_start():
    opened = drive(open_store("sqlite://"))
    async with engine(opened) as first:
        await inserted(first, new_run(1, state=lifecycle.PENDING))
    opened.writer._connection.execute("UPDATE runs SET cancel_requested_at = 1")
    async with engine(opened) as second:
        await second.commits.idle()
        assert (await second.queries.outcome(1))[1] == lifecycle.CANCELLED
    opened.close()


@pytest.mark.parametrize("ahead_ms", [MAX_AHEAD_MS, MAX_AHEAD_MS + 1])
@on_a_loop
async def test_a_store_that_was_written_in_the_future_is_refused_beyond_a_minute(ahead_ms: int):
    opened, clock = drive(open_store("sqlite://")), VirtualClock()
    opened.writer._connection.execute(f"UPDATE meta SET clock_ms = {clock.now_ms() + ahead_ms}")
    late = Engine(opened, clock)
    if ahead_ms > MAX_AHEAD_MS:
        with pytest.raises(StoreUnavailable, match=r"60 s in the future.*--accept-clock"):
            await late.start(FakeWorker())
    else:
        before = clock.now_ms()
        await late.start(FakeWorker())
        assert clock.now_ms() == before + ahead_ms
        late.stop()
    opened.close()


@on_a_loop
async def test_when_the_store_breaks_everybody_who_waits_is_told(caplog: pytest.LogCaptureFixture):
    async with engine() as it:
        await inserted(it, new_run(1))
        waiting = asyncio.ensure_future(it.wait(1))
        await turn()
        it._opened.writer._connection.execute("DROP TABLE parents")
        starting = asyncio.ensure_future(it.start_root(new_run(2)))
        it.commits.cancel([1])
        it.commits.claim(ClaimRequest(QUEUE, ("work",), 1))
        it._opened.writer._connection.execute("DROP TABLE runs")
        for future in (waiting, starting):
            with pytest.raises(StoreUnavailable):
                await future
    assert "the engine stops" in caplog.text


@on_a_loop
async def test_a_cancel_of_a_workflow_is_delivered_with_an_id_of_its_own():
    async with engine() as it:
        it.ids.take()
        await inserted(it, new_run(1, kind=WORKFLOW))
        it.commits.cancel([1])
        await it.commits.idle()
        assert it.worker.told("delivered") == [[1, 1, 2]]
        assert Cancel(1, 2) == (1, 2, False)


@on_a_loop
async def test_who_gives_up_a_resume_harms_nobody():
    async with engine() as it:
        await inserted(it, new_run(1))
        asking = asyncio.ensure_future(it.resume(1))
        await asyncio.sleep(0)
        asking.cancel()
        await it.commits.idle()
        assert await it.start_root(new_run(2)) == 2


@on_a_loop
async def test_who_asks_for_a_resume_that_is_refused_is_told():
    async with engine() as it:
        asking = asyncio.ensure_future(it.resume(1))
        await asyncio.sleep(0)
        it._on_rejected(1, BatchRejected("planted"))
        with pytest.raises(StoreUnavailable, match="planted"):
            await asking


@on_a_loop
async def test_a_child_that_the_store_refuses_is_told_to_the_worker(monkeypatch: pytest.MonkeyPatch):
    async with engine() as it:
        root = new_run(1)
        await inserted(it, root)
        database = it._opened.writer
        execute = database.execute

        async def refuse(statement: str, parameters: Any) -> int:
            if any("poison" in value for value in parameters.values() if isinstance(value, str)):
                raise BatchRejected("planted")
            return await execute(statement, parameters)

        monkeypatch.setattr(database, "execute", refuse)
        await inserted(it, new_run(2, root), new_run(3, root, input='"poison"'))
        assert (it.worker.told("dropped"), it.worker.told("rejected")) == ([[3]], [[1]])


@on_a_loop
async def test_who_cannot_ask_for_an_end_waits_no_more():
    async with engine() as it:

        async def fail(id: int) -> Any:
            raise StoreUnavailable("planted")

        it.queries.outcome = fail
        with pytest.raises(StoreUnavailable, match="planted"):
            await it.wait(1)
        assert it._waiters == {}


@on_a_loop
async def test_a_sweep_that_fails_is_not_the_last(caplog: pytest.LogCaptureFixture):
    clock = VirtualClock()
    async with engine(clock=clock) as it:
        await inserted(it, new_run(1))
        looked: list[int] = []

        async def fail(owner: int) -> Any:
            looked.append(owner)
            raise StoreUnavailable("planted")

        it.queries.held = fail
        for _ in range(3):
            clock.move_to(clock.now_ms() + EVERY_MS)
            await turn()
    assert len(looked) == 3
    assert "planted" in caplog.text


@on_a_loop
async def test_what_is_due_is_looked_for_until_it_can_be_read():
    clock = VirtualClock()
    opened = drive(open_store("sqlite://"))
    async with engine(opened, clock) as first:
        await inserted(first, new_run(1, state=lifecycle.PENDING, delay_ms=1000))
    async with engine(opened, clock) as second:
        pending, failures = second.queries.pending_queues, [StoreUnavailable("planted")] * 2

        async def fail() -> Any:
            if failures:
                raise failures.pop()
            return await pending()

        second.queries.pending_queues = fail
        heard = len(second.worker.told("claimable"))
        for _ in range(3):
            clock.move_to(clock.now_ms() + 1000)
            await turn()
        assert len(second.worker.told("claimable")) == heard + 1
    opened.close()


@on_a_loop
async def test_a_start_on_a_store_that_cannot_be_written_says_which_and_why():
    opened = drive(open_store("sqlite://"))

    async def fail() -> None:
        raise StoreBusy("database or disk is full")

    opened.writer.begin = fail
    with pytest.raises(StoreUnavailable, match="cannot start on the store in memory: database or disk is full"):
        await Engine(opened, VirtualClock()).start(FakeWorker())
    opened.close()
