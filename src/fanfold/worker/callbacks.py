"""What `call_soon` and `call_later` of the durable loop return."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class Ready(list[Any]):
    """A callback in a turn; what `call_soon` returns.

    A list of (callback, arguments, context): made twice for each child of a fan-out, and in C; empty once cancelled.
    """

    __slots__ = ()

    def cancel(self) -> None:
        """Do not call it."""
        self.clear()

    def cancelled(self) -> bool:
        """Tell whether it was cancelled."""
        return not self


class DurableTimer(asyncio.TimerHandle):
    """A callback that waits for a durable timer; what `call_later` returns."""

    timer_id = 0
    _drop: Callable[[int], None] | None = None

    def arm(self, timer_id: int, drop: Callable[[int], None]) -> None:
        """Remember which timer it waits for, and how to drop that."""
        self.timer_id = timer_id
        self._drop = drop

    def cancel(self) -> None:
        """Drop the timer."""
        if not self.cancelled():
            asyncio.Handle.cancel(self)
            if self._drop is not None:
                self._drop(self.timer_id)

    def fire(self) -> None:
        """Call back: the timer's delivery has come."""
        self._drop = None  # asyncio.sleep cancels its timer on the way out, also when it has fired
        if not self.cancelled():
            self._run()
