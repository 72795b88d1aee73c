"""What asyncio does differently from one Python to the next, where a record must not depend on it.

A run that was recorded on 3.11 goes on under 3.12 and 3.13, and back.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from asyncio import tasks
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any, Final, cast

from fanfold.errors import NotAllowed

_PACKAGE: Final = __package__
_SHIELD: Final = asyncio.shield.__code__
_WAIT: Final[CodeType] = tasks._wait.__code__  # type: ignore[attr-defined]  # noqa: SLF001 - who calls is the question
_WAIT_FOR: Final = asyncio.wait_for.__code__
# From 3.13 on `as_completed` makes its tasks in a class of its own.
_completions: Final[Any] = getattr(tasks, "_AsCompletedIterator", None)
_AS_COMPLETED: Final[CodeType] = (asyncio.as_completed if _completions is None else _completions.__init__).__code__
# 3.12 has a function for it, which 3.14 needs: there a task may not be entered inside another loop's.
_swap: Final[Callable[..., Any] | None] = getattr(tasks, "_swap_current_task", None)


def frame_outside(depth: int) -> FrameType | None:
    """Return the frame `depth` calls above the caller of this function."""
    return sys._getframe(depth + 1)  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001 - as above


def left_cancellation(task: asyncio.Task[Any]) -> bool:
    """Tell whether a cancellation was asked of a task that it has not seen; up to 3.12 `uncancel` does not undo one."""
    return task.cancelling() > 0 or bool(cast("Any", task)._must_cancel)  # noqa: SLF001 - nothing else tells


def is_for_wait_for(coroutine: Any) -> bool:
    """Tell whether `wait_for` makes this task; refuse `as_completed`, which makes its tasks in the order of a set.

    3.11 runs what `wait_for` awaits in a task of its own; 3.12 awaits it in place, unless the time is up already.
    """
    frame = frame_outside(2)  # who called the loop's `create_task`
    while frame is not None and frame.f_code.co_filename == tasks.__file__:
        if frame.f_code is _WAIT_FOR:
            return True
        if frame.f_code is _AS_COMPLETED:
            coroutine.close()
            close_unstarted(frame)
            raise NotAllowed(
                "asyncio.as_completed starts bare coroutines in the order of a set, which no replay repeats; "
                "give it tasks: as_completed([asyncio.create_task(c) for c in coroutines])"
            )
        frame = frame.f_back
    return False


def is_given_out(caller: FrameType) -> bool:
    """Tell whether asyncio makes a future for others, not for itself: how many those are differs.

    Refuse `asyncio.wait` over futures that hash by address.
    """
    if caller.f_code is _WAIT:
        for future in caller.f_locals["fs"]:
            if type(future).__hash__ is object.__hash__:
                raise NotAllowed(
                    f"asyncio.wait over a bare {type(future).__name__} iterates in the order of memory addresses, "
                    "which no replay repeats; make it with asyncio.get_running_loop().create_future()"
                )
    return caller.f_code is _SHIELD


def close_unstarted(frame: FrameType | None) -> None:
    """Close the coroutines that were given to the asyncio functions in which something is refused.

    `gather(a(), b())` that cannot start `a()` never comes to `b()`, and nobody else has it.
    """
    while frame is not None:
        package = frame.f_globals.get("__package__") or ""
        if package == "asyncio":
            for value in frame.f_locals.values():
                for one in cast("Iterable[Any]", value) if isinstance(value, tuple | list | set) else (value,):
                    if inspect.iscoroutine(one) and inspect.getcoroutinestate(one) == inspect.CORO_CREATED:
                        one.close()
        elif package != _PACKAGE:
            return
        frame = frame.f_back


@contextmanager
def current(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> Generator[None]:
    """Have `current_task()` return `task`, outside of its steps."""
    if _swap is not None:
        before = _swap(loop, task)
        try:
            yield
        finally:
            _swap(loop, before)
    else:
        tasks._enter_task(loop, task)  # type: ignore[attr-defined]  # noqa: SLF001 - what a step does
        try:
            yield
        finally:
            tasks._leave_task(loop, task)  # type: ignore[attr-defined]  # noqa: SLF001 - as above


def hash_gathered(number: Callable[[Any], int | None]) -> None:
    """Have gather's own future hash by `number`, where that is not None: gather makes it, so its class is taught."""

    def hash_it(future: Any) -> int:
        own = number(future)
        return object.__hash__(future) if own is None else own

    tasks._GatheringFuture.__hash__ = hash_it  # type: ignore[attr-defined]  # noqa: SLF001 - asyncio offers no way
