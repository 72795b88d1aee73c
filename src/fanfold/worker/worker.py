"""The worker: takes runs from the engine, hands them to where tasks or workflows are run, and passes on what it hears.

Everything here runs on the engine's loop, in plain callbacks after a commit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from fanfold.engine.engine import Engine
from fanfold.model import lifecycle
from fanfold.model.commands import Batch, Existing, Outcome
from fanfold.model.run import GROUP, ROOT, WORKFLOW, Claimed, End, NewRun
from fanfold.store.at_work import AtWork
from fanfold.worker.bodies import Bodies
from fanfold.worker.body import Body
from fanfold.worker.claims import Intake
from fanfold.worker.context import is_member
from fanfold.worker.executors.executors import Places
from fanfold.worker.feeds import Feeds
from fanfold.worker.task import Task
from fanfold.worker.workflow import WorkflowRun
from fanfold.worker.workflows import Workflows

log = logging.getLogger("fanfold")


class Worker:
    """Runs the tasks and workflows of one app for one engine."""

    def __init__(
        self, engine: Engine, tasks: Mapping[str, Task[..., Any]], places: Places, at_work: AtWork, state: Any = None
    ) -> None:
        """`state` is what the app's lifespan yielded in this process."""
        self._engine = engine
        self._intake = Intake(engine, tasks, places.slots, self._wants_tasks)
        self._feeds = Feeds(engine, self._intake)
        self._bodies = Bodies(engine, tasks, self._intake, self._feeds, places, at_work)
        self._bodies.state = state
        self._workflows = Workflows(engine, tasks, self._intake, self._feeds)

    @property
    def slots(self) -> Any:
        """How many bodies run, and may run, at once."""
        return self._bodies.slots

    def admit(self, run: NewRun) -> None:
        """Decide whether a new run is inserted as already claimed."""
        self._intake.admit(run)

    def _wants_tasks(self) -> bool:
        """Tell whether bodies are about to run short: claims come in large batches, not one by one."""
        return self._bodies.waiting < self._bodies.slots.most

    # What is held ----------------------------------------------------------------------------------------------------

    def holds(self, id: int) -> bool:
        """Tell whether a run is in this worker's hands and has not ended."""
        return self._held(id) is not None

    def held(self) -> set[tuple[int, int]]:
        """Return what is in this worker's hands: (run, epoch)."""
        return {*self._bodies.held(), *self._workflows.held()}

    def _held(self, id: int) -> Body | WorkflowRun | None:
        return self._bodies.get(id) or self._workflows.get(id)

    def lose(self, id: int, epoch: int) -> None:
        """Drop a run that the table says somebody else holds, or nobody; what its code still does reaches nothing."""
        held = self._held(id)
        if held is None or held.epoch != epoch:
            return
        log.warning("run %s: its lease (epoch %s) is lost; what it does now is not recorded", id, epoch)
        if isinstance(held, Body):
            self._bodies.lose(held)
        self._workflows.forget(id, epoch)
        self._intake.look()

    # What the engine reports -----------------------------------------------------------------------------------------

    def on_inserted(self, run: NewRun, now: int) -> None:
        """Start a run that was inserted as claimed, or fill a group."""
        if run.kind == GROUP:
            self._feeds.on_inserted(run.id)
        else:
            self._start(run, 1, now, now)

    def on_claimed(self, runs: Iterable[Claimed]) -> None:
        """Start runs that were claimed."""
        now = self._engine.clock.now_ms()
        for run in runs:
            older = self._held(run.id)
            if older is not None:
                self.lose(run.id, older.epoch)  # nobody heard that its lease had ended
            self._intake.on_claimed(run)
            self._start(run, run.epoch, now, run.created_at)

    def _start(self, run: NewRun | Claimed, epoch: int, now: int, created_at: int) -> None:
        if run.kind == WORKFLOW:
            self._workflows.start(run, epoch, now)
        else:
            self._bodies.start(run, epoch, created_at)

    def on_refused(self, run: NewRun, existing: Existing | None) -> None:
        """Take note that a run was not inserted: a root whose key is taken, or a child."""
        if run.state == lifecycle.RUNNING:
            self._intake.of(run.kind).in_hand -= 1
        if existing is None or run.parent_id == ROOT or self._feeds.on_existing(run, existing):
            return
        if is_member(run):
            return  # its group has ended, or its owner is not in memory
        if self._bodies.get(run.parent_id) is not None:
            self._bodies.on_existing(run, existing)
        else:
            log.error("run %s: its child %s %s exists already as run %s", run.parent_id, run.name, run.key, existing.id)

    def on_dropped(self, runs: Iterable[NewRun]) -> None:
        """Take note that runs will not be inserted: something of their parent was refused."""
        for run in runs:
            self._intake.of(run.kind).forget(run)

    def on_delivered(self, parent_id: int, first_seq: int, ends: list[End], told: set[int], now: int) -> None:
        """Tell a run of the ends of its children."""
        if self._feeds.on_ends(parent_id, first_seq, ends):
            return
        self._workflows.on_delivered(parent_id, first_seq, ends, told, now)
        self._bodies.on_delivered(parent_id, ends)

    def on_settled(self, batch: Batch, outcome: Outcome) -> None:
        """Forget what has ended, is tried again, left memory or was lost; and claim."""
        self._bodies.on_settled(batch, outcome)
        self._workflows.on_settled(batch, outcome)
        for id in outcome.lost:
            log.warning("run %s: a result came after its lease was lost; it is not recorded", id)
        self._intake.on_committed(batch, outcome)

    def on_asked_roots(self, roots: set[int]) -> None:
        """Hear that nothing but compensation may start below these roots, of what is held or comes by this commit."""
        self._bodies.on_asked_roots(roots)

    def on_stopping(self, ids: list[int]) -> None:
        """Ask running tasks to end."""
        self._bodies.cancel(ids)

    def on_queues(self, queues: Iterable[str]) -> None:
        """Take note of queues in which something is pending."""
        self._intake.on_queues(queues)

    def on_suspects(self) -> None:
        """Hear that there are runs which were at work in one dead process after the other."""
        self._intake.on_suspects()

    def on_claimable(self) -> None:
        """There may be something to claim."""
        self._intake.look()

    def on_rejected(self, run_id: int, error: Exception) -> None:
        """Fail the run on whose behalf the store refused something."""
        workflow, body = self._workflows.get(run_id), self._bodies.get(run_id)
        if workflow is not None:
            self._workflows.reject(workflow, error)
        elif body is not None:
            self._bodies.reject(body, error)
        else:
            feed = self._feeds.get(run_id)
            if feed is not None:
                self._feeds.forget(feed)
                self._engine.commits.cancel((run_id,))
                self.on_rejected(feed.members.group.parent_id, error)

    # The end ---------------------------------------------------------------------------------------------------------

    async def stop(self, grace_s: float) -> int:
        """Start nothing any more, give bodies `grace_s` seconds, give the rest back; return how many those are."""
        self._intake.stop()
        self._bodies.stop()
        self._workflows.stop()
        if self.slots.taken and grace_s > 0:
            await self._wait_for_bodies(grace_s)
        await self._engine.commits.idle()
        left = self.held()
        for id, epoch in sorted(left):
            self._engine.commits.release(id, epoch)
        await self._engine.commits.idle()
        await self._bodies.close()
        self.abandon()
        return len(left)

    def abandon(self) -> None:
        """Drop everything, as a process does that dies: nothing is given back, no code goes on."""
        self._intake.stop()
        self._bodies.abandon()
        self._workflows.abandon()

    @property
    def under_way(self) -> int:
        """How many bodies and replays have not come to their end; what waits for children is not counted."""
        return self._bodies.under_way + self._workflows.under_way + self._feeds.under_way

    async def _wait_for_bodies(self, grace_s: float) -> None:
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def ring() -> None:
            if not over.done():
                over.set_result(None)

        alarm = self._engine.clock.call_after(round(grace_s * 1000), ring)
        try:
            while self.slots.taken and not over.done():
                await asyncio.wait({over}, timeout=0.02)
        finally:
            alarm.cancel()
