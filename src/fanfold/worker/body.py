"""One attempt of a task in this process."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any, Protocol

from fanfold.model.run import Claimed, NewRun
from fanfold.worker.context import Context, set_current
from fanfold.worker.task import Task


class Body:
    """A task's attempt: what it runs, and how far it is. An async one has a `coroutine` once it has started."""

    coroutine: Coroutine[Any, Any, Any]

    __slots__ = ("carrier", "context", "coroutine", "epoch", "is_cancelled", "is_started", "run", "task")

    def __init__(self, run: NewRun | Claimed, epoch: int, task: Task[..., Any], context: Context) -> None:
        self.run = run
        self.epoch = epoch
        self.task = task
        self.context = context
        self.carrier: asyncio.Task[None] | None = None
        self.is_started = False
        self.is_cancelled = False

    def call(self) -> Any:
        """Call the function with the run's input; in a context of its own, so that nothing leaks to the next body."""
        set_current(self.context)
        args, kwargs = self.task.signature.decode(self.run.input or "{}")
        return self.task.function(*args, **kwargs)

    def start(self) -> Any:
        """Step an async body for the first time; return what it waits for, StopIteration with its value if it ended."""
        self.coroutine = coroutine = self.call()
        return coroutine.send(None)


class Finish(Protocol):
    """Told about a body that ended: with its value, or with what it raised."""

    def __call__(self, body: Body, value: Any, error: BaseException | None) -> None:
        """Record the end."""
        ...


class BodyQueue:
    """Bodies that were claimed and wait for a slot: highest priority first, then in order."""

    def __init__(self) -> None:
        self._levels: dict[int, deque[Body]] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def push(self, body: Body) -> None:
        """Put a body at the end of its priority."""
        level = self._levels.get(body.run.priority)
        if level is None:
            level = self._levels[body.run.priority] = deque()
        level.append(body)
        self._size += 1

    def pop(self) -> Body:
        """Take the next body."""
        levels = self._levels
        priority = next(iter(levels)) if len(levels) == 1 else max(levels)
        level = levels[priority]
        body = level.popleft()
        if not level:
            del levels[priority]
        self._size -= 1
        return body


class Slots:
    """How many bodies may run at once in this process, over all executors."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0

    def is_free(self) -> bool:
        """Tell whether one more body may start."""
        return self.taken < self.most
