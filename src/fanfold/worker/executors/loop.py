"""Async bodies, on the engine's loop.

Bodies run inside carrier tasks. A carrier takes the next body and steps it in a context of its own, so that a body
that never suspends costs no asyncio task, while `current_task()`, `timeout` and `TaskGroup` work as always. A carrier
whose body suspends stays with that body, and another carrier takes over the queue. A carrier takes another body only
if nothing of the last one can still reach it: it never suspended and left no cancellation behind.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine, Generator
from typing import Any

from fanfold.worker.body import Body, BodyQueue, Finish, Slots

# What a body may raise and is recorded as its failure: `sys.exit()` in a body ends the body, not the engine.
RECORDED = (Exception, SystemExit, asyncio.CancelledError)
BODIES_A_TURN = 200  # then the loop's other callbacks get their turn


class LoopExecutor:
    """Runs async bodies, at most as many at once as there are slots."""

    def __init__(self, slots: Slots, finish: Finish) -> None:
        self._slots = slots
        self._finish = finish
        self._loop = asyncio.get_running_loop()
        self._queue = BodyQueue()
        self._carriers: set[asyncio.Task[None]] = set()
        self._is_carried = False  # a carrier is at the queue
        self._is_stopped = False

    def __len__(self) -> int:
        """Return how many bodies wait for a slot."""
        return len(self._queue)

    def submit(self, body: Body) -> None:
        """Run a body as soon as there is a slot."""
        self._queue.push(body)
        self.wake()

    def wake(self) -> None:
        """Look at the queue: a body came, or a slot became free."""
        if self._queue and not self._is_carried and not self._is_stopped and self._slots.is_free():
            self._is_carried = True
            carrier = self._loop.create_task(self._carry(), context=contextvars.Context())
            self._carriers.add(carrier)
            carrier.add_done_callback(self._carriers.discard)

    def cancel(self, body: Body) -> None:
        """Raise CancelledError in a body that has started."""
        if body.carrier is not None:
            body.carrier.cancel()

    def stop(self) -> None:
        """Start nothing any more."""
        self._is_stopped = True

    def abandon(self) -> None:
        """Cancel what still runs; what it does on its way out is no longer recorded."""
        self._is_stopped = True
        for carrier in self._carriers:
            carrier.cancel()

    async def _carry(self) -> None:
        me = asyncio.current_task()
        assert me is not None  # noqa: S101 - a carrier is a task
        queue, slots, finish = self._queue, self._slots, self._finish
        done_in_turn = 0
        while queue and slots.is_free() and not self._is_stopped:
            body = queue.pop()
            if body.is_cancelled:
                finish(body, None, asyncio.CancelledError())
                continue
            slots.taken += 1
            body.is_started = True
            body.carrier = me
            context = contextvars.Context()
            try:
                waits_for = context.run(body.start)
            except StopIteration as stop:
                value, error = stop.value, None
            except RECORDED as raised:
                value, error = None, raised
            else:
                self._hand_over()
                await self._stay_with(body, waits_for, context)
                return
            slots.taken -= 1
            body.carrier = None
            finish(body, value, error)
            if me.cancelling():
                break
            done_in_turn += 1
            if done_in_turn >= BODIES_A_TURN:
                done_in_turn = 0
                await asyncio.sleep(0)
        self._hand_over()

    def _hand_over(self) -> None:
        self._is_carried = False
        self.wake()

    async def _stay_with(self, body: Body, waits_for: Any, context: contextvars.Context) -> None:
        try:
            value, error = await _Rest(body.coroutine, waits_for, context), None
        except RECORDED as raised:
            value, error = None, raised
        self._slots.taken -= 1
        body.carrier = None
        self._finish(body, value, error)
        self.wake()


class _Rest:
    """The rest of a coroutine that has suspended, stepped in its own context."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], waits_for: Any, context: contextvars.Context) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for
        self._context = context

    def __await__(self) -> Generator[Any, Any, Any]:
        coroutine, waits_for, run = self._coroutine, self._waits_for, self._context.run
        while True:
            try:
                sent = yield waits_for
            except GeneratorExit:
                run(coroutine.close)
                raise
            except BaseException as thrown:  # noqa: BLE001 - handed to the body, as a task would
                step, argument = coroutine.throw, thrown
            else:
                step, argument = coroutine.send, sent
            try:
                waits_for = run(step, argument)
            except StopIteration as stop:
                return stop.value
