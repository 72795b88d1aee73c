"""The one ordered stream of commits.

Commands gather here and leave in batches, one at a time. A batch is committed at once when nothing is under way, and
never waits for company; while one commits, the next gathers. Nobody acts on a transition before it is durable: the
engine hears of a batch only when it is committed.

Commands of runs that start children keep their place behind those children; what a finished leaf says overtakes
them, so that a large fan-out is inserted and finished at the same time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from fanfold.engine.trouble import Trouble
from fanfold.engine.writers import Done, Writer
from fanfold.model import lifecycle
from fanfold.model.clock import Alarm, Clock
from fanfold.model.commands import (
    Batch,
    Block,
    Cancel,
    Checkpoint,
    ClaimRequest,
    Eviction,
    Folded,
    Outcome,
    Progressed,
    Release,
    Retried,
    Seal,
    Siblings,
    payloads,
)
from fanfold.model.ids import IdSource
from fanfold.model.run import End, NewRun
from fanfold.store.database import BatchRejected, StoreBusy

MAX_ROWS = 4000
MAX_BYTES = 8 << 20
SMALL = 256  # bytes of a payload that is not counted: a batch full of such is far below the limit
RETRY_MS = 500

log = logging.getLogger("fanfold")


class Committer:
    """Gathers commands, numbers batches, deals with those that are refused."""

    def __init__(
        self, make_writer: Callable[[Done], Writer], clock: Clock, ids: IdSource, sequence: int, place: str,
        on_committed: Callable[[Batch, Outcome], None], on_rejected: Callable[[int, Exception], None],
        on_dropped: Callable[[list[NewRun]], None], on_fatal: Callable[[BaseException], None],
    ) -> None:  # fmt: skip
        """Start behind batch `sequence`; `place` is what people call the store."""
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._ids = ids
        self._number = sequence
        self._on_committed = on_committed
        self._on_rejected = on_rejected
        self._on_dropped = on_dropped
        self._on_fatal = on_fatal
        self._trouble = Trouble(place, clock)
        self._retry: Alarm | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._is_impatient = False
        self._refused: set[int] = set()  # runs of which something was refused, and whose failure is not recorded
        self._writer = make_writer(self._done)
        self._new: deque[NewRun | None] = deque()
        self._new_total = 0
        self._new_taken = 0
        self._ends: deque[End] = deque()
        # (how many new rows were queued before it, the batch's list, the command)
        self._ordered: deque[tuple[int, str, Any]] = deque()
        self._claims: list[ClaimRequest] = []
        self._cancels: deque[Cancel] = deque()
        self._fires_timers = False
        self._redo: deque[Batch] = deque()
        self._is_busy = False
        self._is_kicked = False
        self._is_closed = False
        self._idle: asyncio.Event = asyncio.Event()
        self._idle.set()

    def spawn(self, rows: Iterable[NewRun]) -> None:
        """Insert runs, in this order."""
        before = len(self._new)
        self._new.extend(rows)
        self._new_total += len(self._new) - before
        self._kick()

    def end(self, end: End) -> None:
        """End a run that has no children."""
        self._ends.append(end)
        if not self._is_kicked:
            self._kick()

    def returned(self, end: End) -> None:
        """End a run that may have children, or leave it waiting for those that are open."""
        self._after_new("returns", end)

    def end_parent(self, end: End) -> None:
        """End a run that may have children, at once."""
        self._after_new("ends", end)

    def retry(self, retried: Retried) -> None:
        """Record a failed attempt that is followed by another one."""
        self._after_new("retries", retried)

    def quarantine(self, end: End) -> None:
        """Fail a run that no worker holds, since its processes died."""
        self._after_new("quarantines", end)

    def seal(self, group_id: int, epoch: int, error: str | None = None) -> None:
        """Let a group take no more members from its owner, which runs in this epoch."""
        self._after_new("seals", Seal(group_id, epoch, error))

    def siblings(self, command: Siblings) -> None:
        """End a member together with what it adds to its group."""
        self._after_new("siblings", command)

    def page(self, end: End) -> None:
        """Record that a page of a group is handed out."""
        self._after_new("pages", end)

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Record how far a fold is."""
        self._after_new("checkpoints", checkpoint)

    def folded(self, folded: Folded) -> None:
        """End a fold."""
        self._after_new("folds", folded)

    def progress(self, progressed: Progressed) -> None:
        """Take note that a run got on."""
        self._after_new("progress", progressed)

    def drop(self, timer_id: int) -> None:
        """Drop a timer."""
        self._after_new("drops", timer_id)

    def evict(self, eviction: Eviction) -> None:
        """Let a workflow leave memory."""
        self._after_new("evictions", eviction)

    def block(self, block: Block) -> None:
        """Pause a run, with the reason."""
        self._after_new("blocks", block)

    def release(self, id: int, epoch: int, crashes: int = 0) -> None:
        """Give a run back that is held in this epoch; `crashes` is 1 if its process died."""
        self._after_new("releases", Release(id, epoch, crashes))

    def wake(self, id: int) -> None:
        """Make a workflow out of memory claimable if something was delivered to it."""
        self._after_new("wakes", id)

    def resume(self, root_id: int) -> None:
        """Let the paused runs of a tree try again."""
        self._after_new("resumes", root_id)

    def settle(self, id: int) -> None:
        """Complete a sealed parent if its last child has ended."""
        self._after_new("settles", id)

    def cancel(self, ids: Iterable[int], *, is_again: bool = False) -> None:
        """Carry out cancel requests; behind the children that were started before."""
        for id in ids:
            self._after_new("cancels", Cancel(id, self._ids.take(), is_again))

    def claim(self, request: ClaimRequest) -> None:
        """Claim runs."""
        self._claims.append(request)
        self._kick()

    def fire_timers(self) -> None:
        """End the timers that are due."""
        self._fires_timers = True
        self._kick()

    def _after_new(self, kind: str, command: Any) -> None:
        self._ordered.append((self._new_total, kind, command))
        self._kick()

    def _kick(self) -> None:
        if not self._is_kicked and not self._is_busy and not self._is_closed:
            self._is_kicked = True
            self._idle.clear()
            # The rest of this callback still belongs to the batch; nothing else is waited for.
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_kicked = False
        if self._is_busy or self._is_closed:
            return
        if not self._has_work():
            self._idle.set()
            return
        batch = self._redo.popleft() if self._redo else self._take()
        self._is_busy = True
        self._idle.clear()
        if batch.unknown is None:
            self._number += 1
            batch.number = self._number
            batch.next_id = self._ids.reserved
        # Otherwise it may be committed under the number that it has, and is looked up before it is applied again.
        self._writer.submit(batch)

    def _has_work(self) -> bool:
        return bool(self._new or self._ends or self._ordered or self._claims or self._redo or self._fires_timers)

    def _take(self) -> Batch:
        """Move what fits into a batch."""
        batch = Batch(claims=self._claims, fires_timers=self._fires_timers)
        self._claims = []
        self._fires_timers = False
        room = MAX_BYTES
        new, ends = self._new, self._ends
        while new and len(batch.new) < MAX_ROWS and room > 0:
            row = new.popleft()
            self._new_taken += 1
            if row is not None:
                batch.new.append(row)
                if row.input is not None and len(row.input) > SMALL:
                    room -= _size(row.input)
        while ends and len(batch.ends) < MAX_ROWS and room > 0:
            end = ends.popleft()
            batch.ends.append(end)
            text = end.output or end.error
            if text is not None and len(text) > SMALL:
                room -= _size(text)
        ordered = self._ordered
        taken = 0
        while ordered and ordered[0][0] <= self._new_taken and taken < MAX_ROWS and room > 0:
            _, kind, command = ordered.popleft()
            getattr(batch, kind).append(command)
            room -= sum(map(_size, payloads(command)))
            taken += 1 + (len(command.new) if isinstance(command, Siblings) else 0)
        return batch

    def _done(self, batch: Batch, outcome: Outcome | BaseException) -> None:
        self._is_busy = False
        if self._is_closed:
            return
        if isinstance(outcome, StoreBusy):
            self._wait(batch, outcome)
            return
        self._trouble.end()
        if isinstance(outcome, Outcome):
            if self._refused:
                self._refused.difference_update(end.id for end in batch.ends)
            if self._has_work():
                # The writer goes on with the next batch while the effects of this one are dealt out.
                self._flush()
            self._is_kicked = True  # what the effects ask for leaves at the end of this callback
            try:
                self._on_committed(batch, outcome)
            except Exception as error:  # noqa: BLE001 - a mistake of ours must stop the engine, not hang it
                self._fail(error)
                return
            self._flush()
        elif isinstance(outcome, BatchRejected | ValueError):  # or a text that cannot even be encoded
            self._reject(batch, outcome)
        else:
            self._fail(outcome)

    def _fail(self, error: BaseException) -> None:
        """Go no further, and tell everybody who waits."""
        self._is_closed = True
        self._idle.set()
        self._on_fatal(error)

    def _wait(self, batch: Batch, error: StoreBusy) -> None:
        """Keep a batch that cannot be written now, and try again."""
        self._trouble.go_on(error)
        self._redo.appendleft(batch)
        if self._is_impatient and self._trouble.tries > 1:
            self._give_up()
            return
        self._is_busy = True
        self._retry = self._clock.call_after(RETRY_MS, self._again)

    def _again(self) -> None:
        self._retry = None
        self._is_busy = False
        self._flush()

    def _reject(self, batch: Batch, error: Exception) -> None:
        """Find the command that the database refuses, by halves; the others are committed, in order."""
        parts = batch.split()
        if parts:
            self._redo.extendleft(reversed(parts))
        elif self._is_hopeless(batch):
            self._fail(error)
            return
        else:
            try:
                self._drop(batch, error)
            except Exception as mistake:  # noqa: BLE001 - a mistake of ours must stop the engine, not hang it
                self._fail(mistake)
                return
        self._flush()

    def _is_hopeless(self, batch: Batch) -> bool:
        """Tell whether the store itself is broken: it refuses a claim, or the failure that we made of a refusal."""
        if batch.claims or batch.fires_timers:
            return True
        return any(end.state != lifecycle.COMPLETED and end.id in self._refused for end in batch.ends)

    def _drop(self, batch: Batch, error: Exception) -> None:
        """Go on without the only command of a batch, and have the run fail that asked for it."""
        for timer_id in batch.drops:
            # Whose it is is not known here; it rings when it is due, and nobody listens.
            log.error("timer %s: the store refuses that it is dropped: %s", timer_id, error)
        for run_id in batch.runs():
            log.error("run %s: the store refuses what was asked on its behalf: %s", run_id, error)
            self._refused.add(run_id)
            dropped = [*batch.new, *self._forget(run_id)]
            if dropped:
                self._on_dropped(dropped)
            self._on_rejected(run_id, error)

    def _forget(self, run_id: int) -> list[NewRun]:
        """Forget what a run asked for after something of it was refused; return the runs that it would have started."""
        queued = (row for rows in (*(batch.new for batch in self._redo), self._new) for row in rows)
        dropped = [row for row in queued if row is not None and (row.parent_id or row.id) == run_id]
        for batch in self._redo:
            batch.forget(run_id)
        # Their places stay: what is queued behind rows of other runs must not overtake those.
        self._new = deque(None if row and (row.parent_id or row.id) == run_id else row for row in self._new)
        self._ends = deque(end for end in self._ends if end.id != run_id)
        self._ordered = deque(
            (place, kind, command)
            for place, kind, command in self._ordered
            if kind == "cancels" or getattr(command, "id", None) != run_id
        )
        return dropped

    @property
    def unheard(self) -> int | None:
        """Return the number of the batch that is being committed, or may be and cannot be looked up; None without."""
        return self._number if self._is_busy else None

    @property
    def is_idle(self) -> bool:
        """Tell whether everything that was asked for is committed."""
        return self._idle.is_set()

    async def idle(self) -> None:
        """Wait until everything that was asked for is committed, or was given up: the engine stops, or `hurry`."""
        while not self._idle.is_set():
            await self._idle.wait()

    def hurry(self, patience_s: float) -> None:
        """From then on wait no more for a store that cannot be written. One that is only slow is waited for."""
        if self._patience is None:
            self._patience = self._loop.call_later(patience_s, self._lose_patience)

    def _lose_patience(self) -> None:
        self._is_impatient = True
        if self._retry is not None:
            self._retry.cancel()
            self._again()  # for the last time

    def _give_up(self) -> None:
        """Leave what is not committed to the next start."""
        left = len(self._new) + len(self._ends) + len(self._ordered) + sum(len(batch) for batch in self._redo)
        self._trouble.give_up(left)
        self._is_closed = True
        self._idle.set()

    def close(self) -> None:
        """Take no more; a batch that is being committed still is, its effects are not dealt out."""
        self._is_closed = True
        self._idle.set()
        if self._retry is not None:
            self._retry.cancel()
        if self._patience is not None:
            self._patience.cancel()
        self._writer.close()


def _size(text: str | None) -> int:
    """Return the bytes of a payload; nearly all are ASCII, which costs nothing to know."""
    if text is None:
        return 0
    return len(text) if text.isascii() else len(text.encode())
