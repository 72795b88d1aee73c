"""Brings a workflow back into memory: its code runs from the top and is fed what was delivered, in order.

Pages are read between turns; each page is fed from a plain callback. What is delivered meanwhile is held back until
the record has been fed, and is recognised by its place if the record had it already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from fanfold.model.run import EVENT, End, Recorded
from fanfold.store.queries import PAGE, Queries
from fanfold.worker.workflow import WorkflowRun

HeldBack = list[tuple[int, list[End], set[int], int]]


class Replay:
    """One replay under way."""

    def __init__(
        self, workflow: WorkflowRun, queries: Queries, on_replayed: Callable[[WorkflowRun, HeldBack], None]
    ) -> None:
        self._workflow = workflow
        self._queries = queries
        self._on_replayed = on_replayed
        self._recorded: list[Recorded] = []
        self._held_back: HeldBack = []
        self._reading: asyncio.Task[Any] | None = None
        self._read(self._queries.children(workflow.run.id), self._on_children)

    def hold_back(self, first_seq: int, ends: list[End], told: set[int], now: int) -> None:
        """Keep a delivery for later."""
        self._held_back.append((first_seq, ends, told, now))

    def _read(self, page: Coroutine[Any, Any, list[Recorded]], then: Callable[[list[Recorded]], None]) -> None:
        self._reading = asyncio.get_running_loop().create_task(page)

        def on_read(task: asyncio.Task[list[Recorded]]) -> None:
            if not task.cancelled() and not self._workflow.is_closed:
                then(task.result())

        self._reading.add_done_callback(on_read)

    def _on_children(self, page: list[Recorded]) -> None:
        self._recorded.extend(page)
        if len(page) == PAGE:
            self._read(self._queries.children(self._workflow.run.id, page[-1].key, page[-1].name), self._on_children)
            return
        self._workflow.begin(self._recorded)
        self._recorded = []
        self._next()

    def _next(self) -> None:
        if self._workflow.is_over:
            self._finish()
        else:
            self._read(self._queries.deliveries(self._workflow.run.id, self._workflow.consumed), self._on_deliveries)

    def _on_deliveries(self, page: list[Recorded]) -> None:
        workflow = self._workflow
        for child in page:
            end = End(child.id, 0, workflow.run.id, child.state, child.output, child.error)
            workflow.deliver((end,), (child.id,) if child.kind == EVENT else (), child.finished_at or 0)
            if workflow.is_over:
                break
        if len(page) == PAGE:
            self._next()
        else:
            self._finish()

    def _finish(self) -> None:
        # Only now do new calls go out: what does not fit the record must start nothing.
        self._workflow.end_replay()
        self._on_replayed(self._workflow, self._held_back)
