"""What code inside a run can ask: which run it is, and to start children."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from fanfold.errors import NotAllowed, NotInRun
from fanfold.model.codec import decode_text
from fanfold.model.run import Claimed, NewRun
from fanfold.worker.handle import Handle

if TYPE_CHECKING:
    import random
    import uuid

    from fanfold.worker.task import CallOptions, Task


class Context:
    """The run that the calling code belongs to, from `current()`."""

    __slots__ = ("_created_at", "_run", "_store_id")

    def __init__(self, run: NewRun | Claimed, created_at: int, store_id: str) -> None:
        self._run = run
        self._created_at = created_at
        self._store_id = store_id

    @property
    def id(self) -> int:
        """The run's id."""
        return self._run.id

    @property
    def key(self) -> str | None:
        """The key that the caller gave the run, or None."""
        key = self._run.key
        return key[2:] if key is not None and key.startswith("k:") else None

    @property
    def parent_id(self) -> int | None:
        """The id of the run that started this one; None for a root."""
        return self._run.parent_id or None

    @property
    def attempt(self) -> int:
        """Which try of the run this is, from 1. A crash of the process does not count as a try."""
        return self._run.attempt if isinstance(self._run, Claimed) else 1

    @property
    def version(self) -> str:
        """The code version that the run was started with."""
        return self._run.version

    @property
    def tags(self) -> dict[str, str]:
        """The run's tags."""
        return {} if self._run.tags is None else decode_text(self._run.tags)

    @property
    def idempotency_key(self) -> str:
        """A text for the outside world, the same on every attempt of this run and of no other run.

        Bodies run at least once: a side effect that must happen once is given this key.
        """
        return f"{self._store_id}-{self._run.id}-{self._created_at}"

    def now(self) -> float:
        """Return the time of the last delivery, in seconds since 1970, the same on replay; in workflows only."""
        raise NotAllowed("current().now() is for workflows; in a task read the clock")

    def random(self) -> random.Random:
        """Return a generator of random numbers that are the same on replay; in workflows only."""
        raise NotAllowed("current().random() is for workflows; in a task use the random module")

    def uuid(self) -> uuid.UUID:
        """Return a UUID that is the same on replay; in workflows only."""
        raise NotAllowed("current().uuid() is for workflows; in a task use the uuid module")

    def call(
        self, task: Task[..., Any], options: CallOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Handle[Any]:
        """Start a child."""
        del options, args, kwargs
        raise NotAllowed(
            f"run {self.id} ({self._run.name}) is a task and cannot start {task.name}: "
            "in this version children are started by workflows"
        )

    def sleep(self, delay_s: float) -> Handle[None]:
        """Start a durable timer."""
        del delay_s
        raise NotAllowed("sleep() is for workflows; in a task use asyncio.sleep or time.sleep")


_current: ContextVar[Context] = ContextVar("fanfold_run")
set_current: Callable[[Context], Any] = _current.set


def current() -> Context:
    """Return the run that the calling code belongs to; NotInRun outside of runs.

    ```python
    from fanfold import App, current

    app = App("context", store="sqlite://")

    @app.task
    async def which(n: int) -> str:
        return f"{current().id}, attempt {current().attempt}"
    ```
    """
    context = _current.get(None)
    if context is None:
        raise NotInRun("current() was called outside a run: there is no run to tell about")
    return context


def calling_context(task: Task[..., Any]) -> Context:
    """Return the run that calls `task`; NotInRun, with the two ways out, where there is none."""
    context = _current.get(None)
    if context is None:
        raise NotInRun(
            f"{task.name} was called outside a run. {task.name}.fn(...) is the plain function; "
            f"app.start({task.name}, ...) or app.run({task.name}, ...) make a durable run of it"
        )
    return context
