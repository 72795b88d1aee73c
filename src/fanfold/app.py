"""The app: registers tasks, opens the store, composes engine and worker in the caller's process."""

from __future__ import annotations

import contextlib
import inspect
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, cast, overload

from fanfold.blocking import Blocking
from fanfold.decorators import Executor, TaskDecorator, WorkflowDecorator
from fanfold.errors import InvalidInput, NotAllowed, NotFound, NotInRun, StoreInUse, UnknownTask
from fanfold.lifespan import Lifespan, checked_lifespan, lifespan_reference, working
from fanfold.main import Call, run_beside, run_to_end
from fanfold.model.clock import SystemClock
from fanfold.model.duration import Duration
from fanfold.model.keys import shown
from fanfold.model.retry import Retry
from fanfold.model.run import ROOT, RunStatus
from fanfold.run import PAGE, EngineHere, Place, Run, checked_state, instant_ms, outside_workflows
from fanfold.session import Exits, Session
from fanfold.store.opening import DEFAULT_URL
from fanfold.store.queries import NEWEST, Queries
from fanfold.worker.context import current
from fanfold.worker.handle import Handle
from fanfold.worker.task import AsyncTask, CallOptions, SyncTask, Task, Workflow, configured

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT_SLOTS = 1000
MAX_PAYLOAD = 4 << 20


