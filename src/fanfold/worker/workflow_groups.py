"""The groups of one workflow run: their calls get places like all others, and what they read are deliveries.

A group, a fold and each page of outcomes is a child row of the workflow, so replay finds the same ones in the same
order. Members are the group's children, known by their places among the items.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from fanfold.errors import InvalidInput
from fanfold.model import lifecycle
from fanfold.model.codec import ValueCodec, decode_text
from fanfold.model.groups import Policy
from fanfold.model.run import GROUP_NAME, End, NewRun
from fanfold.worker.feeds import Feed, Feeds
from fanfold.worker.folds import Fold, accumulator_codec
from fanfold.worker.group import Group, Owning
from fanfold.worker.handle import Handle
from fanfold.worker.members import Items, Members
from fanfold.worker.new_runs import conflict, new_fold, new_group, new_page, priority_of
from fanfold.worker.outcome import Member, Outcome
from fanfold.worker.task import NO_OPTIONS, CallOptions, Task, configured

if TYPE_CHECKING:
    from fanfold.worker.workflow import WorkflowRun


class FoldCall:
    """A fold that the code asked for, on its way to the worker."""

    def __init__(self, row: NewRun, feed: Feed, step: Callable[[Any, Any], Any], initial: Any, codec: ValueCodec,
                 handle: Handle[Any], *, is_known: bool) -> None:  # fmt: skip
        self.row = row
        self.feed = feed
        self.step = step
        self.initial = initial
        self.codec = codec
        self.handle = handle
        self.is_known = is_known


class PageCall:
    """A page that the code asked for; `upto` is known once it is recorded."""

    def __init__(self, row: NewRun, feed: Feed, after: int) -> None:
        self.row = row
        self.feed = feed
        self.after = after
        self.upto: int | None = None
        self.is_pending = False  # recorded by an earlier life, and not handed out
        self.members: list[Member] = []  # read, and not yet handed to the code

    @property
    def end(self) -> End:
        """What hands it out."""
        return End(self.row.id, 0, self.row.parent_id, lifecycle.COMPLETED)


class WorkflowGroups(Owning):
    """The groups that the code of one workflow run has opened."""

    def __init__(self, workflow: WorkflowRun, tasks: Mapping[str, Task[..., Any]], take_id: Callable[[], int]) -> None:
        self._workflow = workflow
        self._tasks = tasks
        self._take_id = take_id
        self.feeds: dict[int, Feed] = {}
        self.pages: dict[int, PageCall] = {}
        self.read: set[int] = set()  # groups and pages whose results are in memory
        self.folding: dict[int, Fold | None] = {}  # folds whose ends were not delivered; None before they are taken up
        self._taken_up: set[int] = set()
        self._keys: dict[tuple[int, str, str], tuple[int, int]] = {}  # (group, name, key): member and digest
        # What the last turn asked for.
        self.opened: list[Feed] = []
        self.folds: list[FoldCall] = []
        self.asked: list[PageCall] = []
        self.closed: list[Feed] = []

    @property
    def is_busy(self) -> bool:
        """Tell whether the workflow must stay in memory: only it can add items or take what its groups deliver."""
        return bool(self.folding) or any(feed.is_busy for feed in self.feeds.values())

    def map(
        self, task: Task[..., Any], options: CallOptions, items: Iterable[Any], policy: Policy, *, is_starred: bool,
        key_of: Callable[[Any], str] | None,
    ) -> Group[Any, Any]:  # fmt: skip
        """Start a group of children, one for each item, or find the one that is recorded for this place."""
        if isinstance(items, AsyncIterable):
            raise InvalidInput(f"{task.name}.map takes an async iterable in tasks only: what it awaits is I/O")
        self._workflow.may_start(task, levels=2)
        made = Items(task, options, items, is_starred=is_starred, key_of=key_of)
        return self._open(task.name, options, policy, made, priority_of(self._workflow.run, task, options))

    def open_group(self, policy: Policy) -> Group[Any, Any]:
        """Open a group, or find the one that is recorded for this place."""
        return self._open(GROUP_NAME, NO_OPTIONS, policy, None, self._workflow.run.priority)

    def _open(self, name: str, options: CallOptions, policy: Policy, items: Items | None, priority: int
              ) -> Group[Any, Any]:  # fmt: skip
        workflow = self._workflow
        place = workflow.loop.place()
        group = new_group(
            workflow.run, workflow.epoch, name, options, policy, place.next_call(), workflow.compensates(), priority
        )
        recorded = workflow.start(group)
        members = Members(group, policy, self._tasks, items, is_by_content=False, take_id=self._take_id)
        feed = Feed(members, workflow, workflow.epoch)
        if recorded is not None:
            feed.is_known = True
            members.forget_results()
            members.is_behind = items is not None
        self.feeds[feed.id] = feed
        self.opened.append(feed)
        handle = Group[Any, Any](workflow.loop, feed, place.next_number(), workflow.cancel_child, self)
        workflow.expect(handle)
        return handle

    def spawn(self, feed: Feed, task: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Add a member."""
        found, options = configured(task)
        if self._workflow.is_closed:
            self._workflow.loop.refuse()
            return
        self._workflow.may_start(found, levels=2)
        if options.delay_ms and feed.members.policy.concurrency:
            raise InvalidInput("delay= and concurrency= do not go together: a member starts when its group has room")
        member = feed.members.add(found, options, args, kwargs)
        if options.key is not None:
            known, hashed = self._keys.setdefault((feed.id, found.name, options.key), (member.id, member.digest))
            if hashed != member.digest:
                raise conflict(options.key, found.name, known)
        self._workflow.outbox.members.append(member)

    def close(self, feed: Feed) -> None:
        """Let the code add no more."""
        feed.members.close()
        self.closed.append(feed)

    def fold(self, group: Group[Any, Any], feed: Feed, step: Callable[[Any, Any], Any], initial: Any) -> Handle[Any]:
        """Start a fold, or find the one that is recorded for this place."""
        items = feed.members.items
        codec = accumulator_codec(step, initial, None if items is None else items.task)
        workflow = self._workflow
        if workflow.is_closed:
            return workflow.never(group.task_name)
        place = workflow.loop.place()
        row = new_fold(workflow.run, workflow.epoch, feed.members.group, place.next_call(), workflow.compensates())
        recorded = workflow.start(row)
        handle: Handle[Any] = Handle(
            workflow.loop, row.id, group.task_name, place.next_number(), workflow.cancel_child, codec.decode
        )
        workflow.expect(handle)
        self.folding[row.id] = None
        if recorded is None or not lifecycle.is_terminal(recorded.state):
            self.folds.append(FoldCall(row, feed, step, initial, codec, handle, is_known=recorded is not None))
        return handle

    def page(self, group: Group[Any, Any], feed: Feed, after: int) -> asyncio.Future[tuple[list[Outcome[Any]], int]]:
        """Ask for the next outcomes, or find the page that is recorded for this place."""
        workflow = self._workflow
        if workflow.is_closed:
            return workflow.never(group.task_name)
        place = workflow.loop.place()
        row = new_page(
            workflow.run, workflow.epoch, feed.members.group, after, place.next_call(), workflow.compensates()
        )
        call = PageCall(row, feed, after)
        call_place = place.next_number()
        recorded = workflow.find(row)
        if recorded is not None and workflow.broken is None:
            call.is_pending = not lifecycle.is_terminal(recorded.state)
            call.upto = decode_text(recorded.input or "{}")["upto"]
        self.pages[row.id] = call
        self.asked.append(call)

        def taken(_output: str) -> tuple[list[Outcome[Any]], int]:
            return feed.members.outcomes(call.members), call.upto or 0

        handle: Handle[Any] = Handle(workflow.loop, row.id, group.task_name, call_place, workflow.cancel_child, taken)
        workflow.expect(handle)
        return handle

    def knows(self, id: int) -> bool:
        """Tell whether a child is a group, a page or a fold of one."""
        return id in self.feeds or id in self.pages or id in self.folding

    def take_up(self, feed: Feed, feeds: Feeds) -> None:
        """Let a group be filled and read, if it is not yet: after its end only somebody who reads it needs that."""
        if feed.id not in self._taken_up:
            self._taken_up.add(feed.id)
            feeds.open(feed)

    def over(self, end: End) -> None:
        """Take note of what was delivered; a page or a fold that was cancelled takes nothing more."""
        if self.pages.pop(end.id, None) is not None:
            self.read.discard(end.id)
        elif end.id in self.folding:
            fold = self.folding.pop(end.id)
            if fold is not None:
                fold.close()

    def must_read(self, end: End) -> bool:
        """Tell whether results must be read from the store before this end can be handed to the code."""
        if end.id in self.read or end.state != lifecycle.COMPLETED:
            return False
        page = self.pages.get(end.id)
        if page is not None:
            return page.upto is not None and page.upto > page.after
        feed = self.feeds.get(end.id)
        return feed is not None and feed.needs_reading
