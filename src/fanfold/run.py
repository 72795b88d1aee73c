"""A run seen from outside: its result, its status, its children.

It may be asked from any loop and thread: what an engine of this process must do is done on that engine's loop. Where
there is none, the store is read, beside whatever process works on it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar

from fanfold.engine.engine import Closed, Ended, Engine
from fanfold.errors import InvalidInput, NonDeterminism, NotAllowed, UnknownTask
from fanfold.model import lifecycle
from fanfold.model.clock import wall_ms
from fanfold.model.duration import Duration, seconds
from fanfold.model.run import RunStatus
from fanfold.store.opening import lock_holder, reading, store_path
from fanfold.store.queries import Queries
from fanfold.worker.context import away
from fanfold.worker.durable_loop import DurableLoop
from fanfold.worker.failures import child_error
from fanfold.worker.task import Task

R = TypeVar("R")
T = TypeVar("T")

PAGE = 100
POLL_FIRST_S = 0.1
POLL_MOST_S = 1.0
LONG_AGO_S = 1e11

log = logging.getLogger("fanfold")


class EngineHere(NamedTuple):
    """An engine of this process, and where it lives."""

    engine: Engine
    loop: asyncio.AbstractEventLoop
    thread: int
    pid: int

    @classmethod
    def of(cls, engine: Engine) -> Self:
        """Take the running loop for the engine's."""
        return cls(engine, asyncio.get_running_loop(), threading.get_ident(), os.getpid())

    async def on_its_loop(self, work: Coroutine[Any, Any, T]) -> T:
        """Await `work` on the engine's loop, from whatever loop this is called."""
        if asyncio.get_running_loop() is self.loop:
            return await work
        if not self.loop.is_running():
            work.close()
            raise NotAllowed(
                "the app is at work on a loop that is not running now, so nothing can be asked of it; keep `async with "
                "app` in one `asyncio.run`, or use `with app.blocking`"
            )
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))


class Reach(Protocol):
    """How a run is got at. An engine is one way, `Place` finds the one that there is."""

    async def ask(self, question: Callable[[Queries], Awaitable[T]]) -> T:
        """Return the answer of a read."""
        ...

    async def wait(self, id: int) -> Ended:
        """Wait until a run has ended, or stands still."""
        ...

    async def cancel(self, id: int) -> None:
        """Ask a run to end; return when that is recorded."""
        ...


class Place:
    """The engine of an app while it is at work in this process, else its store."""

    def __init__(self, here: Callable[[], EngineHere | None], url: Callable[[], str]) -> None:
        """Take what returns the engine that there is now, and the URL of the store."""
        self._here = here
        self._url = url

    async def ask(self, question: Callable[[Queries], Awaitable[T]]) -> T:
        """Return the answer of a read."""
        here = self._here()
        if here is not None:
            return await here.on_its_loop(here.engine.ask(question))
        async with reading(self._url()) as queries:
            return await question(queries)

    async def wait(self, id: int) -> Ended:
        """Wait for the end of a run; without an engine here by looking ever so often, up to once a second."""
        pause_s = POLL_FIRST_S
        while True:
            here = self._here()
            if here is not None:
                try:
                    return await here.on_its_loop(here.engine.wait(id))
                except (asyncio.CancelledError, Closed):
                    task = asyncio.current_task()
                    if self._here() is here or (task is not None and task.cancelling()):
                        raise
                    continue  # the app has stopped meanwhile; another process may go on
            async with reading(self._url()) as queries:
                _, state, output, error = await queries.outcome(id)
            if lifecycle.is_terminal(state) or state == lifecycle.PAUSED:
                return Ended(id, state, output, error)
            if pause_s == POLL_FIRST_S and (path := store_path(self._url())) is not None and lock_holder(path) is None:
                log.warning("run %s waits, and nobody is at work on %s: an app that opens it goes on", id, self._url())
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, POLL_MOST_S)

    async def cancel(self, id: int) -> None:
        """Ask a run to end; NotAllowed without an engine in this process, for it is the engine that carries it out."""
        here = self._here()
        if here is None:
            path = store_path(self._url())
            pid = None if path is None else lock_holder(path)
            raise NotAllowed(
                f"run {id} cannot be cancelled from here: an engine does that, and this app is not at work. "
                + (
                    "Cancel inside `async with app` or `with app.blocking`, which open one"
                    if pid is None
                    else f"Process {pid} has the engine of this store: cancel the run there"
                )
            )
        await here.on_its_loop(here.engine.cancel(id))


