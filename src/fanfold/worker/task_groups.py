"""The groups of one task's body: found again by a later attempt, filled on the loop or in the body's thread.

A group is known by the task of its members and how many such groups the body opened before, its members by content or
key. In a later attempt a group that failed is started afresh, and takes over what its members have completed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from fanfold.errors import Evicted, InvalidInput, KeyConflict, NotAllowed
from fanfold.model import keys, lifecycle
from fanfold.model.groups import Policy
from fanfold.model.run import GROUP_NAME, MAX_DEPTH, End, NewRun, Recorded
from fanfold.worker.feeds import Feed
from fanfold.worker.folds import Fold, accumulator_codec
from fanfold.worker.group import Group, Owning
from fanfold.worker.handle import Handle
from fanfold.worker.members import Items, Members
from fanfold.worker.new_runs import new_fold, new_group, priority_of
from fanfold.worker.outcome import Outcome
from fanfold.worker.task import NO_OPTIONS, CallOptions, Task, configured

if TYPE_CHECKING:
    from fanfold.worker.calls import Calls
    from fanfold.worker.desk import Desk


class TaskGroups(Owning):
    """The groups that one body has opened."""

    def __init__(self, calls: Calls, desk: Desk) -> None:
        self._calls = calls
        self._desk = desk
        self._body = calls.body
        self._counts: Counter[str] = Counter()
        self.feeds: dict[int, Feed] = {}
        self._in_thread: dict[Feed, Group[Any, Any]] = {}  # maps whose items are made in the body's thread
        self._early: dict[int, End] = {}  # of groups that an earlier life closed, and this one has not yet
        self._wanted: list[Feed] = []  # for which the body's thread is to make items, when it waits

    @property
    def is_closed(self) -> bool:
        """Whether the attempt is over."""
        return self._calls.is_closed

    @property
    def is_busy(self) -> bool:
        """Tell whether the attempt must go on: only it can add items or take what its groups deliver."""
        return any(feed.is_busy for feed in self.feeds.values())

    # What the body asks for, on the loop or in its thread ------------------------------------------------------------

    def map(
        self, task: Task[..., Any], options: CallOptions, items: Any, policy: Policy, *, is_starred: bool,
        key_of: Callable[[Any], str] | None,
    ) -> Group[Any, Any]:  # fmt: skip
        """Start a group of children, one for each item, or find the one that an earlier attempt started."""
        self._body.task.refuse_foreign(task)
        in_thread = self._desk.is_elsewhere()
        if in_thread and isinstance(items, AsyncIterable):
            raise InvalidInput(
                f"{task.name}.map takes an async iterable in async tasks only: {self._body.run.name} is not"
            )
        made = Items(task, options, items, is_starred=is_starred, key_of=key_of)
        return self._open(task.name, options, policy, made, priority_of(self._body.run, task, options), in_thread)

    def open_group(self, policy: Policy) -> Group[Any, Any]:
        """Open a group, or find the one that an earlier attempt opened."""
        return self._open(GROUP_NAME, NO_OPTIONS, policy, None, self._body.run.priority, self._desk.is_elsewhere())

    def _open(
        self, name: str, options: CallOptions, policy: Policy, items: Items | None, priority: int, in_thread: bool,  # noqa: FBT001
    ) -> Group[Any, Any]:  # fmt: skip
        if self.is_closed:
            raise Evicted
        run = self._body.run
        if run.depth + 2 > MAX_DEPTH:
            raise NotAllowed(f"runs may be nested {MAX_DEPTH} deep; run {run.id} is at depth {run.depth}")
        base = keys.group_key(name, self._counts[name])
        self._counts[name] += 1
        key, known = self._calls.find(base, name)
        if known is not None and not policy.keeps_results and self._calls.earlier(keys.fold_key(key, 0), name):
            _, fold = self._calls.find(keys.fold_key(key, 0), name)
            if fold is None:  # it failed, and has dropped what it had taken in
                key, known = keys.of_attempt(base, self._body.attempt), None
        row = new_group(run, self._body.epoch, name, options, policy, key, run.compensates, priority)
        row.id = self._desk.take_id() if known is None else known.id
        members = Members(
            row, policy, self._desk.tasks, items, is_by_content=True, take_id=self._desk.take_id,
            adopts=0 if known is not None else self._calls.earlier(base, name),
        )  # fmt: skip
        feed = Feed(members, self, self._body.epoch)
        feed.is_in_thread = in_thread
        if known is not None:
            feed.is_known = True
            members.forget_results()
        self.feeds[feed.id] = feed
        handle = Group[Any, Any](self._calls.loop, feed, feed.id, self._calls.on_cancel, self)
        self._calls.expect(handle)
        if in_thread and items is not None:
            self._in_thread[feed] = handle
        self._desk.post(self._send, feed, known)
        return handle

    def spawn(self, feed: Feed, task: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Add a member."""
        found, options = configured(task)
        if self.is_closed:
            raise Evicted
        self._body.task.refuse_foreign(found)
        if options.delay_ms and feed.members.policy.concurrency:
            raise InvalidInput("delay= and concurrency= do not go together: a member starts when its group has room")
        self._desk.post(self._desk.feeds.insert, [feed.members.add(found, options, args, kwargs)])

    def close(self, feed: Feed) -> None:
        """Let the body add no more."""
        feed.members.close()
        self._desk.post(self._seal, feed)

    def fold(self, group: Group[Any, Any], feed: Feed, step: Callable[[Any, Any], Any], initial: Any) -> Handle[Any]:
        """Start a fold, or find the one that an earlier attempt started."""
        items = feed.members.items
        codec = accumulator_codec(step, initial, None if items is None else items.task)
        if self.is_closed:
            raise Evicted
        row = new_fold(self._body.run, self._body.epoch, feed.members.group, "", self._body.run.compensates)
        number = self._counts[f"fold of {feed.members.group.key}"]
        self._counts[f"fold of {feed.members.group.key}"] += 1
        row.key, known = self._calls.find(keys.fold_key(feed.members.group.key or "", number), row.name)
        row.id = self._desk.take_id() if known is None else known.id
        handle = self._calls.new_handle(row.id, group.task_name, codec.decode)
        drops = None if feed.members.policy.keeps_results else feed.id
        fold = Fold(
            row, self._body.epoch, step, initial, codec, drops=drops, commits=self._desk.commits, clock=self._desk.clock
        )
        self._desk.post(self._send_fold, feed, fold, known)
        return handle

    def page(self, group: Group[Any, Any], feed: Feed, after: int) -> asyncio.Future[tuple[list[Outcome[Any]], int]]:
        """Return the next outcomes."""
        if self.is_closed:
            raise Evicted
        found: list[tuple[list[Outcome[Any]], int]] = []
        handle = self._calls.new_handle(self._desk.take_id(), group.task_name, lambda _output: found[0])

        async def read(upto: int) -> None:
            rows = await self._desk.feeds.outcomes(feed, after, upto)
            found.append((feed.members.outcomes(rows), upto))
            self._calls.take_now(End(handle.id, 0, self._body.run.id, lifecycle.COMPLETED))

        self._desk.feeds.page(feed, after, lambda upto: self._desk.feeds.work(read(upto)))
        return handle

    def on_awaited(self, handle: Handle[Any]) -> None:
        """Take note that the body waits."""
        self._calls.note_wait(handle)

    def block(self, handle: Handle[Any], timeout_s: float | None) -> None:
        """Wait in the body's thread."""
        self._calls.block(handle, timeout_s)

    def wait_for_items(self) -> None:
        """Stay in the body's thread, after it has returned, until no items are left that only this thread can make."""
        for feed, handle in list(self._in_thread.items()):
            if feed.members.is_open and not handle.done():
                self._calls.block(handle, None)

    # On the loop -----------------------------------------------------------------------------------------------------

    def outlasts_body(self) -> bool:
        """Close what a body has left open that has returned; True if only its attempt can do what is left."""
        for feed in self.feeds.values():
            if feed.members.items is None and feed.members.is_open and feed.end is None:
                self.close(feed)
        return self.is_busy

    def _send(self, feed: Feed, known: Recorded | None) -> None:
        if self.is_closed:
            return
        if known is None:
            self._desk.got_on(self._body)
            self._desk.commits.spawn((feed.members.group,))
        self._desk.opens(self._body, feed.id)
        self._desk.feeds.open(feed)
        ended = None if known is None else self._calls.ended_before(known.id)
        if ended is not None:
            self._told(ended)
        elif known is not None and lifecycle.is_terminal(known.state):
            feed.members.stop()
            self._desk.read(known.id, self._told)

    def _told(self, end: End) -> None:
        if not self.is_closed and not self.take_end(end):
            self._calls.take_now(end)

    def _seal(self, feed: Feed) -> None:
        early = self._early.pop(feed.id, None)
        if early is not None:
            self._told(early)
        elif not self.is_closed and feed.end is None:
            self._desk.feeds.seal(feed)

    def _send_fold(self, feed: Feed, fold: Fold, known: Recorded | None) -> None:
        if self.is_closed:
            return
        if known is None:
            self._desk.commits.spawn((fold.row,))
        elif lifecycle.is_terminal(known.state):
            fold.close()
            self._desk.read(known.id, self._calls.take_now)
            return
        self._desk.feeds.fold(feed, fold, is_known=known is not None)

    def take_end(self, end: End) -> bool:
        """Note how a group ended; True if its results must be read before the body hears of it: it is told then."""
        feed = self.feeds.get(end.id)
        if feed is None:
            return False
        if feed.members.items is None and feed.members.is_open and end.state == lifecycle.COMPLETED:
            self._early[end.id] = end
            return True
        if feed.end is None:
            self._desk.feeds.on_group_end(feed, end)
            self.on_filled()
        if end.state != lifecycle.COMPLETED or not feed.needs_reading or feed.is_read:
            return False
        self._desk.feeds.work(self._read(feed, end))
        return True

    async def _read(self, feed: Feed, end: End) -> None:
        feed.members.read(await self._desk.feeds.all_outcomes(feed))
        feed.is_read = True
        self._calls.take_now(end)

    def on_changed(self, feed: Feed, reason: str, run_id: int) -> None:
        """Fail a group of which a key was given to another input than before."""
        self._desk.feeds.fail_items(feed, KeyConflict(reason, run_id))

    def on_filled(self) -> None:
        """Let the attempt end, if its body has and nothing else is left that only it can do."""
        if self._body.on_filled is not None and not self.is_busy:
            self._desk.loop.call_soon(self._body.on_filled)

    def want_items(self, feed: Feed) -> None:
        """Have the body's thread make items, as soon as it waits."""
        if feed not in self._wanted:
            self._wanted.append(feed)
        self._calls.wake_for_items()

    @property
    def wants_items(self) -> bool:
        """Tell whether the body's thread is to make items."""
        return bool(self._wanted)

    def make_items(self) -> bool:
        """Make items of a group that has room, in the body's thread; False if there is none."""
        if not self._wanted:
            return False
        feed = self._wanted.pop(0)
        try:
            new: list[NewRun] = feed.members.pull()
        except Exception as error:  # noqa: BLE001 - the items are the body's code
            self._desk.post(self._desk.feeds.fail_items, feed, error)
        else:
            self._desk.post(partial(self._desk.feeds.pulled, feed, new))
        return True

    def close_all(self) -> None:
        """Drop the feeds: the attempt is over."""
        for feed in self.feeds.values():
            self._desk.feeds.forget(feed)
