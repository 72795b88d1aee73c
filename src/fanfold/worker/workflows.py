"""The workflows that this worker holds: stepped through what is delivered, brought back by replay, let go when idle."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from fanfold.engine.engine import Engine
from fanfold.model import lifecycle
from fanfold.model.clock import Alarm
from fanfold.model.commands import Batch, Block, Eviction, Outcome, Siblings
from fanfold.model.run import TASK, WORKFLOW, Claimed, End, NewRun
from fanfold.worker.claims import Intake
from fanfold.worker.failures import failure_text
from fanfold.worker.feeds import Feeds, page_input
from fanfold.worker.folds import Fold
from fanfold.worker.replay import HeldBack, Replay
from fanfold.worker.task import Task
from fanfold.worker.workflow import WorkflowRun
from fanfold.worker.workflow_groups import PageCall

IDLE_MS = 5_000  # then a workflow that waits leaves memory

log = logging.getLogger("fanfold")


class Workflows:
    """The workflow runs of one worker."""

    def __init__(
        self, engine: Engine, tasks: Mapping[str, Task[..., Any]], intake: Intake, feeds: Feeds
    ) -> None:  # fmt: skip
        self._engine = engine
        self._tasks = tasks
        self._intake = intake
        self._held: dict[int, WorkflowRun] = {}
        self._replays: dict[int, Replay] = {}
        self._evicting: dict[int, HeldBack] = {}
        self._reading: dict[int, HeldBack] = {}  # what came while the results of a group were read
        self._sweep: Alarm | None = None
        self.feeds = feeds

    def get(self, id: int) -> WorkflowRun | None:
        """Return what is held of a run."""
        return self._held.get(id)

    def held(self) -> Iterable[tuple[int, int]]:
        """Yield what is in this worker's hands: (run, epoch)."""
        return [(id, workflow.epoch) for id, workflow in self._held.items()]

    @property
    def under_way(self) -> int:
        """How many replays have not come to their end."""
        return sum(not replay.is_waiting for replay in self._replays.values())

    def start(self, run: NewRun | Claimed, epoch: int, now: int) -> None:
        """Run a workflow from the top, through what is recorded of it."""
        engine = self._engine
        workflow = WorkflowRun(run, epoch, self._tasks, now, engine.store_id, engine.ids.take)
        workflow.on_filled = partial(self._on_filled, workflow)
        self._held[run.id] = workflow
        if self._sweep is None:
            self._sweep = engine.clock.call_at(now + IDLE_MS, self._evict_idle)
        if isinstance(run, Claimed) and run.has_children:
            self._replays[run.id] = Replay(workflow, engine.queries, engine.clock, self, self._on_replayed)
        else:
            workflow.begin()
            self._after_turn(workflow)

    def on_delivered(self, parent_id: int, first_seq: int, ends: list[End], told: set[int], now: int) -> None:
        """Step a workflow through what was delivered to it."""
        workflow = self._held.get(parent_id)
        if workflow is None:
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
            if self.must_read(workflow, rest[0]):
                self._read_first(workflow, rest, told, now)
                return
            ready, first = self._until_group(workflow, rest), rest[0]
            rest = rest[workflow.deliver(ready, told, now) :]
            self.over(workflow, first)
            self._after_turn(workflow)
        if rest and workflow.groups.feeds:
            for end in rest:  # nobody hears of them any more, but what is left to do depends on them
                self.must_read(workflow, end)
                self.over(workflow, end)
            self._on_filled(workflow)

    # Groups ----------------------------------------------------------------------------------------------------------

    @staticmethod
    def _until_group(workflow: WorkflowRun, ends: list[End]) -> list[End]:
        """Return the ends up to the next group's or page's, whose results may have to be read first."""
        groups = workflow.groups
        if not groups.feeds:
            return ends
        later = (place for place, end in enumerate(ends) if place and groups.knows(end.id))
        return ends[: next(later, len(ends))]

    def must_read(self, workflow: WorkflowRun, end: End) -> bool:
        """Tell whether results must be read before an end can be handed to the code; note a group's end."""
        groups = workflow.groups
        if not groups.feeds:
            return False
        feed = groups.feeds.get(end.id)
        if feed is not None and feed.end is None:
            self.feeds.on_group_end(feed, end)
        return groups.must_read(end)

    async def read(self, workflow: WorkflowRun, end: End) -> None:
        """Read the results without which an end cannot be handed to the code."""
        page, feed = workflow.groups.pages.get(end.id), workflow.groups.feeds.get(end.id)
        if page is not None and page.upto is not None:
            members = await self.feeds.outcomes(page.feed, page.after, page.upto)
            page.members = members
        elif feed is not None:
            feed.members.read(await self.feeds.all_outcomes(feed))
        workflow.groups.read.add(end.id)

    def over(self, workflow: WorkflowRun, end: End) -> None:
        """Take note of what was delivered."""
        workflow.groups.over(end)

    def _read_first(self, workflow: WorkflowRun, rest: list[End], told: set[int], now: int) -> None:
        """Read what the first of these ends needs, and deliver them when it is there."""
        held_back = self._reading[workflow.run.id] = [(workflow.consumed + 1, rest, told, now)]

        async def read() -> None:
            await self.read(workflow, rest[0])
            if not workflow.is_closed and self._reading.get(workflow.run.id) is held_back:
                del self._reading[workflow.run.id]
                for delivery in held_back:
                    self._deliver(workflow, *delivery)

        self.feeds.work(read())

    def _take_calls(self, workflow: WorkflowRun) -> None:
        """Do what the code asked of its groups; not before its calls are known to fit the record."""
        groups = workflow.groups
        opened, groups.opened = groups.opened, []
        closed, groups.closed = groups.closed, []
        folds, groups.folds = groups.folds, []
        asked, groups.asked = groups.asked, []
        if workflow.broken is not None or workflow.is_closed:
            return
        for feed in opened:
            if feed.end is None or feed.is_streamed:
                groups.take_up(feed, self.feeds)
        for feed in closed:
            if feed.end is None:
                self.feeds.seal(feed)
        for call in folds:
            if call.handle.done():
                continue  # given up in the same turn, or in a replay
            groups.take_up(call.feed, self.feeds)
            drops = None if call.feed.members.policy.keeps_results else call.feed.id
            fold = Fold(
                call.row, workflow.epoch, call.step, call.initial, call.codec, drops=drops,
                commits=self._engine.commits, clock=self._engine.clock,
            )  # fmt: skip
            groups.folding[call.row.id] = fold
            self.feeds.fold(call.feed, fold, is_known=call.is_known)
        for page in asked:
            if page.upto is None:
                groups.take_up(page.feed, self.feeds)
                self.feeds.page(page.feed, page.after, partial(self._hand_out, workflow, page))
            elif page.is_pending:
                self._engine.commits.page(page.end)

    def _hand_out(self, workflow: WorkflowRun, page: PageCall, upto: int) -> None:
        """Record that a page is handed out; it is, once that is committed and delivered."""
        if not workflow.is_closed:
            page.upto = upto
            page.row.input = page_input(page.feed, page.after, upto)
            self._engine.commits.spawn([page.row])
            self._engine.commits.page(page.end)

    def _after_turn(self, workflow: WorkflowRun) -> None:
        """Send what a turn asked for; end the run if its code has ended."""
        commits, outbox = self._engine.commits, workflow.take_outbox()
        for run in outbox.new:
            if run.kind in (TASK, WORKFLOW):
                self._intake.admit(run)
        if outbox.new:
            commits.spawn(outbox.new)
            self._intake.request()
        if outbox.members:
            feeds = workflow.groups.feeds
            self.feeds.insert([run for run in outbox.members if feeds[run.parent_id].end is None])
        for timer_id in outbox.drops:
            commits.drop(timer_id)
        if outbox.cancels:
            commits.cancel(outbox.cancels)
        if workflow.groups.feeds:
            self._take_calls(workflow)
        if workflow.is_over and not workflow.is_reported:
            self._report(workflow)

    def _report(self, workflow: WorkflowRun) -> None:
        """Record how a run ended, as soon as nothing is left that only it can do: items to pull, folds to finish."""
        commits = self._engine.commits
        if workflow.broken is not None:
            workflow.is_reported = True
            log.error("run %s is paused: %s", workflow.run.id, workflow.broken)
            commits.block(Block(workflow.run.id, workflow.epoch, workflow.broken))
        elif workflow.end is not None and workflow.end.state != lifecycle.COMPLETED:
            workflow.is_reported = True
            commits.end_parent(workflow.end)
        elif workflow.end is not None:
            for feed in workflow.groups.feeds.values():
                if feed.members.items is None and feed.members.is_open and feed.end is None:
                    feed.members.close()
                    commits.seal(feed.id, feed.epoch)
            if not workflow.groups.is_busy and not workflow.is_reported:
                workflow.is_reported = True
                if workflow.siblings is None:
                    commits.returned(workflow.end)
                else:
                    commits.siblings(Siblings(workflow.end, workflow.siblings.new))

    def _on_filled(self, workflow: WorkflowRun) -> None:
        if workflow.is_over and not workflow.is_reported and not workflow.is_closed:
            self._report(workflow)

    def _on_replayed(self, workflow: WorkflowRun, held_back: HeldBack) -> None:
        self._replays.pop(workflow.run.id, None)
        self._after_turn(workflow)
        for delivery in held_back:
            if not workflow.is_closed:
                self._deliver(workflow, *delivery)

    def reject(self, workflow: WorkflowRun, error: Exception) -> None:
        """Fail the run on whose behalf the store refused something."""
        run = workflow.run
        end = End(run.id, workflow.epoch, run.parent_id, lifecycle.FAILED, None, failure_text(error))
        self._engine.commits.end_parent(end)

    def on_settled(self, batch: Batch, outcome: Outcome) -> None:
        """Forget what has ended, returned, left memory, or stands still."""
        for command in (*batch.ends, *batch.returns, *batch.siblings, *batch.blocks):
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
            for feed in workflow.groups.feeds.values():
                self.feeds.forget(feed)
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
            if workflow.groups.is_busy:
                pinned += is_idle  # only it can add what is left of the items, or take what they deliver
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
