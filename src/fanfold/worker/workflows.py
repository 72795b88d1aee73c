"""The workflows that this worker holds: stepped through what is delivered, brought back by replay, let go when idle."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from fanfold.engine.engine import Engine
from fanfold.model import lifecycle
from fanfold.model.clock import Alarm
from fanfold.model.commands import Batch, Block, Eviction, Outcome
from fanfold.model.groups import items_error
from fanfold.model.run import TASK, WORKFLOW, Claimed, End, NewRun
from fanfold.worker.claims import Intake
from fanfold.worker.failures import failure_text
from fanfold.worker.members import ItemsChanged
from fanfold.worker.reading import read_for
from fanfold.worker.replay import HeldBack, Replay
from fanfold.worker.task import Task
from fanfold.worker.workflow import WorkflowRun

IDLE_MS = 5_000  # then a workflow that waits leaves memory

log = logging.getLogger("fanfold")


class Workflows:
    """The workflow runs of one worker."""

    def __init__(self, engine: Engine, tasks: Mapping[str, Task[..., Any]], intake: Intake) -> None:
        self._engine = engine
        self._tasks = tasks
        self._intake = intake
        self._held: dict[int, WorkflowRun] = {}
        self._replays: dict[int, Replay] = {}
        self._evicting: dict[int, HeldBack] = {}
        self._groups: dict[int, WorkflowRun] = {}  # owners of groups that are open here
        self._reading: dict[int, HeldBack] = {}  # what came while the results of a group were read
        self._sweep: Alarm | None = None
        self._tasks_under_way: set[asyncio.Task[None]] = set()

    def get(self, id: int) -> WorkflowRun | None:
        """Return what is held of a run."""
        return self._held.get(id)

    def held(self) -> Iterable[tuple[int, int]]:
        """Yield what is in this worker's hands: (run, epoch)."""
        return [(id, workflow.epoch) for id, workflow in self._held.items()]

    @property
    def under_way(self) -> int:
        """How many replays have not come to their end."""
        return sum(not replay.is_waiting for replay in self._replays.values()) + len(self._tasks_under_way)

    def start(self, run: NewRun | Claimed, epoch: int, now: int) -> None:
        """Run a workflow from the top, through what is recorded of it."""
        engine = self._engine
        workflow = WorkflowRun(run, epoch, self._tasks[run.name], now, engine.store_id, engine.ids.take)
        self._held[run.id] = workflow
        if self._sweep is None:
            self._sweep = engine.clock.call_at(now + IDLE_MS, self._evict_idle)
        if isinstance(run, Claimed) and run.has_children:
            self._replays[run.id] = Replay(workflow, engine.queries, engine.clock, self._on_replayed)
        else:
            workflow.begin()
            self._after_turn(workflow)

    def on_delivered(self, parent_id: int, first_seq: int, ends: list[End], told: set[int], now: int) -> None:
        """Step a workflow through what was delivered to it."""
        workflow = self._held.get(parent_id)
        if workflow is None:
            self._on_member_ends(parent_id, first_seq, ends)
            return
        held_back = self._evicting.get(parent_id)
        if held_back is not None:
            held_back.append((first_seq, ends, told, now))
        elif parent_id in self._replays:
            self._replays[parent_id].hold_back(first_seq, ends, told, now)
        else:
            self._deliver(workflow, first_seq, ends, told, now)

    def _deliver(self, workflow: WorkflowRun, first_seq: int, ends: list[End], told: set[int], now: int) -> None:
        workflow.idle_since = now
        if workflow.run.id in self._reading:
            self._reading[workflow.run.id].append((first_seq, ends, told, now))
            return
        # Skipped: what the record had already when this was delivered.
        rest = ends[max(workflow.consumed + 1 - first_seq, 0) :]
        while rest and not workflow.is_over:
            if workflow.groups and rest[0].id in workflow.groups and self._must_read(workflow, rest[0]):
                self._read_members(workflow, rest, told, now)
                return
            ready = self._until_group(workflow, rest)
            rest = rest[workflow.deliver(ready, told, now) :]
            self._after_turn(workflow)

    # Groups ----------------------------------------------------------------------------------------------------------

    @staticmethod
    def _until_group(workflow: WorkflowRun, ends: list[End]) -> list[End]:
        """Return the ends up to the next group's, whose results may have to be read first."""
        if not workflow.groups:
            return ends
        place = next((place for place, end in enumerate(ends) if place and end.id in workflow.groups), len(ends))
        return ends[:place]

    def _must_read(self, workflow: WorkflowRun, end: End) -> bool:
        self._groups.pop(end.id, None)
        members = workflow.groups[end.id]
        members.close()
        return end.state == lifecycle.COMPLETED and members.needs_reading

    def _read_members(self, workflow: WorkflowRun, rest: list[End], told: set[int], now: int) -> None:
        """Read the results of a group, and deliver its end and what comes after it when they are there."""
        held_back = self._reading[workflow.run.id] = [(workflow.consumed + 1, rest, told, now)]

        engine = self._engine

        async def read() -> None:
            group_id = rest[0].id
            found = await read_for(engine.clock, workflow.run.id, lambda: engine.queries.members(group_id))
            if workflow.is_closed:
                return
            workflow.groups[group_id].read(found)
            if self._reading.get(workflow.run.id) is held_back:
                del self._reading[workflow.run.id]
                for delivery in held_back:
                    self._deliver(workflow, *delivery)

        self._tasks_under_way.add(task := asyncio.get_running_loop().create_task(read()))
        task.add_done_callback(self._tasks_under_way.discard)

    def on_group(self, group: NewRun) -> None:
        """Add the first members of a group that was just inserted."""
        workflow = self._held.get(group.parent_id)
        if workflow is not None and group.id in workflow.groups:
            self._groups[group.id] = workflow
            self._pull(workflow, group.id)

    def _pull(self, workflow: WorkflowRun, group_id: int) -> None:
        members = workflow.groups[group_id]
        was_open = members.is_open
        try:
            new = members.pull()
        except Exception as error:  # noqa: BLE001 - the items are the workflow's code
            self._fail_items(workflow, group_id, error)
            return
        for run in new:
            self._intake.admit(run)
        if new:
            self._engine.commits.spawn(new)
            self._intake.request()
        if was_open and not members.is_open:
            self._engine.commits.seal(group_id, workflow.epoch)

    def _on_member_ends(self, group_id: int, first_seq: int, ends: list[End]) -> None:
        workflow = self._groups.get(group_id)
        if workflow is not None:
            workflow.groups[group_id].on_ended(first_seq, ends)
            self._pull(workflow, group_id)

    def _go_on_with_groups(self, workflow: WorkflowRun) -> None:
        """Pull the items that an earlier life has not, once its calls are known."""
        for id, members in workflow.groups.items():
            if id not in self._groups and members.is_open and members.needs_reading:
                self._groups[id] = workflow
                task = asyncio.get_running_loop().create_task(self._go_on_with(workflow, id))
                self._tasks_under_way.add(task)
                task.add_done_callback(self._tasks_under_way.discard)

    async def _go_on_with(self, workflow: WorkflowRun, group_id: int) -> None:
        engine = self._engine
        spawned, open_, is_sealed = await read_for(
            engine.clock, workflow.run.id, lambda: engine.queries.group(group_id)
        )
        members = workflow.groups.get(group_id)
        if members is None or workflow.is_closed or not members.is_open:
            return
        if is_sealed:
            members.close()
            return
        after, page = "", [("", 0, 0)]
        while page:
            page = await read_for(
                engine.clock, workflow.run.id, partial(engine.queries.member_digests, group_id, after)
            )
            if workflow.is_closed or not members.is_open:
                return
            try:
                members.pass_over((id, digest) for _, id, digest in page)
            except ItemsChanged as changed:
                workflow.stand_still(str(changed))
                self._after_turn(workflow)
                return
            except Exception as error:  # noqa: BLE001 - the items are the workflow's code
                self._fail_items(workflow, group_id, error)
                return
            after = page[-1][0] if page else after
        members.go_on(spawned - open_)
        self._pull(workflow, group_id)

    def _fail_items(self, workflow: WorkflowRun, group_id: int, error: Exception) -> None:
        """End a group whose items raise: its owner hears of it as of a member that failed."""
        members = workflow.groups[group_id]
        members.close()
        failed = items_error(members.what, group_id, failure_text(error))
        self._engine.commits.seal(group_id, workflow.epoch, failed)

    def _after_turn(self, workflow: WorkflowRun) -> None:
        """Send what a turn asked for; end the run if its code has ended."""
        commits, outbox = self._engine.commits, workflow.take_outbox()
        for run in outbox.new:
            if run.kind in (TASK, WORKFLOW):
                self._intake.admit(run)
        if outbox.new:
            commits.spawn(outbox.new)
            self._intake.request()
        for timer_id in outbox.drops:
            commits.drop(timer_id)
        if outbox.cancels:
            commits.cancel(outbox.cancels)
        if workflow.is_over and not workflow.is_reported:
            workflow.is_reported = True
            for id, members in workflow.groups.items():
                if members.is_open and workflow.broken is None:
                    members.close()
                    commits.seal(id, workflow.epoch)
            if workflow.broken is not None:
                log.error("run %s is paused: %s", workflow.run.id, workflow.broken)
                commits.block(Block(workflow.run.id, workflow.epoch, workflow.broken))
            elif workflow.end is not None and workflow.end.state == lifecycle.COMPLETED:
                commits.returned(workflow.end)
            elif workflow.end is not None:
                commits.end_parent(workflow.end)

    def _on_replayed(self, workflow: WorkflowRun, held_back: HeldBack) -> None:
        self._replays.pop(workflow.run.id, None)
        self._go_on_with_groups(workflow)
        self._after_turn(workflow)
        for first_seq, ends, told, now in held_back:
            if not workflow.is_over:
                self._deliver(workflow, first_seq, ends, told, now)

    def reject(self, workflow: WorkflowRun, error: Exception) -> None:
        """Fail the run on whose behalf the store refused something."""
        run = workflow.run
        end = End(run.id, workflow.epoch, run.parent_id, lifecycle.FAILED, None, failure_text(error))
        self._engine.commits.end_parent(end)

    def reject_group(self, group_id: int, error: Exception) -> None:
        """Fail the owner of a group of which the store refused something; one that has returned, only the group."""
        workflow = self._groups.pop(group_id, None)
        if workflow is not None:
            workflow.groups[group_id].close()
            self.reject(workflow, error)
            self._engine.commits.cancel((group_id,))

    def on_settled(self, batch: Batch, outcome: Outcome) -> None:
        """Forget what has ended, returned, left memory, or stands still."""
        for command in (*batch.ends, *batch.returns, *batch.blocks):
            self.forget(command.id, command.epoch)
        for eviction in batch.evictions:
            held_back = self._evicting.pop(eviction.id, [])
            workflow = self._held.get(eviction.id)
            if eviction.id in outcome.evicted:
                self.forget(eviction.id, eviction.epoch)
            elif workflow is not None:
                self._on_replayed(workflow, held_back)

    def forget(self, id: int, epoch: int) -> None:
        """Drop a workflow; what its code still does on its way out reaches nothing."""
        workflow = self._held.get(id)
        if workflow is not None and workflow.epoch == epoch:
            del self._held[id]
            self._replays.pop(id, None)
            self._evicting.pop(id, None)
            self._reading.pop(id, None)
            for group_id in workflow.groups:
                self._groups.pop(group_id, None)
            self._intake.workflows.in_hand -= 1
            workflow.close()

    def _evict_idle(self) -> None:
        """Let workflows that have waited for a while leave memory; they come back when something is delivered."""
        now = self._engine.clock.now_ms()
        pinned = 0
        for id, workflow in self._held.items():
            # A longer record takes longer to replay: it stays longer, so that replays never cost more than they save.
            patience = IDLE_MS + 10 * workflow.consumed
            is_idle = now - workflow.idle_since >= patience and not workflow.is_over and id not in self._reading
            if any(members.is_open for members in workflow.groups.values()):
                pinned += is_idle  # only it can add what is left of the items
                continue
            if is_idle and id not in self._evicting and id not in self._replays:
                self._evicting[id] = []
                self._engine.commits.evict(Eviction(id, workflow.epoch, workflow.consumed))
        self._intake.workflows.pinned = pinned
        if pinned:
            self._intake.request()
        self._sweep = self._engine.clock.call_at(now + IDLE_MS, self._evict_idle) if self._held else None

    def stop(self) -> None:
        """Let nothing more go."""
        if self._sweep is not None:
            self._sweep.cancel()

    def abandon(self) -> None:
        """Drop everything."""
        self.stop()
        for id, epoch in self.held():
            self.forget(id, epoch)
