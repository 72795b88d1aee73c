"""The event loop of a workflow: an asyncio loop in which nothing happens but what was delivered.

A coroutine cannot tell it from a stock loop, as long as it asks only for what can be replayed. Three things make
replay exact. Deliveries come one at a time: one future is resolved, the loop runs until nothing is ready, then the
next. Time stands still but for deliveries. And whatever asyncio keeps in sets hashes by its place, never by address,
so that it iterates alike in every process. Private names of asyncio stand here and in `asyncio_versions` only.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import sys
from asyncio import events, tasks
from collections import deque
from collections.abc import AsyncGenerator, Coroutine, Iterator
from typing import Any, Protocol

from fanfold.errors import Evicted
from fanfold.model.duration import MAX_DELAY_S
from fanfold.worker import asyncio_versions
from fanfold.worker.callbacks import DurableTimer, Ready
from fanfold.worker.durable_tasks import DurableFuture, DurableTask
from fanfold.worker.places import Place, mixed
from fanfold.worker.refused import REFUSED, refusal
from fanfold.worker.signals import is_from_a_signal
from fanfold.worker.unwinding import Unwinding, keep_for_ever

MOST_REFUSALS = 100  # after each of them a dying frame hears Evicted; then it is left waiting


class Host(Protocol):
    """The workflow run that a loop belongs to."""

    def arm(self, timer: DurableTimer, delay_s: float) -> None:
        """Start a durable timer."""
        ...

    def on_task_error(self, context: dict[str, Any]) -> None:
        """Something went wrong where nobody awaits."""
        ...

    def on_left(self, frames: list[Any]) -> None:
        """Hear that these frames would not end when the loop was dropped; they stay where they are."""
        ...


class DurableLoop(asyncio.AbstractEventLoop):
    """One workflow's loop. It never runs by itself: `run_ready` is called after each delivery."""

    def __init__(self, run_id: int, host: Host, now_ms: int) -> None:
        self.now_ms = now_ms
        self._host = host
        self._ready: deque[Ready] = deque()
        self._due: list[DurableTimer] = []  # timers without a delay
        self._outer: asyncio.AbstractEventLoop | None = None
        self._hooks = sys.get_asyncgen_hooks()
        origin = Place("", mixed(run_id))
        self._main_place = origin.next_task()
        self._outside = Place("/0", origin.next_number())
        self._unseen = Place("", origin.next_number())  # for what asyncio makes for itself, and no code sees
        self._variables = contextvars.Context()
        self.tasks: dict[DurableTask, None] = {}  # strong references: asyncio keeps weak ones
        self._generators: list[AsyncGenerator[Any, Any]] = []
        self._generators_limit = 64
        self._endings: Iterator[asyncio.Future[Any]] = iter(())
        self._ending: asyncio.Future[Any] | None = None  # what the loop runs for now
        self._is_stopping = False
        self.is_finished = False
        self.fatal: BaseException | None = None  # what ended it at once, as it would end a program: sys.exit()
        self._is_closed = False
        self._refusals = 0

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
        self._variables = context
        main = self._make_task(coroutine, name, self._main_place, self._main_place.number, context.copy())
        self._endings = self._end_all(context)
        self._run_for(main)
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
            except (KeyboardInterrupt, SystemExit) as error:
                if is_from_a_signal(error):
                    raise
                # As on a stock loop: it stops in the midst of the round, all is cancelled, and this is the outcome.
                self.fatal = self.fatal or error
                self._is_stopping = True
                return
            except BaseException as error:
                self.call_exception_handler({"message": "a callback raised", "exception": error})

    def _run_for(self, ending: asyncio.Future[Any]) -> None:
        self._ending = ending
        ending.add_done_callback(self._stop, context=_EMPTY)

    def _stop(self, ended: asyncio.Future[Any]) -> None:
        """Stop at the end of this round if what the loop runs for has ended."""
        if ended is self._ending:
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
            self._run_for(ending)

    def _end_all(self, context: contextvars.Context) -> Iterator[asyncio.Future[Any]]:
        """Yield what `asyncio.run` runs the loop for once its coroutine has ended, one after the other."""
        left = [task for task in self.tasks if not task.done()]
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

    # The end -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Drop the loop: end the frames it holds, and discard whatever they do or raise on their way out."""
        if self._is_closed:
            return
        self._is_closed = True
        self._ready.clear()
        self._due.clear()
        self.enter()  # or what dying frames start would run on the engine's loop
        try:
            left = self._unwind()
        finally:
            self.leave()
        self.tasks.clear()
        self._generators.clear()
        if left:
            for frame in left:
                keep_for_ever(frame)
            self._host.on_left(left)

    def _unwind(self) -> list[Any]:
        """End all frames, the newest tasks first; return those that would not end."""
        unwinding = Unwinding(self._be_patient)
        left: list[Any] = []
        for task in reversed(list(self.tasks)):  # no more are made: the loop is closed
            task.keep_quiet()
            coroutine = task.get_coro()
            with asyncio_versions.current(self, task):
                if not unwinding.end(coroutine, task.context):
                    left.append(coroutine)
        for _ in range(len(self._generators) + MOST_GENERATORS):
            if not self._generators:
                break
            generator = self._generators.pop(0)  # dying frames may have begun one more
            if not unwinding.close(generator, self._variables):
                left.append(generator)
        return left

    def _be_patient(self) -> None:
        self._refusals = 0

    def refuse(self) -> None:
        """Raise Evicted: what asks is the frame of a run that has left memory.

        One that catches it and asks again, for ever, is given something in the end that it can only wait for.
        """
        asyncio_versions.close_unstarted(asyncio_versions.frame_outside(1))
        self._refusals += 1
        if self._refusals <= MOST_REFUSALS:
            raise Evicted

    # What asyncio asks of a loop -----------------------------------------------------------------------------------

    def call_soon(self, callback: Any, *args: Any, context: contextvars.Context | None = None) -> Any:
        """Run `callback` in this turn."""
        ready = Ready((callback, args, context if context is not None else contextvars.copy_context()))
        if self._is_closed:
            self.refuse()
        else:
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
        """Run `callback` after a durable timer that is due when `time()` reaches `when`, or in a hundred years."""
        timer = DurableTimer(when, callback, args, self, context)
        delay = when - self.time()
        if self._is_closed:
            self.refuse()
        elif delay > 0:
            self._host.arm(timer, min(delay, MAX_DELAY_S))
        else:
            self._due.append(timer)
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Asked by stock timer handles; ours say it themselves."""

    def time(self) -> float:
        """Return the time of the last delivery, in seconds since 1970: the same on replay."""
        return self.now_ms / 1000

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future that hashes by its place; refuse `asyncio.wait` over futures that do not."""
        caller = sys._getframe(1)  # pyright: ignore[reportPrivateUsage] - who calls is the question
        if caller.f_globals.get("__package__") == "asyncio" and not asyncio_versions.is_given_out(caller):
            return DurableFuture(self, self._unseen.next_number())
        return DurableFuture(self, self.place().next_number())

    def never(self) -> asyncio.Future[Any]:
        """Return what a dying frame waits for in vain."""
        self.refuse()
        return DurableFuture(self, 0)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: contextvars.Context | None = None, **_options: Any
    ) -> DurableTask:
        """Make a task; its place is the next one of the task that makes it."""
        if self._is_closed:
            if inspect.iscoroutine(coro):
                coro.close()
            self.refuse()
        current = tasks.current_task(self)
        if asyncio_versions.is_for_wait_for(coro) and isinstance(current, DurableTask):
            # Only some Pythons make a task here: it counts for nothing, and its calls are those of who waits for it.
            place, number = current.place, self._unseen.next_number()
        else:
            place = (current.place if isinstance(current, DurableTask) else self._outside).next_task()
            number = place.number
        return self._make_task(
            coro, name or f"Task{place.path}", place, number,
            context if context is not None else contextvars.copy_context(),
        )  # fmt: skip

    def _make_task(
        self, coroutine: Any, name: str, place: Place, number: int, context: contextvars.Context
    ) -> DurableTask:
        task = DurableTask(coroutine, self, name, place, number, context)
        if self._is_closed:
            task.keep_quiet()
        else:
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
        """Log what nobody awaits; once the loop is dropped, nobody cares."""
        if not self._is_closed:
            self._host.on_task_error(context)

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Log what nobody awaits."""
        self.call_exception_handler(context)

    def get_exception_handler(self) -> None:
        """Return None: there is no other handler."""

    def get_task_factory(self) -> None:
        """Return None: tasks are always durable."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Do nothing: there is no executor."""


for _name in REFUSED:
    setattr(DurableLoop, _name, refusal(_name))


def _leave_alone(_generator: AsyncGenerator[Any, Any]) -> None:
    """Do nothing when an async generator is collected: no user code runs outside a turn."""


def _gathered_number(future: Any) -> int | None:
    """Return the hash of gather's own future on a durable loop."""
    loop = future.get_loop()
    if not isinstance(loop, DurableLoop):
        return None
    number = getattr(future, "_fanfold_number", None)  # it has a dictionary, but no `__dict__`
    if number is None:
        number = future._fanfold_number = loop.place().next_gather()
    return number


MOST_GENERATORS = 1000  # begun by dying frames
_EMPTY = contextvars.Context()
asyncio_versions.hash_gathered(_gathered_number)
