"""The groups whose owners are in this process: filled from their items, read by folds and pages, and told of ends.

A feed is the owner's end of one group. Everything here runs on the engine's loop, in plain callbacks; what must be read
from the store first is read between them.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from fanfold.engine.engine import Engine
from fanfold.errors import KeyConflict
from fanfold.model import lifecycle
from fanfold.model.codec import encode_text
from fanfold.model.commands import Existing
from fanfold.model.groups import items_error, summary_in
from fanfold.model.keys import is_member_key, shown
from fanfold.model.run import End, NewRun
from fanfold.store.queries import PAGE
from fanfold.worker.claims import Intake
from fanfold.worker.failures import BROKEN, failure_text
from fanfold.worker.feed import Feed
from fanfold.worker.folds import Fold
from fanfold.worker.members import ItemsChanged
from fanfold.worker.outcome import Member
from fanfold.worker.reading import read_for
from fanfold.worker.signals import is_from_a_signal

AT_ONCE = 1000  # members pulled before the loop's other callbacks get their turn


class Feeds:
    """All feeds of one worker."""

    def __init__(self, engine: Engine, intake: Intake) -> None:
        self._engine = engine
        self._intake = intake
        self._feeds: dict[int, Feed] = {}
        self._under_way: set[asyncio.Task[None]] = set()

    @property
    def under_way(self) -> int:
        """How many reads have not come to their end."""
        return len(self._under_way)

    def get(self, group_id: int) -> Feed | None:
        """Return the feed of a group that is open here."""
        return self._feeds.get(group_id)

    def work(self, work: Coroutine[Any, Any, None]) -> None:
        """Do what must be waited for."""
        self._under_way.add(task := asyncio.get_running_loop().create_task(work, context=contextvars.Context()))
        task.add_done_callback(self._under_way.discard)

    # Filling ---------------------------------------------------------------------------------------------------------

    def open(self, feed: Feed) -> None:
        """Take up a group; a known one goes on where an earlier life left it."""
        self._feeds[feed.id] = feed
        if feed.is_known:
            feed.is_loading = True
            self.work(self._resume(feed))

    def on_inserted(self, group_id: int) -> None:
        """Add the first members of a group that was just inserted."""
        feed = self._feeds.get(group_id)
        if feed is not None:
            self._fill(feed)

    def insert(self, new: list[NewRun]) -> None:
        """Insert members."""
        for run in new:
            if run.delay_ms or not (run.is_held or run.adopts):
                self._intake.admit(run)
        self._engine.commits.spawn(new)
        self._intake.request()

    def _fill(self, feed: Feed) -> None:
        """Add members as long as there is room, some at a time."""
        members = feed.members
        if members.items is None or not members.is_open or feed.owner.is_closed:
            return
        if feed.is_in_thread:
            if members.has_room:
                feed.owner.want_items(feed)
            return
        if members.items.is_async:
            if not feed.is_pulling and members.has_room:
                feed.is_pulling = True
                self.work(self._pull_async(feed))
            return
        try:
            new = members.pull(AT_ONCE)
        except BROKEN as error:  # the items are the owner's code
            if is_from_a_signal(error):
                raise
            self.fail_items(feed, error)
            return
        if new:
            self.insert(new)
        if not members.is_open:
            self.seal(feed)
        elif len(new) == AT_ONCE:
            asyncio.get_running_loop().call_soon(self._fill, feed)

    def pulled(self, feed: Feed, new: list[NewRun]) -> None:
        """Insert what the owner's thread has made."""
        if feed.owner.is_closed:
            return
        if new:
            self.insert(new)
        if not feed.members.is_open:
            self.seal(feed)
        else:
            self._fill(feed)

    async def _pull_async(self, feed: Feed) -> None:
        """Make members of an async iterable, as long as there is room."""
        try:
            while feed.members.has_room and not feed.owner.is_closed:
                new = await feed.members.pull_async()
                if feed.owner.is_closed:
                    return
                if new is None:
                    self.seal(feed)
                    return
                self.insert([new])
        except Exception as error:  # noqa: BLE001 - the items are the owner's code
            self.fail_items(feed, error)
        finally:
            feed.is_pulling = False

    def seal(self, feed: Feed) -> None:
        """Let the owner add no more."""
        feed.members.close()
        self._engine.commits.seal(feed.id, feed.epoch)
        feed.owner.on_filled()

    def fail_items(self, feed: Feed, error: BaseException) -> None:
        """End a group whose items raise: its owner hears of it as of a member that failed."""
        feed.members.stop()
        what = "open_group" if feed.members.items is None else feed.members.items.what
        self._engine.commits.seal(feed.id, feed.epoch, items_error(what, failure_text(error)))
        feed.owner.on_filled()

    async def _resume(self, feed: Feed) -> None:
        engine, members = self._engine, feed.members
        run_id = members.group.parent_id
        spawned, _, is_sealed, delivered = await read_for(engine.clock, run_id, lambda: engine.queries.group(feed.id))
        feed.delivered = max(feed.delivered, delivered)
        feed.is_loading = False
        if is_sealed:
            members.stop()
        for fold in feed.folds:
            self._catch_up(feed, fold)
        self._hand_out(feed)
        self._drop_if_done(feed)
        if members.items is None or not members.is_open or feed.owner.is_closed:
            return
        if members.items.is_keyed or not members.is_behind:
            members.go_over(spawned, delivered)
            self._fill(feed)
            return
        after, page = "", [("", 0, 0)]
        while page and members.is_behind:
            page = await read_for(engine.clock, run_id, partial(engine.queries.member_digests, feed.id, after))
            if feed.owner.is_closed or not members.is_open:
                return
            try:
                members.pass_over((id, digest) for key, id, digest in page if is_member_key(key))
            except ItemsChanged as changed:
                feed.owner.on_changed(feed, str(changed), 0)
                return
            except BROKEN as error:  # the items are the owner's code
                self.fail_items(feed, error)
                return
            after = page[-1][0] if page else after
        members.go_on(delivered)
        self._fill(feed)

    def on_existing(self, run: NewRun, existing: Existing) -> bool:
        """Take note that a member was there already; False if its group is not open here."""
        feed = self._feeds.get(run.parent_id)
        if feed is None:
            return False
        if existing.digest != run.digest:
            name = shown(run.key)
            what = f"member {run.position}" if name is None else f"key {name!r}"
            said = f"{what} of a group of {run.name} was recorded as run {existing.id}, with another input"
            if name is None or feed.members.was_recorded(run):
                feed.owner.on_changed(feed, said, existing.id)
            else:
                self.fail_items(feed, KeyConflict(said, existing.id))
        feed.members.on_existing(run)
        self._fill(feed)
        return True

    # What members' ends do -------------------------------------------------------------------------------------------

    def on_ends(self, group_id: int, first_seq: int, ends: list[End]) -> bool:
        """Take the ends of members; False if their group is not open here."""
        feed = self._feeds.get(group_id)
        if feed is None:
            return False
        before, members = feed.delivered, feed.members
        feed.delivered = max(before, first_seq + len(ends) - 1)
        for fold in feed.folds:
            if fold.watermark + 1 == first_seq and not fold.is_reading and members.are_ours(ends):
                self._take(feed, fold, ends)
            else:
                self._catch_up(feed, fold)
        members.on_ended(first_seq, ends)
        self._hand_out(feed)
        self._fill(feed)
        return True

    @staticmethod
    def _take(feed: Feed, fold: Fold, ends: list[End]) -> None:
        assert feed.members.items is not None  # noqa: S101 - members that are ours are made of items
        decode = feed.members.items.task.signature.result.decode
        completed = (partial(decode, end.output or "null") for end in ends if end.state == lifecycle.COMPLETED)
        fold.take(completed, fold.watermark + len(ends))

    def on_group_end(self, feed: Feed, end: End) -> None:
        """Hear how a group ended; its members' ends came before."""
        feed.end = end
        feed.summary = summary_in(end)
        feed.members.stop()
        for fold in feed.folds:
            self._catch_up(feed, fold)
        self._hand_out(feed)
        self._drop_if_done(feed)

    def _drop_if_done(self, feed: Feed) -> None:
        if feed.end is not None and not feed.is_busy:
            self._feeds.pop(feed.id, None)

    # Folds -----------------------------------------------------------------------------------------------------------

    def fold(self, feed: Feed, fold: Fold, *, is_known: bool) -> None:
        """Let a fold take what the group delivers."""
        self._feeds.setdefault(feed.id, feed)
        feed.folds.append(fold)
        if is_known:
            fold.is_reading = True
            self.work(self._take_up(feed, fold))
        else:
            self._catch_up(feed, fold)

    async def _take_up(self, feed: Feed, fold: Fold) -> None:
        engine = self._engine
        output, progress = await read_for(engine.clock, fold.row.parent_id, lambda: engine.queries.fold(fold.row.id))
        fold.is_reading = False
        if feed.owner.is_closed:
            return
        try:
            fold.go_on_from(output, progress)
        except Exception as error:  # noqa: BLE001 - the value's type has changed since
            fold.fail(failure_text(error))
        self._catch_up(feed, fold)

    def _catch_up(self, feed: Feed, fold: Fold) -> None:
        if fold.is_over or fold.is_reading or feed.is_loading or feed.owner.is_closed:
            return
        end = feed.end
        if end is not None and end.state != lifecycle.COMPLETED:
            error = end.error or failure_text(asyncio.CancelledError("the group was cancelled"))
            fold.fail(error)
        elif fold.watermark < feed.delivered:
            fold.is_reading = True
            self.work(self._read_on(feed, fold))
            return
        elif end is not None:
            fold.finish()
        if fold.is_over:
            feed.owner.on_filled()
            self._drop_if_done(feed)

    async def _read_on(self, feed: Feed, fold: Fold) -> None:
        engine, members = self._engine, feed.members
        while fold.watermark < feed.delivered and not fold.is_over and not feed.owner.is_closed:
            after = fold.watermark
            page = await read_for(
                engine.clock, fold.row.parent_id, partial(engine.queries.outcomes, feed.id, after, after + PAGE)
            )
            rows = [Member(*row) for row in page]
            if not rows or feed.owner.is_closed:
                break
            completed = (partial(members.folded, row) for row in rows if members.is_completed(row))
            fold.take(completed, rows[-1].seq)
        fold.is_reading = False
        self._catch_up(feed, fold)

    # Pages -----------------------------------------------------------------------------------------------------------

    def page(self, feed: Feed, after: int, tell: Callable[[int], None]) -> None:
        """Tell up to which place outcomes behind `after` can be read, once there are any or the group has ended."""
        self._feeds.setdefault(feed.id, feed)
        feed.pages.append((after, tell))
        self._hand_out(feed)

    def _hand_out(self, feed: Feed) -> None:
        if feed.is_loading:
            return
        waiting, feed.pages = feed.pages, []
        for after, tell in waiting:
            if feed.delivered > after or feed.end is not None:
                tell(min(max(feed.delivered, after), after + PAGE))
            else:
                feed.pages.append((after, tell))

    async def outcomes(self, feed: Feed, after: int, upto: int) -> list[Member]:
        """Read the members that ended behind `after`, up to `upto`."""
        engine, found, run_id = self._engine, list[Member](), feed.members.group.parent_id
        while after < upto:
            page = await read_for(engine.clock, run_id, partial(engine.queries.outcomes, feed.id, after, upto))
            found += [Member(*row) for row in page]
            if not page:
                break
            after = found[-1].seq
        return found

    async def all_outcomes(self, feed: Feed) -> list[Member]:
        """Read all members that have ended."""
        return await self.outcomes(feed, 0, 1 << 53)

    # The end ---------------------------------------------------------------------------------------------------------

    def forget(self, feed: Feed) -> None:
        """Drop a feed: its owner has ended or left memory."""
        self._feeds.pop(feed.id, None)
        for fold in feed.folds:
            fold.close()


def page_input(feed: Feed, after: int, upto: int) -> str:
    """Return what is recorded of a page."""
    return encode_text({"group": feed.id, "after": after, "upto": upto})
