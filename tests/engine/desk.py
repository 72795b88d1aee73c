"""A committer with its surroundings made by hand: a writer that answers when told, a clock that moves when told."""

import asyncio
import functools
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from fanfold.engine.committer import Committer
from fanfold.model import lifecycle
from fanfold.model.clock import VirtualClock
from fanfold.model.commands import Batch, Outcome
from fanfold.model.ids import IdSource
from fanfold.model.run import End, NewRun
from fanfold.store.database import BatchRejected
from tests.store.bench import new_run

__all__ = ["Desk", "FakeWorker", "FakeWriter", "completed", "on_a_loop", "turn"]


def on_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on an event loop of its own."""

    @functools.wraps(test)
    def run(*arguments: Any, **keywords: Any) -> None:
        asyncio.run(test(*arguments, **keywords))

    return run


async def turn() -> None:
    """Let everything run that is ready."""
    for _ in range(3):
        await asyncio.sleep(0)


def completed(id: int, parent_id: int = 0, state: str = lifecycle.COMPLETED, output: str | None = "1") -> End:
    return End(id, 1, parent_id, state, output)


class FakeWriter:
    """Keeps what it is given until it is told what to answer."""

    def __init__(self, done: Callable[[Batch, Outcome | BaseException], None]) -> None:
        self.done = done
        self.submitted: list[Batch] = []
        self.current: Batch | None = None
        self.is_closed = False

    def submit(self, batch: Batch) -> None:
        assert self.current is None, "one batch at a time"
        self.current = batch
        self.submitted.append(batch)

    def close(self) -> None:
        self.is_closed = True

    def answer(self, outcome: Outcome | BaseException | None = None) -> Batch:
        """Report the batch that is being applied: as committed, if nothing else is said."""
        batch, self.current = self.current, None
        assert batch is not None
        self.done(batch, outcome or Outcome(0))
        return batch


class Desk:
    """A committer, and what it told."""

    def __init__(self, sequence: int = 0) -> None:
        self.clock = VirtualClock()
        self.ids = IdSource(1)
        self.committed: list[Batch] = []
        self.rejected: list[int] = []
        self.dropped: list[NewRun] = []  # runs that will not be inserted
        self.fatal: list[BaseException] = []
        self.on_committed: Callable[[Batch], None] = lambda batch: None
        self.commits = Committer(
            self._make_writer, self.clock, self.ids, sequence, "store.db", self._committed,
            lambda run_id, error: self.rejected.append(run_id), self.dropped.extend, self.fatal.append,
        )  # fmt: skip

    def _make_writer(self, done: Callable[[Batch, Outcome | BaseException], None]) -> FakeWriter:
        self.writer = FakeWriter(done)
        return self.writer

    def _committed(self, batch: Batch, outcome: Outcome) -> None:
        self.committed.append(batch)
        self.on_committed(batch)

    def roots(self, count: int, **fields: Any) -> list[NewRun]:
        return [new_run(self.ids.take(), **fields) for _ in range(count)]

    def children(self, parent: NewRun, count: int, **fields: Any) -> list[NewRun]:
        return [new_run(self.ids.take(), parent, **fields) for _ in range(count)]

    async def settle(self, bad: frozenset[int] = frozenset()) -> None:
        """Answer until nothing is left; batches with a row or an end of the `bad` runs are rejected."""
        await turn()
        while (batch := self.writer.current) is not None:
            is_bad = bad & {command.id for command in (*batch.new, *batch.ends, *batch.returns)}
            self.writer.answer(BatchRejected("planted") if is_bad else None)
            await turn()

    def new_ids(self) -> list[int]:
        return [row.id for batch in self.committed for row in batch.new]


class FakeWorker:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def told(self, kind: str) -> list[Any]:
        return [what for name, *what in self.heard if name == kind]

    def holds(self, id: int) -> bool:
        return False

    def held(self) -> set[tuple[int, int]]:
        return set()

    def lose(self, id: int, epoch: int) -> None:
        self.heard.append(("lose", id, epoch))

    def on_inserted(self, run: NewRun, now: int) -> None:
        self.heard.append(("inserted", run.id))

    def on_refused(self, run: NewRun, existing: Any) -> None:
        self.heard.append(("refused", run.id, existing and existing.id))

    def on_claimed(self, runs: Any) -> None:
        self.heard.append(("claimed", *(run.id for run in runs)))

    def on_delivered(self, parent_id: int, first_seq: int, ends: Any, told: set[int], now: int) -> None:
        self.heard.append(("delivered", parent_id, first_seq, *(end.id for end in ends)))

    def on_settled(self, batch: Batch, outcome: Any) -> None:
        self.heard.append(("settled", batch.number))

    def on_asked_roots(self, roots: set[int]) -> None:
        """Has nothing that waits for a slot."""

    def on_stopping(self, ids: list[int]) -> None:
        self.heard.append(("stopping", *ids))

    def on_queues(self, queues: Any) -> None:
        pass

    def on_claimable(self) -> None:
        self.heard.append(("claimable",))

    def on_dropped(self, runs: Iterable[NewRun]) -> None:
        self.heard.append(("dropped", *(run.id for run in runs)))

    def on_rejected(self, run_id: int, error: Exception) -> None:
        self.heard.append(("rejected", run_id))
