"""An app under test: its store in memory, its clock in the hands of the test, its crashes as well.

No thread decides the order here: batches are applied on the test's own loop, sync bodies run one at a time. Time moves
only when nothing is left to do, so a durable sleep of months takes none.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, cast

from fanfold.app import App
from fanfold.engine.engine import Ended, Engine
from fanfold.engine.writers import drive
from fanfold.errors import FanfoldError, InvalidInput, NotAllowed, NotFound, UnknownTask
from fanfold.lifespan import living
from fanfold.model.clock import VirtualClock
from fanfold.model.duration import seconds
from fanfold.model.run import WORKFLOW
from fanfold.run import Run
from fanfold.session import Session
from fanfold.store.at_work import AtWork
from fanfold.store.opening import OpenStore, open_store
from fanfold.store.queries import Queries
from fanfold.testing.crashes import Crashes
from fanfold.worker.handle import Handle
from fanfold.worker.task import Task, configured

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

MEMORY = "sqlite://"
ROUNDS = 200  # turns of the loop in which a body that does not wait for the outside world gets on
HEARING = 10  # turns of the loop in which whoever waits for what was committed hears of it, before the clock moves


class Stuck(FanfoldError):
    """The run cannot end: nothing is under way, and no timer is set that could wake it."""


class TestApp:
    """An app at work in memory, with a virtual clock, for tests.

    `crash_at` are the commits (a number, or several) right after which the engine dies as by `kill -9`, before anybody
    hears of them; `crash_before` those that it does not live to make. A new engine then goes on with the same store.

    ```python
    import asyncio
    from fanfold import App, sleep
    from fanfold.testing import TestApp

    app = App("reminders")

    @app.task
    async def remind(name: str) -> str:
        return f"sent to {name}"

    @app.workflow
    async def remind_later(name: str) -> str:
        await sleep(30 * 24 * 3600)
        return await remind(name)

    async def test_a_reminder_is_sent_after_a_month():
        async with TestApp(app, crash_at=3) as test:
            test.stub(remind, lambda name: f"stubbed {name}")
            assert await test.run(remind_later, "Ann") == "stubbed Ann"

    asyncio.run(test_a_reminder_is_sent_after_a_month())
    ```
    """

    __test__ = False  # pytest takes what is called Test... for a test

    def __init__(self, app: App, *, crash_at: int | Iterable[int] = (), crash_before: int | Iterable[int] = ()) -> None:
        self.clock = VirtualClock()
        self._app = app
        self._tasks = app.tasks
        self._crashes = Crashes(_numbers(crash_before), _numbers(crash_at), self._crash)
        self._opened: OpenStore | None = None
        self._living: _Living | None = None
        self._stack = contextlib.AsyncExitStack()
        self._state: Any = None

    async def __aenter__(self) -> Self:
        """Open a store in memory and start to work."""
        if self._living is not None:
            raise NotAllowed("this TestApp is at work already")
        self._tasks = self._app.tasks | {name: self._tasks[name] for name in self._tasks}
        self._state = await self._stack.enter_async_context(living(self._app))
        self._opened = await open_store(MEMORY)
        session = self._compose(self._opened)
        await session.open()
        self._app.attach(session)
        self._living = _Living(session)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop at once, and drop the store."""
        alive, self._living = self._living, None
        self._app.attach(None)
        try:
            if alive is not None:
                await alive.session.close(grace_s=0)
        finally:
            await self._stack.aclose()

    def _compose(self, opened: OpenStore, at_work: AtWork | None = None) -> Session:
        return Session(
            opened, self.clock, self._tasks, slots=self._app.slots, threads=0, version=self._app.version,
            make_writer=self._crashes.make_writer, at_work=at_work, state=self._state,
        )  # fmt: skip

    @property
    def _at_work(self) -> _Living:
        if self._living is None:
            raise NotAllowed("use a TestApp inside `async with`")
        return self._living

    @property
    def commits(self) -> int:
        """How many commits were made so far, over all crashes."""
        return self._crashes.commits

    @property
    def queries(self) -> Queries:
        """What can be asked of the store."""
        return self._at_work.queries

    # What a test asks for ------------------------------------------------------------------------------------------

    async def start(self, task: Callable[P, Handle[R]], /, *args: P.args, **kwargs: P.kwargs) -> Run[R]:
        """Start a root and return it as soon as it is recorded, like `app.start`. Its result survives crashes."""
        chosen, call_options = configured(task)
        if self._app.tasks.get(chosen.name) is not chosen:
            raise UnknownTask(f"{chosen.name} is not registered in the app {self._app.name!r}")
        while True:
            living = self._at_work
            session = living.session
            root = session.new_root(chosen, call_options, args, kwargs)
            id = await living.unless_it_dies(session.start(root))
            if id is None and await _is_there(living.queries, root.id):
                id = root.id  # the crash swallowed the acknowledgement
            if id is not None:
                return Run(cast("Engine", living), chosen, id)

    async def run(self, task: Callable[P, Handle[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Start a root, move the clock whenever everything waits for it, and return the result.

        Raises what `Run.result` raises, and Stuck if the run waits for what no timer brings.
        """
        return await self.result(await self.start(task, *args, **kwargs))

    async def result(self, run: Run[R]) -> R:
        """Move the clock until a run has ended, and return its result."""
        waiting = asyncio.ensure_future(run.result())
        try:
            while not waiting.done():
                await self._settle(ROUNDS, until=waiting)
                if waiting.done():
                    break
                due = self.clock.next_alarm_ms()
                if due is not None and self._at_work.session.is_quiet:
                    self.clock.move_to(due)
                elif self._at_work.session.is_quiet:
                    raise Stuck(f"{run!r} waits, nothing is under way and no timer is set")
                else:
                    await asyncio.sleep(0.001)  # a body waits for the outside world, which has a clock of its own
            return waiting.result()
        finally:
            waiting.cancel()

    async def advance(self, delta: float | timedelta) -> None:
        """Move the clock by `delta` (seconds or timedelta), alarm by alarm, doing what each brings about."""
        target = self.clock.now_ms() + round(seconds(delta, "delta") * 1000)
        await self._settle(ROUNDS)
        while (due := self.clock.next_alarm_ms()) is not None and due <= target:
            self.clock.move_to(due)
            await self._settle(ROUNDS)
        self.clock.move_to(target)
        await self._settle(ROUNDS)

    async def settle(self) -> None:
        """Let everything happen that needs no time; bodies that wait for something outside are not waited for."""
        await self._settle(ROUNDS)

    async def crash(self) -> None:
        """Drop the engine as `kill -9` would, and start another one on the same store.

        Nothing more of the old one is committed. Its bodies are gone; those that were suspended see CancelledError. It
        counts against those that were at work: the third crash in a row without progress makes a run fail as
        `Quarantined`.
        """
        self._crash()
        await self._settle(ROUNDS)

    def stub(self, task: Task[..., Any] | Callable[..., Handle[Any]], fake: Callable[..., Any]) -> None:
        """Run `fake`, async or not, in place of the task's function, from the next start of a body on."""
        chosen, _ = configured(task)
        if chosen.kind == WORKFLOW and not inspect.iscoroutinefunction(fake):
            raise InvalidInput(f"{chosen.name} is a workflow; its stand-in is an `async def`")
        self._tasks[chosen.name] = self._app.tasks[chosen.name].with_body(fake)

    # How it is done ------------------------------------------------------------------------------------------------

    def _crash(self) -> None:
        alive = self._at_work
        at_work = alive.session.at_work.again()
        alive.session.abandon()
        session = self._compose(alive.session.opened, at_work)
        drive(session.open())
        self._app.attach(session)
        alive.reborn(session)

    async def _settle(self, rounds: int, until: asyncio.Future[Any] | None = None) -> None:
        """Give the loop turns until nothing is under way; at most `rounds` beyond the last commit."""
        left = rounds
        quiet = 0
        while quiet < HEARING and left and not (until is not None and until.done()):
            session = self._at_work.session
            quiet = quiet + 1 if session.is_quiet else 0
            left = left - 1 if session.engine.commits.is_idle else rounds
            await asyncio.sleep(0)


class _Living:
    """The engine that lives now, as a `Run` sees it: a crash does not part the two."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._died: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session.engine, name)

    @property
    def queries(self) -> Queries:
        return self.session.engine.queries

    def reborn(self, session: Session) -> None:
        self.session = session
        self._died.set_result(None)
        self._died = asyncio.get_running_loop().create_future()

    async def wait(self, id: int) -> Ended:
        while True:
            ended = await self.unless_it_dies(self.session.engine.wait(id))
            if ended is not None:
                return ended

    async def unless_it_dies(self, asked: Awaitable[T]) -> T | None:
        """Return the answer of the engine that lives now, None if it died over it."""
        answer, died = asyncio.ensure_future(asked), self._died
        try:
            await asyncio.wait({answer, died}, return_when=asyncio.FIRST_COMPLETED)
            return answer.result() if answer.done() else None
        finally:
            answer.cancel()


async def _is_there(queries: Queries, id: int) -> bool:
    try:
        await queries.outcome(id)
    except NotFound:
        return False
    return True


def _numbers(given: int | Iterable[int]) -> Iterable[int]:
    return (given,) if isinstance(given, int) else given
