"""Writers apply one batch after the other, report on the engine's loop, and leave no thread behind."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanfold.engine.writers import InlineWriter, ThreadWriter, attempt, drive
from fanfold.model.clock import VirtualClock
from fanfold.model.commands import Batch, Outcome
from fanfold.store.database import BatchRejected, StoreBusy
from fanfold.store.store import Store
from tests.engine.desk import on_a_loop
from tests.store.bench import OWNER, Bench, new_run
from tests.store.faults import FaultyDatabase


@pytest.fixture(params=["memory", "file"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench("sqlite://" if request.param == "memory" else f"sqlite:///{tmp_path}/store.db")
    yield bench
    bench.close()


class Reports:
    """Collects what a writer reports, and lets a test wait for it."""

    def __init__(self) -> None:
        self.outcomes: asyncio.Queue[tuple[Batch, Outcome | BaseException, int]] = asyncio.Queue()

    def done(self, batch: Batch, outcome: Outcome | BaseException) -> None:
        self.outcomes.put_nowait((batch, outcome, threading.get_ident()))


def writer_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "fanfold-writer"]


@pytest.mark.parametrize("kind", [InlineWriter, ThreadWriter])
@on_a_loop
async def test_a_batch_is_applied_and_reported_on_the_loop(bench: Bench, kind: type[InlineWriter | ThreadWriter]):
    reports = Reports()
    writer = kind(bench.store, VirtualClock(), reports.done)
    for number in (1, 2):
        batch = Batch(number=number, new=[new_run(number)])
        writer.submit(batch)
        assert reports.outcomes.empty()
        reported, outcome, thread = await reports.outcomes.get()
        assert (reported, thread) == (batch, threading.get_ident())
        assert isinstance(outcome, Outcome)
    writer.close()
    assert bench.count() == 2
    assert writer_threads() == []


@on_a_loop
async def test_a_thread_that_is_closed_has_applied_what_it_was_given(bench: Bench):
    reports = Reports()
    writer = ThreadWriter(bench.store, VirtualClock(), reports.done)
    assert len(writer_threads()) == 1
    writer.submit(Batch(number=1, new=[new_run(1)]))
    writer.close()
    assert (bench.count(), writer_threads()) == (1, [])
    writer.close()


@pytest.mark.parametrize(
    "error", [BatchRejected("planted"), StoreBusy("planted"), RuntimeError("planted"), MemoryError()]
)
@on_a_loop
async def test_an_error_is_reported_and_the_writer_goes_on(bench: Bench, error: BaseException):
    faulty = FaultyDatabase(bench.opened.writer)
    errors = [error]

    def fail(statement: str) -> None:
        if errors:
            raise errors.pop()

    faulty.on_execute = fail
    reports = Reports()
    writer = ThreadWriter(Store(faulty, OWNER), VirtualClock(), reports.done)
    writer.submit(Batch(number=1, new=[new_run(1)]))
    assert (await reports.outcomes.get())[1] is error
    writer.submit(Batch(number=1, new=[new_run(1)]))
    assert isinstance((await reports.outcomes.get())[1], Outcome)
    writer.close()
    assert bench.count() == 1


def test_an_attempt_returns_its_error(bench: Bench):
    batch = Batch(number=1, new=[new_run(1), new_run(1)])
    assert isinstance(attempt(bench.store, VirtualClock(), batch), BatchRejected)
    assert bench.count() == 0


def test_a_coroutine_that_suspends_is_not_driven():
    async def suspends() -> None:
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="does not suspend"):
        drive(suspends())
