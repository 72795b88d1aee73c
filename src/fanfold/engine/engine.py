"""The engine: what may be asked of a store that is open for work, and who hears of what was committed.

It knows runs, not functions: a worker above it runs bodies and is told what was claimed and what was delivered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import NamedTuple, Protocol, TypeVar

from fanfold.engine.committer import RETRY_MS, Committer
from fanfold.engine.sweeper import Sweeper
from fanfold.engine.timers import Timers
from fanfold.engine.writers import Done, InlineWriter, ThreadWriter, Writer
from fanfold.errors import KeyConflict, StoreUnavailable
from fanfold.model import lifecycle
from fanfold.model.clock import MAX_AHEAD_MS, Clock
from fanfold.model.commands import Batch, Existing, Outcome
from fanfold.model.ids import IdSource, new_worker_id
from fanfold.model.keys import shown
from fanfold.model.run import GROUP, MOST_CRASHES, Claimed, End, NewRun, quarantine_text
from fanfold.store.database import BatchRejected, CommitUnknown, StoreBusy
from fanfold.store.opening import OpenStore
from fanfold.store.queries import Queries
from fanfold.store.store import Store, Suspect

log = logging.getLogger("fanfold")

T = TypeVar("T")
MakeWriter = Callable[[Store, Clock, Done], Writer]


class Closed(StoreUnavailable):
    """The app is closed, what was recorded stays. Open it again, `async with app`, and use app.get(id)."""


class Ended(NamedTuple):
    """How a run ended."""

    id: int
    state: str
    output: str | None
    error: str | None


class Listener(Protocol):
    """The worker, as the engine sees it. Called after each commit, in this order."""

    def on_inserted(self, run: NewRun, now: int) -> None:
        """Start a run that was inserted as already claimed."""
        ...

    def on_refused(self, run: NewRun, existing: Existing | None) -> None:
        """Hear that a run was not inserted: its identity is taken, or its parent may start nothing any more."""
        ...

    def on_claimed(self, runs: Iterable[Claimed]) -> None:
        """Start runs that were claimed."""
        ...

    def on_delivered(self, parent_id: int, first_seq: int, ends: list[End], told: set[int], now: int) -> None:
        """Hear that children of a parent ended; `told` are the ids of cancel events among them."""
        ...

    def on_settled(self, batch: Batch, outcome: Outcome) -> None:
        """Forget the runs that ended, returned, left memory or lost their lease: all of a batch was dealt out."""
        ...

    def on_asked_roots(self, roots: set[int]) -> None:
        """Hear that nothing but compensation may start below these roots, of what is held or comes by this commit."""
        ...

    def on_stopping(self, ids: list[int]) -> None:
        """Ask running tasks to stop."""
        ...

    def on_queues(self, queues: Iterable[str]) -> None:
        """Hear in which queues something is pending."""
        ...

    def on_suspects(self) -> None:
        """Hear that there are runs which were at work in one dead process after the other."""
        ...

    def on_claimable(self) -> None:
        """Hear that there may be something to claim."""
        ...

    def holds(self, id: int) -> bool:
        """Tell whether a run is in this worker's hands and has not ended."""
        ...

    def held(self) -> set[tuple[int, int]]:
        """Return what is in this worker's hands: (run, epoch)."""
        ...

    def lose(self, id: int, epoch: int) -> None:
        """Drop a run that the table says somebody else holds, or nobody."""
        ...

    def on_rejected(self, run_id: int, error: Exception) -> None:
        """Hear that the store refused what was asked on behalf of a run."""
        ...

    def on_dropped(self, runs: Iterable[NewRun]) -> None:
        """Hear that these will not be inserted, since the store refused one of them or what their parent asked for."""
        ...


