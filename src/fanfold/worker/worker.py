"""The worker: holds what it has claimed, starts it, steps workflows, and reports what came of them.

Everything here runs on the engine's loop, in plain callbacks after a commit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from fanfold.engine.engine import Engine
from fanfold.model import lifecycle
from fanfold.model.clock import Alarm
from fanfold.model.commands import Batch, Block, Eviction, Existing, Outcome
from fanfold.model.run import TASK, TIMER, WORKFLOW, Claimed, End, NewRun
from fanfold.worker.body import Body, Slots
from fanfold.worker.claims import Claims
from fanfold.worker.context import Context
from fanfold.worker.executors.loop import LoopExecutor
from fanfold.worker.executors.threads import InlineExecutor, ThreadExecutor
from fanfold.worker.failures import failure_text
from fanfold.worker.replay import Replay
from fanfold.worker.task import Task
from fanfold.worker.workflow import WorkflowRun

LOOK_AHEAD = 9_000  # tasks claimed beyond the slots, so that short bodies never wait for a commit
MOST_WORKFLOWS = 10_000  # held in memory at once
IDLE_MS = 5_000  # then a workflow that waits leaves memory

log = logging.getLogger("fanfold")


class Worker:
    """Runs the bodies of one app's tasks for one engine."""

    def __init__(self, engine: Engine, tasks: Mapping[str, Task[..., Any]], slots: int, threads: int) -> None:
        """`threads=0` runs sync bodies inline, for tests."""
        self._engine = engine
        self._tasks = tasks
        self.slots = Slots(slots)
        self._on_loop = LoopExecutor(self.slots, self._finish)
        self._in_threads = (
            ThreadExecutor(threads, self.slots, self._finish) if threads else InlineExecutor(self.slots, self._finish)
        )
        self._bodies: dict[int, Body] = {}
        self._workflows: dict[int, WorkflowRun] = {}
        self._replays: dict[int, Replay] = {}
        self._evicting: dict[int, list[tuple[int, list[End], set[int], int]]] = {}
        self._tasks_taken = Claims(engine, tasks, TASK, slots + LOOK_AHEAD, self._wants_tasks)
        self._workflows_taken = Claims(engine, tasks, WORKFLOW, MOST_WORKFLOWS, lambda: True)
        self._delayed = 0  # new runs with a delay whose insert is not committed
        self._is_stopping = False
        self._sweep: Alarm | None = None

    # Claims --------------------------------------------------------------------------------------------------------

    def admit(self, run: NewRun) -> None:
        """Decide whether a new run is inserted as already claimed."""
        if run.delay_ms:
            self._delayed += 1
            self.on_queues((run.queue,))
        elif not self._is_stopping:
            (self._tasks_taken if run.kind == TASK else self._workflows_taken).admit(run)

    def on_queues(self, queues: Iterable[str]) -> None:
        """Take note of queues in which something is pending."""
        self._tasks_taken.queues.update(queues)
        self._workflows_taken.queues.update(queues)

    def on_claimable(self) -> None:
        """There may be something to claim."""
        self._tasks_taken.look()
        self._workflows_taken.look()
        self._claim()

    def _claim(self) -> None:
        if not self._is_stopping:
            self._tasks_taken.request()
            self._workflows_taken.request()

    def _wants_tasks(self) -> bool:
        """Tell whether bodies are about to run short: claims come in large batches, not one by one."""
        return len(self._on_loop) + len(self._in_threads) < self.slots.most

    # What the engine reports ---------------------------------------------------------------------------------------

    def on_inserted(self, run: NewRun, now: int) -> None:
        """Start a run that was inserted as claimed."""
        if run.kind == WORKFLOW:
            workflow = self._hold(run, 1, now)
            workflow.begin()
            self._after_turn(workflow)
        else:
            self._start_body(run, 1, now)

    def on_refused(self, run: NewRun, existing: Existing | None) -> None:
        """Take note that a run was not inserted: a root whose key is taken, or a child."""
        if run.state == lifecycle.RUNNING:
            (self._tasks_taken if run.kind == TASK else self._workflows_taken).in_hand -= 1
        if existing is not None and run.parent_id:
            log.error("run %s: its child %s %s exists already as run %s", run.parent_id, run.name, run.key, existing.id)

    def on_claimed(self, runs: Iterable[Claimed]) -> None:
        """Start runs that were claimed."""
        now = self._engine.clock.now_ms()
        for run in runs:
            self._lose_older(run)
            if run.kind == TASK:
                self._tasks_taken.in_hand += 1
                self._start_body(run, run.epoch, run.created_at)
                continue
            self._workflows_taken.in_hand += 1
            workflow = self._hold(run, run.epoch, now)
            if run.has_children:
                self._replays[run.id] = Replay(workflow, self._engine.queries, self._on_replayed)
            else:
                workflow.begin()
                self._after_turn(workflow)

    def holds(self, id: int) -> bool:
        """Tell whether a run is in this worker's hands and has not ended."""
        return self._held(id) is not None

    def _held(self, id: int) -> Body | WorkflowRun | None:
        return self._bodies.get(id) or self._workflows.get(id)

    def held(self) -> set[tuple[int, int]]:
        """Return what is in this worker's hands: (run, epoch)."""
        return {(id, one.epoch) for held in (self._bodies, self._workflows) for id, one in held.items()}

    def _lose_older(self, run: Claimed) -> None:
        """Drop what is held of a run that was just claimed again: nobody heard that its lease had ended."""
        held = self._held(run.id)
        if held is not None:
            self.lose(run.id, held.epoch)

    def lose(self, id: int, epoch: int) -> None:
        """Drop a run that the table says somebody else holds, or nobody; what its code still does reaches nothing."""
        held = self._held(id)
        if held is None or held.epoch != epoch:
            return
        log.warning("run %s: its lease (epoch %s) is lost; what it does now is not recorded", id, epoch)
        body = self._bodies.pop(id, None)
        if body is not None:
            self._stop_body(body)
        self._forget(id, epoch)
        self.on_claimable()

    def _hold(self, run: NewRun | Claimed, epoch: int, now: int) -> WorkflowRun:
        engine = self._engine
        workflow = WorkflowRun(run, epoch, self._tasks[run.name], now, engine.store_id, engine.ids.take)
        self._workflows[run.id] = workflow
        if self._sweep is None:
            self._sweep = engine.clock.call_at(now + IDLE_MS, self._evict_idle)
        return workflow

    def _start_body(self, run: NewRun | Claimed, epoch: int, created_at: int) -> None:
        task = self._tasks[run.name]
        body = Body(run, epoch, task, Context(run, created_at, self._engine.store_id))
        self._bodies[run.id] = body
        (self._on_loop if task.is_async else self._in_threads).submit(body)

    def on_delivered(self, parent_id: int, first_seq: int, ends: list[End], told: set[int], now: int) -> None:
        """Step a workflow through what was delivered to it."""
        workflow = self._workflows.get(parent_id)
        if workflow is None:
            return
        held_back = self._evicting.get(parent_id)
        if held_back is not None:
            held_back.append((first_seq, ends, told, now))
            return
        if parent_id in self._replays:
            self._replays[parent_id].hold_back(first_seq, ends, told, now)
            return
        self._deliver(workflow, first_seq, ends, told, now)

    def _deliver(self, workflow: WorkflowRun, first_seq: int, ends: list[End], told: set[int], now: int) -> None:
        workflow.idle_since = now
        # Skipped: what the record had already when this was delivered.
        rest = ends[max(workflow.consumed + 1 - first_seq, 0) :]
        while rest and not workflow.is_over:
            rest = rest[workflow.deliver(rest, told, now) :]
            self._after_turn(workflow)

    def _after_turn(self, workflow: WorkflowRun) -> None:
        """Send what a turn asked for; end the run if its code has ended."""
        commits, outbox = self._engine.commits, workflow.take_outbox()
        for run in outbox.new:
            if run.kind in (TASK, WORKFLOW):
                self.admit(run)
        if outbox.new:
            commits.spawn(outbox.new)
            self._claim()
        for timer_id in outbox.drops:
            commits.drop(timer_id)
        if outbox.cancels:
            commits.cancel(outbox.cancels)
        if workflow.is_over and not workflow.is_reported:
            workflow.is_reported = True
            if workflow.broken is not None:
                log.error("run %s is paused: %s", workflow.run.id, workflow.broken)
                commits.block(Block(workflow.run.id, workflow.epoch, workflow.broken))
            elif workflow.end is not None and workflow.end.state == lifecycle.COMPLETED:
                commits.returned(workflow.end)
            elif workflow.end is not None:
                commits.end_parent(workflow.end)

    def _on_replayed(self, workflow: WorkflowRun, held_back: list[tuple[int, list[End], set[int], int]]) -> None:
        self._replays.pop(workflow.run.id, None)
        self._after_turn(workflow)
        for first_seq, ends, told, now in held_back:
            if not workflow.is_over:
                self._deliver(workflow, first_seq, ends, told, now)

    def on_settled(self, batch: Batch, outcome: Outcome) -> None:
        """Forget what has ended, returned, left memory or was lost."""
        bodies = self._bodies
        for end in batch.ends:
            body = bodies.get(end.id)
            if body is None:
                self._forget(end.id, end.epoch)
            elif body.epoch == end.epoch:
                del bodies[end.id]
        for command in (*batch.returns, *batch.blocks):
            self._forget(command.id, command.epoch)
        for eviction in batch.evictions:
            held_back = self._evicting.pop(eviction.id, [])
            workflow = self._workflows.get(eviction.id)
            if eviction.id in outcome.evicted:
                self._forget(eviction.id, eviction.epoch)
            elif workflow is not None:
                self._on_replayed(workflow, held_back)
        for id in outcome.lost:
            log.warning("run %s: a result came after its lease was lost; it is not recorded", id)
        if self._delayed:
            self._await_delayed(batch, outcome.now)
        self._tasks_taken.on_committed(batch, outcome)
        self._workflows_taken.on_committed(batch, outcome)
        self._claim()

    def _await_delayed(self, batch: Batch, now: int) -> None:
        """Look again when the delayed runs of a batch may start: their time counts from the commit."""
        for run in batch.new:
            if run.delay_ms and run.kind != TIMER:
                self._delayed -= 1
                self._engine.clock.call_at(now + run.delay_ms, self.on_claimable)

    def _forget(self, id: int, epoch: int) -> None:
        workflow = self._workflows.get(id)
        if workflow is not None and workflow.epoch == epoch:
            del self._workflows[id]
            self._replays.pop(id, None)
            self._evicting.pop(id, None)
            self._workflows_taken.in_hand -= 1
            workflow.close()

    def on_stopping(self, ids: list[int]) -> None:
        """Ask running tasks to end."""
        for id in ids:
            body = self._bodies.get(id)
            if body is not None:
                self._stop_body(body)

    def _stop_body(self, body: Body) -> None:
        if not body.is_cancelled:
            body.is_cancelled = True
            if body.task.is_async:
                self._on_loop.cancel(body)

    def on_rejected(self, run_id: int, error: Exception) -> None:
        """Fail the run on whose behalf the store refused something."""
        failed = failure_text(error)
        workflow = self._workflows.get(run_id)
        if workflow is not None:
            end = End(run_id, workflow.epoch, workflow.run.parent_id, lifecycle.FAILED, None, failed)
            self._engine.commits.end_parent(end)
        elif (body := self._bodies.get(run_id)) is not None:
            self._engine.commits.end(End(run_id, body.epoch, body.run.parent_id, lifecycle.FAILED, None, failed))

    # What bodies report --------------------------------------------------------------------------------------------

    def _finish(self, body: Body, value: Any, error: BaseException | None) -> None:
        self._tasks_taken.in_hand -= 1
        run = body.run
        if error is None:
            try:
                output, _ = body.task.signature.result.encode(value)
            except Exception as unstorable:  # noqa: BLE001 - what cannot be stored fails the run, never the worker
                error = unstorable
            else:
                self._engine.commits.end(End(run.id, body.epoch, run.parent_id, lifecycle.COMPLETED, output))
                return
        was_asked = body.is_cancelled and isinstance(error, asyncio.CancelledError)
        state = lifecycle.CANCELLED if was_asked else lifecycle.FAILED
        self._engine.commits.end(End(run.id, body.epoch, run.parent_id, state, None, failure_text(error)))

    # Leaving memory ------------------------------------------------------------------------------------------------

    def _evict_idle(self) -> None:
        """Let workflows that have waited for a while leave memory; they come back when something is delivered."""
        now = self._engine.clock.now_ms()
        for id, workflow in self._workflows.items():
            # A longer record takes longer to replay: it stays longer, so that replays never cost more than they save.
            patience = IDLE_MS + 10 * workflow.consumed
            is_idle = now - workflow.idle_since >= patience and not workflow.is_over
            if is_idle and id not in self._evicting and id not in self._replays:
                self._evicting[id] = []
                self._engine.commits.evict(Eviction(id, workflow.epoch, workflow.consumed))
        self._sweep = self._engine.clock.call_at(now + IDLE_MS, self._evict_idle) if self._workflows else None

    async def stop(self, grace_s: float) -> int:
        """Start nothing any more, give bodies `grace_s` seconds, give the rest back; return how many those are."""
        self._is_stopping = True
        self._on_loop.stop()
        self._in_threads.stop()
        if self._sweep is not None:
            self._sweep.cancel()
        if self.slots.taken and grace_s > 0:
            await self._wait_for_bodies(grace_s)
        await self._engine.commits.idle()
        left = self.held()
        for id, epoch in sorted(left):
            self._engine.commits.release(id, epoch)
        await self._engine.commits.idle()
        self.abandon()
        return len(left)

    def abandon(self) -> None:
        """Drop everything, as a process does that dies: nothing is given back, no code goes on."""
        self._is_stopping = True
        if self._sweep is not None:
            self._sweep.cancel()
        self._on_loop.abandon()
        self._in_threads.abandon()
        for id, workflow in list(self._workflows.items()):
            self._forget(id, workflow.epoch)

    @property
    def under_way(self) -> int:
        """How many bodies and replays have not come to their end; workflows that wait are not counted."""
        return len(self._replays) + self.slots.taken + len(self._on_loop) + len(self._in_threads)

    async def _wait_for_bodies(self, grace_s: float) -> None:
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def ring() -> None:
            if not over.done():
                over.set_result(None)

        alarm = self._engine.clock.call_at(self._engine.clock.now_ms() + round(grace_s * 1000), ring)
        try:
            while self.slots.taken and not over.done():
                await asyncio.wait({over}, timeout=0.02)
        finally:
            alarm.cancel()
