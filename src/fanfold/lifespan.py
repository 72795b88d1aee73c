"""The app's `lifespan`: what bodies share in a process, opened before the first of them and closed after the last."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, cast

from fanfold.errors import InvalidInput
from fanfold.worker.reference import Reference, check_reference, reference_to
from fanfold.worker.task import PROCESS, Task

Lifespan = Callable[..., AbstractAsyncContextManager[Any]]


class Lives(Protocol):
    """An app, as far as its lifespan is concerned."""

    @property
    def lifespan(self) -> Lifespan | None:
        """What makes the context manager."""
        ...


def checked_lifespan(lifespan: object) -> Lifespan | None:
    """Return what makes an async context manager; InvalidInput for anything else."""
    if lifespan is None or callable(lifespan):
        return cast("Lifespan | None", lifespan)
    raise InvalidInput(
        f"lifespan is a function that makes an async context manager, as @contextlib.asynccontextmanager does, "
        f"not {lifespan!r}"
    )


def living(app: Lives) -> AbstractAsyncContextManager[Any]:
    """Return the context manager of an app's lifespan, one that yields None where it has none."""
    lifespan = app.lifespan
    if lifespan is None:
        return contextlib.nullcontext()
    manager: Any = lifespan(app) if inspect.signature(lifespan).parameters else lifespan()
    if not hasattr(manager, "__aenter__"):
        raise InvalidInput(
            f"lifespan made {manager!r}, which is no async context manager: decorate it with "
            "@contextlib.asynccontextmanager"
        )
    return manager


def lifespan_reference(lifespan: Lifespan | None, tasks: Iterable[Task[..., Any]]) -> Reference | None:
    """Return where processes for bodies find the lifespan; None where none is needed."""
    if lifespan is None or not any(task.executor == PROCESS for task in tasks):
        return None
    function = inspect.unwrap(lifespan)
    check_reference(function)
    return reference_to(function, "lifespan")
