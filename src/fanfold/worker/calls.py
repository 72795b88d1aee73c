"""The children of a task's body: how its calls become runs, find those of earlier attempts, and are waited for.

A task is run again from the top after a failed attempt or a crash. Its calls find their children by `key=`, or by what
is called with which input: completed ones answer at once, those under way are waited for, failed and cancelled ones of
an earlier attempt are started afresh. A body that waits for its children has no slot: each end is kept back until it
has one again. Calls are made on the engine's loop, or in the thread of a sync body; all else happens on the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import TYPE_CHECKING, Any

from fanfold.errors import Evicted, NotAllowed
from fanfold.model import keys, lifecycle
from fanfold.model.clock import Alarm
from fanfold.model.commands import Existing
from fanfold.model.run import MAX_DEPTH, End, NewRun, Recorded
from fanfold.worker.body import Body
from fanfold.worker.handle import Handle, fail, settle
from fanfold.worker.new_runs import conflict, new_child
from fanfold.worker.task import CallOptions, Task
from fanfold.worker.task_groups import TaskGroups

if TYPE_CHECKING:
    from fanfold.worker.desk import Desk


class TaskHandle(Handle[Any]):
    """The handle of a task's child."""

    __slots__ = ("_calls",)

    def __init__(self, calls: Calls, run_id: int, task_name: str, decode: Callable[[str], Any]) -> None:
        super().__init__(calls.loop, run_id, task_name, run_id, calls.on_cancel, decode)
        self._calls = calls

    def add_done_callback(self, fn: Callable[[Any], object], /, *, context: Any = None) -> None:
        """Take note that somebody waits: this is how `await`, `gather` and `wait` begin."""
        super().add_done_callback(fn, context=context)
        if not self.done():
            self._calls.note_wait(self)

    def _block(self, timeout_s: float | None) -> None:
        self._calls.block(self, timeout_s)


class _Waiter:
    """The thread of a sync body that waits in `handle.result()`."""

    def __init__(self, handle: Handle[Any]) -> None:
        self.handle = handle
        self.event = threading.Event()
        self.error: BaseException | None = None
        self.alarm: Alarm | None = None
        self.is_over = False  # it need not wait any more; otherwise it is woken to make items


