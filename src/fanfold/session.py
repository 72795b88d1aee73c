"""An app at work: one open store, one engine, one worker, put together and taken apart again."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

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
            self._restore()
        return left

    def abandon(self) -> None:
        """Drop engine and worker as `kill -9` would: nothing more is committed, the store stays open."""
        self.engine.stop()
        self.worker.abandon()
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
