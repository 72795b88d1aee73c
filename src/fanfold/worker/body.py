"""One attempt of a task in this process."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from fanfold.errors import InvalidInput
from fanfold.model.codec import decode_text
from fanfold.model.retry import Retry
from fanfold.model.run import Claimed, NewRun
from fanfold.worker.context import Context, set_current
from fanfold.worker.task import Task

if TYPE_CHECKING:
    from fanfold.worker.calls import Calls
    from fanfold.worker.limits import TimeLimit
    from fanfold.worker.siblings import Added


class Body:
    """A task's attempt: what it runs, and how far it is. An async one has a `coroutine` once it has started."""

    coroutine: Coroutine[Any, Any, Any]

    __slots__ = (
        "calls", "carrier", "context", "coroutine", "epoch", "has_slot", "is_cancelled", "is_over", "is_started",
        "is_waiting", "limit", "on_filled", "place", "run", "siblings", "task",
    )  # fmt: skip

    def __init__(self, run: NewRun | Claimed, epoch: int, task: Task[..., Any], context: Context) -> None:
        self.run = run
        self.epoch = epoch
        self.task = task
        self.context = context
        self.carrier: asyncio.Task[None] | None = None
        self.calls: Calls | None = None  # its children, from the first call on
        self.siblings: Added | None = None  # what it adds to its own group
        self.on_filled: Callable[[], None] | None = None  # it has returned, and this ends it when its groups are filled
        self.limit: TimeLimit | None = None
        self.is_started = False
        self.has_slot = False
        self.place = 0  # among what is at work
        self.is_waiting = False  # for its children; it has given its slot back
        self.is_cancelled = False  # its run is asked to cancel
        self.is_over = False  # its end is on its way to the store: what it still does changes nothing

    @property
    def attempt(self) -> int:
        """Which try of the run this is, from 1."""
        return self.run.attempt if isinstance(self.run, Claimed) else 1

    @property
    def is_dead(self) -> bool:
        """Tell whether what the body still does reaches nothing."""
        return self.is_over or (self.limit is not None and self.limit.error is not None)

    @property
    def parents(self) -> list[int]:
        """Whose children the body may wait for: its own run's, and its groups'."""
        return [self.run.id, *(() if self.calls is None else list(self.calls.groups.feeds))]

    @property
    def retry(self) -> Retry:
        """The policy that holds: the call's, else the task's."""
        policy = self._options.get("retry")
        return self.task.retry if policy is None else Retry(**policy)

    @property
    def timeout_ms(self) -> int | None:
        """How long this attempt may run, or None."""
        return self._options.get("timeout_ms", self.task.timeout_ms)

    @property
    def _options(self) -> dict[str, Any]:
        return {} if self.run.options is None else decode_text(self.run.options)

    def call(self) -> Any:
        """Call the function with the run's input; in a context of its own, so that nothing leaks to the next body."""
        set_current(self.context)
        args, kwargs = self.task.signature.decode(self.run.input or "{}")
        value = self.task.function(*args, **kwargs)
        if not self.task.is_async and inspect.iscoroutine(value):
            value.close()  # it was never begun, and nobody will
            raise InvalidInput(
                f"{self.task.name} is a plain function that returned a coroutine, as a decorator's does around an "
                "`async def`: let the decorator's function be `async def`, and await the other in it"
            )
        if self.calls is not None:
            self.calls.groups.wait_for_items()
        return value

    def start(self) -> Any:
        """Step an async body for the first time; return what it waits for, StopIteration with its value if it ended."""
        self.coroutine = coroutine = self.call()
        return coroutine.send(None)


class Finish(Protocol):
    """Told about a body that ended: with its value, or with what it raised."""

    def __call__(self, body: Body, value: Any, error: BaseException | None) -> None:
        """Record the end."""
        ...


class Begin(Protocol):
    """Told about a body that begins to run, if something depends on when."""

    def __call__(self, body: Body) -> None:
        """Take note of the time."""
        ...
