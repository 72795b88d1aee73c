"""Decides what this worker takes: new runs that are inserted as already claimed, and claims of what is pending.

A run is inserted as claimed only if nothing older waits for the same kind of place, or if a body in this process is
about to wait for it. On SQLite one engine sees every insert, so it knows; nothing has to be guessed from how the last
claim went.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fanfold.engine.engine import Engine
from fanfold.model import lifecycle
from fanfold.model.commands import Batch, ClaimRequest, Outcome
from fanfold.model.run import SUSPECT, TASK, TIMER, WORKFLOW, Claimed, NewRun
from fanfold.worker.task import Task

# A new run is in memory anyway, with its handle: inserting it as pending would save nothing and cost a claim (a third
# of the time of a fan-out). Beyond this many it waits in the table all the same.
MOST_IN_MEMORY = 100_000
LOOK_AHEAD = 9_000  # tasks claimed beyond the slots, so that short bodies never wait for a commit
MOST_WORKFLOWS = 10_000  # held in memory at once


class Claims:
    """What is claimed for one kind of run: tasks, or workflows."""

    def __init__(self, engine: Engine, tasks: Mapping[str, Task[..., Any]], kind: str, most: int,
                 wants: Callable[[], bool]) -> None:  # fmt: skip
        """Hold at most `most` runs at once; claim while `wants()`."""
        self._engine = engine
        self._tasks = tasks
        self._kind = kind
        self._most = most
        self._wants = wants
        # This worker serves every queue; those of the tasks, and whatever else a call has named.
        self.queues = {task.queue for task in tasks.values()}
        self._may_be_pending = False
        self._unclaimable = 0  # new runs left pending whose insert is not committed
        self._requests = 0  # claims under way
        self.in_hand = 0  # runs that are claimed, or being inserted as claimed, and not yet done
        self.pinned = (
            0  # those of them that are idle and cannot leave memory: they must not keep out whom they wait for
        )

    def admit(self, run: NewRun, *, is_wanted: bool) -> None:
        """Take a new run at once if it could start and nothing older waits, or it is wanted; else leave it pending."""
        self.queues.add(run.queue)
        could_start = is_wanted or (not self._may_be_pending and self.in_hand < MOST_IN_MEMORY)
        if could_start and run.name in self._tasks:
            run.state = lifecycle.RUNNING
            self.in_hand += 1
        else:
            self._may_be_pending = True
            self._unclaimable += 1

    def look(self) -> None:
        """There may be something pending."""
        self._may_be_pending = True

    def request(self) -> None:
        """Claim, if something may be pending and there is room."""
        room = self._most + self.pinned - self.in_hand
        if not self._may_be_pending or self._requests or room <= 0 or not self._wants():
            return
        names = tuple(name for name, task in self._tasks.items() if task.kind == self._kind)
        self._may_be_pending = False
        self._requests = len(self.queues) if names else 0
        for queue in self.queues if names else ():
            self._engine.commits.claim(ClaimRequest(queue, names, room))

    def forget(self, run: NewRun) -> None:
        """Take back what was decided of a new run: it is not inserted."""
        if run.state == lifecycle.RUNNING:
            self.in_hand -= 1
        elif not run.delay_ms:
            self._unclaimable -= 1

    def on_committed(self, batch: Batch, outcome: Outcome) -> None:
        """Take note of what was inserted as pending, and of claims that came back full."""
        if self._unclaimable:
            self._unclaimable -= sum(
                run.state == lifecycle.PENDING
                and run.kind == self._kind
                and not run.delay_ms
                and not (run.is_held or run.spawner or run.adopts)
                for run in batch.all_new()
            )
            self._may_be_pending = True
        for request in batch.claims:
            if request.queue is not None and self._tasks[request.names[0]].kind == self._kind:
                self._requests -= 1
                self._may_be_pending = self._may_be_pending or request in outcome.filled


class Intake:
    """What this worker takes, of both kinds."""

    def __init__(
        self, engine: Engine, tasks: Mapping[str, Task[..., Any]], slots: int, wants_tasks: Callable[[], bool]
    ) -> None:
        self._engine = engine
        self._names = tuple(tasks)
        self.tasks = Claims(engine, tasks, TASK, slots + LOOK_AHEAD, wants_tasks)
        self.workflows = Claims(engine, tasks, WORKFLOW, MOST_WORKFLOWS, lambda: True)
        self._delayed = 0  # new runs with a delay whose insert is not committed
        self._may_be_suspects = False
        self._suspect: int | None = None  # the one suspect that is at work, 0 while one is asked for
        self._is_stopped = False

    def of(self, kind: str) -> Claims:
        """Return what is taken of a kind."""
        return self.tasks if kind == TASK else self.workflows

    def admit(self, run: NewRun, *, is_wanted: bool = False) -> None:
        """Decide whether a new run is inserted as already claimed."""
        if run.delay_ms:
            self._delayed += 1
            self.on_queues((run.queue,))
        elif not self._is_stopped:
            self.of(run.kind).admit(run, is_wanted=is_wanted)

    def on_queues(self, queues: Iterable[str]) -> None:
        """Take note of queues in which something is pending."""
        self.tasks.queues.update(queues)
        self.workflows.queues.update(queues)

    def look(self) -> None:
        """Claim: there may be something pending."""
        self.tasks.look()
        self.workflows.look()
        self.request()

    def request(self) -> None:
        """Claim what may be pending, if there is room."""
        if not self._is_stopped:
            self.tasks.request()
            self.workflows.request()
            self._request_suspect()

    def want(self, id: int, available_at: int) -> None:
        """Claim a run as soon as it may start, however full this worker is: a body here waits for it."""
        clock = self._engine.clock
        if available_at > clock.now_ms():
            clock.call_at(available_at, lambda: self.want(id, available_at))
        elif not self._is_stopped:
            self._engine.commits.claim(ClaimRequest(None, self._names, 1, (id,)))

    def retried(self, id: int, when_ms: int, *, is_wanted: bool) -> None:
        """Take note that a run is tried again at a time; `is_wanted` if a body here waits for it."""
        if is_wanted:
            self.want(id, when_ms)
        else:
            self._engine.look_at(when_ms)

    # Suspects --------------------------------------------------------------------------------------------------------

    def on_suspects(self) -> None:
        """Hear that there may be runs whose process died whenever they were at work; they start one by one."""
        self._may_be_suspects = True
        self._request_suspect()

    def _request_suspect(self) -> None:
        if self._may_be_suspects and self._suspect is None and not self._is_stopped:
            self._suspect = 0
            self._engine.commits.claim(ClaimRequest(None, self._names, 1))

    def on_waiting(self, id: int) -> None:
        """Hear that a run waits for its children: it is not at work, and they may be suspects themselves."""
        if id == self._suspect:
            self._suspect = None
            self._may_be_suspects = True

    def on_claimed(self, run: Claimed) -> None:
        """Take note of what was claimed."""
        self.of(run.kind).in_hand += 1
        if run.crashes >= SUSPECT:
            self._suspect = run.id

    def on_committed(self, batch: Batch, outcome: Outcome) -> None:
        """Take note of a batch, and claim again."""
        if self._delayed:
            self._await_delayed(batch, outcome.now)
        self.tasks.on_committed(batch, outcome)
        self.workflows.on_committed(batch, outcome)
        if self._suspect is not None:
            self._look_after_suspect(batch, outcome)
        self.request()

    def _await_delayed(self, batch: Batch, now: int) -> None:
        """Look again when the delayed runs of a batch may start: their time counts from the commit."""
        for run in batch.all_new():
            if run.delay_ms and run.kind != TIMER:
                self._delayed -= 1
                self._engine.look_at(now + run.delay_ms)

    def _look_after_suspect(self, batch: Batch, outcome: Outcome) -> None:
        over = (*batch.ends, *batch.returns, *batch.siblings, *batch.retries, *batch.releases)
        if self._suspect and any(command.id == self._suspect for command in over):
            self._suspect = None
        for request in batch.claims:
            if request.queue is None and not request.ids and not self._suspect:
                self._suspect = None  # there was none, or it must not start any more
                self._may_be_suspects = request in outcome.filled

    def stop(self) -> None:
        """Take nothing any more."""
        self._is_stopped = True
