"""Finds what a lost report left behind: a lost wake-up costs time, never truth.

It only reads, and asks for what it finds as commands with the same guards as everybody else's: a sweep that looked
at something old changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from fanfold.model.clock import Alarm, Clock
from fanfold.store.queries import Queries

EVERY_MS = 30_000


class Commands(Protocol):
    """What a sweep may ask for."""

    def release(self, id: int) -> None:
        """Give a run back."""
        ...

    def settle(self, id: int) -> None:
        """Complete a sealed parent whose last child has ended."""
        ...

    def wake(self, id: int) -> None:
        """Make a workflow out of memory claimable if something was delivered to it."""
        ...


class Sweeper:
    """Looks every 30 seconds while the engine has work."""

    def __init__(
        self, clock: Clock, queries: Queries, commands: Commands, owner: int, knows: Callable[[int], bool]
    ) -> None:
        self._clock = clock
        self._queries = queries
        self._commands = commands
        self._owner = owner
        self._knows = knows
        self._unknown: set[int] = set()
        self._alarm: Alarm | None = None
        self._sweeping: asyncio.Task[None] | None = None

    def arm(self) -> None:
        """Look again after a while; called after every commit."""
        if self._alarm is None:
            loop = asyncio.get_running_loop()
            self._alarm = self._clock.call_at(self._clock.now_ms() + EVERY_MS, lambda: self._ring(loop))

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._alarm = None
        self._sweeping = loop.create_task(self.sweep())

    async def sweep(self) -> None:
        """Look once."""
        held = set(await self._queries.held(self._owner))
        unknown = {id for id in held if not self._knows(id)}
        # Twice unknown: what was committed a moment ago may not have been dealt out yet.
        for id in unknown & self._unknown:
            self._commands.release(id)
        self._unknown = unknown
        for id in await self._queries.unsettled():
            self._commands.settle(id)
        for id in await self._queries.behind():
            self._commands.wake(id)
        if held:
            self.arm()

    def close(self) -> None:
        """Look no more."""
        if self._alarm is not None:
            self._alarm.cancel()
        if self._sweeping is not None:
            self._sweeping.cancel()
