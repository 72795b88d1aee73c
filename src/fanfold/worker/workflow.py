"""A workflow run in memory: its loop, its open calls, and how it is stepped, live and in replay.

Live and in replay are the same code: a delivery comes, one future is resolved, the loop runs until nothing is ready.
The only difference is that in replay a call finds the child that was recorded for its place, and that a call which
does not fit the record stops the run instead of starting something else.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any

from fanfold.errors import Evicted, KeyConflict, NotAllowed
from fanfold.model import lifecycle
from fanfold.model.codec import digest
from fanfold.model.ids import UUID, Random, place_random, place_uuid
from fanfold.model.run import EVENT, MAX_DEPTH, TIMER, TIMER_NAME, Claimed, End, NewRun, Recorded
from fanfold.worker.callbacks import DurableTimer
from fanfold.worker.context import Context, set_current
from fanfold.worker.durable_loop import DurableLoop
from fanfold.worker.failures import child_error, failure_text
from fanfold.worker.handle import Handle, fail, resolve
from fanfold.worker.task import CallOptions, Task

log = logging.getLogger("fanfold")


class WorkflowContext(Context):
    """`current()` inside a workflow: besides what every run knows, time and chance that are the same on replay."""

    __slots__ = ("_workflow",)

    def __init__(self, workflow: WorkflowRun, created_at: int, store_id: str) -> None:
        super().__init__(workflow.run, created_at, store_id)
        self._workflow = workflow

    def now(self) -> float:
        """Return the time of the last delivery, in seconds since 1970."""
        return self._workflow.loop.time()

    def random(self) -> Random:
        """Return a generator of random numbers that depends on the place of this call alone."""
        return place_random(self.id, self._created_at, self._workflow.loop.place().next_call())

    def uuid(self) -> UUID:
        """Return a UUID that depends on the place of this call alone."""
        return place_uuid(self.id, self._created_at, self._workflow.loop.place().next_call())

    def call(
        self, task: Task[..., Any], options: CallOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Handle[Any]:
        """Start a child."""
        return self._workflow.call(task, options, args, kwargs)

    def sleep(self, delay_s: float) -> Handle[None]:
        """Start a durable timer."""
        return self._workflow.sleep(delay_s)


class Outbox:
    """What a workflow's code asked for in this turn, on its way to the engine."""

    def __init__(self) -> None:
        self.new: list[NewRun] = []
        self.drops: list[int] = []
        self.cancels: list[int] = []


