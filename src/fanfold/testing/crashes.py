"""Where an app under test crashes: the writer that counts commits, and ends the engine right before or after one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from fanfold.engine.writers import Done, attempt
from fanfold.model.clock import Clock
from fanfold.model.commands import Batch
from fanfold.store.store import Store


class Crashes:
    """The commits at which the engine dies, counted from 1 over all its lives."""

    def __init__(self, before: Iterable[int], after: Iterable[int], crash: Callable[[], None]) -> None:
        self._before = set(before)
        self._after = set(after)
        self._crash = crash
        self.commits = 0

    def make_writer(self, store: Store, clock: Clock, done: Done) -> CrashingWriter:
        """Return the writer of one life."""
        return CrashingWriter(store, clock, done, self)

    def strikes_before_next(self) -> bool:
        """Crash if the next commit is one that must not be reached; a point strikes once."""
        return self._strike(self._before, self.commits + 1)

    def strikes_after_this(self) -> bool:
        """Count a commit, and crash if nobody may hear of it."""
        self.commits += 1
        return self._strike(self._after, self.commits)

    def _strike(self, points: set[int], commit: int) -> bool:
        if commit not in points:
            return False
        points.remove(commit)
        self._crash()
        return True


class CrashingWriter:
    """Applies batches on the running loop, as long as the engine lives."""

    def __init__(self, store: Store, clock: Clock, done: Done, crashes: Crashes) -> None:
        self._store = store
        self._clock = clock
        self._done = done
        self._crashes = crashes
        self._loop = asyncio.get_running_loop()
        self._is_closed = False

    def submit(self, batch: Batch) -> None:
        """Apply `batch` in the loop's next round, unless the engine has died by then."""
        self._loop.call_soon(self._apply, batch)

    def _apply(self, batch: Batch) -> None:
        if self._is_closed or self._crashes.strikes_before_next():
            return
        outcome = attempt(self._store, self._clock, batch)
        if not self._crashes.strikes_after_this():
            self._done(batch, outcome)

    def close(self) -> None:
        """Apply nothing any more."""
        self._is_closed = True
