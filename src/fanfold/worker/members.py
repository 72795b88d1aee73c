"""The members of a `map` in a workflow: pulled from the caller's items as there is room, their results kept in order.

The items are pulled by the engine's loop, between turns, never more than a window ahead of what has ended. After a
crash the workflow's code makes the same items again, and those that have members already are passed over.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from fanfold.errors import InvalidInput
from fanfold.model import lifecycle
from fanfold.model.keys import member_key
from fanfold.model.run import End, NewRun
from fanfold.worker.task import CallOptions, Task

WINDOW = 10_000  # members that have not ended

_NOTHING = object()


class ItemsChanged(Exception):
    """A workflow's code makes other items than were recorded."""


class Members:
    """What one group's owner adds to it, and what came of that."""

    def __init__(
        self, group: NewRun, task: Task[..., Any], options: CallOptions, items: Iterable[Any], *, is_starred: bool,
        take_id: Callable[[], int],
    ) -> None:  # fmt: skip
        self.group = group
        self.is_open = True  # there may be items left
        self._is_behind = False  # an earlier life has members that are not passed over yet
        self._task = task
        self._options = options
        self._items: Iterator[Any] = iter(items)
        self._is_starred = is_starred
        self._take_id = take_id
        self._pulled = 0
        self._ended = 0
        self._positions: dict[int, int] = {}
        # None: an earlier life has seen some of them; they are read from the store when all have ended.
        self._outputs: list[str | None] | None = []

    @property
    def what(self) -> str:
        """What the user wrote."""
        return f"{self._task.name}.{'starmap' if self._is_starred else 'map'}"

    @property
    def needs_reading(self) -> bool:
        """Tell whether the results must be read from the store."""
        return self._outputs is None

    def forget_results(self) -> None:
        """Take note that an earlier life has added members: nothing is pulled until they are passed over."""
        self._outputs = None
        self._is_behind = True

    def pass_over(self, recorded: Iterable[tuple[int, int]]) -> None:
        """Go on behind some members of an earlier life, as (run, digest) in order; ItemsChanged if they do not fit."""
        context, name = contextvars.Context(), self._task.name
        for run_id, digest in recorded:
            item = context.run(next, self._items, _NOTHING)
            if item is _NOTHING:
                raise ItemsChanged(
                    f"a map of {name} has member {self._pulled} (run {run_id}), its items are now {self._pulled:,}"
                )
            if self._encoded(item)[1] != digest:
                raise ItemsChanged(
                    f"item {self._pulled} of a map of {name} is now {item!r:.80}, and run {run_id} was recorded for "
                    "it with another input"
                )
            self._pulled += 1

    def go_on(self, ended: int) -> None:
        """Pull again: all members of an earlier life are passed over, and so many of them had ended."""
        self._ended = max(self._ended, ended)
        self._is_behind = False

    def pull(self) -> list[NewRun]:
        """Return new members, as many as there is room for. What the items raise is raised."""
        found: list[NewRun] = []
        context = contextvars.Context()  # no durable call: nothing says at which place it would be
        while self.is_open and not self._is_behind and self._pulled - self._ended < WINDOW:
            try:
                item = context.run(next, self._items)
            except StopIteration:
                self.is_open = False
                break
            found.append(self._member(item))
        return found

    def _member(self, item: Any) -> NewRun:
        group, options, position = self.group, self._options, self._pulled
        self._pulled += 1
        text, hashed = self._encoded(item)
        id = self._take_id()
        if self._outputs is not None:
            self._positions[id] = position
            self._outputs.append(None)
        return NewRun(
            id, group.root_id, group.id, group.parent_epoch, group.depth + 1, member_key(position), self._task.kind,
            self._task.name, hashed, text, lifecycle.PENDING, options.delay_ms,
            self._task.queue if options.queue is None else options.queue, group.priority, group.version,
            options.record(), group.tags, group.compensates, position,
        )  # fmt: skip

    def _encoded(self, item: Any) -> tuple[str, int]:
        """Return the input of an item's member, and its digest."""
        arguments = (item,)
        if self._is_starred:
            try:
                arguments = tuple(item)
            except TypeError:
                raise InvalidInput(
                    f"{self._task.name}.starmap takes items that are tuples of arguments, not {item!r:.80}"
                ) from None
        return self._task.signature.encode(arguments, {})

    def on_ended(self, first_seq: int, ends: Sequence[End]) -> None:
        """Take the results of members; `first_seq` is the place of the first in the order of their ends."""
        self._ended = max(self._ended, first_seq - 1 + len(ends))
        outputs, positions = self._outputs, self._positions
        if outputs is not None:
            for end in ends:
                outputs[positions.pop(end.id)] = end.output

    def read(self, rows: Iterable[tuple[int, str | None]]) -> None:
        """Take all results as the store has them, by position."""
        outputs = self._outputs = [output for _, output in sorted(rows)]
        self._pulled = len(outputs)

    def values(self) -> list[Any]:
        """Return the results in the order of the items."""
        decode = self._task.signature.result.decode
        return [decode(output or "null") for output in self._outputs or ()]

    def close(self) -> None:
        """Pull no more: the group has ended."""
        self.is_open = False
        self._items = iter(())
