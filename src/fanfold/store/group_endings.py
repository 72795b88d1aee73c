"""What the ends of members do to their groups: failures are noted, who was held back comes due, groups are decided.

A group is decided once, in the transaction of the member that decides it; members that end later change its counters
and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from fanfold.model import lifecycle
from fanfold.model.commands import Outcome
from fanfold.model.groups import Standing, broken_items, group_error, group_output, is_broken, note_failures
from fanfold.model.run import End
from fanfold.store.transaction import Locked, Transaction, keyed

ENDS_OF_GROUPS = ("settle", "decide", "abandon")


class GroupEndings:
    """The groups' part of the ends of one transaction."""

    def __init__(self, tx: Transaction, outcome: Outcome) -> None:
        self._tx = tx
        self._outcome = outcome

    async def decide(self, ends: Sequence[End]) -> None:
        """Let no member that ends from here on have a place in these groups, be it in the same statement."""
        await self._tx.execute("mark_decided", ids=keyed(end.id for end in ends))

    async def on_ended(self, ends: Sequence[End], locked: Mapping[int, Locked]) -> list[End]:
        """Return the groups that are decided by these ends."""
        failed: dict[int, list[End]] = {}
        crowded: set[int] = set()
        for end in ends:
            parent = locked.get(end.parent_id)
            if parent is None or not parent.is_group:
                continue
            if end.state != lifecycle.COMPLETED:
                failed.setdefault(parent.id, []).append(end)
            if parent.held:
                crowded.add(parent.id)
        if not failed and not crowded:
            return []
        groups = await self._groups(sorted({*failed, *crowded}))
        decided = await self._judge([group for group in groups if group.id in failed], failed)
        over = {end.id for end in decided}
        await self._make_room([group for group in groups if group.id in crowded and group.id not in over])
        return decided

    async def _groups(self, ids: Sequence[int]) -> list[Standing]:
        return [Standing(*row) for row in await self._tx.rows("find_groups", ids=keyed(ids))]

    async def _judge(self, groups: Sequence[Standing], failed: Mapping[int, list[End]]) -> list[End]:
        """Note failures, and return the ends of the groups whose policies do not allow so many."""
        names = await self._names([end.id for group in groups for end in failed[group.id]])
        noted = [group._replace(digest=note_failures(group.digest, failed[group.id], names)) for group in groups]
        await self._tx.execute("note_failures", rows=[(group.id, group.digest) for group in noted])
        return [_failed(group, failed[group.id]) for group in noted if is_broken(group)]

    async def _names(self, ids: Sequence[int]) -> dict[int, tuple[str | None, int | None]]:
        """Return what people know members by: key and position."""
        return {id: (key, position) for id, key, position in await self._tx.rows("find_names", ids=keyed(ids))}

    async def broken(self, ids: Sequence[int]) -> list[End]:
        """Return the ends of those groups, now that their numbers are known, of which too many members failed."""
        return [_failed(group, ()) for group in await self._groups(ids) if group.failed and is_broken(group)]

    async def failing(self, ids: Sequence[int], errors: Mapping[int, str]) -> list[End]:
        """Return the ends of groups whose items raised these errors."""
        return [
            End(group.id, group.epoch, group.parent_id, lifecycle.FAILED, None, broken_items(group, errors[group.id]))
            for group in await self._groups(ids)
        ]

    async def finished(self, ids: Sequence[int]) -> list[End]:
        """Return the ends of groups whose last member has ended."""
        return [
            _failed(group, ())
            if is_broken(group)
            else End(group.id, group.epoch, group.parent_id, lifecycle.COMPLETED, group_output(group))
            for group in await self._groups(ids)
        ]

    async def limited(self, ids: Sequence[int]) -> set[int]:
        """Return which of these groups bound how many members run at once."""
        return {group.id for group in await self._groups(ids) if group.policy.concurrency is not None}

    async def make_room(self, ids: Sequence[int]) -> None:
        """Let members that are held back come due, as far as their groups have room."""
        await self._make_room(await self._groups(ids))

    async def _make_room(self, groups: Sequence[Standing]) -> None:
        due: list[tuple[int, int]] = []
        for group in groups:
            room = (group.policy.concurrency or group.open) - (group.open - group.held)
            if room > 0 and group.held > 0:
                now = self._outcome.now
                due.append((group.id, await self._tx.execute("release_held", group_id=group.id, room=room, now=now)))
        if due:
            await self._tx.execute("lower_held", rows=due)
            self._outcome.woken = True

    async def take_held(self, ends: Sequence[End], locked: Mapping[int, Locked]) -> None:
        """Take note that some of these runs, which end before they started, are held back no longer."""
        if any(parent.held for parent in locked.values()):
            counts = Counter(parent for _, parent in await self._tx.rows("find_held", rows=ends))
            if counts:
                await self._tx.execute("lower_held", rows=sorted(counts.items()))


def _failed(group: Standing, failed: Sequence[End]) -> End:
    return End(group.id, group.epoch, group.parent_id, lifecycle.FAILED, None, group_error(group, failed))
