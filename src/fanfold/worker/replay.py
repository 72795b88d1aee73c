"""Brings a workflow back into memory: its code runs from the top and is fed what was delivered, in order.

Pages are read between turns; each page is fed from a plain callback. What is delivered meanwhile is held back until
the record has been fed, and is recognised by its place if the record had it already. A page that cannot be read now is
read again a little later: nothing was fed of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol

from fanfold.errors import FanfoldError
from fanfold.model.clock import Alarm, Clock
from fanfold.model.run import EVENT, End, Recorded
from fanfold.store.queries import PAGE, Queries
from fanfold.worker.workflow import WorkflowRun

RETRY_MS = 500

HeldBack = list[tuple[int, list[End], set[int], int]]
Page = Callable[[], Coroutine[Any, Any, list[Recorded]]]

log = logging.getLogger("fanfold")


class Results(Protocol):
    """What reads the results of groups."""

    def must_read(self, workflow: WorkflowRun, end: End) -> bool:
        """Tell whether results must be read before an end can be handed to the code."""
        ...

    async def read(self, workflow: WorkflowRun, end: End) -> None:
        """Read them."""
        ...

    def over(self, workflow: WorkflowRun, end: End) -> None:
        """Take note of what was delivered."""
        ...


class Replay:
    """One replay under way."""

    def __init__(
        self, workflow: WorkflowRun, queries: Queries, clock: Clock, results: Results,
        on_replayed: Callable[[WorkflowRun, HeldBack], None],
    ) -> None:  # fmt: skip
        self._workflow = workflow
        self._queries = queries
        self._clock = clock
        self._on_replayed = on_replayed
        self._recorded: list[Recorded] = []
        self._held_back: HeldBack = []
        self._results = results
        self._heard = 0  # how many deliveries were fed
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
        """Go on with what was delivered. Code that is over takes none of it, but its groups need to hear of it."""
        if self._workflow.is_over and not self._workflow.groups.feeds:
            self._finish()
        else:
            self._read(partial(self._queries.deliveries, self._workflow.run.id, self._heard), self._on_deliveries)

    def _on_deliveries(self, page: list[Recorded]) -> None:
        self._feed(page, is_last=len(page) < PAGE)

    def _feed(self, page: list[Recorded], *, is_last: bool) -> None:
        """Hand deliveries to the code, up to one whose results must be read first."""
        workflow = self._workflow
        for place, child in enumerate(page):
            end = End(child.id, 0, workflow.run.id, child.state, child.output, child.error)
            must_read = self._results.must_read(workflow, end)
            if must_read and not workflow.is_over:
                self._read(partial(self._with_results, end, page[place:]), partial(self._feed, is_last=is_last))
                return
            self._heard += 1
            if not workflow.is_over:
                workflow.deliver((end,), (child.id,) if child.kind == EVENT else (), child.finished_at or 0)
            self._results.over(workflow, end)
        if is_last:
            self._finish()
        else:
            self._next()

    async def _with_results(self, end: End, rest: list[Recorded]) -> list[Recorded]:
        await self._results.read(self._workflow, end)
        return rest

    def _finish(self) -> None:
        # Only now do new calls go out: what does not fit the record must start nothing.
        self._workflow.end_replay()
        self._on_replayed(self._workflow, self._held_back)
