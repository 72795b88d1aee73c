"""Time, injected everywhere: the only place that reads the machine's clocks.

The engine clock is for what is written down: durable timers, delays. It never goes back and never stands still: it is
the last value plus the monotonic time since then, and never less than the wall, so that what came due while a laptop
slept fires when it wakes. When it is ahead of the wall it runs at half speed until the wall has caught up. Unit:
integer milliseconds since 1970.

What this process measures for itself (how long a body has run, when to look again) goes by steady time, which no step
of the wall touches: a laptop that wakes, or a clock that is set, must not time out all bodies at once.
"""

from __future__ import annotations

import asyncio
import heapq
import threading
import time
from collections.abc import Callable
from typing import Protocol

MAX_AHEAD_MS = 60_000


class Alarm(Protocol):
    """A callback that waits for its time."""

    def cancel(self) -> None:
        """Do not call it."""
        ...


class Clock(Protocol):
    """What the engine knows of time."""

    def now_ms(self) -> int:
        """Return the engine time; may be called from any thread."""
        ...

    def catch_up(self, at_least_ms: int) -> None:
        """Never again return less than `at_least_ms` (what an earlier process wrote down)."""
        ...

    def call_at(self, when_ms: int, callback: Callable[[], None]) -> Alarm:
        """Call `callback` on the running loop when the clock has reached `when_ms`, never before."""
        ...

    def steady_ms(self) -> int:
        """Return the steady time: it counts from anywhere, only differences mean something."""
        ...

    def call_after(self, delay_ms: int, callback: Callable[[], None]) -> Alarm:
        """Call `callback` on the running loop after so much steady time."""
        ...


class EngineTime:
    """The arithmetic of the engine clock, apart from where its two readings come from."""

    def __init__(self, wall_ms: int, monotonic_ms: int) -> None:
        self._last = wall_ms
        self._monotonic = monotonic_ms

    def advance(self, wall_ms: int, monotonic_ms: int) -> int:
        """Return the engine time for these readings of the wall and of the monotonic clock."""
        elapsed = max(monotonic_ms - self._monotonic, 0)
        if self._last + elapsed > wall_ms:
            # Ahead of the wall, which was set back: half speed. Odd halves must not be lost at every call, or a busy
            # caller would stop the clock.
            elapsed -= elapsed % 2
            self._last += elapsed // 2
        else:
            self._last += elapsed
        self._monotonic += elapsed
        self._last = max(self._last, wall_ms)
        return self._last

    def catch_up(self, at_least_ms: int) -> None:
        """Raise the time to `at_least_ms`."""
        self._last = max(self._last, at_least_ms)


def wall_ms() -> int:
    """Return the machine's wall clock."""
    return time.time_ns() // 1_000_000


def monotonic_ms() -> int:
    """Return the machine's monotonic clock."""
    return time.monotonic_ns() // 1_000_000


class SystemClock:
    """The engine clock of a real process."""

    def __init__(self) -> None:
        self._time = EngineTime(wall_ms(), monotonic_ms())
        self._lock = threading.Lock()

    def now_ms(self) -> int:
        """Return the engine time."""
        with self._lock:
            return self._time.advance(wall_ms(), monotonic_ms())

    def catch_up(self, at_least_ms: int) -> None:
        """Never return less than `at_least_ms`."""
        self._time.catch_up(at_least_ms)

    def call_at(self, when_ms: int, callback: Callable[[], None]) -> Alarm:
        """Call back on the running loop at `when_ms`; rings again if the loop woke early."""
        alarm = _LoopAlarm(self, when_ms, callback)
        alarm.arm()
        return alarm

    def steady_ms(self) -> int:
        """Return the machine's monotonic clock, by which loops go as well."""
        return monotonic_ms()

    def call_after(self, delay_ms: int, callback: Callable[[], None]) -> Alarm:
        """Call back on the running loop after `delay_ms`."""
        return asyncio.get_running_loop().call_later(max(delay_ms, 0) / 1000, callback)


class _LoopAlarm:
    """An alarm on an asyncio loop. The loop's clock and ours drift apart, so each ring is checked."""

    MAX_SLEEP_S = 30.0  # looks again at least this often: the wall may have jumped forward

    def __init__(self, clock: SystemClock, when_ms: int, callback: Callable[[], None]) -> None:
        self._clock = clock
        self._when_ms = when_ms
        self._callback = callback
        self._handle: asyncio.TimerHandle | None = None

    def arm(self) -> None:
        left_s = (self._when_ms - self._clock.now_ms()) / 1000
        self._handle = asyncio.get_running_loop().call_later(min(max(left_s, 0.0), self.MAX_SLEEP_S), self._ring)

    def _ring(self) -> None:
        if self._clock.now_ms() < self._when_ms:
            self.arm()
        else:
            self._callback()

    def cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()


class VirtualClock:
    """A clock that moves only when told: tests skip a month in a microsecond."""

    def __init__(self, start_ms: int = 1_767_225_600_000) -> None:
        self._now = start_ms
        self._alarms: list[tuple[int, int, _VirtualAlarm]] = []
        self._count = 0

    def now_ms(self) -> int:
        """Return the time that was last set."""
        return self._now

    def catch_up(self, at_least_ms: int) -> None:
        """Move forward to `at_least_ms`, ringing nothing."""
        self._now = max(self._now, at_least_ms)

    def call_at(self, when_ms: int, callback: Callable[[], None]) -> Alarm:
        """Call `callback` once the clock is moved to `when_ms` or beyond."""
        alarm = _VirtualAlarm(callback)
        self._count += 1
        heapq.heappush(self._alarms, (when_ms, self._count, alarm))
        return alarm

    def steady_ms(self) -> int:
        """Return the same: here both kinds of time are moved at once."""
        return self._now

    def call_after(self, delay_ms: int, callback: Callable[[], None]) -> Alarm:
        """Call `callback` once the clock is moved by `delay_ms` or more."""
        return self.call_at(self._now + delay_ms, callback)

    def next_alarm_ms(self) -> int | None:
        """Return when the next alarm rings, or None."""
        while self._alarms and self._alarms[0][2].cancelled:
            heapq.heappop(self._alarms)
        return self._alarms[0][0] if self._alarms else None

    def move_to(self, when_ms: int) -> None:
        """Set the time to `when_ms` (never back) and ring what is due, earliest first."""
        self._now = max(self._now, when_ms)
        while (due := self.next_alarm_ms()) is not None and due <= self._now:
            heapq.heappop(self._alarms)[2].callback()


class _VirtualAlarm:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True
