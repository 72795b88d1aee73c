"""What the owner of a group adds to it: members made of its items as there is room, or one by one; and their results.

After a crash the owner's code makes the same items again. In a workflow members are known by their places, and those
that are there already are compared with the items; in a task they are known by their content or key.
"""

from __future__ import annotations

import contextvars
from collections import Counter, deque
from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from fanfold.errors import InvalidInput
from fanfold.model import keys, lifecycle
from fanfold.model.groups import COLLECT, Policy
from fanfold.model.run import End, NewRun
from fanfold.worker.new_runs import new_member
from fanfold.worker.outcome import Member, Outcome, outcome_of
from fanfold.worker.task import CallOptions, Task

WINDOW = 10_000  # members that have not ended, of those that are made of items

_NOTHING = object()
_MUTABLE = (list, dict, set, deque)


class ItemsChanged(Exception):
    """A workflow's code makes other items than were recorded."""


class Items:
    """What a `map` makes its members of."""

    def __init__(
        self, task: Task[..., Any], options: CallOptions, items: Iterable[Any] | AsyncIterable[Any], *,
        is_starred: bool, key_of: Callable[[Any], str] | None,
    ) -> None:  # fmt: skip
        self.task = task
        self.options = options
        self.is_async = isinstance(items, AsyncIterable)
        if type(items) in _MUTABLE:
            items = tuple(cast("Iterable[Any]", items))  # its owner may change it before they are pulled
        self._iterator: Any = aiter(items) if isinstance(items, AsyncIterable) else iter(items)
        self._is_starred = is_starred
        self._key_of = key_of
        # No durable call: nothing says at which place it would be.
        self._context = contextvars.Context()

    @property
    def is_keyed(self) -> bool:
        """Tell whether members are known by keys of their own, and not by their places."""
        return self._key_of is not None

    @property
    def what(self) -> str:
        """What the user wrote."""
        return f"{self.task.name}.{'starmap' if self._is_starred else 'map'}"

    def next(self) -> Any:
        """Return the next item, `_NOTHING` behind the last. What the items raise is raised."""
        return self._context.run(next, self._iterator, _NOTHING)

    async def next_async(self) -> Any:
        """Do what `next` does, of an async iterable."""
        return await anext(self._iterator, _NOTHING)

    def arguments(self, item: Any) -> tuple[Any, ...]:
        """Return the arguments that an item stands for."""
        if not self._is_starred:
            return (item,)
        if isinstance(item, str | bytes | dict | set):
            raise InvalidInput(f"{self.what} takes items that are tuples of arguments, not {item!r:.80}")
        try:
            return tuple(item)
        except TypeError:
            raise InvalidInput(f"{self.what} takes items that are tuples of arguments, not {item!r:.80}") from None

    def options_for(self, item: Any) -> CallOptions:
        """Return the settings of an item's member."""
        if self._key_of is None:
            return self.options
        return self.options.with_key(self._context.run(self._key_of, item))


