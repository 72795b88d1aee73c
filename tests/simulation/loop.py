"""An asyncio event loop of virtual time: first come first served, and a jump to the next timer when all is quiet."""

import asyncio
import heapq
from asyncio import events
from collections import deque
from collections.abc import Callable
from typing import Any

from fanfold.model.clock import EngineTime, SystemClock

START_MS = 1_767_225_600_000


class SimTime:
    """True time, which goes on over crashes, and a wall clock that somebody plays with."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.skew_ms = 0

    def wall_ms(self) -> int:
        return START_MS + int(self.now_s * 1000) + self.skew_ms

    def monotonic_ms(self) -> int:
        return int(self.now_s * 1000)


class SimClock(SystemClock):
    """The engine clock of a real process, fed with simulated readings."""

    def __init__(self, time: SimTime) -> None:
        self._sim_time = time
        self._time = EngineTime(time.wall_ms(), time.monotonic_ms())

    def now_ms(self) -> int:
        return self._time.advance(self._sim_time.wall_ms(), self._sim_time.monotonic_ms())

    def steady_ms(self) -> int:
        return self._sim_time.monotonic_ms()


class SimLoop(asyncio.AbstractEventLoop):
    """The loop of one life of the engine. When it is dead, nothing on it ever runs again."""

    def __init__(self, time: SimTime, on_error: Callable[[dict[str, Any]], None]) -> None:
        self.sim_time = time
        self.is_dead = False
        self.turns = 0
        self._on_error = on_error
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._count = 0
        self._tasks: list[asyncio.Task[Any]] = []

    def run(self, is_over: Callable[[], bool], deadline_s: float, most_turns: int) -> str:
        """Run until something says so; return 'over', 'dead', 'idle' (nothing will ever happen), 'late' or 'busy'."""
        ready, timers = self._ready, self._timers
        events._set_running_loop(self)
        try:
            while not self.is_dead:
                if not ready:
                    if is_over():
                        return "over"
                    if not timers:
                        return "idle"
                    when, _, timer = heapq.heappop(timers)
                    if timer.cancelled():
                        continue
                    if when > deadline_s:
                        return "late"
                    self.sim_time.now_s = max(self.sim_time.now_s, when)
                    ready.append(timer)
                self.turns += 1
                if self.turns > most_turns:
                    return "busy"
                handle = ready.popleft()
                if not handle.cancelled():
                    handle._run()
            return "dead"
        finally:
            events._set_running_loop(None)

    def kill(self) -> None:
        self.is_dead = True
        self._ready.clear()
        self._timers.clear()

    def bury(self) -> None:
        """Close what the dead loop's tasks were at, quietly, before the garbage collector does."""
        for task in self._tasks:
            if not task.done():
                task._log_destroy_pending = False
                task.get_coro().close()
        self._tasks.clear()

    # What asyncio asks of a loop -----------------------------------------------------------------------------------

    def call_soon(self, callback, *args, context=None):
        handle = asyncio.Handle(callback, args, self, context)
        if not self.is_dead:
            self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # the thread of a sync body runs only while the loop waits for it

    def call_later(self, delay, callback, *args, context=None):
        return self.call_at(self.sim_time.now_s + delay, callback, *args, context=context)

    def call_at(self, when, callback, *args, context=None):
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        if not self.is_dead:
            self._count += 1
            heapq.heappush(self._timers, (when, self._count, handle))
        return handle

    def _timer_handle_cancelled(self, handle) -> None:
        """Cancelled timers are skipped when their time comes."""

    def time(self) -> float:
        return self.sim_time.now_s

    def create_future(self):
        return asyncio.Future(loop=self)

    def create_task(self, coro, *, name=None, context=None):
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        self._tasks.append(task)
        return task

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self.is_dead

    def is_closed(self) -> bool:
        return self.is_dead

    def call_exception_handler(self, context) -> None:
        if not self.is_dead:
            self._on_error(context)
