"""The handle of a child: an `asyncio.Future` that the engine resolves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from fanfold.model import lifecycle
from fanfold.model.duration import Duration, seconds
from fanfold.model.run import End
from fanfold.worker.failures import child_error

R = TypeVar("R")
_Future: type[asyncio.Future[Any]] = asyncio.Future


class Handle(asyncio.Future[R], Generic[R]):
    """A durable child that has been started: await it, `gather` it, give it to `wait`, `wait_for`, `shield`.

    Cancelling it, or what awaits it, cancels the child. `id` is the child's run id. Raises `TaskFailed` (or
    `TaskTimedOut`, `TaskCancelled`) when awaited if the child did not complete.
    """

    __slots__ = ("_hash", "_on_cancel", "_run_id", "decode", "task_name")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, run_id: int, task_name: str, number: int,
        on_cancel: Callable[[int], None], decode: Callable[[str], R],
    ) -> None:  # fmt: skip
        super().__init__(loop=loop)
        self._run_id = run_id
        self.task_name = task_name
        # Sets of handles must iterate alike in every process, so no memory address may decide.
        self._hash = number
        self._on_cancel = on_cancel
        self.decode = decode

    @property
    def id(self) -> int:
        """The child's run id."""
        return self._run_id

    def cancel(self, msg: Any | None = None) -> bool:
        """End the handle at once, as for any Future, and ask the child to cancel; False if it was done."""
        if not super().cancel(msg):
            return False
        self._on_cancel(self._run_id)
        return True

    def result(self, timeout: Duration | None = None) -> R:
        """Return the child's result. In a sync task this waits; TimeoutError after `timeout`, and the child goes on.

        In async code, where nothing can wait like this, it is InvalidStateError until the child has ended: await it.
        """
        if not self.done():
            self._block(None if timeout is None else seconds(timeout, "timeout"))
        return super().result()

    def moved_to(self, run_id: int) -> None:
        """Stand for a run that was there already."""
        self._run_id = run_id

    def _block(self, timeout_s: float | None) -> None:
        """Wait in the calling thread, where that is possible."""

    def set_result(self, result: R, /) -> None:
        """Refuse: only the child's end resolves its handle."""
        del result
        raise RuntimeError("a handle is resolved by its child's result")

    def set_exception(self, exception: type | BaseException, /) -> None:
        """Refuse: only the child's end resolves its handle."""
        del exception
        raise RuntimeError("a handle is resolved by its child's result")

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other

    def __repr__(self) -> str:
        return f"<Handle of {self.task_name}, run {self._run_id}, {self._state.lower()}>"


def settle(handle: Handle[Any], end: End) -> None:
    """Give a handle what its child's end says, unless it is done: given up by the code."""
    if handle.done():
        return
    if end.state != lifecycle.COMPLETED:
        fail(handle, child_error(handle.task_name, end.id, end.state, end.error))
        return
    try:
        value = handle.decode(end.output or "null")
    except Exception as unreadable:  # noqa: BLE001 - the result's type has changed since
        fail(handle, unreadable)
    else:
        resolve(handle, value)


def resolve(handle: Handle[R], value: R) -> None:
    """Give a handle its child's result."""
    _Future.set_result(handle, value)


def fail(handle: Handle[Any], error: BaseException) -> None:
    """Give a handle its child's failure. Nobody has to look at it: the failure is counted and shown in the store."""
    _Future.set_exception(handle, error)
    handle._log_traceback = False  # noqa: SLF001 - asyncio offers no other way to keep a Future quiet
