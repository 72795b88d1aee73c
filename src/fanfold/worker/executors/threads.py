"""Sync bodies, in threads of our own: daemon threads, so that a body that hangs never keeps the program from ending."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from typing import Any

from fanfold.worker.body import Body, BodyQueue, Finish, Slots


class ThreadExecutor:
    """Runs sync bodies in at most `threads` threads, started when they are needed."""

    def __init__(self, threads: int, slots: Slots, finish: Finish) -> None:
        self._threads = threads
        self._slots = slots
        self._finish = finish
        self._loop = asyncio.get_running_loop()
        self._waiting = BodyQueue()
        self._work: queue.SimpleQueue[Body | None] = queue.SimpleQueue()
        self._started = 0
        self._busy = 0
        self._is_stopped = False

    def __len__(self) -> int:
        """Return how many bodies wait for a thread or a slot."""
        return len(self._waiting)

    def submit(self, body: Body) -> None:
        """Run a body as soon as there are a thread and a slot."""
        self._waiting.push(body)
        self.wake()

    def wake(self) -> None:
        """Look at the queue: a body came, or a slot became free."""
        while self._waiting and not self._is_stopped and self._busy < self._threads and self._slots.is_free():
            body = self._waiting.pop()
            if body.is_cancelled:
                self._finish(body, None, asyncio.CancelledError())
                continue
            body.is_started = True
            self._slots.taken += 1
            self._busy += 1
            if self._started < self._busy:
                self._started += 1
                threading.Thread(target=self._run, name=f"fanfold-body-{self._started}", daemon=True).start()
            self._work.put(body)

    def cancel(self, body: Body) -> None:
        """Do nothing: a thread cannot be interrupted; its result is recorded when it comes."""

    def stop(self) -> None:
        """Start nothing any more."""
        self._is_stopped = True

    def abandon(self) -> None:
        """Leave what still runs to itself; its result is no longer recorded."""
        self._is_stopped = True
        for _ in range(self._started):
            self._work.put(None)

    def _run(self) -> None:
        while (body := self._work.get()) is not None:
            value: Any = None
            error: BaseException | None = None
            try:
                value = contextvars.Context().run(body.call)
            except BaseException as raised:  # noqa: BLE001 - recorded as the attempt's failure
                error = raised
            try:
                self._loop.call_soon_threadsafe(self._done, body, value, error)
            except RuntimeError:
                return  # the loop is gone: the program has ended, and the next start runs the body again
            del body, value, error

    def _done(self, body: Body, value: Any, error: BaseException | None) -> None:
        self._busy -= 1
        self._slots.taken -= 1
        self._finish(body, value, error)
        self.wake()


class InlineExecutor:
    """Runs sync bodies on the engine's loop, one after the other: for tests, where no thread may decide the order."""

    def __init__(self, slots: Slots, finish: Finish) -> None:
        self._finish = finish
        self._slots = slots
        self._loop = asyncio.get_running_loop()
        self._is_stopped = False
        self._waiting = 0

    def __len__(self) -> int:
        """Return how many bodies wait."""
        return self._waiting

    def submit(self, body: Body) -> None:
        """Run a body in the loop's next round."""
        self._waiting += 1
        self._loop.call_soon(self._run, body)

    def _run(self, body: Body) -> None:
        self._waiting -= 1
        if self._is_stopped:
            return
        if body.is_cancelled:
            self._finish(body, None, asyncio.CancelledError())
            return
        body.is_started = True
        value: Any = None
        error: BaseException | None = None
        try:
            value = contextvars.Context().run(body.call)
        except Exception as raised:  # noqa: BLE001 - recorded as the attempt's failure
            error = raised
        self._finish(body, value, error)

    def wake(self) -> None:
        """Do nothing: bodies never wait for a slot here."""

    def cancel(self, body: Body) -> None:
        """Do nothing: a body here has ended before anybody can ask."""

    def stop(self) -> None:
        """Start nothing any more."""
        self._is_stopped = True

    def abandon(self) -> None:
        """Start nothing any more."""
        self._is_stopped = True
