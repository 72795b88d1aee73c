"""The simulated writer: commits take virtual time, and fail as the seed has it."""

import asyncio
from typing import Any, Protocol

from fanfold.engine.writers import Done, attempt
from fanfold.model.clock import Clock
from fanfold.model.commands import Batch, Outcome
from fanfold.store.database import StoreBusy
from fanfold.store.store import Store
from tests.simulation.disk import FaultyDatabase
from tests.simulation.faults import DATABASE, LOST_REPORT, Plan


class Watch(Protocol):
    """The simulation, as the writer sees it."""

    plan: Plan
    database: FaultyDatabase
    has_lost_reports: bool

    def note(self, what: str, *details: Any) -> None: ...
    def committed(self, batch: Batch, outcome: Outcome | BaseException) -> None: ...
    def reported(self) -> None: ...
    def crash(self) -> None: ...


class SimWriter:
    """Applies batches in the order in which they come, each after a while."""

    def __init__(self, store: Store, clock: Clock, done: Done, watch: Watch) -> None:
        self._store = store
        self._clock = clock
        self._report = done
        self._watch = watch
        self._loop = asyncio.get_running_loop()
        self.under_way: Batch | None = None
        self._failed = 0  # tries in a row
        self._shown: int | None = None  # the last batch of unknown outcome that was there

    def submit(self, batch: Batch) -> None:
        self.under_way = batch
        self._loop.call_later(self._watch.plan.commit_s(), self._apply, batch)

    def _apply(self, batch: Batch) -> None:
        watch = self._watch
        fault = watch.plan.fault(len(batch))
        if fault is not None:
            watch.note("FAULT", fault)
        if fault == "crash before the commit":
            watch.crash()
            return
        if fault in DATABASE:
            watch.database.fault = fault
            watch.database.at_statement = watch.plan.rng.randrange(6)
        outcome = attempt(self._store, self._clock, batch)
        watch.database.fault = None
        self.under_way = None
        self._show(batch, outcome)
        self._failed = self._failed + 1 if isinstance(outcome, StoreBusy) else 0
        if self._failed > 1:
            # A stop in good order gives up on a store that stays like this, and gives back nothing.
            watch.has_lost_reports = True
        if fault == "crash after the commit":
            watch.crash()
            return
        if fault == LOST_REPORT and isinstance(outcome, Outcome) and (outcome.claimed or outcome.evicted):
            # The row is this engine's and it does not know, or the other way round: a sweep finds out.
            watch.has_lost_reports = True
            (outcome.claimed or outcome.evicted).pop()
        delay_s = watch.plan.report_s()
        if fault == "crash before the report":
            self._loop.call_later(delay_s, watch.crash)
            delay_s += 0.001
        if delay_s:
            self._loop.call_later(delay_s, self._tell, batch, outcome)
        else:
            self._tell(batch, outcome)

    def _tell(self, batch: Batch, outcome: Outcome | BaseException) -> None:
        """Report a batch to the engine: from here on it knows."""
        if isinstance(outcome, Outcome):
            self._watch.reported()
        self._report(batch, outcome)

    def _show(self, batch: Batch, outcome: Outcome | BaseException) -> None:
        """Have the store checked; a commit that the engine does not know of yet counts from when it is there."""
        watch = self._watch
        if batch.unknown is not None:
            watch.note("UNKNOWN", batch.number, str(outcome))
            ((last,),) = watch.database.connection.execute("SELECT commit_sequence FROM meta").fetchall()
            if last == batch.number and last != self._shown:
                watch.committed(batch, batch.unknown)
                self._shown = last
        elif self._shown != batch.number:
            watch.committed(batch, outcome)

    def close(self) -> None:
        """Nothing is left to stop: the loop's death takes what is scheduled along."""