class Members:
    """The members of one group, as far as its owner has to do with them."""

    def __init__(
        self, group: NewRun, policy: Policy, tasks: Mapping[str, Task[..., Any]], items: Items | None, *,
        is_by_content: bool, take_id: Callable[[], int], adopts: int = 0,
    ) -> None:  # fmt: skip
        """`adopts` is the group of an earlier attempt whose completed members are taken over."""
        self.group = group
        self.policy = policy
        self.items = items
        self.is_open = True  # the owner may add more
        self.is_behind = False  # an earlier life has members that are not passed over yet
        self.spawned = 0  # by the owner
        self._tasks = tasks
        self._counts: Counter[str] | None = Counter() if is_by_content else None
        self._take_id = take_id
        self._adopts = adopts
        self._ended = 0  # of all members, siblings and all
        self._before = 0  # members of an earlier life that the items are made to once more
        self._twins = 0  # of those made here: there already
        self._positions: dict[int, int] = {}  # of members made of items that have not ended
        # None: they are read from the store when they are asked for.
        keeps = items is not None and policy.failures != COLLECT and policy.keeps_results
        self._outputs: list[str | None] | None = [] if keeps else None
        self._read: list[Member] = []

    @property
    def needs_reading(self) -> bool:
        """Tell whether the results must be read from the store."""
        return self._outputs is None

    def forget_results(self) -> None:
        """Keep no results: they are read from the store, or by a fold."""
        self._outputs = None

    # What an earlier life has added ----------------------------------------------------------------------------------

    def pass_over(self, recorded: Iterable[tuple[int, int]]) -> None:
        """Go on behind some members of an earlier life, as (run, digest) in order; ItemsChanged if they do not fit."""
        items = self.items
        assert items is not None  # noqa: S101 - others are not passed over
        for run_id, digest in recorded:
            name, place = items.task.name, self.spawned
            item = items.next()
            if item is _NOTHING:
                raise ItemsChanged(f"a map of {name} has member {place} (run {run_id}), its items are now {place:,}")
            if items.task.signature.encode(items.arguments(item), {})[1] != digest:
                raise ItemsChanged(
                    f"item {place} of a map of {name} is now {item!r:.80}, and run {run_id} was recorded for it with "
                    "another input"
                )
            self.spawned += 1

    def go_over(self, spawned: int, ended: int) -> None:
        """Make all members once more, since nothing but their keys says which of them are there: so many are."""
        self._before = spawned
        self.go_on(ended)

    def was_recorded(self, run: NewRun) -> bool:
        """Tell whether a member whose key is taken by another input was made by an earlier life of the code."""
        return run.position is None or run.position < self._before or self.items is None

    def go_on(self, ended: int) -> None:
        """Pull again: all members of an earlier life are passed over, and so many of them had ended."""
        self._ended = max(self._ended, ended)
        self.is_behind = False

    # What this one adds ----------------------------------------------------------------------------------------------

    def pull(self, most: int = WINDOW) -> list[NewRun]:
        """Return new members, as many as there is room for, at most `most`. What the items raise is raised."""
        found: list[NewRun] = []
        items = self.items
        if items is None:
            return found
        while self.has_room and len(found) < most:
            item = items.next()
            if item is _NOTHING:
                self.is_open = False
                break
            found.append(self._made(items, item))
        return found

    @property
    def has_room(self) -> bool:
        """Tell whether more may be made of items now."""
        return self.is_open and not self.is_behind and self._before + self.spawned - self._twins - self._ended < WINDOW

    async def pull_async(self) -> NewRun | None:
        """Return the next member made of an async iterable; None behind the last."""
        assert self.items is not None  # noqa: S101 - only such are pulled
        item = await self.items.next_async()
        if item is _NOTHING:
            self.is_open = False
            return None
        return self._made(self.items, item)

    def _made(self, items: Items, item: Any) -> NewRun:
        member = self.add(items.task, items.options_for(item), items.arguments(item), {})
        self._positions[member.id] = member.position or 0
        outputs = self._outputs  # the loop may forget them while a thread makes items
        if outputs is not None:
            outputs.append(None)
        return member

    def add(
        self, task: Task[..., Any], options: CallOptions, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> NewRun:
        """Return one more member; InvalidInput if the arguments do not fit."""
        position = self.spawned
        key = options.key
        if key is None and self._counts is not None:
            text, hashed, content = task.signature.encode_content(args, kwargs)
            key = keys.content_key(content, self._counts[content])
            self._counts[content] += 1
        else:
            text, hashed = task.signature.encode(args, kwargs)
            key = key or keys.member_key(position)
        self.spawned += 1
        member = new_member(
            self.group, self._take_id(), task, options, key, hashed, text, position,
            is_held=self.policy.concurrency is not None,
        )  # fmt: skip
        member.adopts = self._adopts
        return member

    def close(self) -> None:
        """Add no more: the owner says so, or the items are at their end."""
        self.is_open = False

    def stop(self) -> None:
        """Make no more of items. Who adds members one by one, adds them again in each life, and closes the group."""
        if self.items is not None:
            self.is_open = False

    # Results ---------------------------------------------------------------------------------------------------------

    def are_ours(self, ends: Iterable[End]) -> bool:
        """Tell whether all these members were made of items here, by the one task of the map."""
        return all(end.id in self._positions for end in ends)

    def on_ended(self, first_seq: int, ends: Sequence[End]) -> None:
        """Take the results of members; `first_seq` is the place of the first in the order of their ends."""
        self._ended = max(self._ended, first_seq - 1 + len(ends))
        outputs, positions = self._outputs, self._positions
        for end in ends:
            position = positions.pop(end.id, None)
            if position is None:
                self._outputs = outputs = None  # a sibling, or of an earlier life
            elif outputs is not None:
                outputs[position] = end.output

    def on_existing(self, run: NewRun) -> None:
        """Take note that a member was there already; its end comes under another id, or came before."""
        self._outputs = None
        self._positions.pop(run.id, None)
        self._twins += 1

    def read(self, rows: Iterable[Member]) -> None:
        """Take all results as the store has them: in the order of the items, then siblings in that of their ends."""
        self._outputs = None
        self._read = sorted(rows, key=lambda row: (row.position is None, row.position or 0, row.seq))

    def values(self) -> list[Any]:
        """Return the results in the order of the items, or the outcomes where failures are collected."""
        if self._outputs is not None and self.items is not None:
            decode = self.items.task.signature.result.decode
            return [decode(output or "null") for output in self._outputs]
        found, self._read = self._read, []
        outcomes = self.outcomes(found)
        return outcomes if self.policy.failures == COLLECT else [outcome.value for outcome in outcomes]

    def outcomes(self, rows: Iterable[Member]) -> list[Outcome[Any]]:
        """Return members as people see them."""
        return [outcome_of(row, self._tasks) for row in rows]

    def folded(self, row: Member) -> Any:
        """Return a completed member's value."""
        return self._tasks[row.name].signature.result.decode(row.output or "null")

    @property
    def is_completed(self) -> Callable[[Member], bool]:
        """Tell which members have a value."""
        return lambda row: row.state == lifecycle.COMPLETED
