"""`app.blocking`: the names of an app and its runs without `await`, for scripts, notebooks and Django.

A thin face over the async ones, which stay the only ones that do anything: each call is a coroutine on a loop in
another thread. That loop is the one on which the app is at work, else one that is started at the first call.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Generic, ParamSpec, Protocol, Self, TypeVar, cast, overload

from fanfold.errors import NotAllowed
from fanfold.model.duration import Duration
from fanfold.model.run import RunStatus
from fanfold.worker.handle import Handle
from fanfold.worker.task import Task

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")

AT_ONCE = 100  # items that are fetched for each crossing to the other thread


class _Run(Protocol[R_co]):
    """A run, as far as it is needed here."""

    id: int
    key: str | None

    async def result(self, timeout: float | timedelta | None = None) -> R_co: ...
    async def status(self) -> RunStatus: ...
    async def cancel(self) -> None: ...
    def children(self, *, state: str | None = None) -> AsyncIterator[RunStatus]: ...


class _EngineHere(Protocol):
    """Where the app is at work."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...
    @property
    def thread(self) -> int: ...


class _App(AbstractAsyncContextManager[Any], Protocol):
    """The app, as far as it is needed here."""

    def engine_here(self) -> _EngineHere | None: ...
    def run(self, task: Callable[P, Handle[R]], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    async def start(self, task: Callable[P, Handle[R]], /, *args: P.args, **kwargs: P.kwargs) -> _Run[R]: ...
    @overload
    async def get(self, task: int, /) -> _Run[Any]: ...
    @overload
    async def get(self, task: Callable[P, Handle[R]], /, key: str) -> _Run[R]: ...
    def runs(
        self, *, state: str | None = None, task: str | Task[..., Any] | None = None,
        tags: Mapping[str, str] | None = None, since: datetime | Duration | None = None,
    ) -> AsyncIterator[RunStatus]: ...  # fmt: skip


class Blocking:
    """An app without `await`, from `app.blocking`: `run`, `start`, `get`, `runs`, and runs that block alike.

    Where the app is at work already, its engine is used, from any other thread. Otherwise `start` opens one in a
    thread of its own, which stays until `close`, the end of a `with` block or of the program; looking opens none.

    ```python
    from fanfold import App

    app = App("letters", store="sqlite://")

    @app.task
    def shout(text: str) -> str:
        return text.upper()

    with app.blocking as blocking:
        run = blocking.start(shout, "hello")
        assert run.result(timeout=10) == "HELLO"
        assert [status.state for status in blocking.runs(task=shout)] == ["completed"]
    ```
    """

    def __init__(self, app: _App, heed_signals: Callable[[], AbstractContextManager[object]]) -> None:
        """`heed_signals` makes a block in which SIGTERM unwinds the main thread."""
        self._app = app
        self._heed_signals = heed_signals
        self._lock = threading.Lock()
        self._thread: _LoopThread | None = None
        self._signals: AbstractContextManager[object] | None = None

    def run(self, task: Callable[P, Handle[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a task or workflow to its end and return its result: `app.run`, which blocks anyway."""
        return self._app.run(task, *args, **kwargs)

    def start(self, task: Callable[P, Handle[R]], /, *args: P.args, **kwargs: P.kwargs) -> BlockingRun[R]:
        """Start a durable root and return it as soon as it is recorded, as `app.start` does."""
        self._open("app.blocking.start")
        return BlockingRun(self._call("app.blocking.start", self._app.start(task, *args, **kwargs)), self)

    @overload
    def get(self, task: int, /) -> BlockingRun[Any]: ...
    @overload
    def get(self, task: Callable[P, Handle[R]], /, key: str) -> BlockingRun[R]: ...

    def get(self, task: int | Callable[..., Handle[Any]], /, key: str | None = None) -> BlockingRun[Any]:
        """Return a run by its id, or a root by its task and key, as `app.get` does."""
        found = cast("Coroutine[Any, Any, _Run[Any]]", cast("Any", self._app).get(task, key))
        return BlockingRun(self._call("app.blocking.get", found), self)

    def runs(
        self, *, state: str | None = None, task: str | Task[..., Any] | None = None,
        tags: Mapping[str, str] | None = None, since: datetime | Duration | None = None,
    ) -> Iterator[RunStatus]:  # fmt: skip
        """Yield the runs of the store, newest first, as `app.runs` does."""
        return self.each("app.blocking.runs", self._app.runs(state=state, task=task, tags=tags, since=since))

    def __enter__(self) -> Self:
        """Be at work: unfinished runs go on."""
        self._open("app.blocking")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop what was opened here."""
        self.close()

    def close(self) -> None:
        """Stop the engine that was opened here: bodies get five seconds, what is unfinished goes on at the next start.

        Calls that still wait in other threads raise NotAllowed.
        """
        if self._thread is threading.current_thread():
            raise NotAllowed(_OWN_THREAD.format("app.blocking.close"))
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is not None:
                thread.end()
            signals, self._signals = self._signals, None
            if signals is not None:
                signals.__exit__(None, None, None)
        atexit.unregister(self.close)

    # How it is done ------------------------------------------------------------------------------------------------

    def _open(self, what: str) -> None:
        """Have the app at work: in this process already, or from now on in a thread of ours."""
        if self._app.engine_here() is not None:
            return
        if self._thread is threading.current_thread():
            raise NotAllowed(_OWN_THREAD.format(what))
        with self._lock:
            if self._app.engine_here() is None:
                self._background().open()
                self._signals = self._heed_signals()
                self._signals.__enter__()

    def _background(self) -> _LoopThread:
        # A thread does not come along into a fork.
        if self._thread is None or not self._thread.is_alive():
            self._thread = _LoopThread(self._app)
            self._thread.start()
            self._thread.ready.wait()
            atexit.register(self.close)
        return self._thread

    def _loop(self, what: str) -> asyncio.AbstractEventLoop:
        here = self._app.engine_here()
        if here is None:
            if self._thread is threading.current_thread():
                raise NotAllowed(_OWN_THREAD.format(what))
            with self._lock:
                return self._background().loop
        # A workflow's loop is stepped from the engine's, so its code is on that thread as well.
        if here.thread == threading.get_ident():
            raise NotAllowed(_OWN_THREAD.format(what))
        if not here.loop.is_running():
            raise NotAllowed(
                f"{what}: the app is at work on a loop that is not running now, so this would wait for ever; keep "
                "`async with app` in one `asyncio.run`, or use `with app.blocking`"
            )
        return here.loop

    def _call(self, what: str, work: Coroutine[Any, Any, T]) -> T:
        """Return what `work` returns, which is done on the other loop."""
        try:
            loop = self._loop(what)
        except BaseException:
            work.close()
            raise
        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise NotAllowed(
                f"{what}: the app was closed while this waited; what was recorded goes on at the next start"
            ) from None
        except BaseException:
            future.cancel()  # Ctrl-C here ends the waiting, not the run
            raise

    def wait_for(self, what: str, work: Coroutine[Any, Any, T]) -> T:
        """Return what `work` of one of the runs returns."""
        return self._call(what, work)

    def each(self, what: str, items: AsyncIterator[T]) -> Iterator[T]:
        """Yield what an async iterator yields, some at once for each crossing to the other thread."""
        while some := self._call(what, _take(items)):
            yield from some


class BlockingRun(Generic[R]):
    """A durable run, from `app.blocking`: what `Run` has, without `await`."""

    def __init__(self, run: _Run[R], blocking: Blocking) -> None:
        self._run = run
        self._blocking = blocking
        self.id = run.id
        self.key = run.key

    def result(self, timeout: float | timedelta | None = None) -> R:
        """Wait for the run to end and return its result; raises what `Run.result` raises."""
        return self._blocking.wait_for("run.result", self._run.result(timeout))

    def status(self) -> RunStatus:
        """Return how the run stands now."""
        return self._blocking.wait_for("run.status", self._run.status())

    def cancel(self) -> None:
        """Ask the run and all below it to end; NotAllowed where the app is not at work, as `Run.cancel` says."""
        self._blocking.wait_for("run.cancel", self._run.cancel())

    def children(self, *, state: str | None = None) -> Iterator[RunStatus]:
        """Yield how the run's children stand, oldest first."""
        return self._blocking.each("run.children", self._run.children(state=state))

    def __repr__(self) -> str:
        return repr(self._run).replace("<Run", "<BlockingRun", 1)


class _LoopThread(threading.Thread):
    """A loop in a thread of its own, on which an app is opened when it is asked for."""

    def __init__(self, app: _App) -> None:
        super().__init__(name="fanfold-blocking", daemon=True)
        self.ready = threading.Event()
        self.loop: asyncio.AbstractEventLoop
        self._app = app
        self._requests: asyncio.Queue[concurrent.futures.Future[None] | None]

    def run(self) -> None:
        """Serve until `end`."""
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._requests = asyncio.Queue()
        self.ready.set()
        # Opened and closed by one task, as whatever the app enters may want it.
        while (request := await self._requests.get()) is not None:
            try:
                async with self._app:
                    request.set_result(None)
                    await self._requests.get()
                    return
            except BaseException as error:
                if request.done():
                    raise
                request.set_exception(error)

    def open(self) -> None:
        """Have the app at work here; raises what opening it raises."""
        request: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._put(request)
        request.result()

    def end(self) -> None:
        """Stop the app and end the thread."""
        if self.is_alive():  # not in a fork
            with contextlib.suppress(RuntimeError):  # the loop is closed: it has ended
                self._put(None)
            self.join()

    def _put(self, request: concurrent.futures.Future[None] | None) -> None:
        self.loop.call_soon_threadsafe(self._requests.put_nowait, request)


async def _take(items: AsyncIterator[T]) -> list[T]:
    taken: list[T] = []
    async for item in items:
        taken.append(item)
        if len(taken) == AT_ONCE:
            break
    return taken


_OWN_THREAD = (
    "{} was called on the thread of the app's own loop, which it would block for ever: use the async name with "
    "`await` there; in a workflow, do it in a task"
)