class Run(Generic[R]):
    """A durable run, from `app.start` or `app.get`. `id` finds it again in any process.

    `key` is the one that the caller gave it, or None.

    ```python
    import asyncio
    from fanfold import App

    app = App("orders", store="sqlite://")

    @app.task
    async def total(prices: list[int]) -> int:
        return sum(prices)

    async def main() -> None:
        async with app:
            run = await app.start(total.options(key="order-7"), [3, 4])
            assert await run.result() == 7
            assert (await run.status()).state == "completed"
            assert (await app.get(total, "order-7")).id == run.id

    asyncio.run(main())
    ```
    """

    def __init__(self, reach: Reach, task: Task[..., R] | str, id: int, key: str | None = None) -> None:
        """`task` is a name alone where no such task is registered: such a run has no result that could be decoded."""
        self._reach = reach
        self._task = task
        self._name = task if isinstance(task, str) else task.name
        self.id = id
        self.key = key

    async def result(self, timeout: float | timedelta | None = None) -> R:
        """Wait for the run to end and return its result.

        Raises TaskFailed, TaskTimedOut or TaskCancelled as it ended, NonDeterminism if it stands still because its
        code no longer fits its record, TimeoutError after `timeout` (seconds or timedelta); the run goes on then.
        Where no app is at work in this process, this one looks at the store until another process has done the work.
        """
        outside_workflows("run.result")
        limit = None if timeout is None else seconds(timeout, "timeout")
        watch = asyncio.timeout(limit)
        try:
            async with watch, away():
                ended = await self._reach.wait(self.id)
        except TimeoutError:
            if not watch.expired():
                raise
            raise TimeoutError(f"run {self.id} of {self._name} has not ended after {limit:g} s; it goes on") from None
        return self._value(ended)

    def _value(self, ended: Ended) -> Any:
        if ended.state == lifecycle.COMPLETED:
            if isinstance(self._task, str):
                raise UnknownTask(
                    f"run {self.id} is of {self._name}, which is not registered in this app: register it for typed "
                    "results, or take (await run.status()).output as it is stored"
                )
            return self._task.signature.result.decode(ended.output or "null")
        if ended.state == lifecycle.PAUSED:
            raise NonDeterminism(f"run {self.id}: {ended.error}")
        raise child_error(self._name, self.id, ended.state, ended.error)

    async def status(self) -> RunStatus:
        """Return how the run stands now. Needs no engine and works beside a running one."""
        outside_workflows("run.status")
        return await self._reach.ask(lambda queries: queries.status(self.id))

    async def cancel(self) -> None:
        """Ask the run and all below it to end; returns when that is recorded, for `result` to say what came of it.

        A task's body gets CancelledError, as does a workflow, which may still compensate. Of a run that has ended
        nothing is asked. NotAllowed where the app is not at work in this process.
        """
        outside_workflows("run.cancel")
        status = await self.status()
        if not lifecycle.is_terminal(status.state):
            await self._reach.cancel(self.id)

    async def children(self, *, state: str | None = None) -> AsyncIterator[RunStatus]:
        """Yield how the run's children stand, oldest first; those in one state alone if it is given.

        Read in pages: a child that ends meanwhile is seen as it is when its page is read.
        """
        outside_workflows("run.children")
        checked_state(state)
        after = 0
        while page := await self._page(after, state):
            for status in page:
                yield status
            after = page[-1].id

    def _page(self, after: int, state: str | None) -> Awaitable[list[RunStatus]]:
        return self._reach.ask(lambda queries: queries.tree_level(self.id, after, PAGE, state=state, shows_waits=False))

    def __repr__(self) -> str:
        return f"<Run {self.id} of {self._name}{f', key {self.key!r}' if self.key is not None else ''}>"


def outside_workflows(what: str) -> None:
    """Raise NotAllowed in a workflow's code: what others do outside of the run could not be replayed."""
    if isinstance(asyncio._get_running_loop(), DurableLoop):  # noqa: SLF001 - the public one raises where there is none
        raise NotAllowed(f"{what} is not for workflows: a replay could not repeat it. Do it in a task")


def checked_state(state: str | None) -> None:
    """Raise InvalidInput for what is no state."""
    if state is not None and state not in lifecycle.STATES:
        raise InvalidInput(f"a state is one of {', '.join(lifecycle.STATES)}, not {state!r}")


def instant_ms(instant: datetime | Duration, what: str) -> int:
    """Return an instant in milliseconds since 1970: of a datetime (local time if it has no zone) or so long ago."""
    if isinstance(instant, datetime):
        return round(instant.timestamp() * 1000)
    ago_s = seconds(instant, what)
    return wall_ms() - round(ago_s * 1000) if ago_s < LONG_AGO_S else 0
