"""An app at work: one open store, one engine, one worker, put together and taken apart again.

And what becomes of it when the process is asked to end: nobody is to blame for that, and bodies get their grace.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, Self

from fanfold.engine.engine import Engine, MakeWriter
from fanfold.model import lifecycle
from fanfold.model.clock import Clock
from fanfold.model.run import ROOT, NewRun
from fanfold.store.at_work import AtWork
from fanfold.store.opening import OpenStore
from fanfold.worker.executors.executors import Places
from fanfold.worker.executors.processes import MAX_PAYLOAD
from fanfold.worker.reference import Reference
from fanfold.worker.task import CallOptions, Task
from fanfold.worker.worker import Worker

SPARE_PLACES = 64  # for carriers that hand over, and bodies that outlive their attempt
GRACE_S = 5.0  # how long bodies may go on when the engine stops
PATIENCE_S = 1.0  # how much longer a store is waited for that cannot be written: it is tried twice more
# After every SQLite call the writer thread must win the interpreter back from a busy loop. Measured beside a loop that
# never rests: twice as many children a second as with the default of 5 ms.
SWITCH_INTERVAL_S = 0.001
# A fan-out makes many small objects that all live; the default of 700 has the collector walk them again and again.
# Measured in a gather of 100,000: a fifth of the whole time.
GC_THRESHOLDS = (50_000, 20, 100)
# Signals other than Ctrl-C that ask a process to end: of a supervisor, of a terminal that was closed.
STOPS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))

log = logging.getLogger("fanfold")


class Session:
    """Engine and worker of one app on one store, from `open` to `close`."""

    def __init__(
        self, opened: OpenStore, clock: Clock, tasks: Mapping[str, Task[..., Any]], *, slots: int, threads: int,
        version: str, processes: int = 0, max_payload: int = MAX_PAYLOAD, make_writer: MakeWriter | None = None,
        at_work: AtWork | None = None, lifespan: Reference | None = None, state: Any = None,
    ) -> None:  # fmt: skip
        """`at_work` takes the place of the file beside the store, for tests; `state` is what the lifespan yielded."""
        self.opened = opened
        self.engine = Engine(opened, clock, make_writer)
        self.at_work = at_work or AtWork(_at_work_path(opened), 2 * slots + SPARE_PLACES)
        self.worker = Worker(
            self.engine, tasks, Places(slots, threads, processes, max_payload, lifespan), self.at_work, state
        )
        self._version = version
        self._restore: Callable[[], None] = _nothing

    async def open(self) -> None:
        """Recover what an earlier process left, and start to work."""
        self._restore = _lend_interpreter()
        try:
            await self.engine.start(self.worker, self.at_work.before)
        except BaseException:
            self._restore()
            self.opened.close()
            raise
        _at_work.add(self.at_work)

    async def close(self, grace_s: float = GRACE_S) -> int:
        """Stop: bodies get `grace_s` seconds, the rest is given back. Returns how many runs were given back.

        A store that cannot be written is waited for no longer than that, and a moment; the next start does the rest.
        """
        self.engine.commits.hurry(grace_s + PATIENCE_S)
        try:
            left = await self.worker.stop(grace_s)
            await self.engine.commits.idle()
        finally:
            # Whatever went wrong before: the file and its lock are not kept.
            self.engine.close()
            self.at_work.close()
            _at_work.discard(self.at_work)
            self._restore()
        return left

    def abandon(self) -> None:
        """Drop engine and worker as `kill -9` would: nothing more is committed, the store stays open."""
        self.engine.stop()
        self.worker.abandon()
        _at_work.discard(self.at_work)
        self._restore()

    @property
    def is_quiet(self) -> bool:
        """Tell whether nothing goes on until a timer rings or somebody asks for something."""
        return self.engine.commits.is_idle and not self.worker.under_way

    def new_root(
        self, task: Task[..., Any], call_options: CallOptions, args: tuple[Any, ...], kwargs: dict[str, Any],
        options: str | None = None,
    ) -> NewRun:  # fmt: skip
        """Return a root for this call, not yet inserted."""
        text, hashed = task.signature.encode(args, kwargs)
        id = self.engine.ids.take()
        return NewRun(
            id, id, ROOT, 0, 0, call_options.key, task.kind, task.name, hashed, text, lifecycle.PENDING,
            call_options.delay_ms,
            task.queue if call_options.queue is None else call_options.queue,
            task.priority if call_options.priority is None else call_options.priority,
            self._version, call_options.record() if options is None else options, call_options.tags,
        )  # fmt: skip

    async def start(self, root: NewRun) -> int:
        """Insert a root; return its id, or that of the run that has its key."""
        self.worker.admit(root)
        return await self.engine.start_root(root)


class Termination:
    """SIGTERM and SIGHUP while an app is at work in a program that leaves them their default: they stop in order.

    The first does what Ctrl-C does in `asyncio.run`: the task that opened the app is cancelled. When the app has
    stopped, SystemExit says 128 and the number, as a shell does. The second ends the process at once. Where the program
    has a handler, or this is not the main thread, nothing is taken; the program's handler has to end the app's block.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._pid = os.getpid()
        self._taken: list[int] = []
        self._number = 0
        self.is_leaving = False  # the block has come to its end, which is not to be interrupted

    def __enter__(self) -> Self:
        """Take the signals that nobody has."""
        if threading.current_thread() is threading.main_thread():
            self._taken = [number for number in STOPS if signal.getsignal(number) is signal.SIG_DFL]
            for number in self._taken:
                signal.signal(number, self._on_signal)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Give them back; end the program if one has come, unless something else went wrong."""
        for number in self._taken:
            if signal.getsignal(number) == self._on_signal:
                signal.signal(number, signal.SIG_DFL)
        if self._number and (error is None or isinstance(error, asyncio.CancelledError)):
            raise SystemExit(128 + self._number)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._pid:
            leave(number)  # a fork: nothing of the app is there
        # Before all else: the next signal may come in the middle of this.
        before, self._number = self._number, self._number or number
        blame_nobody()
        if before or self._task is None or self._task.done():
            leave(number)
        with contextlib.suppress(RuntimeError):  # the loop has just ended
            self._loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        if self._task is not None and not self.is_leaving:
            self._task.cancel()


class Exits:
    """SIGTERM and SIGHUP while an app is at work in another thread: the first is SystemExit in the main one.

    As Ctrl-C is KeyboardInterrupt there: blocks and `atexit` stop the app in order. The second ends the process.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._taken: list[int] = []
        self._number = 0

    def __enter__(self) -> None:
        """Take the signals that nobody has."""
        if threading.current_thread() is threading.main_thread():
            self._taken = [number for number in STOPS if signal.getsignal(number) is signal.SIG_DFL]
            for number in self._taken:
                signal.signal(number, self._on_signal)

    def __exit__(self, *_: object) -> None:
        """Give them back."""
        if threading.current_thread() is threading.main_thread():
            for number in self._taken:
                if signal.getsignal(number) == self._on_signal:
                    signal.signal(number, signal.SIG_DFL)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._pid:
            leave(number)
        before, self._number = self._number, number
        blame_nobody()
        if before:
            leave(number)
        raise SystemExit(128 + number)


