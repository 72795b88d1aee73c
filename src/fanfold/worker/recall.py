"""Reads the children of a task's earlier attempts, page by page, before its body starts again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from fanfold.model.clock import Clock
from fanfold.model.run import End, Recorded
from fanfold.store.queries import PAGE, Queries
from fanfold.worker.reading import read_for


class Recall:
    """One such reading. What ends meanwhile is noted in what was read."""

    def __init__(self, queries: Queries, clock: Clock, run_id: int, then: Callable[[list[Recorded]], None]) -> None:
        self._clock = clock
        self._queries = queries
        self._run_id = run_id
        self._then = then
        self._ended: dict[int, End] = {}
        self._reading = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        found: list[Recorded] = []
        key = name = ""
        while page := await self._page(key, name):
            found += page
            key, name = page[-1].key, page[-1].name
            if len(page) < PAGE:
                break
        for child in found:
            end = self._ended.get(child.id)
            if end is not None:
                child.state = end.state
        self._then(found)

    async def _page(self, key: str, name: str) -> list[Recorded]:
        return await read_for(self._clock, self._run_id, lambda: self._queries.children(self._run_id, key, name))

    def on_delivered(self, ends: Iterable[End]) -> None:
        """Take note of children that ended while others were read."""
        self._ended.update((end.id, end) for end in ends)
