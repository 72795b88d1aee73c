"""Durable timers: one alarm for the earliest, set again after each commit that touched a timer."""

from __future__ import annotations

from collections.abc import Callable

from fanfold.model.clock import Alarm, Clock


class Timers:
    """Calls `fire` when the earliest timer is due by the engine clock, never before."""

    def __init__(self, clock: Clock, fire: Callable[[], None]) -> None:
        self._clock = clock
        self._fire = fire
        self._due: int | None = None
        self._alarm: Alarm | None = None

    def set(self, due_ms: int | None) -> None:
        """Take note of when the earliest timer of the store is due."""
        if due_ms is None or (self._due is not None and self._due <= due_ms):
            return
        self.close()
        self._due = due_ms
        self._alarm = self._clock.call_at(due_ms, self._ring)

    def _ring(self) -> None:
        self._due = self._alarm = None
        self._fire()

    def close(self) -> None:
        """Ring no more."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._due = self._alarm = None
