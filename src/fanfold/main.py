"""`app.run`: one root, from the start or from where it was left, to its end, with progress and Ctrl-C.

The first Ctrl-C stops in order: nothing new starts, bodies get five seconds, what is done is committed, and the command
that goes on is printed. The second leaves at once, which loses nothing either: what is committed is committed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, Protocol, Self

from fanfold.errors import FanfoldError
from fanfold.model import lifecycle
from fanfold.progress import Progress, done
from fanfold.run import Run
from fanfold.session import Session
from fanfold.store.database import BatchRejected, StoreBusy
from fanfold.store.opening import open_reader, open_store, store_path
from fanfold.store.queries import Queries
from fanfold.worker.task import CallOptions, Task

MAIN = '{"main":true}'  # the options of a root that `app.run` started
LOOK_EVERY_S = 0.1
INTERRUPTED = 130


class Composes(Protocol):
    """The app, as far as it is needed here."""

    @property
    def store(self) -> str:
        """The URL of the store."""
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
    progress = Progress(call.task.name)
    try:
        last_words = f"stopped at once; what was recorded stays. To go on: {command(url)}"
        with Interrupts(last_words, owns_process=owns_process) as interrupts:
            is_over, result = asyncio.run(_run(app, url, call, progress, interrupts))
    finally:
        progress.close()
    if not is_over:
        raise Interrupted
    return result


async def _run(app: Composes, url: str, call: Call, progress: Progress, interrupts: Interrupts) -> tuple[bool, Any]:
    """Return whether the run came to its end before Ctrl-C, and its result."""
    session = app.session(await open_store(url))
    await session.open()
    root: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    try:
        work = asyncio.ensure_future(_follow(session, call, root, progress))
        asked = asyncio.ensure_future(interrupts.wait())
        await asyncio.wait({work, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if work.done():
            return True, work.result()
        work.cancel()
        progress.close()
        progress.note("stopping: nothing new starts, what runs has 5 s. Ctrl-C again stops at once")
    finally:
        await session.close()
    progress.note(await _last_words(url, call, root.result() if root.done() else None))
    interrupts.leave_threads()
    return False, None


async def _follow(session: Session, call: Call, root: asyncio.Future[int], progress: Progress) -> Any:
    """Find or start the root, show how far it is, and return its result."""
    root.set_result(await _find_or_start(session, call, progress))
    run = Run(session.engine, call.task, root.result())
    waiting = asyncio.ensure_future(run.result())
    try:
        while not waiting.done():
            await asyncio.wait({waiting}, timeout=LOOK_EVERY_S)
            with contextlib.suppress(StoreBusy, BatchRejected):  # to look is no reason to fail
                progress.update(await session.engine.queries.counts(run.id))
    finally:
        waiting.cancel()
    return waiting.result()


async def _find_or_start(session: Session, call: Call, progress: Progress) -> int:
    engine = session.engine
    is_keyed = call.options.key is not None
    new = session.new_root(call.task, call.options, call.args, call.kwargs, None if is_keyed else MAIN)
    if call.options.key is not None:
        found = await engine.queries.find_key(new.parent_id, new.name, call.options.key)
    else:
        found = await engine.queries.find_root(new.name, new.digest, MAIN)
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


async def _last_words(url: str, call: Call, root: int | None) -> str:
    """Return what is said after a stop: how far it came, and how to go on."""
    if store_path(url) is None:
        return "stopped. The store was in memory: nothing of it is left"
    go_on = f"To go on: {command(url)}"
    if root is None:
        return f"stopped before the run had started. {go_on}"
    try:
        reader = await open_reader(url)
        try:
            status = await Queries(reader).status(root)
        finally:
            reader.close()
    except (FanfoldError, StoreBusy, BatchRejected):
        return f"stopped; everything done is recorded. {go_on}"
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
    the program has a handler of its own, or this is not the main thread, Ctrl-C is left to it.
    """

    def __init__(self, last_words: str, *, owns_process: bool) -> None:
        self._owns_process = owns_process
        self._last_words = f"\n{last_words}\n".encode(errors="replace")
        self._count = 0
        self._is_taken = False
        self._asked = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> Self:
        """Take the signal."""
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._on_signal)
            self._is_taken = True
        return self

    def __exit__(self, *_: object) -> None:
        """Give the signal back."""
        if self._is_taken:
            signal.signal(signal.SIGINT, signal.default_int_handler)

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
        if self._count > 1:
            with contextlib.suppress(OSError):
                os.write(2, self._last_words)
            os._exit(INTERRUPTED)
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has just ended
                self._loop.call_soon_threadsafe(self._asked.set)
