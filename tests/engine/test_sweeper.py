"""Sweeps: what they find twice is mended, but for what a commit has changed of which nobody has heard yet."""

from typing import Any, Self

from fanfold.engine.engine import Engine
from fanfold.engine.sweeper import EVERY_MS
from fanfold.engine.writers import InlineWriter, drive
from fanfold.errors import StoreUnavailable
from fanfold.model import lifecycle
from fanfold.model.clock import VirtualClock
from fanfold.model.commands import ClaimRequest
from fanfold.store.opening import OpenStore, open_store
from tests.engine.desk import FakeWorker, completed, on_a_loop, turn
from tests.store.bench import QUEUE, new_run
from tests.store.faults import FaultyDatabase


class CutOff(FaultyDatabase):
    """A database that does not say whether it committed, and cannot be asked while it is cut off."""

    is_cut = False

    def cut(self) -> None:
        """Lose the reply of the next commit, and every connection."""
        self.is_cut = True
        self.after = (self.commits + 1,)

    async def reopen(self) -> None:
        if self.is_cut:
            raise StoreUnavailable("planted: no connection can be opened")
        await super().reopen()


class Holding(FakeWorker):
    """Holds what it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.in_hand: set[tuple[int, int]] = set()

    def held(self) -> set[tuple[int, int]]:
        return self.in_hand

    def on_claimed(self, runs: Any) -> None:
        super().on_claimed(runs)
        self.in_hand |= {(run.id, run.epoch) for run in runs}


class Place:
    """An engine whose database can be cut off, and its clock."""

    async def __aenter__(self) -> Self:
        opened = drive(open_store("sqlite://"))
        self.clock, self.worker = VirtualClock(), Holding()
        self.database = CutOff(opened.writer)
        self.engine = Engine(OpenStore(opened.url, self.database, opened.reader), self.clock, InlineWriter)
        await self.engine.start(self.worker)
        return self

    async def __aexit__(self, *error: object) -> None:
        self.database.is_cut = False
        self.clock.move_to(self.clock.now_ms() + EVERY_MS)
        await self.engine.commits.idle()
        self.engine.close()

    async def insert(self, state: str) -> None:
        self.engine.commits.spawn([new_run(1, state=state)])
        await self.engine.commits.idle()

    async def sweep(self, times: int) -> None:
        for _ in range(times):
            self.clock.move_to(self.clock.now_ms() + EVERY_MS)
            await turn()

    async def held(self) -> set[tuple[int, int]]:
        return await self.engine.queries.held(self.engine.worker_id)


@on_a_loop
async def test_what_was_claimed_by_a_commit_of_unknown_outcome_is_not_given_back():
    async with Place() as it:
        await it.insert(lifecycle.PENDING)
        it.database.cut()
        it.engine.commits.claim(ClaimRequest(QUEUE, ("work",), 9))
        await turn()
        assert await it.held() == {(1, 1)}
        await it.sweep(4)
        assert it.worker.told("claimed") == []
        it.database.is_cut = False
        await it.sweep(4)
        assert it.worker.told("claimed") == [[1]]
        assert await it.held() == {(1, 1)}


@on_a_loop
async def test_what_was_ended_by_a_commit_of_unknown_outcome_is_not_lost():
    async with Place() as it:
        await it.insert(lifecycle.RUNNING)
        it.worker.in_hand = {(1, 1)}
        it.database.cut()
        it.engine.commits.end(completed(1))
        await turn()
        assert await it.held() == set()
        await it.sweep(4)
        assert it.worker.told("lose") == []


@on_a_loop
async def test_what_nobody_knows_of_is_given_back_while_commits_come_one_after_the_other():
    async with Place() as it:
        await it.insert(lifecycle.RUNNING)  # this worker keeps nothing that is inserted
        it.engine.commits.spawn([new_run(2)])
        await it.sweep(1)
        assert await it.held() == {(1, 1), (2, 1)}
        it.engine.commits.spawn([new_run(3)])
        await it.sweep(1)
        await it.engine.commits.idle()
        assert await it.held() == {(2, 1), (3, 1)}


@on_a_loop
async def test_what_the_table_gives_to_nobody_is_lost_when_it_is_found_twice():
    async with Place() as it:
        it.worker.in_hand = {(7, 2)}
        await it.insert(lifecycle.PENDING)
        await it.sweep(1)
        assert it.worker.told("lose") == []
        await it.sweep(1)
        assert it.worker.told("lose") == [[7, 2]]
