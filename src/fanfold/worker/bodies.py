"""The bodies of tasks in this process: started, limited in time, asked to stop, and what comes of them recorded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from fanfold.engine.engine import Engine
from fanfold.model import lifecycle
from fanfold.model.commands import Batch, Existing, Outcome, Progressed, Release, Retried, Siblings
from fanfold.model.run import MOST_CRASHES, Claimed, End, NewRun, quarantine_text
from fanfold.store.at_work import AtWork
from fanfold.worker.attempts import brief_of, delay_ms, record, wants_another
from fanfold.worker.body import Body
from fanfold.worker.calls import Calls
from fanfold.worker.claims import Intake
from fanfold.worker.context import TaskContext
from fanfold.worker.desk import Desk
from fanfold.worker.executors.executors import Executors, Places
from fanfold.worker.executors.loop import Interrupted
from fanfold.worker.executors.processes import Output, ProcessDied
from fanfold.worker.failures import BROKEN, failure_text
from fanfold.worker.feeds import Feeds
from fanfold.worker.limits import TimedOut, TimeLimit
from fanfold.worker.recall import Recall
from fanfold.worker.siblings import Added
from fanfold.worker.task import Task

GRACE_S = 10.0  # what a body has that was asked to stop; then its run ends without it

log = logging.getLogger("fanfold")


class Bodies:
    """The task bodies of one worker."""

    def __init__(
        self, engine: Engine, tasks: Mapping[str, Task[..., Any]], intake: Intake, feeds: Feeds, places: Places,
        at_work: AtWork,
    ) -> None:  # fmt: skip
        self._engine = engine
        self._tasks = tasks
        self._intake = intake
        self._held: dict[int, Body] = {}
        self._recalls: dict[int, Recall] = {}
        self._reports: dict[int, Progressed] = {}  # the latest of each run, until the loop's next turn
        self._left_behind: set[Body] = set()  # their attempts are over, and they have not ended
        self.late_ends = 0  # of these
        self._asked_roots: set[int] = set()  # by the commit whose effects are dealt out
        self.state: Any = None  # what the app's lifespan yielded
        self._desk = Desk(engine, intake, tasks, feeds)
        self._executors = Executors(places, self._begin, self._finish, at_work, self._desk.alarm)
        self._desk.executors = self._executors
        self.slots = self._executors.slots

    def get(self, id: int) -> Body | None:
        """Return what is held of a run."""
        return self._held.get(id)

    def held(self) -> Iterable[tuple[int, int]]:
        """Yield what is in this worker's hands: (run, epoch)."""
        return [(id, body.epoch) for id, body in self._held.items()]

    @property
    def waiting(self) -> int:
        """How many bodies wait for a slot."""
        return self._executors.waiting

    @property
    def under_way(self) -> int:
        """How many bodies have not come to their end, those that wait for their children not counted."""
        return self.slots.taken + self.waiting + len(self._recalls)

    # Beginning -------------------------------------------------------------------------------------------------------

    def start(self, run: NewRun | Claimed, epoch: int, created_at: int) -> None:
        """Start a body as soon as there is a slot, and its earlier attempts' children are known."""
        task = self._tasks[run.name]
        body = Body(run, epoch, task, TaskContext(run, epoch, created_at, self._engine.store_id, self))
        self._held[run.id] = body
        if run.root_id in self._asked_roots and not run.compensates:
            self._hand_back(body)
        elif isinstance(run, Claimed) and run.has_children:
            self._recalls[run.id] = Recall(
                self._engine.queries, self._engine.clock, run.id, partial(self._on_recalled, body)
            )
        else:
            self._executors.of(body).submit(body)

    def _on_recalled(self, body: Body, recorded: list[Any]) -> None:
        self._recalls.pop(body.run.id, None)
        if not body.is_over:
            self.calls_of(body).recall(recorded)
            self._executors.of(body).submit(body)

    def calls_of_run(self, id: int, epoch: int) -> Calls | None:
        """Return the children of a body that is held; None if its run is no longer this worker's."""
        body = self._held.get(id)
        return None if body is None or body.epoch != epoch or body.is_dead else self.calls_of(body)

    def siblings_of_run(self, id: int, epoch: int) -> Added | None:
        """Return what a member adds to its group; None if its run is no longer this worker's."""
        body = self._held.get(id)
        if body is None or body.epoch != epoch or body.is_dead:
            return None
        if body.siblings is None:
            body.siblings = Added(body.run, epoch, body.task, self._desk.take_id)
        return body.siblings

    def report(self, id: int, epoch: int, progress: str) -> None:
        """Record how far a run is; from any thread."""
        is_first = not self._reports
        self._reports[id] = Progressed(id, epoch, progress)
        if is_first:
            self._desk.loop.call_soon_threadsafe(self._send_reports)

    def _send_reports(self) -> None:
        reports, self._reports = self._reports, {}
        for report in reports.values():
            body = self._held.get(report.id)
            if body is not None and isinstance(body.run, Claimed):
                body.run.crashes = 0
            self._engine.commits.progress(report)

    def calls_of(self, body: Body) -> Calls:
        """Return the children of a body."""
        if body.calls is None:
            body.calls = Calls(body, self._desk)
        return body.calls

    def _begin(self, body: Body) -> None:
        timeout_ms = body.timeout_ms
        if timeout_ms is not None:
            body.limit = TimeLimit(self._engine.clock, timeout_ms, partial(self._time_out, body, timeout_ms))
            body.limit.go()

    # Ending ----------------------------------------------------------------------------------------------------------

    def _finish(self, body: Body, value: Any, error: BaseException | None) -> None:
        """Record how a body ended; nothing if its attempt was over before."""
        if body.is_over:
            self._on_late(body, error)
            # It had a slot to the last: what came meanwhile was not claimed, and no commit follows.
            self._desk.loop.call_soon(self._intake.request)
            return
        if error is None and body.calls is not None and body.calls.groups.outlasts_body():
            # What is left only this attempt can do: items to add, folds to finish. Then it is over.
            body.on_filled = partial(self._finish_when_filled, body, value)
            return
        self._close(body)
        run = body.run
        if body.limit is not None and body.limit.error is not None:
            error = body.limit.error  # what it did after it ran out of time no longer matters
        if isinstance(error, Interrupted | ProcessDied):
            self._give_back(body, error)
            return
        if error is None:
            try:
                output = value.text if isinstance(value, Output) else body.task.signature.result.encode(value)[0]
            except BROKEN as unstorable:  # what cannot be stored fails the run, never the worker
                error = unstorable
            else:
                self._complete(body, End(run.id, body.epoch, run.parent_id, lifecycle.COMPLETED, output))
                return
        self._fail(body, error)

    def _complete(self, body: Body, end: End) -> None:
        commits = self._engine.commits
        if body.siblings is not None:
            commits.siblings(Siblings(end, body.siblings.new))
        elif body.calls is None:
            commits.end(end)
        else:
            commits.returned(end)

    def _finish_when_filled(self, body: Body, value: Any) -> None:
        if not body.is_over and body.calls is not None and not body.calls.groups.is_busy:
            self._finish(body, value, None)

    def _on_late(self, body: Body, error: BaseException | None) -> None:
        """Count and tell what a body came to after its attempt was over; an end that was asked of it is no news."""
        if body not in self._left_behind:
            return
        self._left_behind.discard(body)
        if not isinstance(error, asyncio.CancelledError | Interrupted | ProcessDied):
            self.late_ends += 1
            log.warning(
                "%s (run %s): attempt %s %s after it was over; that is not recorded (late ends so far: %s)",
                body.run.name, body.run.id, body.attempt,
                "returned" if error is None else f"raised {brief_of(error)}", self.late_ends,
            )  # fmt: skip

    def _disown(self, body: Body) -> None:
        """Let a body whose attempt is over go on without a slot; what it comes to is told, and changes nothing."""
        self._left_behind.add(body)
        self._executors.of(body).disown(body)

    def _close(self, body: Body) -> None:
        body.is_over = True
        if not body.is_waiting:
            self._intake.tasks.in_hand -= 1
        if body.limit is not None:
            body.limit.pause()
        if body.calls is not None:
            body.calls.close()

    def _fail(self, body: Body, error: BaseException) -> None:
        """Record a failed attempt: another one follows if the policy has it, else the run ends."""
        try:
            if body.is_cancelled and not isinstance(error, TimedOut):
                self._cancelled(body, error)
            else:
                self._failed(body, error)
        except Exception as odd:  # noqa: BLE001 - nobody else would ever end the run
            odd.__context__ = odd.__context__ or error
            self._end(body, lifecycle.FAILED, record(odd, body.attempt))
            log.warning("%s (run %s) failed: attempt %s: %s", body.run.name, body.run.id, body.attempt, brief_of(odd))

    def _cancelled(self, body: Body, error: BaseException) -> None:
        """End a run that was asked to: what its body raised instead of an end is kept, and not tried again."""
        if isinstance(error, asyncio.CancelledError):
            error = asyncio.CancelledError("the run was cancelled").with_traceback(error.__traceback__)
        else:
            log.warning("%s (run %s) was cancelled, and raised %s", body.run.name, body.run.id, brief_of(error))
        self._end(body, lifecycle.CANCELLED, record(error, body.attempt))

    def _failed(self, body: Body, error: BaseException) -> None:
        run, retry, attempt = body.run, body.retry, body.attempt
        said = f"{run.name} (run {run.id}) failed: attempt {attempt} of {retry.max_attempts}: {brief_of(error)}"
        wants = wants_another(body, error)
        if wants and not body.is_cancelled:
            later_ms = delay_ms(body, error)
            log.warning("%s; the next one in %.1f s", said, later_ms / 1000)
            self._engine.commits.retry(Retried(run.id, body.epoch, later_ms, record(error, attempt)))
        else:
            log.warning("%s", said)
            self._end(body, lifecycle.FAILED, record(error, attempt))

    def _end(self, body: Body, state: str, error: str) -> None:
        """End a run that has no result."""
        commits, end = self._engine.commits, End(body.run.id, body.epoch, body.run.parent_id, state, None, error)
        commits.end(end) if body.calls is None else commits.end_parent(end)

    def _give_up_on(self, body: Body, error: BaseException) -> None:
        """End an attempt whose body does not: what it still does reaches nothing."""
        if body.is_over:
            return
        self._close(body)
        self._disown(body)
        self._fail(body, error)

    def _give_up_later(self, body: Body, error: BaseException) -> None:
        self._desk.alarm(GRACE_S, partial(self._give_up_on, body, error))

    def _give_back(self, body: Body, error: BaseException) -> None:
        """Let a run start again whose body was ended from outside; the third time in a row it is quarantined."""
        run, commits = body.run, self._engine.commits
        crashes = 1 + (run.crashes if isinstance(run, Claimed) else 0)
        log.warning("%s (run %s) was ended from outside: %s", run.name, run.id, brief_of(error))
        if crashes < MOST_CRASHES:
            commits.release(run.id, body.epoch, 1)
        else:
            is_dead = isinstance(error, ProcessDied)
            failed = quarantine_text(crashes, body.attempt) if is_dead else failure_text(error, body.attempt)
            self._end(body, lifecycle.FAILED, failed)

    def _time_out(self, body: Body, timeout_ms: int) -> None:
        if body.is_over:
            return
        error = TimedOut(f"{body.run.name} (run {body.run.id}) ran longer than its timeout of {timeout_ms / 1000:g} s")
        if body.carrier is None or body.limit is None:
            self._give_up_on(body, error)
            return
        # An async body is let out through its `finally` blocks, if they do not take too long.
        body.limit.error = error
        if body.calls is not None:
            body.calls.close()
        body.carrier.cancel()
        self._give_up_later(body, error)

    def on_asked_roots(self, roots: set[int]) -> None:
        """Let nothing start below these roots that has not; what has started is asked to end, level by level."""
        self._asked_roots = roots
        found = [body for body in self._held.values() if body.run.root_id in roots and not body.run.compensates]
        for body in found:
            if not body.is_started and not body.is_over:
                self._hand_back(body)

    def _hand_back(self, body: Body) -> None:
        """Give back what must not start: the store cancels it, after it has asked the workflows above it."""
        self._close(body)
        self._executors.of(body).cancel(body)  # it may have been sent ahead to a process
        self._engine.commits.release(body.run.id, body.epoch)

    def cancel(self, ids: Iterable[int]) -> None:
        """Ask bodies to end; their runs end without them after a grace."""
        for id in ids:
            body = self._held.get(id)
            if body is not None and not body.is_cancelled:
                body.is_cancelled = True
                self._ask(body)

    def _ask(self, body: Body) -> None:
        cancelled = asyncio.CancelledError("the run is asked to cancel")
        if not body.is_started or body.on_filled is not None:
            self._finish(body, None, cancelled)
            self._executors.of(body).cancel(body)  # it may have been sent ahead to a process
            return
        self._give_up_later(body, cancelled)
        if body.calls is not None:
            body.calls.interrupt()
        self._executors.of(body).cancel(body)

    def lose(self, body: Body) -> None:
        """Drop a body whose run is somebody else's."""
        self._held.pop(body.run.id, None)
        self._recalls.pop(body.run.id, None)
        if not body.is_over:
            self._close(body)
            if body.is_started:
                self._executors.of(body).cancel(body)
                self._disown(body)

    def reject(self, body: Body, error: Exception) -> None:
        """Fail the run on whose behalf the store refused something."""
        if not body.is_over:
            self._close(body)
            if body.is_started:
                self._disown(body)
        self._end(body, lifecycle.FAILED, failure_text(error))

    # What was committed ----------------------------------------------------------------------------------------------

    def on_settled(self, batch: Batch, outcome: Outcome) -> None:
        """Forget what has ended or is tried again; another attempt of a child that is waited for is claimed in time."""
        held = self._held
        self._asked_roots = set()
        for command in (*batch.ends, *batch.returns, *batch.siblings, *batch.retries, *batch.releases):
            body = held.get(command.id)
            if body is not None and body.epoch == command.epoch:
                del held[command.id]
                if not body.is_over:  # given back by a stop: what it does on its way out reaches nothing
                    self._close(body)
                if isinstance(command, Release) and command.crashes:
                    self._intake.on_suspects()  # not before it is pending
            if command.id in outcome.retried and isinstance(command, Retried):
                # Also if it was dropped meanwhile: a sweep may see what is committed before it is dealt out.
                is_wanted = body is not None and body.run.parent_id in held
                self._intake.retried(command.id, outcome.now + command.delay_ms, is_wanted=is_wanted)

    def on_delivered(self, parent_id: int, ends: Iterable[End]) -> None:
        """Tell a body of its children's ends."""
        body = self._held.get(parent_id)
        if body is None:
            return
        recall = self._recalls.get(parent_id)
        if recall is not None:
            recall.on_delivered(ends)
        elif body.calls is not None:
            body.calls.on_delivered(ends)

    def on_existing(self, new: NewRun, existing: Existing) -> None:
        """Tell a body that a child was there already."""
        body = self._held.get(new.parent_id)
        if body is not None and body.calls is not None:
            body.calls.on_existing(new, existing)

    # The end of the worker -------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Start nothing any more."""
        self._executors.stop()

    async def close(self) -> None:
        """End the processes."""
        await self._executors.close()

    def abandon(self) -> None:
        """Drop everything: nothing more is recorded, no call reaches anything."""
        for body in self._held.values():
            if not body.is_over:
                self._close(body)
        self._executors.abandon()
