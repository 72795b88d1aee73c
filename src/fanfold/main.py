"""`app.run`: one root, from the start or from where it was left, to its end, with progress and Ctrl-C.

The first Ctrl-C stops in order: nothing new starts, bodies get five seconds, what is done is committed, and the command
that goes on is printed. The second leaves at once, which loses nothing either: what is committed is committed.

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
from typing import Any, NamedTuple, Protocol, Self, TypeVar

from fanfold.engine.engine import Closed
from fanfold.errors import FanfoldError, NotAllowed, StoreUnavailable
from fanfold.model import lifecycle
from fanfold.progress import Progress, done
from fanfold.run import EngineHere, Run
from fanfold.session import Session
from fanfold.store.opening import open_store, reading, store_path
from fanfold.worker.task import CallOptions, Task

T = TypeVar("T")

LOOK_EVERY_S = 0.1
MOST_TOLD = 3  # unfinished roots that are named
INTERRUPTED = 130


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
    """Run a task to its end and return its result; Interrupted (a KeyboardInterrupt) after Ctrl-C.

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
        with Interrupts(last_words, owns_process=owns_process, is_guest=is_guest) as interrupts:
            work = _run(app, url, call, progress, interrupts, go_on)
            is_over, result = _in_thread(lambda: asyncio.run(work)) if is_guest else asyncio.run(work)
    finally:
        progress.close()
    if not is_over:
        raise KeyboardInterrupt if is_guest else Interrupted
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


async def _run(
    app: Composes, url: str, call: Call, progress: Progress, interrupts: Interrupts, go_on: str
) -> tuple[bool, Any]:
    """Return whether the run came to its end before Ctrl-C, and its result."""
    root: list[int] = []
    async with app.working(url) as session:
        work = asyncio.ensure_future(_follow(session, call, progress, root.append))
        asked = asyncio.ensure_future(interrupts.wait())
        await asyncio.wait({work, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if work.done():
            return True, work.result()
        work.cancel()
        app.stopping()
        progress.close()
        progress.note("stopping: nothing new starts, what runs has 5 s. Ctrl-C again stops at once")
    progress.note(await _last_words(url, call, root[0] if root else None, go_on))
    interrupts.leave_threads()
    return False, None


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
    """Takes Ctrl-C while a run works: the first is waited for, the second leaves the process at once.

    A handler of Python's own and not the loop's, so that the second is heard even when a body blocks the loop. Where
    the program has a handler of its own, or this is not the main thread, Ctrl-C is left to it. A guest, which keeps
    another loop waiting, takes it from that loop, which could not hear of it, and leaves no process.
    """

    def __init__(self, last_words: str, *, owns_process: bool, is_guest: bool) -> None:
        self._owns_process = owns_process
        self._is_guest = is_guest
        self._before: Any = None
        self._last_words = f"\n{last_words}\n".encode(errors="replace")
        self._count = 0
        self._is_taken = False
        self._asked = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> Self:
        """Take the signal."""
        before = signal.getsignal(signal.SIGINT)
        is_free = before is signal.default_int_handler or (self._is_guest and callable(before))
        if is_free and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._on_signal)
            self._is_taken = True
        return self

    def __exit__(self, *_: object) -> None:
        """Give the signal back."""
        if self._is_taken:
            signal.signal(signal.SIGINT, self._before)

    async def wait(self) -> None:
        """Wait for the first Ctrl-C."""
        self._loop = asyncio.get_running_loop()
        if self._count:
            return  # it came before there was a loop
        await self._asked.wait()

    def leave_threads(self) -> None:
        """Leave the process if only threads are left that Python would wait for, such as those of `to_thread`."""
        others = [thread for thread in threading.enumerate() if thread is not threading.current_thread()]
        if self._is_taken and self._owns_process and not all(thread.daemon for thread in others):
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
            os._exit(INTERRUPTED)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._count += 1
        if self._count > 1 and self._is_guest:
            raise KeyboardInterrupt
        if self._count > 1:
            with contextlib.suppress(OSError):
                os.write(2, self._last_words)
            os._exit(INTERRUPTED)
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has just ended
                self._loop.call_soon_threadsafe(self._asked.set)