def leave(number: int) -> NoReturn:
    """End this process by a signal, as if nobody had taken it; in the main thread."""
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
    os._exit(128 + number)  # the first process of a container does not die of it


_at_work: set[AtWork] = set()  # of the sessions of this process


def blame_nobody() -> None:
    """Take the bodies of this process off the list of suspects: it was asked to end. From any thread or handler."""
    for at_work in list(_at_work):
        at_work.close()


# A program that ends with an app at work was not killed by a body. A fork of it has no bodies.
atexit.register(blame_nobody)
os.register_at_fork(after_in_child=_at_work.clear)


def _at_work_path(opened: OpenStore) -> Path | None:
    return None if opened.path is None else opened.path.with_name(opened.path.name + ".at-work")


def _lend_interpreter() -> Callable[[], None]:
    """Set what belongs to the host program while the engine works, where it has the defaults; return the way back."""
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    if interval > SWITCH_INTERVAL_S:
        sys.setswitchinterval(SWITCH_INTERVAL_S)
    if 0 < thresholds[0] < GC_THRESHOLDS[0]:
        gc.set_threshold(*GC_THRESHOLDS)

    def restore() -> None:
        sys.setswitchinterval(interval)
        gc.set_threshold(*thresholds)

    return restore


def _nothing() -> None:
    """Restore nothing: nothing was changed."""
