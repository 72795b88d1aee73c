"""Decides what this worker takes: new runs that are inserted as already claimed, and claims of what is pending.

A run is inserted as claimed only if nothing older waits for the same kind of place. On SQLite one engine sees every
insert, so it knows; nothing has to be guessed from how the last claim went.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fanfold.engine.engine import Engine
from fanfold.model import lifecycle
from fanfold.model.commands import Batch, ClaimRequest, Outcome
from fanfold.model.run import NewRun
from fanfold.worker.task import Task

# A new run is in memory anyway, with its handle: inserting it as pending would save nothing and cost a claim (a third
# of the time of a fan-out). Beyond this many it waits in the table all the same.
MOST_IN_MEMORY = 100_000


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

    def admit(self, run: NewRun) -> None:
        """Take a new run at once if it could start and nothing older waits; else leave it pending."""
        self.queues.add(run.queue)
        if not self._may_be_pending and self.in_hand < MOST_IN_MEMORY and run.name in self._tasks:
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
        room = self._most - self.in_hand
        if not self._may_be_pending or self._requests or room <= 0 or not self._wants():
            return
        names = tuple(name for name, task in self._tasks.items() if task.kind == self._kind)
        self._may_be_pending = False
        self._requests = len(self.queues) if names else 0
        for queue in self.queues if names else ():
            self._engine.commits.claim(ClaimRequest(queue, names, room))

    def on_committed(self, batch: Batch, outcome: Outcome) -> None:
        """Take note of what was inserted as pending, and of claims that came back full."""
        if self._unclaimable:
            self._unclaimable -= sum(
                run.state == lifecycle.PENDING and run.kind == self._kind and not run.delay_ms for run in batch.new
            )
            self._may_be_pending = True
        for request in batch.claims:
            if self._tasks[request.names[0]].kind == self._kind:
                self._requests -= 1
                self._may_be_pending = self._may_be_pending or request in outcome.filled