class Engine:
    """One engine on one open store."""

    def __init__(self, opened: OpenStore, clock: Clock, make_writer: MakeWriter | None = None) -> None:
        self.clock = clock
        self.worker_id = new_worker_id()
        self.queries = Queries(opened.reader)
        self.store_id = ""
        self._looking: asyncio.Task[None] | None = None
        self._opened = opened
        self._place = str(opened.path or "in memory")
        self._store = Store(opened.writer, self.worker_id)
        self._make_writer = make_writer or (InlineWriter if opened.is_memory else ThreadWriter)
        self._waiters: dict[int, list[asyncio.Future[Ended]]] = {}
        self._starting: dict[int, asyncio.Future[Existing | None]] = {}
        self._resuming: dict[int, list[asyncio.Future[None]]] = {}
        self._cancelling: dict[int, list[asyncio.Future[None]]] = {}
        self._over: Callable[[], StoreUnavailable] | None = None  # why this engine does not go on
        self.released = 0  # how many runs a dead process had left running

    async def start(self, listener: Listener, at_work: Collection[int] = ()) -> None:
        """Recover what a dead process left, then take commands; its death counts against what was `at_work`."""
        _, self.store_id, next_id, sequence, clock_ms = await self.queries.meta()
        self._check_clock(clock_ms)
        self.clock.catch_up(clock_ms)
        self.ids = IdSource(next_id)
        self._listener = listener
        try:
            recovery = await self._store.recover(sequence + 1, self.clock.now_ms(), at_work)
        except (StoreBusy, BatchRejected, CommitUnknown) as error:
            raise StoreUnavailable(f"cannot start on the store {self._place}: {error}") from None
        self.released = recovery.released
        self.commits = Committer(
            lambda done: self._make_writer(self._store, self.clock, done),
            self.clock, self.ids, sequence + 1, self._place, self._on_committed, self._on_rejected,
            listener.on_dropped, self._on_fatal,
        )  # fmt: skip
        self._timers = Timers(self.clock, self.commits.fire_timers)
        self._timers.set(recovery.next_timer)
        loop = asyncio.get_running_loop()
        self._delayed = Timers(self.clock, lambda: self._look_again(loop))
        self._sweeper = Sweeper(self.clock, self.queries, self.commits, self.worker_id, listener)
        for id in recovery.unsettled:
            self.commits.settle(id)
        self.commits.cancel(recovery.flagged)
        self._deal_with(recovery.suspects)
        await self._wake_delayed()

    def _deal_with(self, suspects: list[Suspect]) -> None:
        for run in suspects:
            if run.crashes >= MOST_CRASHES:
                log.error("run %s is quarantined: %s processes died while it was at work", run.id, run.crashes)
                error = quarantine_text(run.crashes, run.attempt)
                end = End(run.id, run.epoch, run.parent_id, lifecycle.target("quarantine"), None, error)
                self.commits.quarantine(end)
        if any(run.crashes < MOST_CRASHES for run in suspects):
            self._listener.on_suspects()

    async def _wake_delayed(self) -> None:
        """Have the worker look now, and again when the next delayed run may start."""
        try:
            self._listener.on_queues(await self.queries.pending_queues())
            self._listener.on_claimable()
            self._delayed.set(await self.queries.next_available(self.clock.now_ms()))
        except StoreUnavailable as error:
            log.warning("what is due cannot be looked up, it is tried again: %s", error)
            self.look_at(self.clock.now_ms() + RETRY_MS)

    def _look_again(self, loop: asyncio.AbstractEventLoop) -> None:
        self._looking = loop.create_task(self._wake_delayed())

    def look_at(self, when_ms: int) -> None:
        """Have the worker look when a delayed run may start."""
        self._delayed.set(when_ms)

    def _check_clock(self, written_ms: int) -> None:
        ahead = written_ms - max(self.clock.now_ms(), 0)
        if ahead > MAX_AHEAD_MS:
            raise StoreUnavailable(
                f"the store was last written {ahead / 1000:.0f} s in the future: the machine's clock is or was wrong. "
                "Set the clock, or accept it as it is with `fanfold doctor --accept-clock`"
            )

    # What is asked from outside ------------------------------------------------------------------------------------

    async def start_root(self, run: NewRun) -> int:
        """Insert a root and return its id, or that of the run that holds its key; KeyConflict if the input differs."""
        self._check_over()
        future: asyncio.Future[Existing | None] = asyncio.get_running_loop().create_future()
        self._starting[run.id] = future
        self.commits.spawn((run,))
        existing = await future
        if existing is None:
            return run.id
        if existing.digest != run.digest:
            key = shown(run.key)
            raise KeyConflict(
                f"an earlier attempt started run {existing.id} of {run.name} at this place, with another input; give "
                "each start a key of its own"
                if key is None
                else f"key {key!r} of {run.name} is taken by run {existing.id}, which has another input; use another "
                "key, or the same input",
                existing.id,
            )
        return existing.id

    async def wait(self, id: int) -> Ended:
        """Wait until a run has ended."""
        future: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(id, []).append(future)
        try:
            # Who holds it has not ended it, and reports the end in the callback that forgets it. Otherwise the store is
            # asked, after the waiter stands, so that an end between the two is not missed.
            if not self._listener.holds(id):
                _, state, output, error = await self.queries.outcome(id)
                if lifecycle.is_terminal(state) or state == lifecycle.PAUSED:
                    return Ended(id, state, output, error)
            self._check_over()
            return await future
        finally:
            self._forget_waiter(id, future)

    def _forget_waiter(self, id: int, future: asyncio.Future[Ended]) -> None:
        waiters = self._waiters.get(id, [])
        if future in waiters:
            waiters.remove(future)
        if not waiters:
            self._waiters.pop(id, None)

    async def resume(self, root_id: int) -> None:
        """Let the paused runs of a tree try again."""
        self._check_over()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._resuming.setdefault(root_id, []).append(future)
        self.commits.resume(root_id)
        await future

    async def cancel(self, id: int) -> None:
        """Ask a run to end, or its compensation if it was asked before; return when that is recorded."""
        self._check_over()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._cancelling.setdefault(id, []).append(future)
        self.commits.cancel((id,), is_again=True)
        await future

    async def ask(self, question: Callable[[Queries], Awaitable[T]]) -> T:
        """Return the answer of a read."""
        return await question(self.queries)

    # What was committed --------------------------------------------------------------------------------------------

    def _on_committed(self, batch: Batch, outcome: Outcome) -> None:
        listener = self._listener
        if outcome.asked_roots:
            listener.on_asked_roots(outcome.asked_roots)
        self._start_new(batch, outcome)
        if outcome.claimed:
            listener.on_claimed(outcome.claimed)
        if outcome.next_timer is not None:
            self._timers.set(outcome.next_timer)
        for parent_id, ends in outcome.ended.items():
            if self._waiters:
                self._resolve(ends)
            if parent_id:
                listener.on_delivered(parent_id, outcome.first_seq[parent_id], ends, outcome.told, outcome.now)
        if batch.resumes or batch.blocks or self._cancelling:
            self._tell_who_waits(batch, outcome)
        listener.on_settled(batch, outcome)
        if outcome.stopping:
            listener.on_stopping(outcome.stopping)
        if outcome.flagged:
            self.commits.cancel(outcome.flagged)
        if outcome.woken or batch.releases:
            listener.on_claimable()
        self._sweeper.arm()

    def _start_new(self, batch: Batch, outcome: Outcome) -> None:
        listener = self._listener
        for run in batch.all_new():
            if run.id in outcome.refused or run.parent_id == 0:
                self._start_outcome(run, outcome)
            elif run.id in outcome.doomed:
                listener.on_refused(run, None)
            elif run.state == lifecycle.RUNNING or run.kind == GROUP:
                listener.on_inserted(run, outcome.now)

    def _tell_who_waits(self, batch: Batch, outcome: Outcome) -> None:
        for root_id in batch.resumes:
            for future in self._resuming.pop(root_id, ()):
                if not future.done():  # who asked may have given up
                    future.set_result(None)
        for cancel in batch.cancels:
            for future in self._cancelling.pop(cancel.id, ()):
                if not future.done():
                    future.set_result(None)
        for block in batch.blocks:
            if block.id in outcome.blocked:
                self._resolve([End(block.id, block.epoch, 0, lifecycle.target("block"), None, block.reason)])

    def _start_outcome(self, run: NewRun, outcome: Outcome) -> None:
        existing = outcome.refused.get(run.id)
        future = self._starting.pop(run.id, None)
        if future is not None and not future.done():
            future.set_result(existing)
        if run.id not in outcome.refused:
            if run.state == lifecycle.RUNNING:
                self._listener.on_inserted(run, outcome.now)
        else:
            self._listener.on_refused(run, existing)
            if existing is None and run.parent_id:
                self._listener.lose(run.parent_id, run.parent_epoch)  # it may start nothing: it is not ours any more

    def _resolve(self, ends: list[End]) -> None:
        for end in ends:
            for future in self._waiters.pop(end.id, ()):
                if not future.done():
                    future.set_result(Ended(end.id, end.state, end.output, end.error))

    def _on_rejected(self, run_id: int, error: Exception) -> None:
        starting = self._starting.pop(run_id, None)
        asked = [*self._resuming.pop(run_id, ()), *self._cancelling.pop(run_id, ())]
        for future in (*([starting] if starting else ()), *asked):
            if not future.done():
                future.set_exception(StoreUnavailable(f"the store {self._place} refused the run: {error}"))
        self._listener.on_rejected(run_id, error)

    def _on_fatal(self, error: BaseException) -> None:
        """Tell everybody who waits that this engine does not go on; what is committed stays."""
        log.critical("the engine stops: %r", error, exc_info=error)
        cause = error if isinstance(error, StoreUnavailable) else repr(error)
        self._tell_all(lambda: StoreUnavailable(f"the engine has stopped: {cause}"))

    def _tell_all(self, why: Callable[[], StoreUnavailable]) -> None:
        self._over = self._over or why
        waiting = [*self._waiters.values(), *self._resuming.values(), *self._cancelling.values()]
        for future in (*self._starting.values(), *(future for those in waiting for future in those)):
            if not future.done():
                future.set_exception(self._over())

    def _check_over(self) -> None:
        """Refuse what would wait for a commit that never comes."""
        if self._over is not None:
            raise self._over()

    def close(self) -> None:
        """Close the store, and tell those who wait. What is not committed, after `commits.idle`, is left."""
        try:
            self.stop()
        finally:
            self._opened.close()
            self._tell_all(Closed)

    def stop(self) -> None:
        """Take no more commands; what is not committed is left to the next start."""
        self._timers.close()
        self._sweeper.close()
        self._delayed.close()
        self.commits.close()
