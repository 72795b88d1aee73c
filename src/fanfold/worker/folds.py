"""A fold: one step for each member that completed, in the order of their ends; its value is recorded ever so often.

What is recorded is the value and the place of the last member in it, at once. After a crash the fold goes on from
there: each member is in it once, whatever happened. Members that end now are taken as they come; what a fold has missed
it reads from the store, page by page.
"""

from __future__ import annotations

import contextvars
import inspect
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol, TypeVar, cast

from fanfold.errors import InvalidInput, PayloadTooLarge
from fanfold.model.clock import Alarm, Clock
from fanfold.model.codec import ValueCodec, decode_text, encode_text
from fanfold.model.commands import Checkpoint, Folded
from fanfold.model.run import NewRun
from fanfold.worker.failures import failure_text
from fanfold.worker.signals import is_from_a_signal
from fanfold.worker.task import ConfiguredTask, Task

EVERY_MS = 250  # between two checkpoints, at least
MOST_OF_TIME = 10  # a checkpoint may cost one part in so many of the time
MAX_ACCUMULATOR = 1 << 20


class Commits(Protocol):
    """What a fold asks of the engine."""

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Record how far it is."""
        ...

    def folded(self, folded: Folded) -> None:
        """Record that it is over."""
        ...


class Fold:
    """One fold of one group, in this process."""

    def __init__(
        self, row: NewRun, epoch: int, step: Callable[[Any, Any], Any], initial: Any, codec: ValueCodec, *,
        drops: int | None, commits: Commits, clock: Clock,
    ) -> None:  # fmt: skip
        """Begin; `drops` is the group whose members' values are dropped once they are in it."""
        self.row = row
        self.watermark = 0  # the place of the last member that is in it
        self.is_over = False
        self.is_reading = False
        self._epoch = epoch
        self._step = step
        self._value = codec.decode(codec.encode(initial)[0])  # a step may change it in place: it is the caller's
        self._codec = codec
        self._drops = drops
        self._commits = commits
        self._clock = clock
        self._recorded = 0  # the watermark of the last checkpoint
        self._due_ms = clock.now_ms() + EVERY_MS
        self._alarm: Alarm | None = None

    def go_on_from(self, output: str | None, progress: str | None) -> None:
        """Take up what an earlier life recorded."""
        if output is not None and progress is not None:
            self._value = self._codec.decode(output)
            self.watermark = self._recorded = decode_text(progress)["done"]

    def take(self, values: Iterable[Callable[[], Any]], upto: int) -> None:
        """Take in the values of the members that completed, up to a place; what the step raises fails the fold."""
        if self.is_over:
            return
        step, value = self._step, self._value
        context = contextvars.Context()
        try:
            for make in values:
                value = context.run(step, value, make())
        except BaseException as error:  # the step is user code, and may exit
            if is_from_a_signal(error):
                raise
            self.fail(failure_text(error))
            return
        self._value = value
        self.watermark = upto
        if self._clock.now_ms() >= self._due_ms:
            self._checkpoint()
        elif self._alarm is None:
            self._alarm = self._clock.call_at(self._due_ms, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if self.watermark > self._recorded:
            self._checkpoint()

    def _encode(self) -> str | None:
        try:
            text, self._value = _encode(self._codec, self._value)
        except (InvalidInput, PayloadTooLarge) as error:
            self.fail(failure_text(error))
            return None
        return text

    def _checkpoint(self) -> None:
        if self.is_over:
            return
        began = self._clock.now_ms()
        text = self._encode()
        if text is None:
            return
        progress = encode_text({"done": self.watermark})
        dropped = (self._drops, self._recorded, self.watermark) if self._drops is not None else ()
        self._commits.checkpoint(Checkpoint(self.row.id, self._epoch, text, progress, *dropped))
        self._recorded = self.watermark
        now = self._clock.now_ms()
        self._due_ms = now + max(EVERY_MS, MOST_OF_TIME * (now - began))

    def finish(self) -> None:
        """End with the value: the group has ended and every member is in it."""
        if self.is_over:
            return
        if self._drops is not None and self.watermark > self._recorded:
            self._checkpoint()
        text = self._encode()
        if text is not None:
            self._end(text, None)

    def fail(self, error: str) -> None:
        """End without a value."""
        if not self.is_over:
            self._end(None, error)

    def _end(self, output: str | None, error: str | None) -> None:
        self.close()
        self._commits.folded(Folded(self.row.id, self._epoch, output, error))

    def close(self) -> None:
        """Take nothing more."""
        self.is_over = True
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None


def accumulator_codec(
    step: Callable[[Any, Any], Any], initial: Any, task: Task[..., Any] | None = None
) -> ValueCodec:  # fmt: skip
    """Return how a fold's value is recorded: typed by what `step` is annotated to return, else by `initial`.

    `task` is that of all members, if they have one: what it returns takes the place of a variable in the annotation.
    InvalidInput for a step that is none, or whose values cannot be recorded.
    """
    if isinstance(step, Task | ConfiguredTask):
        raise InvalidInput("fold(step, initial) takes a plain function step(value, result); a task's is its .fn")
    if not callable(step) or inspect.iscoroutinefunction(step):
        raise InvalidInput(f"fold(step, initial) takes a plain function step(value, result), not {step!r:.80}")
    codec = ValueCodec(_annotation(step, initial, task), "the value of a fold", MAX_ACCUMULATOR)
    _encode(codec, initial)
    return codec


def _encode(codec: ValueCodec, value: Any) -> tuple[str, Any]:
    try:
        return codec.encode(value)
    except PayloadTooLarge:
        raise PayloadTooLarge(
            f"the value of a fold takes more than {MAX_ACCUMULATOR:,} bytes as JSON, which is the limit: it is "
            "recorded again and again. Let it hold counts, or the best few (fanfold.reducers), and lists be in files"
        ) from None
    except InvalidInput as error:
        raise InvalidInput(
            f"{error}. Its type is what the step is annotated to return, else that of `initial`"
        ) from None


def _annotation(step: Callable[[Any, Any], Any], initial: Any, task: Task[..., Any] | None) -> Any:
    found = _annotations(step)
    returned = found.pop("return", None)
    of_initial = cast("Any", type(initial) if initial is not None else Any)
    if returned is None or isinstance(returned, str | TypeVar):
        return of_initial
    variables = getattr(returned, "__parameters__", ())
    if not variables:
        return returned
    # A variable stands for what the members return, where nothing says that it is a part of it.
    taken = list(found.values())[-1:]
    result = _annotations(task.function).get("return", Any) if task is not None else Any
    if len(variables) > 1 or taken not in ([], [variables[0]]) or isinstance(result, str) or result is None:
        result = Any
    try:
        return returned[(result,) * len(variables)]
    except TypeError:
        return of_initial


def _annotations(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of a function, a partial of one, a method, or an object that is called like one."""
    while isinstance(function, partial):
        function = function.func
    is_plain = inspect.isfunction(function) or inspect.ismethod(function)
    call = function if is_plain else getattr(function, "__call__", function)  # noqa: B004 - what it does when called
    try:
        return dict(inspect.get_annotations(getattr(call, "__func__", call), eval_str=True))
    except (NameError, TypeError):
        return {}
