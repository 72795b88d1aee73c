"""Where batches are applied: on a thread of their own, or inline on the engine's loop.

The thread is the only one that the engine has. SQLite lets go of the interpreter while it works, so bodies run while
a batch is being committed.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from fanfold.errors import StoreUnavailable
from fanfold.model.clock import Clock
from fanfold.model.commands import Batch, Outcome
from fanfold.store.database import BatchRejected, CommitUnknown, StoreBusy
from fanfold.store.store import Store

T = TypeVar("T")
Done = Callable[[Batch, Outcome | BaseException], None]


class Writer(Protocol):
    """Applies one batch after the other and reports each on the engine's loop."""

    def submit(self, batch: Batch) -> None:
        """Apply `batch`; never called again before the report."""
        ...

    def close(self) -> None:
        """Stop, once the batch that is being applied has been."""
        ...


async def apply_for_sure(store: Store, clock: Clock, batch: Batch) -> Outcome:
    """Apply a batch, and find out whether it was committed when the database did not say.

    A batch that was not committed is sent again; StoreBusy after the third time, so that the engine says so and waits.
    StoreBusy as well when it cannot be found out now: `batch.unknown` stays set, and the batch must come back under its
    number, which is looked up before anything else is done.
    """
    cause = "the store did not say whether it had committed"
    for _ in range(3):
        if batch.unknown is not None and (outcome := await _look_up(store, batch, cause)) is not None:
            return outcome
        try:
            return await store.apply(batch, clock.now_ms())
        except CommitUnknown as unknown:
            if unknown.outcome is None:
                raise
            batch.unknown, cause = unknown.outcome, str(unknown)
    if (outcome := await _look_up(store, batch, cause)) is not None:
        return outcome
    raise StoreBusy(cause)


async def _look_up(store: Store, batch: Batch, cause: str) -> Outcome | None:
    """Return what a batch of unknown outcome did, or None if it was not committed; StoreBusy if that cannot be read."""
    try:
        # What the old connection says may be its own transaction, still open.
        await store.database.reopen()
        last = await store.committed_batch()
    except (StoreUnavailable, BatchRejected, StoreBusy) as error:
        raise StoreBusy(f"{cause}; then: {error}") from None
    outcome, batch.unknown = batch.unknown, None
    return outcome if last == batch.number else None


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends, as those of a SQLite database do not."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise RuntimeError("a database that does not suspend was expected")


def attempt(store: Store, clock: Clock, batch: Batch) -> Outcome | BaseException:
    """Apply a batch now; return what came of it or the error."""
    try:
        return drive(apply_for_sure(store, clock, batch))
    except BaseException as error:  # noqa: BLE001 - it is reported on the engine's loop, which decides
        return error


class ThreadWriter:
    """Applies batches on a daemon thread."""

    def __init__(self, store: Store, clock: Clock, done: Done) -> None:
        self._store = store
        self._clock = clock
        self._done = done
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="fanfold-writer", daemon=True)
        self._thread.start()

    def submit(self, batch: Batch) -> None:
        """Hand `batch` to the thread."""
        self._queue.put(batch)

    def _work(self) -> None:
        while (batch := self._queue.get()) is not None:
            outcome = attempt(self._store, self._clock, batch)
            self._loop.call_soon_threadsafe(self._done, batch, outcome)

    def close(self) -> None:
        """Let the thread end and wait for it."""
        self._queue.put(None)
        self._thread.join()


class InlineWriter:
    """Applies batches on the engine's loop, in a callback of their own."""

    def __init__(self, store: Store, clock: Clock, done: Done) -> None:
        self._store = store
        self._clock = clock
        self._done = done
        self._loop = asyncio.get_running_loop()

    def submit(self, batch: Batch) -> None:
        """Apply `batch` in the loop's next round."""
        self._loop.call_soon(self._apply, batch)

    def _apply(self, batch: Batch) -> None:
        self._done(batch, attempt(self._store, self._clock, batch))

    def close(self) -> None:
        """Nothing is left to stop."""
