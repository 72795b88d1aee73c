"""Async bodies, on the engine's loop.

Bodies run inside carrier tasks. A carrier takes the next body and steps it in a context of its own, so that a body
that never suspends costs no asyncio task, while `current_task()`, `timeout` and `TaskGroup` work as always. A carrier
whose body suspends stays with that body, and another carrier takes over the queue. A carrier takes another body only
if nothing of the last one can still reach it: it never suspended and left no cancellation behind.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from fanfold.store.at_work import AtWork
from fanfold.worker.asyncio_versions import left_cancellation
from fanfold.worker.body import Begin, Body, Finish
from fanfold.worker.slots import BodyQueue, Slots

BODIES_A_TURN = 200  # then the loop's other callbacks get their turn


class Interrupted(BaseException):
    """A body was ended by something that is not fanfold: a loop that closes, Ctrl-C, a cancel of its own task."""

    def __init__(self) -> None:
        super().__init__("the body was cancelled, and not by fanfold")


class LoopExecutor:
    """Runs async bodies, at most as many at once as there are slots."""

    def __init__(self, slots: Slots, begin: Begin, finish: Finish, at_work: AtWork) -> None:
        self._slots = slots
        self._at_work = at_work
        self._begin = begin
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

    def disown(self, body: Body) -> None:
        """Let a body that does not end go on without a slot."""
        if body.has_slot:
            body.has_slot = False
            self._slots.give()

    def let_go(self, body: Body) -> None:
        """Take the slot of a body that waits for its children."""
        self._at_work.runs[body.place] = 0
        self.disown(body)

    def go_on(self, body: Body, then: Callable[[], None]) -> None:
        """Call `then` as soon as the body has a slot again."""

        def take() -> None:
            if not body.is_over:
                self._at_work.runs[body.place] = body.run.id
            then()

        self._slots.take_again(take)

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
        place = self._at_work.take()
        try:
            try:
                suspended = await self._run_those_that_do_not_suspend(me, place)
            finally:
                self._is_carried = False
                self._slots.serve()
            if suspended is not None:
                await self._stay_with(me, *suspended)
        finally:
            self._at_work.give(place)

    async def _run_those_that_do_not_suspend(
        self, me: asyncio.Task[None], place: int
    ) -> tuple[Body, Any, contextvars.Context] | None:
        """Run one body after the other; return the first that suspends, with what it waits for."""
        queue, slots, finish, at_work = self._queue, self._slots, self._finish, self._at_work.runs
        done_in_turn = 0
        while queue and slots.is_free() and not self._is_stopped:
            body = queue.pop()
            if body.is_over:
                continue
            slots.taken += 1
            body.is_started = body.has_slot = True
            body.carrier = me
            body.place = place
            at_work[place] = body.run.id
            if body.run.options is not None or body.task.timeout_ms is not None:
                self._begin(body)
            context = contextvars.Context()
            try:
                waits_for = context.run(body.start)
            except StopIteration as stop:
                value, error = stop.value, None
            except BaseException as raised:  # noqa: BLE001 - recorded as the attempt's failure
                value, error = None, raised
            else:
                return body, waits_for, context
            body.carrier = None
            if body.has_slot:
                body.has_slot = False
                slots.taken -= 1
            if isinstance(error, KeyboardInterrupt):
                finish(body, None, Interrupted())
                raise error
            finish(body, value, error)
            if left_cancellation(me):
                break
            done_in_turn += 1
            if done_in_turn >= BODIES_A_TURN:
                done_in_turn = 0
                await asyncio.sleep(0)
        return None

    async def _stay_with(
        self, me: asyncio.Task[None], body: Body, waits_for: Any, context: contextvars.Context
    ) -> None:
        value: Any = None
        error: BaseException | None = None
        try:
            value = await _Rest(body.coroutine, waits_for, context)
        except BaseException as raised:  # noqa: BLE001 - recorded as the attempt's failure
            error = raised
        body.carrier = None
        self.disown(body)
        is_ours = body.is_cancelled or body.limit is not None
        if isinstance(error, KeyboardInterrupt):
            self._finish(body, None, Interrupted())
            raise error
        if isinstance(error, asyncio.CancelledError) and me.cancelling() and not is_ours:
            error = Interrupted()
        self._finish(body, value, error)


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
