"""`app.run`: one root, from the start or from where it was left, to its end, with progress, Ctrl-C and SIGTERM.

The first Ctrl-C stops in order: nothing new starts, bodies get five seconds, what is done is committed, and the command
that goes on is printed. The second leaves at once, which loses nothing either: what is committed is committed. SIGTERM,
and SIGHUP from a terminal that is closed, do the same. None of them is held against the bodies that were at work.

Where a loop is running in the calling thread, as in a notebook's cell, all this happens on a loop in another thread,
and Ctrl-C leaves the cell, never the process.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import shlex
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, NoReturn, Protocol, Self, TypeVar

from fanfold.engine.engine import Closed
from fanfold.errors import FanfoldError, NotAllowed, StoreUnavailable
from fanfold.model import lifecycle
from fanfold.progress import Progress, done
from fanfold.run import EngineHere, Run
from fanfold.session import STOPS, Session, blame_nobody, leave
from fanfold.store.opening import open_store, reading, store_path
from fanfold.worker.task import CallOptions, Task

T = TypeVar("T")

LOOK_EVERY_S = 0.1
MOST_TOLD = 3  # unfinished roots that are named
INTERRUPTED = 130
KILLED_BY = 128  # the status of a process that a signal has ended, as shells tell it: this and its number


class Composes(Protocol):
    """The app, as far as it is needed here."""

    @property
    def store(self) -> str:
        """The URL of the store."""
        ...

    def working(self, url: str) -> AbstractAsyncContextManager[Session]:
        """Be at work on a store, to the end of the block."""
        ...

    def stopping(self) -> None:
        """Take nothing more from outside of runs."""
        ...

    def session(self, opened: Any, **options: Any) -> Session:
        """Compose engine and worker."""
        ...


class Interrupted(KeyboardInterrupt, SystemExit):
    """Ctrl-C, after everything was brought to an end.

    A caller catches it as the KeyboardInterrupt that it is. Where nobody does, Python takes it for the SystemExit that
    it is as well: status 130 and no traceback over the line that says how to go on.
    """

    def __init__(self) -> None:
        SystemExit.__init__(self, INTERRUPTED)


class Call(NamedTuple):
    """What is to be run."""

    task: Task[..., Any]
    options: CallOptions
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def run_to_end(app: Composes, call: Call, *, store: str | None = None, owns_process: bool = False) -> Any:
    """Run a task to its end and return its result; Interrupted (a KeyboardInterrupt) after Ctrl-C, else SystemExit.

    `store` takes the place of the app's own. With `owns_process` threads that bodies left behind keep nobody waiting
    after Ctrl-C.
    """
    call.task.signature.encode(call.args, call.kwargs)  # wrong arguments are an error before a store is made
    url = store or app.store
    is_guest = asyncio._get_running_loop() is not None  # noqa: SLF001 - the public one raises where there is none
    go_on = "run this again" if is_guest else command(url)
    progress = Progress(call.task.name)
    try:
        last_words = f"stopped at once; what was recorded stays. To go on: {go_on}"
        with Interrupts(
            call.task.name, progress, last_words, owns_process=owns_process, is_guest=is_guest
        ) as interrupts:
            work = _run(app, url, call, progress, interrupts, go_on)
            result = _in_thread(lambda: asyncio.run(work)) if is_guest else asyncio.run(work)
    finally:
        progress.close()
    if interrupts.number:
        interrupts.end()
    return result


def run_beside(here: EngineHere, session: Session, call: Call) -> Any:
    """Run a task to its end with the engine that is at work in another thread of this process."""
    if here.thread == threading.get_ident():
        raise NotAllowed(
            f"app.run would block the loop on which this app is at work: `await (await app.start({call.task.name}, "
            "...)).result()` waits without"
        )
    if not here.loop.is_running():
        raise NotAllowed("this app is at work on a loop that is not running now: leave its `async with` block first")
    progress = Progress(call.task.name)
    work = _follow(session, call, progress, lambda _: None)
    future = asyncio.run_coroutine_threadsafe(work, here.loop)
    try:
        return future.result()
    except (concurrent.futures.CancelledError, Closed):
        raise NotAllowed("the app was closed while app.run waited; the run goes on at the next start") from None
    finally:
        future.cancel()  # after Ctrl-C: the run goes on, as the engine does
        progress.close()


def _in_thread(work: Callable[[], T]) -> T:
    """Return what `work` returns, done in a thread of its own; a daemon, so that a second Ctrl-C need not wait."""
    future: concurrent.futures.Future[T] = concurrent.futures.Future()

    def do() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            future.set_exception(error)

    threading.Thread(target=do, name="fanfold-run", daemon=True).start()
    return future.result()


async def _run(app: Composes, url: str, call: Call, progress: Progress, interrupts: Interrupts, go_on: str) -> Any:
    """Return the result, unless the process is asked to end first."""
    root: list[int] = []
    async with app.working(url) as session:
        work = asyncio.ensure_future(_follow(session, call, progress, root.append))
        asked = asyncio.ensure_future(interrupts.wait())
        await asyncio.wait({work, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if not work.done():
            work.cancel()
            app.stopping()
            progress.close()
    if not interrupts.number:
        return work.result()
    if work.done() and not work.cancelled():
        work.exception()  # the store knows how the run ended, and the last words say so
    progress.note(await _last_words(url, call, root[0] if root else None, go_on))
    interrupts.leave_threads()
    return None


async def _follow(session: Session, call: Call, progress: Progress, on_root: Callable[[int], object]) -> Any:
    """Find or start the root, show how far it is, and return its result."""
    run = Run(session.engine, call.task, await _find_or_start(session, call, progress))
    on_root(run.id)
    await _tell_of_others(session, run.id, progress)
    waiting = asyncio.ensure_future(run.result())
    try:
        while not waiting.done():
            await asyncio.wait({waiting}, timeout=LOOK_EVERY_S)
            with contextlib.suppress(StoreUnavailable):  # to look is no reason to fail
                progress.update(await session.engine.queries.counts(run.id))
    finally:
        waiting.cancel()
    return waiting.result()


async def _tell_of_others(session: Session, id: int, progress: Progress) -> None:
    """Say what else this process works on: whatever an earlier one left unfinished goes on as well."""
    others = await session.engine.queries.other_roots(id, MOST_TOLD + 1)
    if others:
        told = ", ".join(f"run {other} ({name})" for other, name in others[:MOST_TOLD])
        more = " and others" if len(others) > MOST_TOLD else ""
        progress.note(f"also going on, unfinished since an earlier start: {told}{more}")


async def _find_or_start(session: Session, call: Call, progress: Progress) -> int:
    engine = session.engine
    is_keyed = call.options.key is not None
    policy = call.options.record() if is_keyed else call.options.record(main=True)
    new = session.new_root(call.task, call.options, call.args, call.kwargs, policy)
    if call.options.key is not None:
        found = await engine.queries.find_key(new.parent_id, new.name, call.options.key)
    else:
        found = await engine.queries.find_root(new.name, new.digest, policy or "")
    if found is None:
        return await session.start(new)
    if is_keyed:
        await session.start(new)  # the store compares the inputs; an equal one is this very run
    status = await engine.queries.status(found)
    if not lifecycle.is_terminal(status.state):
        await engine.resume(found)
        counts = status.children
        progress.note(
            f"continued run {found}" + (f": {done(counts):,} done, {counts.open:,} left" if counts.spawned else "")
        )
    return found


async def record(app: Composes, call: Call, url: str) -> int:
    """Record a root and do nothing of it; whoever opens the store next does. Returns its id.

    An engine without tasks: it takes over from a dead process and numbers its commits, but finds nothing to do.
    """
    session = app.session(await open_store(url), tasks={})
    await session.open()
    try:
        return await session.engine.start_root(session.new_root(call.task, call.options, call.args, call.kwargs))
    finally:
        await session.close(0)


async def _last_words(url: str, call: Call, root: int | None, go_on: str) -> str:
    """Return what is said after a stop: how far it came, and how to go on."""
    if store_path(url) is None:
        return "stopped. The store was in memory: nothing of it is left"
    go_on = f"To go on: {go_on}"
    if root is None:
        return f"stopped before the run had started. {go_on}"
    try:
        async with reading(url) as queries:
            status = await queries.status(root)
    except FanfoldError:
        return f"stopped; what was recorded stays. {go_on}"
    if lifecycle.is_terminal(status.state) and call.options.key is None:
        # The command would start another run: there is nothing to go on with.
        return f"stopped; run {root} {status.state} meanwhile. To see it: fanfold runs show {root} --store {url}"
    counts = status.children
    far = f" after {done(counts):,} done, {counts.open:,} left" if counts.spawned else ""
    return f"stopped run {root}{far}; everything done is recorded. {go_on}"


def command(url: str) -> str:
    """Return the command line that this process was started with, ready for a shell."""
    words = list(sys.orig_argv)
    # A console script shows up as `python /somewhere/bin/fanfold`; people type the last part.
    if len(words) > 1 and sys.argv and words[1] == sys.argv[0] and not words[1].endswith(".py"):
        name = Path(words[1]).name
        words[:2] = [name if shutil.which(name) == words[1] else words[1]]
    if os.environ.get("FANFOLD_STORE") == url:
        words.insert(0, f"FANFOLD_STORE={shlex.quote(url)}")
        return " ".join([words[0], shlex.join(words[1:])])
    return shlex.join(words)


class Interrupts:
    """Takes Ctrl-C, SIGTERM and SIGHUP while a run works: the first is waited for, the second ends the process at once.

    Handlers of Python's own and not the loop's, so that they are heard even when a body blocks the loop. Where the
    program has a handler of its own, or this is not the main thread, the signal is left to it. A guest, which keeps
    another loop waiting, takes Ctrl-C from that loop, which could not hear of it, and leaves no process for it.
    """

    def __init__(
        self, name: str, progress: Progress, last_words: str, *, owns_process: bool, is_guest: bool
    ) -> None:  # fmt: skip
        self._name = name
        self._progress = progress
        self._line_break = "\n" if os.isatty(2) else ""  # after the live line, or the ^C that a terminal shows
        self._owns_process = owns_process
        self._is_guest = is_guest
        self._pid = os.getpid()
        self._before: dict[int, Any] = {}
        self._last_words = f"\n{last_words}\n"
        self.number = 0  # of the first signal that came
        self._asked = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> Self:
        """Take the signals that are free."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, *STOPS):
                if self._is_free(number, signal.getsignal(number)):
                    self._before[number] = signal.signal(number, self._on_signal)
        return self

    def _is_free(self, number: int, before: object) -> bool:
        if number != signal.SIGINT:
            return before is signal.SIG_DFL
        return before is signal.default_int_handler or (self._is_guest and callable(before))

    def __exit__(self, *_: object) -> None:
        """Give the signals back."""
        for number, before in self._before.items():
            if signal.getsignal(number) == self._on_signal:
                signal.signal(number, before)

    async def wait(self) -> None:
        """Wait for the first signal."""
        self._loop = asyncio.get_running_loop()
        if self.number:
            return  # it came before there was a loop
        await self._asked.wait()

    def leave_threads(self) -> None:
        """Leave the process if only threads are left that Python would wait for, such as those of `to_thread`."""
        others = [thread for thread in threading.enumerate() if thread is not threading.current_thread()]
        if self._owns_process and not all(thread.daemon for thread in others):
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
            os._exit(KILLED_BY + self.number)

    def end(self) -> NoReturn:
        """End `app.run` in the way of the signal that came."""
        if self.number == signal.SIGINT:
            raise KeyboardInterrupt if self._is_guest else Interrupted
        if self._is_guest:
            leave(self.number)  # a notebook's kernel would take SystemExit for the end of the cell
        raise SystemExit(KILLED_BY + self.number)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        is_ctrl_c = number == signal.SIGINT
        if os.getpid() != self._pid:  # a fork: nothing of the run is there
            if is_ctrl_c:
                raise KeyboardInterrupt
            leave(number)
        # Before all else: the next signal may come in the middle of this.
        before, self.number = self.number, self.number or number
        blame_nobody()
        if before and self._is_guest:
            if is_ctrl_c:
                raise KeyboardInterrupt
            leave(number)
        if before:
            _write(self._last_words)
            os._exit(KILLED_BY + number)
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has just ended
                self._loop.call_soon_threadsafe(self._asked.set)
        self._say_so(is_ctrl_c=is_ctrl_c)

    def _say_so(self, *, is_ctrl_c: bool) -> None:
        """Acknowledge the signal at once: the loop may be blocked for long."""
        again = "Ctrl-C again" if is_ctrl_c else f"A second {signal.Signals(self.number).name}"
        told = f"stopping: nothing new starts, what runs has 5 s. {again} stops at once"
        if self._is_guest:
            self._progress.note(told)  # the loop is in another thread: this one is not in the middle of a write
        else:
            _write(f"{self._line_break}{self._name}: {told}\n")


def _write(text: str) -> None:
    """Write to stderr from a signal's handler, which may have come in the middle of a write."""
    with contextlib.suppress(OSError):
        os.write(2, text.encode(errors="replace"))
