"""The owner's end of one group: who reads its results, and how far it was told of the members' ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from fanfold.errors import NotAllowed
from fanfold.model.error_digest import Summary
from fanfold.model.run import End
from fanfold.worker.folds import Fold
from fanfold.worker.members import Members


class Owner(Protocol):
    """The run that owns a group, as its feed sees it."""

    @property
    def is_closed(self) -> bool:
        """Whether it has left memory."""
        ...

    def on_changed(self, feed: Feed, reason: str, run_id: int) -> None:
        """Hear that its code makes another member than was recorded as that run."""
        ...

    def want_items(self, feed: Feed) -> None:
        """Make items of a group that has room; only of those that are filled in a thread."""
        ...

    def on_filled(self) -> None:
        """Hear that a group takes no more, or a fold is over: what waited for that may go on."""
        ...


class Feed:
    """The owner's end of one group."""

    def __init__(self, members: Members, owner: Owner, epoch: int) -> None:
        self.id = members.group.id
        self.members = members
        self.owner = owner
        self.epoch = epoch
        self.is_known = False  # the group was there already: an earlier life's
        self.is_pulling = False  # an async iterable is being awaited
        self.is_in_thread = False  # the items are made in the owner's thread
        self.is_read = False  # the results were read from the store
        self.is_loading = False  # how that stands is read from the store
        self.is_listed = False  # somebody awaits the list of results
        self.is_streamed = False  # somebody folds or iterates, or awaits only the end: no list is kept
        self.is_end_awaited = False  # only its end, not the list
        self.readers: set[str] = set()  # what else the owner does with the results
        self.summary: Summary | None = None
        self.delivered = 0  # how many members have ended, as far as it was told
        self.end: End | None = None  # how the group ended, once its owner was told
        self.folds: list[Fold] = []
        self.pages: list[tuple[int, Callable[[int], None]]] = []  # (behind which place, whom to tell up to where)

    def read_as_list(self) -> None:
        """Keep all results for somebody who awaits them; NotAllowed if they are streamed already."""
        if self.is_listed or self.is_end_awaited:
            return
        if self.is_streamed:
            raise NotAllowed(
                "the results of this group are not kept as a list: it is folded, iterated over, or left (`async "
                "with`). Await it before that, inside of its `async with`; or await the fold"
            )
        self.is_listed = True

    def may_be_read_by(self, reader: str) -> None:
        """Raise NotAllowed if one that drops results reads them beside another."""
        if not self.members.policy.keeps_results and ("folds" in self.readers or (reader == "folds" and self._is_read)):
            raise NotAllowed(
                "keep_results=False allows one fold and no other reader, as it drops the results that it has taken in: "
                f"the code {' and '.join(sorted(self.readers)) or 'awaits'} this group already, and now {reader} it"
            )

    @property
    def _is_read(self) -> bool:
        return self.is_listed or bool(self.readers)

    def read_by(self, reader: str) -> None:
        """Take note that the results are streamed: folded or iterated over."""
        self.may_be_read_by(reader)
        self.readers.add(reader)
        self._stream()

    def await_end(self) -> None:
        """Take note that the owner awaits the end, and no results."""
        self.is_end_awaited = True
        self._stream()

    def _stream(self) -> None:
        self.is_streamed = True
        self.members.forget_results()

    def values(self) -> list[Any] | None:
        """Return the results of all members, unless they are streamed."""
        return self.members.values() if self._wants_list else None

    @property
    def _wants_list(self) -> bool:
        return self.is_listed or not self.is_streamed

    @property
    def needs_reading(self) -> bool:
        """Tell whether the results must be read before the group's end can be handed to the code."""
        return self._wants_list and self.members.needs_reading

    @property
    def is_busy(self) -> bool:
        """Tell whether the owner must stay: there are items left, or only it can take what comes."""
        is_filling = self.members.items is not None and self.members.is_open and self.end is None
        return is_filling or bool(self.pages) or any(not fold.is_over for fold in self.folds)
