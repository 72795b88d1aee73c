"""The event loop of a workflow: an asyncio loop in which nothing happens but what was delivered.

A coroutine cannot tell it from a stock loop, as long as it asks only for what can be replayed. Three things make
replay exact. Deliveries come one at a time: one future is resolved, the loop runs until nothing is ready, then the
next. Time stands still but for deliveries. And whatever asyncio keeps in sets hashes by creation, never by address,
so that it iterates alike in every process. Private names of asyncio stand in this module only.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import sys
from asyncio import events, tasks
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from typing import Any, Protocol

from fanfold.errors import NotAllowed
from fanfold.worker.callbacks import DurableTimer, Ready
from fanfold.worker.places import Place
from fanfold.worker.refused import REFUSED, refusal

_MIX = 0x9E3779B97F4A7C15
_STEP = 0x1E3779B97F4A7C15
_MASK = (1 << 61) - 1


class Host(Protocol):
    """The workflow run that a loop belongs to."""

    def arm(self, timer: DurableTimer, delay_s: float) -> None:
        """Start a durable timer."""
        ...

    def on_task_error(self, context: dict[str, Any]) -> None:
        """Something went wrong where nobody awaits."""
        ...


class DurableTask(asyncio.Task[Any]):
    """An asyncio task with a place."""

    _log_destroy_pending: bool  # asyncio's own; typeshed does not know it

    def __init__(
        self, coroutine: Coroutine[Any, Any, Any], loop: DurableLoop, name: str, place: Place, number: int,
        context: contextvars.Context,
    ) -> None:  # fmt: skip
        self.place = place
        self.context = context
        self._hash = number
        super().__init__(coroutine, loop=loop, name=name, context=context)

    def keep_quiet(self) -> None:
        """Log nothing when it is collected before it has ended."""
        self._log_destroy_pending = False

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other


class DurableFuture(asyncio.Future[Any]):
    """What `loop.create_future` returns: a future that hashes by creation."""

    def __init__(self, loop: DurableLoop, number: int) -> None:
        self._hash = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other


class DurableLoop(asyncio.AbstractEventLoop):
    """One workflow's loop. It never runs by itself: `run_ready` is called after each delivery."""

    def __init__(self, run_id: int, host: Host, now_ms: int) -> None:
        self.now_ms = now_ms
        self._number = (run_id * _MIX) & _MASK
        self._host = host
        self._ready: deque[Ready] = deque()
        self._due: list[DurableTimer] = []  # timers without a delay
        self._outer: asyncio.AbstractEventLoop | None = None
        self._hooks = sys.get_asyncgen_hooks()
        self._outside = Place("/0")
        self._origin = Place("")
        self.tasks: dict[DurableTask, None] = {}  # strong references: asyncio keeps weak ones
        self._generators: list[AsyncGenerator[Any, Any]] = []
        self._generators_limit = 64
        self._endings: Iterator[asyncio.Future[Any]] = iter(())
        self._is_stopping = False
        self.is_finished = False
        self._is_closed = False

    def number(self) -> int:
        """Return the hash of the next thing made here: by creation, mixed, so that loops do not collide."""
        self._number = (self._number + _STEP) & _MASK
        return self._number

    def place(self) -> Place:
        """Return where the running code stands; callbacks outside any task share a place."""
        task = tasks.current_task(self)
        return task.place if isinstance(task, DurableTask) else self._outside

    # Turns ---------------------------------------------------------------------------------------------------------

    def enter(self) -> None:
        """Become the running loop of this thread. From plain callbacks only: 3.14 refuses a task inside a task."""
        self._outer = events._get_running_loop()
        self._hooks = sys.get_asyncgen_hooks()
        events._set_running_loop(self)
        sys.set_asyncgen_hooks(firstiter=self._on_first_iteration, finalizer=_leave_alone)

    def leave(self) -> None:
        """Give the thread back to the loop that ran before."""
        sys.set_asyncgen_hooks(*self._hooks)
        events._set_running_loop(self._outer)

    def run_main(self, coroutine: Coroutine[Any, Any, Any], name: str, context: contextvars.Context) -> DurableTask:
        """Make the task that the loop lives for. When it ends the rest is ended, as `asyncio.run` does."""
        main = self.create_task(coroutine, name=name, context=context.copy())
        self._endings = self._end_all(context)
        main.add_done_callback(self._stop, context=_EMPTY)
        return main

    def run_ready(self) -> None:
        """Run until nothing is ready, or all is finished; between `enter` and `leave`."""
        while (self._ready or self._due) and not self.is_finished:
            self._run_round()
            if self._is_stopping:
                self._is_stopping = False
                self._go_on()

    def _run_round(self) -> None:
        """Run what is ready now; what becomes ready meanwhile waits for the next round, as on a stock loop."""
        ready = self._ready
        if self._due:
            self._due.sort(key=asyncio.TimerHandle.when)
            ready.extend(Ready((timer.fire, (), _EMPTY)) for timer in self._due)
            self._due.clear()
        for _ in range(len(ready)):
            item = ready.popleft()
            if not item:
                continue
            callback, arguments, context = item
            try:
                context.run(callback, *arguments)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                self.call_exception_handler({"message": "a callback raised", "exception": error})

    def _stop(self, _ended: asyncio.Future[Any]) -> None:
        """Stop at the end of this round: what the loop ran for has ended."""
        self._is_stopping = True

    def _go_on(self) -> None:
        """Run for the next thing that must end, or be finished."""
        ending = None
        try:
            ending = next(self._endings, None)
        except RecursionError as error:  # tasks that wait for each other in a circle cannot be cancelled
            self.call_exception_handler({"message": "the rest could not be ended", "exception": error})
        if ending is None:
            self.is_finished = True
        else:
            ending.add_done_callback(self._stop, context=_EMPTY)

    def _end_all(self, context: contextvars.Context) -> Iterator[asyncio.Future[Any]]:
        """Yield what `asyncio.run` runs the loop for once its coroutine has ended, one after the other."""
        left = list(self.tasks)
        for task in left:
            task.cancel()
        if left:
            yield asyncio.gather(*left, return_exceptions=True)
        for task in left:
            error = None if task.cancelled() else task.exception()
            if error is not None:
                self.call_exception_handler({"message": "a task raised after the end", "exception": error})
        # Also where no generator is open: callbacks get the rounds that they have on a stock loop.
        yield self.create_task(self.shutdown_asyncgens(), context=context.copy())
        yield self.create_task(self.shutdown_default_executor(), context=context.copy())

    def _on_first_iteration(self, generator: AsyncGenerator[Any, Any]) -> None:
        # Kept until they are exhausted: the garbage collector must not decide when a `finally` block runs.
        self._generators.append(generator)
        if len(self._generators) > self._generators_limit:
            self._generators = [kept for kept in self._generators if getattr(kept, "ag_frame", None) is not None]
            self._generators_limit = 2 * len(self._generators) + 64

    async def shutdown_asyncgens(self) -> None:
        """Close the async generators that are still open, side by side, in the order in which they were begun."""
        left = [generator for generator in self._generators if getattr(generator, "ag_frame", None) is not None]
        self._generators = []
        for ended in await asyncio.gather(*[generator.aclose() for generator in left], return_exceptions=True):
            if isinstance(ended, Exception):
                self.call_exception_handler({"message": "an async generator raised at its end", "exception": ended})

    def close(self) -> None:
        """Drop the loop: end the frames it holds, and discard whatever they do or raise on their way out."""
        self._is_closed = True
        self._ready.clear()
        for task in reversed(self.tasks):
            task.keep_quiet()
            _close_frames(task.get_coro(), task.context)
        for generator in self._generators:
            _discard(lambda generator=generator: generator.aclose().send(None))
        self.tasks.clear()
        self._generators.clear()
        self._ready.clear()

    # What asyncio asks of a loop -----------------------------------------------------------------------------------

    def call_soon(self, callback: Any, *args: Any, context: contextvars.Context | None = None) -> Any:
        """Run `callback` in this turn."""
        ready = Ready((callback, args, context if context is not None else contextvars.copy_context()))
        if not self._is_closed:
            self._ready.append(ready)
        return ready

    def call_later(
        self, delay: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Run `callback` after a durable timer of `delay` seconds."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Run `callback` after a durable timer that is due when `time()` reaches `when`."""
        timer = DurableTimer(when, callback, args, self, context)
        delay = when - self.time()
        if delay > 0:
            self._host.arm(timer, delay)
        else:
            self._due.append(timer)
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Asked by stock timer handles; ours say it themselves."""

    def time(self) -> float:
        """Return the time of the last delivery, in seconds since 1970: the same on replay."""
        return self.now_ms / 1000

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future that hashes by creation; refuse `asyncio.wait` over futures that do not."""
        caller = sys._getframe(1)  # pyright: ignore[reportPrivateUsage] - who calls is the question
        if caller.f_code is _WAIT:
            _refuse_unnumbered(caller.f_locals["fs"])
        return DurableFuture(self, self.number())

    def create_task(
        self, coro: Any, *, name: str | None = None, context: contextvars.Context | None = None, **_options: Any
    ) -> DurableTask:
        """Make a task; its place is the next one of the task that makes it."""
        current = tasks.current_task(self)
        if _is_for_wait_for(coro) and isinstance(current, DurableTask):
            # Python 3.11 runs what `wait_for` awaits in a task of its own, 3.12 in place: one place for both.
            place = current.place
        else:
            place = (current.place if isinstance(current, DurableTask) else self._origin).next_task()
        task = DurableTask(
            coro, self, name or f"Task{place.path}", place, self.number(),
            context if context is not None else contextvars.copy_context(),
        )  # fmt: skip
        self.tasks[task] = None
        task.add_done_callback(self._forget, context=_EMPTY)
        return task

    def _forget(self, task: asyncio.Future[Any]) -> None:
        self.tasks.pop(task, None)  # type: ignore[call-overload]

    def get_debug(self) -> bool:
        """Return False: asyncio's debug mode reads the machine's clock."""
        return False

    def set_debug(self, enabled: bool) -> None:  # noqa: FBT001 - asyncio's signature
        """Do nothing."""

    def is_running(self) -> bool:
        """Tell whether the loop lives."""
        return not self._is_closed

    def is_closed(self) -> bool:
        """Tell whether the loop was dropped."""
        return self._is_closed

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Log what nobody awaits."""
        self._host.on_task_error(context)

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Log what nobody awaits."""
        self._host.on_task_error(context)

    def get_exception_handler(self) -> None:
        """Return None: there is no other handler."""

    def get_task_factory(self) -> None:
        """Return None: tasks are always durable."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Do nothing: there is no executor."""


for _name in REFUSED:
    setattr(DurableLoop, _name, refusal(_name))


def _is_for_wait_for(coroutine: Any) -> bool:
    """Tell whether `wait_for` makes this task; refuse `as_completed`, which makes its tasks in the order of a set."""
    frame = sys._getframe(2)  # pyright: ignore[reportPrivateUsage] - who calls is the question
    while frame is not None and frame.f_code.co_filename == tasks.__file__:
        if frame.f_code is _WAIT_FOR:
            return True
        if frame.f_code is _AS_COMPLETED:
            coroutine.close()
            raise NotAllowed(
                "asyncio.as_completed starts bare coroutines in the order of a set, which no replay repeats; "
                "give it tasks: as_completed([asyncio.create_task(c) for c in coroutines])"
            )
        frame = frame.f_back
    return False


def _refuse_unnumbered(futures: set[Any]) -> None:
    """Refuse futures that hash by address."""
    for future in futures:
        if type(future).__hash__ is object.__hash__:
            raise NotAllowed(
                f"asyncio.wait over a bare {type(future).__name__} iterates in the order of memory addresses, which "
                "no replay repeats; make it with asyncio.get_running_loop().create_future()"
            )


def _leave_alone(_generator: AsyncGenerator[Any, Any]) -> None:
    """Do nothing when an async generator is collected: no user code runs outside a turn."""


def _close_frames(coroutine: Any, context: contextvars.Context) -> None:
    """End a coroutine for good: one that awaits on its way out is closed again, or the collector would do it."""
    for _ in range(_MOST_CLOSES):
        if getattr(coroutine, "cr_frame", None) is None:
            return
        _discard(lambda: context.run(coroutine.close))


def _discard(leave: Callable[[], Any]) -> None:
    """Run frames' way out; what they raise is nobody's business any more."""
    with contextlib.suppress(BaseException):  # Evicted, or what a `finally` block made of it
        leave()


_MOST_CLOSES = 100
_EMPTY = contextvars.Context()
_WAIT = tasks._wait.__code__  # type: ignore[attr-defined]
# From 3.12 on `wait_for` awaits in place: there is nothing to make equal.
_WAIT_FOR = asyncio.wait_for.__code__ if sys.version_info < (3, 12) else None
# From 3.13 on `as_completed` makes its tasks in a class of its own.
_iterator = getattr(tasks, "_AsCompletedIterator", None)
_AS_COMPLETED = (asyncio.as_completed if _iterator is None else _iterator.__init__).__code__


def _gathering_hash(future: Any) -> int:
    """Hash gather's own future by creation on a durable loop, as always elsewhere."""
    loop = future.get_loop()
    if not isinstance(loop, DurableLoop):
        return object.__hash__(future)
    number = future.__dict__.get("_fanfold_number")
    if number is None:
        number = future.__dict__["_fanfold_number"] = loop.number()
    return number


# gather makes its future itself, so that only its class can be taught to hash alike in every process.
tasks._GatheringFuture.__hash__ = _gathering_hash  # type: ignore[attr-defined]
