"""How long an attempt may run: its own running time, not the time in which it waits for its children."""

from __future__ import annotations

from collections.abc import Callable

from fanfold.errors import TaskTimedOut
from fanfold.model.clock import Alarm, Clock


class TimedOut(TimeoutError):
    """An attempt ran out of time."""


TimedOut.__name__ = TaskTimedOut.__name__  # what is recorded has the name of what a caller catches


class TimeLimit:
    """One alarm, stopped while the body has no slot."""

    def __init__(self, clock: Clock, left_ms: int, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._left_ms = left_ms
        self._ring = ring
        self._since: int | None = None
        self._alarm: Alarm | None = None
        self.error: TimedOut | None = None  # set when the time is over

    def go(self) -> None:
        """Let time count."""
        if self._since is None:
            self._since = self._clock.steady_ms()
            self._alarm = self._clock.call_after(self._left_ms, self._ring)

    def pause(self) -> None:
        """Let no time count."""
        if self._since is not None:
            self._left_ms -= self._clock.steady_ms() - self._since
            self._since = None
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
