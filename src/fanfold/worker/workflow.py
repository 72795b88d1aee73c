"""A workflow run in memory: its loop, its open calls, and how it is stepped, live and in replay.

Live and in replay are the same code: a delivery comes, one future is resolved, the loop runs until nothing is ready.
The only difference is that in replay a call finds the child that was recorded for its place, and that a call which
does not fit the record stops the run instead of starting something else.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, Final

from fanfold.errors import InvalidInput, NotAllowed
from fanfold.model import lifecycle
from fanfold.model.duration import MAX_DELAY_S
from fanfold.model.run import EVENT, MAX_DEPTH, TIMER, TIMER_NAME, Claimed, End, NewRun, Recorded
from fanfold.worker import nondeterminism
from fanfold.worker.callbacks import DurableTimer
from fanfold.worker.context import set_current
from fanfold.worker.durable_loop import DurableLoop
from fanfold.worker.failures import child_error, failure_text
from fanfold.worker.feeds import Feed
from fanfold.worker.handle import Handle, fail, resolve
from fanfold.worker.new_runs import conflict, identity, new_child, new_timer
from fanfold.worker.outbox import Outbox
from fanfold.worker.siblings import Added
from fanfold.worker.source_lines import line_of_call, line_of_wait
from fanfold.worker.task import CallOptions, Task
from fanfold.worker.workflow_context import WorkflowContext
from fanfold.worker.workflow_groups import WorkflowGroups

log = logging.getLogger("fanfold")


class WorkflowRun:
    """One workflow run that this worker holds."""

    def __init__(
        self, run: NewRun | Claimed, epoch: int, tasks: Mapping[str, Task[..., Any]], now: int, store_id: str,
        take_id: Callable[[], int],
    ) -> None:  # fmt: skip
        self.run = run
        self.epoch = epoch
        self.consumed = 0
        self.outbox = Outbox()
        self.end: End | None = None  # set when its code has ended
        self.broken: str | None = None  # set when its code does not fit the record
        self.task = tasks[run.name]
        self.take_id = take_id
        self._handles: dict[int, Handle[Any] | DurableTimer] = {}
        self._recorded: dict[str | tuple[str, str], Recorded] = {}
        self._is_replaying = False
        self.is_silent = False  # this turn came to its end in an earlier life: what it logs was logged then
        self._taken_before = (isinstance(run, Claimed) and run.consumed) or -1
        self._gone: set[int] = set()  # in replay: timers that the code dropped; they may have fired before
        self.siblings: Added | None = None  # what it adds to its own group
        self.groups = WorkflowGroups(self, tasks, take_id)
        self.on_filled: Callable[[], None] = _nothing  # called when what keeps the run from ending may be over
        self._keyed: dict[tuple[str, str], tuple[Handle[Any], int]] = {}
        self._is_cancelled = False
        self._error: BaseException | None = None  # what the code ended with
        self._torn_by: BaseException | None = None  # Ctrl-C, in the midst of a turn
        self.is_closed = False
        self.is_reported = False
        self._main: asyncio.Task[Any] | None = None
        # Bound once: a method looked up for each of 100,000 handles is an object more for each.
        self.cancel_child = self._on_cancel
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
        taken.seal()
        return taken if self.broken is None and not self.is_closed else Outbox()

    # Stepping ------------------------------------------------------------------------------------------------------

    def begin(self, recorded: Sequence[Recorded] = ()) -> None:
        """Run the code from the top until it waits. `recorded` are the children of an earlier life."""
        self._recorded = {identity(child): child for child in recorded if child.kind != EVENT}
        self._is_replaying = bool(recorded)
        try:
            args, kwargs = self.task.signature.decode(self.run.input or "{}")
        except Exception as error:  # noqa: BLE001 - the code has changed since the run was started
            if self._is_replaying:
                code = self.task.function.__code__
                line = f"{code.co_filename}:{code.co_firstlineno}"
                self._break(nondeterminism.unreadable_input(self.run.input, error, line))
            else:
                self._finish_with(error)
            return
        self.loop.enter()
        try:
            self._main = self.loop.run_main(self._run_main(args, kwargs), self.task.name, self._variables)
            self._turn()
        except (KeyboardInterrupt, SystemExit) as error:
            self._torn_by = error
        finally:
            self._leave()

    def _leave(self) -> None:
        self.loop.leave()
        if self._torn_by is not None:
            # A signal's: nothing that the torn frames do now may be recorded, and the engine hears of it when it has
            # done with this delivery.
            self.close()
            asyncio.get_running_loop().call_soon(_raise, self._torn_by)

    async def _run_main(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return await self.task.function(*args, **kwargs)

    def deliver(self, ends: Sequence[End], told: Container[int], now: int) -> int:
        """Hand deliveries to the code, one at a time, until a turn has news; return how many were taken.

        `told` are the ids of cancel events among them, `now` is when they were committed.
        """
        if self.is_closed:
            return len(ends)
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
        except (KeyboardInterrupt, SystemExit) as error:
            self._torn_by = error
        finally:
            self._leave()
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
                child = next((child for child in self._recorded.values() if child.id == end.id), None)
                path = nondeterminism.MAIN_PATH if child is None else nondeterminism.task_path(child.key)
                self._break(nondeterminism.early_delivery(child, end.id, self._line_of_wait(path)))
        elif isinstance(handle, DurableTimer):
            self.loop.call_soon(handle.fire)
        elif handle.done():
            pass  # given up by the code; the child's end still takes its place
        elif end.state == lifecycle.COMPLETED:
            try:
                value = handle.decode(end.output or "null")
            except Exception as unreadable:  # noqa: BLE001 - the result's type has changed since
                # Not the code's failure: it goes on from here once the type fits again.
                line = self._line_of_wait(nondeterminism.MAIN_PATH)
                self._break(nondeterminism.unreadable_result(handle.task_name, end, unreadable, line))
            else:
                resolve(handle, value)
        else:
            fail(handle, child_error(handle.task_name, end.id, end.state, end.error))

    def _turn(self) -> None:
        # What a turn asks for is recorded after its end: if a recorded call is still to come, this turn had come to it.
        self.is_silent = bool(self._recorded) or self.consumed <= self._taken_before
        self.loop.run_ready()
        if self.loop.is_finished and self.broken is None:
            self._finish()

    def _finish(self) -> None:
        main = self._main
        if main is None or self.end is not None:
            return
        for child_id, handle in self._handles.items():
            if isinstance(handle, DurableTimer) or handle.task_name == TIMER_NAME:
                self.outbox.drop(child_id)
        error = None if main.cancelled() else main.exception()
        if self.loop.fatal is not None:
            self._finish_with(self.loop.fatal)
            return
        if main.cancelled():
            self._end(lifecycle.target("stop"), error=failure_text(asyncio.CancelledError(lifecycle.CANCELLED)))
            return
        if error is not None:
            self._finish_with(error)
            return
        try:
            output, _ = self.task.signature.result.encode(main.result())
        except Exception as unstorable:  # noqa: BLE001 - what cannot be stored fails the run, never the worker
            self._finish_with(unstorable)
        else:
            self._end(lifecycle.target("complete"), output=output)

    def _finish_with(self, error: BaseException) -> None:
        self._error = error
        self._end(lifecycle.target("fail"), error=failure_text(error))

    def _end(self, state: str, output: str | None = None, error: str | None = None) -> None:
        self.end = End(self.run.id, self.epoch, self.run.parent_id, state, output, error)

    def end_replay(self) -> None:
        """All that was delivered has been fed; what was recorded must have been called."""
        if self._is_replaying and self.broken is None and not self.is_closed:
            left = next(iter(self._recorded.values()), None)
            if left is not None:
                self._break(nondeterminism.missing_call(left, self._instead_of(left)))
            self._recorded.clear()
            self._gone.clear()
        self._is_replaying = False

    def _instead_of(self, recorded: Recorded) -> str:
        """Say what the code did instead of making a recorded call."""
        if self.end is not None:
            return nondeterminism.ended(self._error)
        return nondeterminism.waits(self._line_of_wait(nondeterminism.task_path(recorded.key)))

    def _line_of_wait(self, path: str) -> str:
        """Return where the asyncio task of a path waits, or the main one if there is no such task."""
        task = next((task for task in self.loop.tasks if task.place.path == path), self._main)
        return "" if task is None else line_of_wait(task.get_coro())

    def _break(self, reason: str) -> None:
        if self.broken is None:
            self.broken = nondeterminism.explanation(self.task.name, reason)

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
            return self.never(task.name)
        run = self.may_start(task)
        signature = task.signature
        text, hashed = signature.encode(args, kwargs)
        decode = signature.result.decode
        if options.key is not None and (task.name, options.key) in self._keyed:
            return self._same_key(task.name, options.key, hashed)
        place = self.loop.place()
        key = options.key or place.next_call()
        new = new_child(run, self.epoch, task, options, key, hashed, text, self.compensates())
        self.start(new)
        handle: Handle[Any] = Handle(self.loop, new.id, task.name, place.next_number(), self.cancel_child, decode)
        self._handles[new.id] = handle
        if options.key is not None:
            self._keyed[task.name, options.key] = handle, hashed
        return handle

    def may_start(self, task: Task[..., Any], levels: int = 1) -> NewRun | Claimed:
        """Return this run; UnknownTask or NotAllowed if it may not start that task, so many levels down."""
        self.task.refuse_foreign(task)
        if self.run.depth + levels > MAX_DEPTH:
            raise NotAllowed(f"runs may be nested {MAX_DEPTH} deep; run {self.run.id} is at depth {self.run.depth}")
        return self.run

    def want_items(self, feed: Feed) -> None:
        """Make no items here: a workflow's are made on the loop."""

    def on_changed(self, feed: Feed, reason: str, run_id: int) -> None:
        """Pause the run: its code does not fit its record."""
        del feed, run_id
        self._break(reason)
        self.on_filled()

    def compensates(self) -> int:
        """Tell whether what is started now is compensation: after the run's own cancel, or below such a run."""
        return int(self._is_cancelled or self.run.compensates)

    def _same_key(self, name: str, key: str, hashed: int) -> Handle[Any]:
        """Return the handle of the child that has this key already; KeyConflict if its input was another."""
        handle, first = self._keyed[name, key]
        if first != hashed:
            raise conflict(key, name, handle.id)
        return handle

    def sleep(self, delay_s: float) -> Handle[None]:
        """Start a durable timer and return its handle; InvalidInput for more than a hundred years."""
        if self.is_closed:
            return self.never(TIMER_NAME)
        if not delay_s <= MAX_DELAY_S:
            raise InvalidInput(f"sleep() is for at most 100 years ({MAX_DELAY_S:.0f} s), not {delay_s} s")
        new = self._new_timer(delay_s)
        number = self.loop.place().next_number()
        handle: Handle[None] = Handle(self.loop, new.id, TIMER_NAME, number, self._drop_timer, _no_value)
        self._handles[new.id] = handle
        return handle

    def arm(self, timer: DurableTimer, delay_s: float) -> None:
        """Start a durable timer for a callback of the loop."""
        new = self._new_timer(delay_s)
        timer.arm(new.id, self._drop_timer)
        self._handles[new.id] = timer

    def never(self, name: str) -> Handle[Any]:
        """Raise Evicted; a frame that does not hear it gets a handle to wait for in vain."""
        self.loop.refuse()
        return Handle(self.loop, 0, name, 0, self.cancel_child, _no_value)

    def _new_timer(self, delay_s: float) -> NewRun:
        new = new_timer(self.run, self.epoch, delay_s, self.loop.place().next_call(), self.compensates())
        self.start(new)
        return new

    def start(self, new: NewRun) -> Recorded | None:
        """Give a call its id: the recorded child's in replay, which is returned, a fresh one otherwise."""
        recorded = self.find(new)
        if recorded is None:
            if new.kind == TIMER:
                self.outbox.add_timer(new)
            else:
                self.outbox.new.append(new)
        return recorded

    def find(self, new: NewRun) -> Recorded | None:
        """Do what `start` does, but for starting what is not recorded."""
        recorded = self._recorded.pop(identity(new), None) if self._is_replaying else None
        if recorded is None:
            new.id = self.take_id()
            return None
        new.id = recorded.id
        if recorded.name != new.name or recorded.digest != new.digest:
            self._break(nondeterminism.other_call(recorded, new.name, new.input, line_of_call()))
        return recorded

    def expect(self, handle: Handle[Any]) -> None:
        """Resolve a handle when its child's end is delivered."""
        self._handles[handle.id] = handle

    def _on_cancel(self, child_id: int) -> None:
        if self.is_closed:
            self.loop.refuse()
        else:
            self.outbox.cancels.append(child_id)

    def _on_drop(self, child_id: int) -> None:
        if self.is_closed:
            self.loop.refuse()
            return
        self._handles.pop(child_id, None)
        if self._is_replaying:
            self._gone.add(child_id)
        self.outbox.drop(child_id)

    def on_task_error(self, context: dict[str, Any]) -> None:
        """Log what nobody awaits, as asyncio does."""
        error = context.get("exception")
        log.error("run %s (%s): %s", self.run.id, self.task.name, context.get("message"), exc_info=error)

    def on_left(self, frames: list[Any]) -> None:
        """Log that code would not end."""
        log.warning(
            "run %s (%s) has left memory, but code of it caught what was to end it, again and again, at %s. It stays "
            "where it is and does nothing more; let Evicted, GeneratorExit and CancelledError pass",
            self.run.id, self.task.name, ", ".join(line_of_wait(frame) for frame in frames[:MOST_NAMED]),
        )  # fmt: skip


MOST_NAMED: Final = 5


def _raise(error: BaseException) -> None:
    """Raise, where nothing is under way that could be torn."""
    raise error


def _nothing() -> None:
    """Nothing waits."""


def _no_value(_output: str) -> None:
    """Return what a timer's handle resolves to."""
