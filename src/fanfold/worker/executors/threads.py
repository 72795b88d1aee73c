"""Sync bodies, in threads of our own: daemon threads, so that a body that hangs never keeps the program from ending.

A body that waits for its children keeps its thread and gives its slot back. So that 20,000 parents do not make 20,000
threads, from so many waiting threads on only bodies start that somebody in a thread waits for, deepest first.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from fanfold.model.clock import Alarm
from fanfold.store.at_work import AtWork
from fanfold.worker.body import Begin, Body, Finish
from fanfold.worker.slots import BodyQueue, Slots

WAITING_A_THREAD = 4  # waiting threads, as a multiple of those that may run
STALL_S = 1.0  # nothing moved for so long, while too many threads wait

log = logging.getLogger("fanfold")


class ThreadExecutor:
    """Runs sync bodies: at most `threads` at once, those that wait for their children not counted."""

    def __init__(
        self,
        threads: int,
        slots: Slots,
        begin: Begin,
        finish: Finish,
        at_work: AtWork,
        alarm: Callable[[float, Callable[[], None]], Alarm],
    ) -> None:
        """`alarm` rings after so many seconds."""
        self._threads = threads
        self._slots = slots
        self._begin = begin
        self._finish = finish
        self._at_work = at_work
        self._alarm = alarm
        self._loop = asyncio.get_running_loop()
        self._waiting = BodyQueue()
        self._children: dict[int, list[Body]] = {}  # of bodies in threads, among those that wait to start
        self._going_on: deque[tuple[Body, Callable[[], None]]] = deque()
        self._work: queue.SimpleQueue[Body | None] = queue.SimpleQueue()
        self._started = 0  # threads
        self._idle = 0  # of these without a body
        self._busy = 0  # bodies with a slot
        self._in_threads: set[int] = set()  # runs whose bodies have a thread, and their groups
        self._blocked: dict[int, Body] = {}  # bodies that wait for their children, by run
        self._stall: Alarm | None = None
        self._zombies: set[Body] = set()  # their attempts are over, and they still run
        self._is_stopped = False

    def __len__(self) -> int:
        """Return how many bodies wait for a thread or a slot."""
        return len(self._waiting)

    @property
    def threads(self) -> int:
        """How many threads there are."""
        return self._started

    def submit(self, body: Body) -> None:
        """Run a body as soon as there are a thread and a slot."""
        self._waiting.push(body)
        if body.run.parent_id in self._in_threads:
            self._children.setdefault(body.run.parent_id, []).append(body)
        self.wake()

    def wake(self) -> None:
        """Look at the queues: a body came, or a slot became free."""
        while self._going_on and self._busy < self._threads and self._slots.taken < self._slots.most:
            body, then = self._going_on.popleft()
            self._busy += 1
            self._slots.take_again(then)
        while self._can_start():
            body = self._next()
            if body is None:
                return
            if not body.is_over and not body.is_started:
                self._start(body)

    def _can_start(self) -> bool:
        return (
            bool(self._waiting)
            and not self._is_stopped
            and not self._going_on
            and self._busy < self._threads
            and len(self._zombies) < self._threads
            and self._slots.is_free()
        )

    def _next(self) -> Body | None:
        """Return whose turn it is: in order, but while too many threads wait only a child of one of them."""
        if len(self._blocked) < WAITING_A_THREAD * self._threads:
            return self._waiting.pop()
        for parent in sorted(self._blocked.values(), key=lambda body: body.run.depth, reverse=True):
            for id in parent.parents:
                children = self._children.get(id)
                while children:
                    child = children.pop()
                    if not child.is_over and not child.is_started:
                        return child
        if not self._busy and self._stall is None:
            self._stall = self._alarm(STALL_S, self._on_stall)
        return None

    def _on_stall(self) -> None:
        """Start one more: what the threads wait for is further down, behind runs that are not in threads."""
        self._stall = None
        while not self._busy and self._can_start():
            body = self._waiting.pop()
            if not body.is_over and not body.is_started:
                self._start(body)

    def _start(self, body: Body) -> None:
        body.is_started = body.has_slot = True
        self._slots.taken += 1
        self._busy += 1
        self._in_threads.add(body.run.id)
        body.place = self._at_work.take(body.run.id)
        self._begin(body)
        if self._idle:
            self._idle -= 1
        else:
            self._started += 1
            threading.Thread(target=self._run, name=f"fanfold-body-{self._started}", daemon=True).start()
        self._hand_over(body)

    def _hand_over(self, body: Body) -> None:
        self._work.put(body)

    def resting(self) -> None:
        """Take note, in the thread of a body, that it is about to wait or has ended."""

    def wake_thread(self, event: threading.Event) -> None:
        """Let a thread go on that waits."""
        event.set()

    def opens(self, body: Body, group_id: int) -> None:
        """Take note that a body has a group, for whose members it may wait."""
        if body.run.id in self._in_threads:
            self._in_threads.add(group_id)

    def _forget(self, body: Body) -> None:
        for id in body.parents:
            self._in_threads.discard(id)
            self._children.pop(id, None)

    def cancel(self, body: Body) -> None:
        """Do nothing: a thread cannot be interrupted; its result is recorded if it comes within the grace."""

    def disown(self, body: Body) -> None:
        """Let a body whose attempt is over go on without a slot, as a zombie; its result is no longer recorded."""
        self._zombies.add(body)
        self._forget(body)
        log.warning(
            "%s (run %s): its thread still runs, though attempt %s is over: threads cannot be stopped. What it returns "
            "is not recorded", body.run.name, body.run.id, body.attempt,
        )  # fmt: skip
        if len(self._zombies) == self._threads:
            runs = ", ".join(str(id) for id in sorted(zombie.run.id for zombie in self._zombies))
            log.error(
                "no plain body starts any more until a thread is free: all %s (App(threads=)) still run bodies whose "
                "attempts are over, of these runs: %s", self._threads, runs,
            )  # fmt: skip
        if body.has_slot:
            body.has_slot = False
            self._busy -= 1
            self._slots.give()
        else:
            del self._blocked[body.run.id]
            self._going_on = deque(entry for entry in self._going_on if entry[0] is not body)

    def let_go(self, body: Body) -> None:
        """Take the slot of a body that waits for its children; it keeps its thread."""
        body.has_slot = False
        self._busy -= 1
        self._blocked[body.run.id] = body
        self._at_work.runs[body.place] = 0
        self._slots.give()

    def go_on(self, body: Body, then: Callable[[], None]) -> None:
        """Call `then` as soon as the body has a slot again, ahead of those that have not started."""

        def take() -> None:
            del self._blocked[body.run.id]
            self._at_work.runs[body.place] = body.run.id
            body.has_slot = True
            then()

        self._going_on.append((body, take))
        self.wake()

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
            finally:
                self.resting()
            del body, value, error

    def _done(self, body: Body, value: Any, error: BaseException | None) -> None:
        self._idle += 1
        self._at_work.give(body.place)
        self._forget(body)
        if body.is_over:
            self._zombies.discard(body)
        elif body.has_slot:
            body.has_slot = False
            self._busy -= 1
            self._slots.taken -= 1
        else:  # it returned while another thread of its own waits for a child
            self._blocked.pop(body.run.id, None)
            self._going_on = deque(entry for entry in self._going_on if entry[0] is not body)
        self._finish(body, value, error)
        self._slots.serve()
