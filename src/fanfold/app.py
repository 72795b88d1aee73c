"""The app: registers tasks, opens the store, composes engine and worker in the caller's process."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from types import TracebackType
from typing import Any, ParamSpec, Protocol, Self, TypeVar, cast, overload

from fanfold.errors import InvalidInput, NotAllowed, UnknownTask
from fanfold.main import Call, run_to_end
from fanfold.model.clock import SystemClock
from fanfold.model.run import RunStatus
from fanfold.run import Run
from fanfold.session import Session
from fanfold.store.opening import DEFAULT_URL, open_reader, open_store
from fanfold.store.queries import NEWEST, Queries
from fanfold.worker.handle import Handle
from fanfold.worker.task import AsyncTask, SyncTask, Task, Workflow, configured

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT_SLOTS = 1000
MAX_PAYLOAD = 4 << 20


# Every `async def` is also a function that returns a coroutine: the first overload that fits is the one that is meant.
class _TaskDecorator(Protocol):
    @overload
    def __call__(  # pyright: ignore[reportOverlappingOverload]
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> SyncTask[P, R]: ...


class _WorkflowDecorator(Protocol):
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Workflow[P, R]: ...


class App:
    """Tasks and workflows, and the store that their runs live in.

    `store` is a URL: `sqlite:///relative.db`, `sqlite:////absolute.db`, or `sqlite://` for memory; None takes
    $FANFOLD_STORE, else `sqlite:///fanfold.db`. `version` is stamped on every root that this app starts. `slots` is
    how many bodies may run at once, `threads` how many of them in threads (None: 5 a core, at most 32), `max_payload`
    the largest input or result in bytes.

    ```python
    import asyncio
    from fanfold import App

    app = App("numbers", store="sqlite://")

    @app.task
    async def square(n: int) -> int:
        return n * n

    @app.workflow
    async def sum_of_squares(n: int) -> int:
        return sum(await asyncio.gather(*(square(i) for i in range(n))))

    assert app.run(sum_of_squares, 4) == 14
    ```
    """

    def __init__(
        self, name: str = "app", *, store: str | None = None, version: str = "0", slots: int = DEFAULT_SLOTS,
        threads: int | None = None, max_payload: int = MAX_PAYLOAD,
    ) -> None:  # fmt: skip
        self.name = name
        self.version = version
        self.slots = _positive(slots, "slots")
        self.threads = min(32, 5 * (os.cpu_count() or 1)) if threads is None else _positive(threads, "threads")
        self.max_payload = _positive(max_payload, "max_payload")
        self._store = store
        self._tasks: dict[str, Task[..., Any]] = {}
        self._session: Session | None = None

    @property
    def store(self) -> str:
        """The URL of the store."""
        return self._store or os.environ.get("FANFOLD_STORE") or DEFAULT_URL

    @property
    def tasks(self) -> dict[str, Task[..., Any]]:
        """The registered tasks and workflows, by name."""
        return dict(self._tasks)

    # Registering ---------------------------------------------------------------------------------------------------

    @overload
    def task(  # pyright: ignore[reportOverlappingOverload] - as above
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> SyncTask[P, R]: ...
    @overload
    def task(self, /, *, name: str | None = None, queue: str = "default", priority: int = 0) -> _TaskDecorator: ...

    def task(
        self, function: Callable[..., Any] | None = None, /, *, name: str | None = None, queue: str = "default",
        priority: int = 0,
    ) -> Any:  # fmt: skip
        """Register a function that does work: it may do I/O, runs at least once, its result is recorded.

        An async function runs on the event loop, a plain one in a thread. `name` is the function's own by default;
        two tasks of one name in an app are an error. Higher `priority` runs first. Raises InvalidInput for what is
        no function, and for annotations that cannot be stored.
        """
        return self._register(function, Task, name=name, queue=queue, priority=priority)

    @overload
    def workflow(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Workflow[P, R]: ...
    @overload
    def workflow(
        self, /, *, name: str | None = None, queue: str = "default", priority: int = 0
    ) -> _WorkflowDecorator: ...

    def workflow(
        self, function: Callable[..., Any] | None = None, /, *, name: str | None = None, queue: str = "default",
        priority: int = 0,
    ) -> Any:  # fmt: skip
        """Register an async function that coordinates: it is deterministic, starts children, and is replayed.

        It runs on an event loop of its own, on which plain asyncio works and I/O is refused: that belongs in tasks.
        """
        return self._register(function, Workflow, name=name, queue=queue, priority=priority)

    def _register(self, function: Callable[..., Any] | None, kind: type[Task[..., Any]], **options: Any) -> Any:
        def decorate(function: Callable[..., Any]) -> Task[..., Any]:
            chosen = kind
            is_async = inspect.iscoroutinefunction(function)
            if kind is Task:
                chosen = cast("type[Task[..., Any]]", AsyncTask if is_async else SyncTask)
            elif not is_async:
                name = getattr(function, "__name__", repr(function))
                raise InvalidInput(
                    f"{name} is a plain function; a workflow is an `async def`. Work belongs in @app.task"
                )
            task = chosen(function, max_payload=self.max_payload, **options)
            self._refuse_double(task)
            self._tasks[task.name] = task
            return task

        return decorate if function is None else decorate(function)

    def _refuse_double(self, task: Task[..., Any]) -> None:
        other = self._tasks.get(task.name)
        if other is None:
            return
        # The same function defined again, as in a notebook's cell, replaces the first.
        old, new = other.function, task.function
        if (old.__module__, old.__qualname__) != (new.__module__, new.__qualname__):
            raise InvalidInput(
                f"two tasks are called {task.name!r}: {old.__module__}.{old.__qualname__} and "
                f"{new.__module__}.{new.__qualname__}. Give one of them another name: @app.task(name=...)"
            )

    # Running -------------------------------------------------------------------------------------------------------

    def run(self, task: Callable[P, Handle[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a task or workflow to its end and return its result, like `asyncio.run`.

        Goes on with the unfinished root of the same task and input that an earlier `app.run` on this store left
        behind, and says so; otherwise starts one. With `task.options(key=...)` a finished run's result is returned at
        once. Shows progress on stderr. Raises TaskFailed, TaskCancelled, NonDeterminism as the run ends, StoreInUse
        when another engine has the store; KeyboardInterrupt after Ctrl-C, when everything done is recorded.
        """
        chosen, call_options = self._own(task)
        if asyncio.events._get_running_loop() is not None:  # noqa: SLF001 - the public one raises where there is none
            raise NotAllowed(
                "app.run starts a loop of its own; where one is running, use `async with app` and app.start"
            )
        return cast("R", run_to_end(self, Call(chosen, call_options, args, kwargs)))

    async def start(self, task: Callable[P, Handle[R]], /, *args: P.args, **kwargs: P.kwargs) -> Run[R]:
        """Start a durable root and return it as soon as it is recorded. Works inside `async with app`.

        With `task.options(key=...)` the same key and input is the same run; another input raises KeyConflict.
        """
        chosen, call_options = self._own(task)
        session = self._at_work("app.start")
        id = await session.start(session.new_root(chosen, call_options, args, kwargs))
        return Run(session.engine, chosen, id)

    def _own(self, task: Callable[P, Handle[R]]) -> Any:
        chosen, call_options = configured(task)
        if self._tasks.get(chosen.name) is not chosen:
            raise UnknownTask(f"{chosen.name} is not registered in the app {self.name!r}: it belongs to another app")
        return chosen, call_options

    def _at_work(self, what: str) -> Session:
        if self._session is None:
            raise NotAllowed(f"{what} needs a running app: use it inside `async with app`")
        return self._session

    async def __aenter__(self) -> Self:
        """Open the store and start to work: unfinished runs go on."""
        if self._session is not None:
            raise NotAllowed("this app is at work already")
        session = self.session(await open_store(self.store))
        await session.open()
        self._session = session
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop: bodies get five seconds, what is unfinished goes on at the next start."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def session(self, opened: Any, **options: Any) -> Session:
        """Compose engine and worker on an open store; for `fanfold.testing` and the command line."""
        settings: dict[str, Any] = {
            "clock": SystemClock(), "slots": self.slots, "threads": self.threads, "version": self.version
        }  # fmt: skip
        return Session(opened, tasks=self._tasks, **(settings | options))

    # Looking -------------------------------------------------------------------------------------------------------

    async def runs(
        self, *, state: str | None = None, task: str | Task[..., Any] | None = None
    ) -> AsyncIterator[RunStatus]:
        """Yield the runs of the store, newest first. Needs no engine and works beside a running one."""
        name = task.name if isinstance(task, Task) else task
        session = self._session
        database = None if session is not None else await open_reader(self.store)
        try:
            queries = (
                session.engine.queries if database is None and session is not None else Queries(cast("Any", database))
            )
            before = NEWEST
            while page := await queries.runs(before=before, state=state, name=name, most=100):
                for status in page:
                    yield status
                before = page[-1].id
        finally:
            if database is not None:
                database.close()


def _positive(value: object, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidInput(f"{what} is a whole number from 1 on, not {value!r}")
    return value
