"""What `@app.task(...)` and `@app.workflow(...)` with settings return, as type checkers see it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Literal, ParamSpec, Protocol, TypeVar, overload

from fanfold.worker.task import AsyncTask, SyncTask, Workflow

P = ParamSpec("P")
R = TypeVar("R")

Executor = Literal["thread", "process"]


# Every `async def` is also a function that returns a coroutine: the first overload that fits is the one that is meant.
class TaskDecorator(Protocol):
    """Makes a task of a function."""

    @overload
    def __call__(  # pyright: ignore[reportOverlappingOverload]
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> SyncTask[P, R]: ...


class WorkflowDecorator(Protocol):
    """Makes a workflow of a coroutine function."""

    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Workflow[P, R]:
        """Register the function."""
        ...