class App:
    """Tasks and workflows, and the store that their runs live in.

    `store` is a URL: `sqlite:///relative.db`, `sqlite:////absolute.db`, or `sqlite://` for memory; None takes
    $FANFOLD_STORE, else `sqlite:///fanfold.db`. `version` is stamped on every root that this app starts.
    `default_retry` and `default_timeout` are those of tasks that have none of their own; None: one attempt, no limit.
    `slots` is how many bodies may run at once, `threads` how many of them in threads (None: 5 a core, at most 32),
    `processes` in processes (None: one a core), `max_payload` the largest input or result in bytes. `lifespan` makes an
    async context manager, with the app or without an argument; it is entered once in each process that runs bodies,
    and what it yields is `current().state`.

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
        self, name: str = "app", *, store: str | None = None, version: str = "0",
        default_retry: Retry | None = None, default_timeout: Duration | None = None, slots: int = DEFAULT_SLOTS,
        threads: int | None = None, processes: int | None = None, lifespan: Lifespan | None = None,
        max_payload: int = MAX_PAYLOAD,
    ) -> None:  # fmt: skip
        self.name = name
        self.default_retry = default_retry
        self.default_timeout = default_timeout
        self.version = _text(version, "version")
        self.slots = _positive(slots, "slots")
        self.threads = min(32, 5 * (os.cpu_count() or 1)) if threads is None else _positive(threads, "threads")
        self.processes = os.cpu_count() or 1 if processes is None else _positive(processes, "processes")
        self.lifespan = checked_lifespan(lifespan)
        self.max_payload = _positive(max_payload, "max_payload")
        self._store = store
        self._tasks: dict[str, Task[..., Any]] = {}
        self._session: Session | None = None
        self._here: EngineHere | None = None
        self._is_stopping = False
        self._stopped = threading.Event()
        self._block: contextlib.AbstractAsyncContextManager[Session] | None = None
        self._place = Place(self.engine_here, lambda: self.store)
        self._blocking = Blocking(self, Exits)

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
    def task(
        self, /, *, retry: Retry | None = None, timeout: Duration | None = None, queue: str = "default",
        priority: int = 0, executor: Executor | None = None, name: str | None = None,
    ) -> TaskDecorator: ...  # fmt: skip

    def task(
        self, function: Callable[..., Any] | None = None, /, *, retry: Retry | None = None,
        timeout: Duration | None = None, queue: str = "default", priority: int = 0,
        executor: Executor | None = None, name: str | None = None,
    ) -> Any:  # fmt: skip
        """Register a function that does work: it may do I/O, runs at least once, its result is recorded.

        An async function runs on the event loop, a plain one in a thread; `executor="process"` runs it in a process.
        `retry` says whether a failed attempt is tried again, `timeout` (seconds or timedelta) how long an attempt may
        run, not counting the time in which it waits for children. Higher `priority` runs first. `name` is the
        function's own by default; two tasks of one name in an app are an error. Raises InvalidInput for what is no
        function, and for annotations that cannot be stored.
        """
        return self._register(
            function, Task, name=name, queue=queue, priority=priority, executor=executor,
            retry=self.default_retry if retry is None else retry,
            timeout=self.default_timeout if timeout is None else timeout,
        )  # fmt: skip

    @overload
    def workflow(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Workflow[P, R]: ...
    @overload
    def workflow(
        self, /, *, name: str | None = None, queue: str = "default", priority: int = 0
    ) -> WorkflowDecorator: ...

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
                raise InvalidInput(_not_async(function))
            task = chosen(function, max_payload=self.max_payload, **options)
            self._refuse_double(task)
            task.registry = self._tasks
            self._tasks[task.name] = task
            return task

        return decorate if function is None else decorate(function)

    def _refuse_double(self, task: Task[..., Any]) -> None:
        other = self._tasks.get(task.name)
        if other is None:
            return
        if not _is_again(other.function, task.function):
            raise InvalidInput(
                f"two tasks are called {task.name!r}: {_place_of(other.function)} and {_place_of(task.function)}. "
                "Give one of them another name: @app.task(name=...)"
            )
        if "<" in task.function.__qualname__:
            other.registry = None  # made by a factory: it must not be taken for the one that has its name now

    # Running -------------------------------------------------------------------------------------------------------

    def run(self, task: Callable[P, Handle[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a task or workflow to its end and return its result, like `asyncio.run`.

        Goes on with the unfinished root of the same task and input that an earlier `app.run` on this store left
        behind, and says so; otherwise starts one. With `task.options(key=...)` a finished run's result is returned at
        once. Shows progress on stderr. Where a loop is running, as in a notebook, it works on a loop in a thread of
        its own while this one waits. Raises TaskFailed, TaskCancelled, NonDeterminism as the run ends, StoreInUse when
        another engine has the store, NotAllowed inside a run; KeyboardInterrupt after Ctrl-C, SystemExit after SIGTERM,
        when everything done is recorded.
        """
        chosen, call_options = self._own(task)
        if is_in_run():
            raise NotAllowed(
                f"app.run was called inside a run, and would keep it waiting: call {chosen.name}(...) for a child, or "
                f"`await app.start({chosen.name}, ...)` in a task for a root of its own"
            )
        call = Call(chosen, call_options, args, kwargs)
        here, session = self.engine_here(), self._session
        if here is not None and self._is_stopping and here.thread != threading.get_ident():
            self._stopped.wait()  # a cell that is run again after the second Ctrl-C
            here = None
        if here is None or session is None:
            return cast("R", run_to_end(self, call))
        return cast("R", run_beside(here, session, call))

    async def start(self, task: Callable[P, Handle[R]], /, *args: P.args, **kwargs: P.kwargs) -> Run[R]:
        """Start a durable root and return it as soon as it is recorded. Works where the app is at work.

        With `task.options(key=...)` the same key and input is the same run; another input raises KeyConflict. In a
        task it starts a root of its own, which outlives the task; without a key it gets one from the task's run, what
        is called with which input, and how many equal calls came before, so that a retried body finds what it started.
        NotAllowed in workflows.
        """
        outside_workflows("app.start")
        chosen, call_options = self._own(task)
        here, session = self.engine_here(), self._session
        if here is None or session is None or (self._is_stopping and not is_in_run()):
            raise NotAllowed(
                "app.start needs an app that is at work: use it inside `async with app`, or app.blocking.start in a "
                "script; app.run does without"
            )
        context = current() if is_in_run() else None

        async def start() -> Run[R]:
            options = call_options if context is None else context.root_options(chosen, call_options, args, kwargs)
            id = await session.start(session.new_root(chosen, options, args, kwargs))
            return Run(self._place, chosen, id, shown(options.key))

        return await here.on_its_loop(start())

    def _own(self, task: Callable[P, Handle[R]]) -> tuple[Task[P, R], CallOptions]:
        chosen, call_options = configured(task)
        if self._tasks.get(chosen.name) is not chosen:
            if chosen.registry is None:
                raise UnknownTask(
                    f"another task has the name {chosen.name} since: @app.task(name=...) tells them apart"
                )
            raise UnknownTask(f"{chosen.name} is not registered in the app {self.name!r}: it belongs to another app")
        return chosen, call_options

    async def __aenter__(self) -> Self:
        """Open the store and start to work: unfinished runs go on."""
        if self.engine_here() is not None:
            raise NotAllowed("this app is at work already; one `async with app` around the program is enough")
        block = self.working(self.store)
        await block.__aenter__()
        self._block = block
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop: bodies get five seconds, what is unfinished goes on at the next start."""
        block, self._block = self._block, None
        if block is not None:
            await block.__aexit__(kind, error, trace)

    def working(self, url: str) -> contextlib.AbstractAsyncContextManager[Session]:
        """Be at work on a store, from now to the end of the block; for `app.run` and the command line."""
        return working(self, url)

    def stopping(self) -> None:
        """Take nothing more from outside of runs: the end of the `working` block is near."""
        self._is_stopping = True

    def attach(self, session: Session | None) -> None:
        """Take this for the session that works for the app, on the running loop; for `fanfold.testing` as well."""
        self._session = session
        self._here = None if session is None else EngineHere.of(session.engine)
        self._is_stopping = False
        if session is None:
            self._stopped.set()
        else:
            self._stopped.clear()

    def engine_here(self) -> EngineHere | None:
        """Return the engine of this app in this process; StoreInUse in a fork, which has none and may not have one."""
        here = self._here
        if here is not None and here.pid != os.getpid():
            raise StoreInUse(
                f"process {os.getpid()} was forked from process {here.pid} while the app {self.name!r} was at work "
                "there; its engine stays with that one. Start a process of its own: subprocess, or multiprocessing "
                "with 'spawn' or 'forkserver'",
                here.pid,
            )
        return here

    def session(self, opened: Any, **options: Any) -> Session:
        """Compose engine and worker on an open store; for `fanfold.testing` and the command line."""
        settings: dict[str, Any] = {
            "clock": SystemClock(), "tasks": self._tasks, "slots": self.slots, "threads": self.threads,
            "version": self.version, "processes": self.processes, "max_payload": self.max_payload,
            "lifespan": lifespan_reference(self.lifespan, self._tasks.values()),
        }  # fmt: skip
        return Session(opened, **(settings | options))

    # Looking -------------------------------------------------------------------------------------------------------

    @overload
    async def get(self, task: int, /) -> Run[Any]: ...
    @overload
    async def get(self, task: Callable[P, Handle[R]], /, key: str) -> Run[R]: ...

    async def get(self, task: int | Callable[..., Handle[Any]], /, key: str | None = None) -> Run[Any]:
        """Return a run by its id, or a root by its task and key. Needs no engine and works beside a running one.

        Raises NotFound where there is none. The result of a run whose task is not registered here cannot be decoded.
        """
        outside_workflows("app.get")
        if isinstance(task, int) and not isinstance(task, bool) and key is None:
            name, stored = await self._place.ask(lambda queries: queries.name_and_key(task))
            return Run(self._place, self._tasks.get(name, name), task, shown(stored))
        if isinstance(task, int | str) or key is None:
            raise InvalidInput("a run is found by its id, app.get(12), or by its task and key, app.get(task, 'key')")
        chosen, _ = self._own(task)
        stored = CallOptions(key).key or ""
        id = await self._place.ask(lambda queries: queries.find_key(ROOT, chosen.name, stored))
        if id is None:
            raise NotFound(
                f"no run of {chosen.name} has the key {key!r} in {self.store}; "
                f"app.start({chosen.name}.options(key={key!r}), ...) starts one, `fanfold runs list --task "
                f"{chosen.name}` shows those there are"
            )
        return Run(self._place, chosen, id, key)

    async def runs(
        self, *, state: str | None = None, task: str | Task[..., Any] | None = None,
        tags: Mapping[str, str] | None = None, since: datetime | Duration | None = None,
    ) -> AsyncIterator[RunStatus]:  # fmt: skip
        """Yield the runs of the store, newest first. Needs no engine and works beside a running one.

        Those alone that stand in `state`, are of `task` (or have its name), have all these `tags`, and were made
        `since` then: a datetime, or a duration before now (seconds or timedelta). Read in pages, so that a run which
        changes meanwhile is seen as it is when its page is read. Raises InvalidInput for what is no state.
        """
        outside_workflows("app.runs")
        checked_state(state)
        wanted: dict[str, Any] = {
            "state": state, "name": task.name if isinstance(task, Task) else task, "tags": dict(tags or {}),
            "since_ms": None if since is None else instant_ms(since, "since"),
        }  # fmt: skip
        before = NEWEST
        while page := await self._place.ask(_page(before, wanted)):
            for status in page:
                if wanted["tags"].items() <= status.tags.items():
                    yield status
            before = page[-1].id

    @property
    def blocking(self) -> Blocking:
        """The same names without `await`, for scripts, notebooks and Django; see `Blocking`."""
        return self._blocking


def is_in_run() -> bool:
    """Tell whether the calling code belongs to a run."""
    with contextlib.suppress(NotInRun):
        return bool(current())
    return False


def _page(before: int, wanted: dict[str, Any]) -> Callable[[Queries], Coroutine[Any, Any, list[RunStatus]]]:
    return lambda queries: queries.runs(before=before, most=PAGE, **wanted)


def _positive(value: object, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidInput(f"{what} is a whole number from 1 on, not {value!r}")
    return value


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise InvalidInput(f"a {what} is a text, as in App({what}='2'), not {value!r}")
    return value


def _is_again(old: Callable[..., Any], new: Callable[..., Any]) -> bool:
    """Tell whether a function is another one defined again, as by a notebook's cell, and may take its place."""
    if (old.__module__, old.__qualname__) != (new.__module__, new.__qualname__):
        return False
    # Lambdas, and functions in functions, are told apart by their place; a cell compiled again has another file name.
    (old_file, _, old_line), (new_file, _, new_line) = _place_of(old).rpartition(":"), _place_of(new).rpartition(":")
    return "<" not in new.__qualname__ or old_file != new_file or old_line == new_line


def _place_of(function: Callable[..., Any]) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    name = f"{function.__module__}.{function.__qualname__}"
    return name if code is None else f"{name} at {code.co_filename}:{code.co_firstlineno}"


def _not_async(function: Callable[..., Any]) -> str:
    name = getattr(function, "__name__", repr(function))
    if not inspect.iscoroutinefunction(inspect.unwrap(function)):
        return f"{name} is a plain function; a workflow is an `async def`. Work belongs in @app.task"
    return f"{name} is an `async def` in a decorator's plain function: make that one async, and await {name} in it"
