"""An app's life in a process: the stretch in which it is at work, and its `lifespan`, which is what bodies share."""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, cast

from fanfold.errors import InvalidInput
from fanfold.session import Session, Termination
from fanfold.store.opening import open_store
from fanfold.worker.reference import Reference, check_reference, reference_to, refuse_in_process
from fanfold.worker.task import PROCESS, Task

Lifespan = Callable[..., AbstractAsyncContextManager[Any]]


class Lives(Protocol):
    """An app, as far as its lifespan is concerned."""

    @property
    def lifespan(self) -> Lifespan | None:
        """What makes the context manager."""
        ...


class Works(Lives, Protocol):
    """An app, as far as it is needed to be at work."""

    def session(self, opened: Any, **options: Any) -> Session:
        """Compose engine and worker."""
        ...

    def attach(self, session: Session | None) -> None:
        """Take this for the session that works for the app."""
        ...

    def stopping(self) -> None:
        """Take nothing more from outside of runs."""
        ...


@contextlib.asynccontextmanager
async def working(app: Works, url: str) -> AsyncGenerator[Session]:
    """Be at work on a store, from now to the end of the block, or until the process is asked to end."""
    refuse_in_process("an app cannot be at work")
    pid = os.getpid()
    async with contextlib.AsyncExitStack() as stack:
        termination = stack.enter_context(Termination())
        opened = await open_store(url)
        try:
            state = await stack.enter_async_context(living(app))
            session = app.session(opened, state=state)
        except BaseException:
            opened.close()
            raise
        await session.open()
        app.attach(session)
        try:
            yield session
        finally:
            termination.is_leaving = True
            # To the last moment, for bodies that start something in their grace. In a fork nothing of it is ours.
            try:
                if pid == os.getpid():
                    app.stopping()
                    await session.close()
            finally:
                app.attach(None)


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
