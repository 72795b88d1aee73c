"""Every exception that a user of fanfold can meet.

One root, `FanfoldError`. The class is the code, attributes are the data, the docstring is the default message.
Nothing here knows about storage, the engine or asyncio loops.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Self


class FanfoldError(Exception):
    """Something in fanfold went wrong."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class NotInRun(FanfoldError):
    """A task was called outside a run."""


class NotAllowed(FanfoldError):
    """This cannot be done here."""


class UnknownTask(FanfoldError):
    """No task of this name is registered in the app."""


class InvalidInput(FanfoldError, TypeError):
    """The arguments do not fit the task's signature."""


class PayloadTooLarge(FanfoldError):
    """An input or a result is over the size limit: pass a path, a key or a range, and let the child load it."""


class KeyConflict(FanfoldError):
    """The key is taken by a run with another input; `.run_id` is that run's id."""

    def __init__(self, message: str, run_id: int) -> None:
        super().__init__(message)
        self.run_id = run_id


class NotFound(FanfoldError):
    """There is no such run."""


class LeaseLost(FanfoldError):
    """This attempt no longer owns its run: another one does, or the run has ended. Logged, not raised, today."""


class StoreInUse(FanfoldError):
    """Another engine holds the store; `.pid` is its process id, or None where it cannot be known."""

    def __init__(self, message: str, pid: int | None = None) -> None:
        super().__init__(message)
        self.pid = pid


class StoreUnavailable(FanfoldError):
    """The store cannot be read or written now; nothing that was acknowledged is lost."""


class NonDeterminism(FanfoldError):
    """A workflow made other calls on replay than were recorded."""


class TaskFailed(FanfoldError):
    """A child run failed.

    Attributes: `error_type` (the class name of what the body raised), `message`, `traceback` (text, at most 64 KiB),
    `attempts` (how many tries were made), `run_id`, `name` (the task's).
    """

    def __init__(self, name: str, run_id: int, error: dict[str, Any]) -> None:
        self.name = name
        self.run_id = run_id
        self.error_type: str = str(error.get("type", "Exception"))
        self.error_types: tuple[str, ...] = tuple(error.get("types", ()))
        self.message: str = str(error.get("message", ""))
        self.traceback: str = str(error.get("traceback", ""))
        self.attempts: int = int(error.get("attempts", 1))
        super().__init__(f"{name} (run {run_id}) failed: {self.error_type}: {self.message}")

    def caused_by(self, kind: type[BaseException] | str) -> bool:
        """Tell whether the body raised `kind`, one of its subclasses, or (given a text) a class of that name."""
        wanted = kind if isinstance(kind, str) else kind.__name__
        return wanted == self.error_type or wanted in self.error_types


class TaskTimedOut(TaskFailed):
    """A child run ran out of time on its last attempt."""


class TaskCancelled(TaskFailed):
    """A child run was cancelled by somebody else than the parent that waits for it."""

    def __init__(self, name: str, run_id: int, error: dict[str, Any]) -> None:
        super().__init__(name, run_id, error)
        raised = "" if self.error_type == "CancelledError" else f", and raised {self.error_type}: {self.message}"
        self.args = (f"{name} (run {run_id}) was cancelled{raised}",)


class GroupFailed(ExceptionGroup[TaskFailed], FanfoldError):
    """Children that were started together failed: the exceptions are at most 100 of theirs, `.summary` counts all."""

    def __new__(cls, message: str, failures: Sequence[TaskFailed], summary: Any = None) -> Self:
        """Make the group of these failures."""
        del summary
        return super().__new__(cls, message, failures)

    def __init__(self, message: str, failures: Sequence[TaskFailed], summary: Any = None) -> None:
        del message, failures
        self.summary = summary

    def derive(self, excs: Sequence[TaskFailed], /) -> GroupFailed:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the same for some of the failures: what `split` and `except*` make."""
        return GroupFailed(self.message, excs, self.summary)


class GiveUp(FanfoldError):
    """Raised by a task's body: fail at once, whatever attempts are left (elsewhere called non-retryable)."""


class RetryAfter(FanfoldError):
    """Raised by a task's body: this attempt failed, the next one starts after `delay` (seconds or timedelta).

    It counts as an attempt of the task's `retry`; where none is left, the run fails with this.
    """

    def __init__(self, delay: float | timedelta) -> None:
        self.delay = delay
        super().__init__(f"try again after {delay if isinstance(delay, timedelta) else f'{delay} s'}")


class Quarantined(FanfoldError):
    """The `error_type` of a run whose processes died again and again while it was at work; never raised itself."""


class Evicted(BaseException):
    """A durable call was made by code whose run is no longer held by this worker; its outcome is discarded.

    A BaseException, so that `except Exception` in user code does not swallow it. Never seen by live code.
    """
