"""Finds what a lost report left behind: a lost wake-up costs time, never truth.

It only reads, and asks for what it finds as commands with the same guards as everybody else's: a sweep that looked
at something old changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from fanfold.model.clock import Alarm, Clock
from fanfold.store.queries import Queries

EVERY_MS = 30_000

log = logging.getLogger("fanfold")


class Commands(Protocol):
    """The stream of commits, as a sweep sees it."""

    @property
    def unheard(self) -> int | None:
        """Return the number of the batch that nobody has heard of yet, None if there is none."""
        ...

    def release(self, id: int, epoch: int) -> None:
        """Give a run back that is held in this epoch."""
        ...

    def settle(self, id: int) -> None:
        """Complete a sealed parent whose last child has ended."""
        ...

    def wake(self, id: int) -> None:
        """Make a workflow out of memory claimable if something was delivered to it."""
        ...


class Holder(Protocol):
    """The worker, as a sweep sees it."""

    def held(self) -> set[tuple[int, int]]:
        """Return what is in this worker's hands: (run, epoch)."""
        ...

    def lose(self, id: int, epoch: int) -> None:
        """Drop a run that the table says somebody else holds, or nobody."""
        ...


class Sweeper:
    """Looks every 30 seconds while the engine has work."""

    def __init__(self, clock: Clock, queries: Queries, commands: Commands, owner: int, holder: Holder) -> None:
        self._clock = clock
        self._queries = queries
        self._commands = commands
        self._owner = owner
        self._holder = holder
        self._unknown: set[tuple[int, int]] = set()
        self._missing: set[tuple[int, int]] = set()
        self._unheard: int | None = None
        self._alarm: Alarm | None = None
        self._sweeping: asyncio.Task[None] | None = None

    def arm(self) -> None:
        """Look again after a while; called after every commit."""
        if self._alarm is None:
            loop = asyncio.get_running_loop()
            self._alarm = self._clock.call_after(EVERY_MS, lambda: self._ring(loop))

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._alarm = None
        self._sweeping = loop.create_task(self._look())

    async def _look(self) -> None:
        try:
            await self.sweep()
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not have been the last look
            log.warning("a sweep ended before its time, the next one comes: %s", error)
            self.arm()

    async def sweep(self) -> None:
        """Look once."""
        unheard = self._commands.unheard
        recorded = await self._queries.held(self._owner)
        held = self._holder.held()
        unknown, missing = recorded - held, held - recorded
        # Found twice: what is committed may not have been dealt out yet. For as long as it takes: while the outcome of
        # a commit cannot be looked up, the table shows what it did, and nobody has heard of it.
        if unheard is None or unheard != self._unheard:
            for id, epoch in unknown & self._unknown:
                self._commands.release(id, epoch)
            for id, epoch in missing & self._missing:
                self._holder.lose(id, epoch)
        self._unknown, self._missing, self._unheard = unknown, missing, unheard
        for id in await self._queries.unsettled():
            self._commands.settle(id)
        for id in await self._queries.behind():
            self._commands.wake(id)
        if held or recorded:
            self.arm()

    def close(self) -> None:
        """Look no more."""
        if self._alarm is not None:
            self._alarm.cancel()
        if self._sweeping is not None:
            self._sweeping.cancel()
