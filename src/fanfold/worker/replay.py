"""Brings a workflow back into memory: its code runs from the top and is fed what was delivered, in order.

Pages are read between turns; each page is fed from a plain callback. What is delivered meanwhile is held back until
the record has been fed, and is recognised by its place if the record had it already. A page that cannot be read now is
read again a little later: nothing was fed of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from fanfold.errors import FanfoldError
from fanfold.model import lifecycle
from fanfold.model.clock import Alarm, Clock
from fanfold.model.run import EVENT, GROUP, End, Recorded
from fanfold.store.queries import PAGE, Queries
from fanfold.worker.workflow import WorkflowRun

RETRY_MS = 500

HeldBack = list[tuple[int, list[End], set[int], int]]
Page = Callable[[], Coroutine[Any, Any, list[Recorded]]]

log = logging.getLogger("fanfold")


class Replay:
    """One replay under way."""

    def __init__(
        self, workflow: WorkflowRun, queries: Queries, clock: Clock,
        on_replayed: Callable[[WorkflowRun, HeldBack], None],
    ) -> None:  # fmt: skip
        self._workflow = workflow
        self._queries = queries
        self._clock = clock
        self._on_replayed = on_replayed
        self._recorded: list[Recorded] = []
        self._held_back: HeldBack = []
        self._members: dict[int, list[tuple[int, str | None]]] = {}
        self._reading: asyncio.Task[Any] | None = None
        self._retry: Alarm | None = None
        self._read(lambda: queries.children(workflow.run.id), self._on_children)

    @property
    def is_waiting(self) -> bool:
        """Tell whether it stands still until the clock has moved: the store could not be read."""
        return self._retry is not None

    def hold_back(self, first_seq: int, ends: list[End], told: set[int], now: int) -> None:
        """Keep a delivery for later."""
        self._held_back.append((first_seq, ends, told, now))

    def _read(self, page: Page, then: Callable[[list[Recorded]], None]) -> None:
        self._reading = asyncio.get_running_loop().create_task(page())

        def on_read(task: asyncio.Task[list[Recorded]]) -> None:
            if task.cancelled():
                return
            error = task.exception()
            if self._workflow.is_closed:
                return
            if error is None:
                then(task.result())
            elif isinstance(error, FanfoldError):
                log.warning("run %s: its record cannot be read now: %s", self._workflow.run.id, error)
                self._retry = self._clock.call_at(self._clock.now_ms() + RETRY_MS, again)
            else:
                raise error

        def again() -> None:
            self._retry = None
            if not self._workflow.is_closed:
                self._read(page, then)

        self._reading.add_done_callback(on_read)

    def _on_children(self, page: list[Recorded]) -> None:
        self._recorded.extend(page)
        if len(page) == PAGE:
            last = page[-1]
            self._read(lambda: self._queries.children(self._workflow.run.id, last.key, last.name), self._on_children)
            return
        self._workflow.begin(self._recorded)
        self._recorded = []
        self._next()

    def _next(self) -> None:
        if self._workflow.is_over:
            self._finish()
        else:
            consumed = self._workflow.consumed
            self._read(lambda: self._page(consumed), self._on_deliveries)

    async def _page(self, consumed: int) -> list[Recorded]:
        """Read deliveries, and the results of the groups that end among them."""
        page = await self._queries.deliveries(self._workflow.run.id, consumed)
        for child in page:
            if child.kind == GROUP and child.state == lifecycle.COMPLETED:
                self._members[child.id] = await self._queries.members(child.id)
        return page

    def _on_deliveries(self, page: list[Recorded]) -> None:
        workflow = self._workflow
        for child in page:
            members = workflow.groups.get(child.id)
            if members is not None:
                members.close()
                members.read(self._members.pop(child.id, ()))
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