class WorkflowRun:
    """One workflow run that this worker holds."""

    def __init__(
        self, run: NewRun | Claimed, epoch: int, task: Task[..., Any], now: int, store_id: str,
        take_id: Callable[[], int],
    ) -> None:  # fmt: skip
        self.run = run
        self.epoch = epoch
        self.consumed = 0
        self.outbox = Outbox()
        self.end: End | None = None  # set when its code has ended
        self.broken: str | None = None  # set when its code does not fit the record
        self._task = task
        self._take_id = take_id
        self._handles: dict[int, Handle[Any] | DurableTimer] = {}
        self._recorded: dict[str, Recorded] = {}
        self._is_replaying = False
        self._gone: set[int] = set()  # in replay: timers that the code dropped; they may have fired before
        self._keyed: dict[tuple[str, str], tuple[Handle[Any], int]] = {}
        self._is_cancelled = False
        self.is_closed = False
        self.is_reported = False
        self._main: asyncio.Task[Any] | None = None
        # Bound once: a method looked up for each of 100,000 handles is an object more for each.
        self._cancel_child = self._on_cancel
        self._drop_timer = self._on_drop
        created_at = run.created_at if isinstance(run, Claimed) else now
        self.loop = DurableLoop(run.id, self, created_at)
        self.context = WorkflowContext(self, created_at, store_id)
        # Empty but for this: what the caller's own variables say, no replay could repeat.
        self._variables = contextvars.Context()
        self._variables.run(set_current, self.context)
        self.idle_since = now

    @property
    def is_over(self) -> bool:
        """Tell whether the code has ended, or must not go on."""
        return self.end is not None or self.broken is not None

    def take_outbox(self) -> Outbox:
        """Return what the code asked for, and start an empty one; nothing of a run that broke its record."""
        taken, self.outbox = self.outbox, Outbox()
        return taken if self.broken is None else Outbox()

    # Stepping ------------------------------------------------------------------------------------------------------

    def begin(self, recorded: Iterable[Recorded] = ()) -> None:
        """Run the code from the top until it waits. `recorded` are the children of an earlier life."""
        self._recorded = {child.key: child for child in recorded}
        self._is_replaying = bool(self._recorded)
        try:
            args, kwargs = self._task.signature.decode(self.run.input or "{}")
        except Exception as error:  # noqa: BLE001 - the code has changed since the run was started
            self._finish_with(error)
            return
        self.loop.enter()
        try:
            self._main = self.loop.run_main(self._run_main(args, kwargs), self._task.name, self._variables)
            self._turn()
        finally:
            self.loop.leave()

    async def _run_main(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return await self._task.function(*args, **kwargs)

    def deliver(self, ends: Sequence[End], told: Container[int], now: int) -> int:
        """Hand deliveries to the code, one at a time, until a turn has news; return how many were taken.

        `told` are the ids of cancel events among them, `now` is when they were committed.
        """
        loop, outbox = self.loop, self.outbox
        loop.now_ms = max(loop.now_ms, now)
        loop.enter()
        try:
            for taken, end in enumerate(ends, 1):
                self.consumed += 1
                if told and end.id in told:
                    self._cancel_main()
                else:
                    self._settle(end)
                self._turn()
                if outbox.new or outbox.drops or outbox.cancels or self.is_over:
                    return taken
        finally:
            loop.leave()
        return len(ends)

    def _cancel_main(self) -> None:
        self._is_cancelled = True
        if self._main is not None:
            # In a turn: tasks that wait for each other in a circle make this raise.
            self.loop.call_soon(self._main.cancel)

    def _settle(self, end: End) -> None:
        """Resolve what waits for this delivery."""
        handle = self._handles.pop(end.id, None)
        if handle is None:
            if self._is_replaying and end.id not in self._gone:
                self._break(f"run {end.id} was delivered here, but the code has not called it")
        elif isinstance(handle, DurableTimer):
            self.loop.call_soon(handle.fire)
        elif handle.done():
            pass  # given up by the code; the child's end still takes its place
        elif end.state == lifecycle.COMPLETED:
            try:
                value = handle.decode(end.output or "null")
            except Exception as unreadable:  # noqa: BLE001 - the result's type has changed since
                fail(handle, unreadable)
            else:
                resolve(handle, value)
        else:
            fail(handle, child_error(handle.task_name, end.id, end.state, end.error))

    def _turn(self) -> None:
        self.loop.run_ready()
        if self.loop.is_finished and self.broken is None:
            self._finish()

    def _finish(self) -> None:
        main = self._main
        if main is None or self.end is not None:
            return
        for child_id, handle in self._handles.items():
            if isinstance(handle, DurableTimer) or handle.task_name == TIMER_NAME:
                self.outbox.drops.append(child_id)
        if main.cancelled():
            self._end(lifecycle.target("stop"), error=failure_text(asyncio.CancelledError(lifecycle.CANCELLED)))
            return
        error = main.exception()
        if error is not None:
            self._finish_with(error)
            return
        try:
            output, _ = self._task.signature.result.encode(main.result())
        except Exception as unstorable:  # noqa: BLE001 - what cannot be stored fails the run, never the worker
            self._finish_with(unstorable)
        else:
            self._end(lifecycle.target("complete"), output=output)

    def _finish_with(self, error: BaseException) -> None:
        self._end(lifecycle.target("fail"), error=failure_text(error))

    def _end(self, state: str, output: str | None = None, error: str | None = None) -> None:
        self.end = End(self.run.id, self.epoch, self.run.parent_id, state, output, error)

    def end_replay(self) -> None:
        """All that was delivered has been fed; what was recorded must have been called."""
        if self._is_replaying and self.broken is None:
            left = [child for child in self._recorded.values() if child.kind != EVENT]
            if left:
                self._break(f"{left[0].name} (run {left[0].id}) is recorded, but the code no longer calls it")
            self._recorded.clear()
            self._gone.clear()
        self._is_replaying = False

    def _break(self, reason: str) -> None:
        if self.broken is None:
            self.broken = (
                f"NonDeterminism in {self._task.name}: {reason}. Ways out: put the code back as it was; branch on "
                "current().version; or start another run of it, with a key of its own"
            )

    def close(self) -> None:
        """Leave memory: no call of the code reaches anything from here on."""
        self.is_closed = True
        self.loop.close()
        self._handles.clear()

    # What the code asks for ----------------------------------------------------------------------------------------

    def call(self, task: Task[..., Any], options: CallOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
             ) -> Handle[Any]:  # fmt: skip
        """Start a child, or find the one that is recorded for this place."""
        if self.is_closed:
            raise Evicted
        run = self.run
        if run.depth >= MAX_DEPTH:
            raise NotAllowed(f"runs may be nested {MAX_DEPTH} deep; run {run.id} is at that depth")
        signature = task.signature
        text, hashed = signature.encode(args, kwargs)
        decode = signature.result.decode
        if options.key is not None and (task.name, options.key) in self._keyed:
            return self._same_key(task.name, options.key, hashed)
        key = options.key or self.loop.place().next_call()
        new = NewRun(
            0, run.root_id, run.id, self.epoch, run.depth + 1, key, task.kind, task.name, hashed, text,
            lifecycle.PENDING, options.delay_ms,
            task.queue if options.queue is None else options.queue,
            (task.priority or run.priority) if options.priority is None else options.priority,
            run.version, None, run.tags if options.tags is None else options.tags, self._compensates(),
        )  # fmt: skip
        self._start(new)
        handle: Handle[Any] = Handle(self.loop, new.id, task.name, self.loop.number(), self._cancel_child, decode)
        self._handles[new.id] = handle
        if options.key is not None:
            self._keyed[task.name, options.key] = handle, hashed
        return handle

    def _compensates(self) -> int:
        """Tell whether what is started now is compensation: after the run's own cancel, or below such a run."""
        return int(self._is_cancelled or self.run.compensates)

    def _same_key(self, name: str, key: str, hashed: int) -> Handle[Any]:
        """Return the handle of the child that has this key already; KeyConflict if its input was another."""
        handle, first = self._keyed[name, key]
        if first != hashed:
            raise KeyConflict(f"key {key[2:]!r} of {name} is taken by run {handle.id}, with another input", handle.id)
        return handle

    def sleep(self, delay_s: float) -> Handle[None]:
        """Start a durable timer and return its handle."""
        new = self._new_timer(delay_s)
        handle: Handle[None] = Handle(self.loop, new.id, TIMER_NAME, self.loop.number(), self._drop_timer, _no_value)
        self._handles[new.id] = handle
        return handle

    def arm(self, timer: DurableTimer, delay_s: float) -> None:
        """Start a durable timer for a callback of the loop."""
        new = self._new_timer(delay_s)
        timer.arm(new.id, self._drop_timer)
        self._handles[new.id] = timer

    def _new_timer(self, delay_s: float) -> NewRun:
        if self.is_closed:
            raise Evicted
        run = self.run
        # Rounded up, but for the noise of floating point: a timer is never early.
        delay_ms = max(math.ceil(delay_s * 1000 - 1e-3), 0)
        key = self.loop.place().next_call()
        new = NewRun(
            0, run.root_id, run.id, self.epoch, run.depth + 1, key, TIMER, TIMER_NAME,
            digest(b"sleep", str(delay_ms).encode()), f'{{"delay_ms":{delay_ms}}}', lifecycle.PENDING, delay_ms,
            version=run.version, compensates=self._compensates(),
        )  # fmt: skip
        self._start(new)
        return new

    def _start(self, new: NewRun) -> None:
        """Give a call its id: the recorded child's in replay, a fresh one otherwise."""
        recorded = self._recorded.pop(new.key or "", None) if self._is_replaying else None
        if recorded is None:
            new.id = self._take_id()
            self.outbox.new.append(new)
            return
        new.id = recorded.id
        if recorded.name != new.name or recorded.digest != new.digest:
            self._break(
                f"at {new.key} the record has {recorded.name}({recorded.input}), run {recorded.id}; "
                f"the code now calls {new.name}({(new.input or '')[:200]})"
            )

    def _on_cancel(self, child_id: int) -> None:
        if self.is_closed:
            raise Evicted
        self.outbox.cancels.append(child_id)

    def _on_drop(self, child_id: int) -> None:
        if self.is_closed:
            raise Evicted
        self._handles.pop(child_id, None)
        if self._is_replaying:
            self._gone.add(child_id)
        new = self.outbox.new
        # Armed and dropped in one turn: nothing is written, the place is used up.
        for index in range(len(new) - 1, max(len(new) - 9, -1), -1):
            if new[index].id == child_id:
                del new[index]
                return
        self.outbox.drops.append(child_id)

    def on_task_error(self, context: dict[str, Any]) -> None:
        """Log what nobody awaits, as asyncio does."""
        error = context.get("exception")
        log.error("run %s (%s): %s", self.run.id, self._task.name, context.get("message"), exc_info=error)


def _no_value(_output: str) -> None:
    """Return what a timer's handle resolves to."""