class Calls:
    """The calls of one body."""

    def __init__(self, body: Body, desk: Desk) -> None:
        self.body = body
        self.loop = desk.loop
        self._desk = desk
        self._recorded: dict[tuple[str, str], Recorded] = {}
        self._counts: Counter[str] = Counter()
        self._keyed: dict[tuple[str, str], tuple[TaskHandle, int]] = {}
        self._handles: dict[int, Handle[Any]] = {}
        self._ended: dict[int, End] = {}  # recorded children that ended before they were called again
        self._awaited: set[Handle[Any]] = set()
        self._ready: list[End] = []  # kept back until the body has a slot
        self._waiters: list[_Waiter] = []  # more than one where the body has threads of its own
        self._returning: list[asyncio.Future[None]] = []  # waited for something else, and need a slot again
        self._is_going_on = False
        self._looks = False
        self.is_closed = False
        self.groups = TaskGroups(self, desk)

    def recall(self, recorded: Iterable[Recorded]) -> None:
        """Take note of the children of earlier attempts; before the body starts."""
        for child in recorded:
            self._recorded[child.key, child.name] = child

    # What the body asks for, on the loop or in its thread ------------------------------------------------------------

    def call(
        self, task: Task[..., Any], options: CallOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> TaskHandle:
        """Start a child, or find the one that an earlier attempt started."""
        if self.is_closed:
            raise Evicted
        run = self.body.run
        self.body.task.refuse_foreign(task)
        if run.depth >= MAX_DEPTH:
            raise NotAllowed(f"runs may be nested {MAX_DEPTH} deep; run {run.id} is at that depth")
        if options.key is None:
            text, hashed, content = task.signature.encode_content(args, kwargs)
            key = keys.content_key(content, self._counts[content])
            self._counts[content] += 1
        else:
            text, hashed = task.signature.encode(args, kwargs)
            key = options.key
            if (key, task.name) in self._keyed:
                return self._same_key(key, task.name, hashed)
        key, known = self.find(key, task.name)
        if known is not None and known.digest != hashed:
            raise conflict(key, task.name, known.id)
        new = self._new(task, options, key, hashed, text) if known is None else None
        child = new or known
        assert child is not None  # noqa: S101 - one of the two
        handle = self.new_handle(child.id, task.name, task.signature.result.decode)
        if options.key is not None:
            self._keyed[options.key, task.name] = handle, hashed
        self._desk.post(self._send, new, known)
        return handle

    def _new(self, task: Task[..., Any], options: CallOptions, key: str, hashed: int, text: str) -> NewRun:
        run = self.body.run
        new = new_child(run, self.body.epoch, task, options, key, hashed, text, run.compensates)
        new.id = self._desk.take_id()
        return new

    def new_handle(self, id: int, name: str, decode: Callable[[str], Any]) -> TaskHandle:
        """Return the handle of a child; it is resolved when the body is told of that child's end."""
        handle = TaskHandle(self, id, name, decode)
        self.expect(handle)
        return handle

    def expect(self, handle: Handle[Any]) -> None:
        """Resolve a handle when its child's end is told."""
        self._handles[handle.id] = handle

    def earlier(self, key: str, name: str) -> int:
        """Return the newest child of this key that an earlier attempt started; 0 if there is none."""
        for number in range(self.body.attempt - 1, 0, -1):
            known = self._recorded.get((keys.of_attempt(key, number), name))
            if known is not None:
                return known.id
        return 0

    def find(self, key: str, name: str) -> tuple[str, Recorded | None]:
        """Return the child that answers this call, the newest one first, or the key under which to start one."""
        attempt = self.body.attempt
        for number in range(attempt, 0, -1):
            known = self._recorded.get((keys.of_attempt(key, number), name))
            if known is not None:
                has_failed = known.is_asked or known.state in (lifecycle.FAILED, lifecycle.CANCELLED)
                is_stale = number < attempt and has_failed
                return (keys.of_attempt(key, attempt), None) if is_stale else (known.key, known)
        # Marked with the attempt: run again after a crash, it finds the child that failed in it.
        return keys.of_attempt(key, attempt), None

    def _same_key(self, key: str, name: str, hashed: int) -> TaskHandle:
        handle, first = self._keyed[key, name]
        if first != hashed:
            raise conflict(key, name, handle.id)
        return handle

    def block(self, handle: Handle[Any], timeout_s: float | None) -> None:
        """Wait in the body's thread until a child has ended; TimeoutError, CancelledError, Evicted."""
        if self.loop is asyncio._get_running_loop():  # noqa: SLF001 - the public one raises where there is none
            return  # nothing can wait here: the handle says itself that it has no result
        waiter = _Waiter(handle)
        self._desk.post(self._block, waiter, timeout_s)
        while True:
            self._desk.resting()
            waiter.event.wait()
            if waiter.is_over:
                break
            waiter.event.clear()
            while self.groups.make_items():
                pass
        if waiter.error is not None:
            raise waiter.error

    # On the loop -----------------------------------------------------------------------------------------------------

    def _send(self, new: NewRun | None, known: Recorded | None) -> None:
        if self.is_closed:
            return
        if new is not None:
            self._desk.got_on(self.body)
            self._desk.spawn(new)
        elif known is not None:
            ended = self.ended_before(known.id)
            if ended is not None:
                self._take([ended])
            elif lifecycle.is_terminal(known.state):
                self._desk.read(known.id, self.take_now)
            elif known.state == lifecycle.PENDING:
                self._desk.want(known.id, known.available_at)

    def on_existing(self, new: NewRun, existing: Existing) -> None:
        """Stand a handle for the run that was there already."""
        handle = self._handles.pop(new.id, None)
        if handle is None:
            return
        if existing.digest != new.digest:
            fail(handle, conflict(new.key or "", new.name, existing.id))
            return
        handle.moved_to(existing.id)
        self._handles[existing.id] = handle
        if lifecycle.is_terminal(existing.state):
            self._desk.read(existing.id, self.take_now)
        elif existing.state == lifecycle.PENDING:
            self._desk.want(existing.id, 0)

    def on_cancel(self, child_id: int) -> None:
        """Ask a child to cancel, unless it is the attempt that ends: that is no cancel."""
        if not self.is_closed:
            self._desk.post(self._desk.cancel_child, child_id)

    def on_delivered(self, ends: Iterable[End]) -> None:
        """Hear that children ended."""
        known = [end for end in ends if end.id in self._handles or self._keep(end)]
        if self.groups.feeds:
            known = [end for end in known if not self.groups.take_end(end)]
        if known and not self.is_closed:
            self._take(known)

    def _keep(self, end: End) -> bool:
        if self._recorded:
            self._ended[end.id] = end
        return False

    def ended_before(self, id: int) -> End | None:
        """Return how a recorded child ended since the body started again, and before it called that child."""
        return self._ended.pop(id, None)

    def take_now(self, end: End) -> None:
        """Resolve one handle, as soon as the body has a slot."""
        self._take([end])

    def _take(self, ends: list[End]) -> None:
        """Resolve handles, as soon as the body has a slot to go on in."""
        if self.is_closed:
            return
        self._ready += ends
        self._resume()

    def _resume(self) -> None:
        if self.body.has_slot or not self.body.is_started:
            self._deal()
        elif not self._is_going_on:
            self._is_going_on = True
            self._desk.go_on(self.body, self._went_on)

    def _went_on(self) -> None:
        self._is_going_on = False
        self._deal()

    def _deal(self) -> None:
        ready, self._ready = self._ready, []
        for end in ready:
            handle = self._handles.pop(end.id, None)
            if handle is not None:
                self._awaited.discard(handle)
                settle(handle, end)
        returning, self._returning = self._returning, []
        for back in returning:
            if not back.done():
                back.set_result(None)
        for waiter in [waiter for waiter in self._waiters if waiter.error is not None or waiter.handle.done()]:
            self._wake(waiter)
        if self._waiters and self.body.has_slot and not self.body.is_over:
            # Other threads of the body still wait, perhaps for what needs its slot.
            self._desk.let_go(self.body)
        if self._awaited:
            self._look_soon()

    # Waiting ---------------------------------------------------------------------------------------------------------

    def note_wait(self, handle: Handle[Any]) -> None:
        """Take note that the body, or a task of it, waits for a child."""
        self._awaited.add(handle)
        self._look_soon()

    def _look_soon(self) -> None:
        if not self._looks:
            self._looks = True
            self.loop.call_soon(self._let_go)

    def _let_go(self) -> None:
        self._looks = False
        body = self.body
        self._awaited = {handle for handle in self._awaited if not handle.done()}
        if self._awaited and body.has_slot and not body.is_over:
            self._desk.let_go(body)

    @contextlib.asynccontextmanager
    async def away(self) -> AsyncGenerator[None]:
        """Have no slot while something else than a child is waited for that needs one: a root of its own."""
        is_here = self.loop is asyncio.get_running_loop()
        if is_here and self.body.has_slot and not self.body.is_over:
            self._desk.let_go(self.body)
        try:
            yield
        finally:
            if is_here and not self.body.has_slot and not self.is_closed:
                self._returning.append(back := self.loop.create_future())
                self._resume()
                await back

    def _block(self, waiter: _Waiter, timeout_s: float | None) -> None:
        self._waiters.append(waiter)
        self.wake_for_items()
        if self.is_closed:
            waiter.error = Evicted()
        elif self.body.is_cancelled:
            waiter.error = asyncio.CancelledError()
        if waiter.error is not None or waiter.handle.done():
            self._wake(waiter)
            return
        if timeout_s is not None:
            waiter.alarm = self._desk.alarm(timeout_s, lambda: self._ring(waiter, timeout_s))
        if self.body.has_slot:
            self._desk.let_go(self.body)

    def wake_for_items(self) -> None:
        """Have a thread that waits make items of a group that has room."""
        if self._waiters and self.groups.wants_items:
            self._desk.wake_thread(self._waiters[0].event)

    def _ring(self, waiter: _Waiter, timeout_s: float) -> None:
        if waiter in self._waiters and waiter.error is None:
            waiter.error = TimeoutError(f"{waiter.handle!r} has not ended after {timeout_s} s; it goes on")
            self._resume()

    def _wake(self, waiter: _Waiter) -> None:
        self._waiters.remove(waiter)
        waiter.is_over = True
        if waiter.alarm is not None:
            waiter.alarm.cancel()
        self._desk.wake_thread(waiter.event)

    def interrupt(self) -> None:
        """Raise CancelledError in a thread that waits for a child: its run is asked to cancel."""
        for waiter in self._waiters:
            waiter.error = asyncio.CancelledError()
        if self._waiters:
            self._resume()

    def close(self) -> None:
        """Let what the code still calls reach nothing: the attempt is over, its children go on."""
        self.is_closed = True
        self.groups.close_all()
        self._handles.clear()
        self._awaited.clear()
        self._ready.clear()
        for back in self._returning:
            back.cancel()
        for waiter in list(self._waiters):
            waiter.error = Evicted()
            self._wake(waiter)
