"""A body in its process: the function it calls, the context and the lifespan it sees, what is told of its failure."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, cast

from fanfold.errors import NotAllowed, RetryAfter, UnknownTask
from fanfold.model.codec import Signature
from fanfold.model.retry import asked_delay_ms, kinds_of
from fanfold.model.run import Claimed, NewRun
from fanfold.worker.context import Context, checked_progress
from fanfold.worker.executors.pipe import Failure
from fanfold.worker.failures import failure_text
from fanfold.worker.handle import Handle
from fanfold.worker.reference import ProcessNotReady, Reference, find
from fanfold.worker.task import CallOptions, Task


class ProcessContext(Context):
    """The run that a body in a process belongs to. It starts nothing: the engine is in another process."""

    __slots__ = ("_key_outside", "_report", "_state")

    def __init__(
        self, run: NewRun | Claimed, idempotency_key: str, state: Any, report: Callable[[dict[str, Any]], None]
    ) -> None:
        super().__init__(run, 0, "")
        self._key_outside = idempotency_key
        self._state = state
        self._report = report

    @property
    def idempotency_key(self) -> str:
        """A text for the outside world, the same on every attempt of this run and of no other run."""
        return self._key_outside

    @property
    def state(self) -> Any:
        """What the app's lifespan has yielded in this process."""
        return self._state

    def report_progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Say how far the run is; shown by `status().progress`. The latest counts, and is durable soon after."""
        self._report(checked_progress(done, total, message))

    def call(
        self, task: Task[..., Any], options: CallOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Handle[Any]:
        """Refuse to start a child."""
        del options, args, kwargs
        raise NotAllowed(
            f"run {self.id} ({self._run.name}) runs in a process and cannot start {task.name}: process bodies are "
            f"leaves. Start it from a task that runs in a thread, or call {task.name}.fn(...), the plain function"
        )


class Function(NamedTuple):
    """A task's function as this process has found it."""

    function: Callable[..., Any]
    signature: Signature
    is_async: bool


def function_of(reference: Reference, max_payload: int) -> Function:
    """Find a task's function and make sure that it is the right one; UnknownTask if not."""
    first = found = find(reference)
    while found is not None:  # other decorators around the task
        if isinstance(found, Task) and found.name == reference.name:
            return Function(found.function, found.signature, found.is_async)
        found = getattr(cast("Any", found), "__wrapped__", None)
    if inspect.isfunction(first):  # registered by a call: it is no task under its own name
        return Function(first, Signature(first, reference.name, max_payload), inspect.iscoroutinefunction(first))
    raise UnknownTask(
        f"{reference.name} is not found in its process: {reference.module}.{reference.qualname} is {first!r}. The "
        "task's function must be the one that has this name at the top level of its module"
    )


def failure_of(error: BaseException, attempt: int) -> Failure:
    """Return what is reported of an exception."""
    after_ms: int | None = None
    if isinstance(error, RetryAfter):
        try:
            after_ms = asked_delay_ms(error.delay)
        except Exception as odd:  # noqa: BLE001 - a delay that is none: that is what is wrong here
            error = odd
    return Failure(failure_text(error, attempt), kinds_of(error), after_ms)


class Lifespan:
    """The app's lifespan in this process: entered before the first body, left after the last one."""

    def __init__(self, runner: asyncio.Runner, reference: Reference) -> None:
        self._runner = runner
        self._reference = reference
        self._leave = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.state: Any = None

    @property
    def is_entered(self) -> bool:
        """Tell whether it is entered and has not ended by itself."""
        return self._task is not None and not self._task.done()

    def enter(self) -> None:
        """Enter it; ProcessNotReady if that fails."""
        make = find(self._reference)
        try:
            self._runner.run(self._enter(make))
        except BaseException as error:  # sys.exit() in it as well
            raise ProcessNotReady(
                f"the lifespan {self._reference.qualname} could not be entered in a process: "
                f"{type(error).__name__}: {error}"
            ) from error

    async def _enter(self, make: Callable[..., AbstractAsyncContextManager[Any]]) -> None:
        # One task enters and leaves it: what it opens, task groups for example, may not change hands.
        entered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def live() -> None:
            arguments = _app_of(make) if inspect.signature(make).parameters else ()
            async with make(*arguments) as state:
                entered.set_result(state)
                await self._leave.wait()

        self._task = task = asyncio.create_task(live())
        await asyncio.wait({task, entered}, return_when=asyncio.FIRST_COMPLETED)
        if not entered.done():
            await task
            raise RuntimeError("it ended without a yield")
        self.state = entered.result()

    def leave(self) -> None:
        """Leave it, if it is entered."""

        async def leave(task: asyncio.Task[None]) -> None:
            self._leave.set()
            await task

        if self._task is not None and self.is_entered:
            self._runner.run(leave(self._task))


def _app_of(lifespan: Callable[..., Any]) -> tuple[Any, ...]:
    """Return the app that a lifespan belongs to, as its one argument: an app is an object of the lifespan's module."""
    module = vars(sys.modules[lifespan.__module__])
    return next(((value,) for value in module.values() if getattr(value, "lifespan", None) is lifespan), (None,))
