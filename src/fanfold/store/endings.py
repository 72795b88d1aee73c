"""How runs end inside a transaction: numbered for their parents, counted, and whoever becomes complete by that.

The order is the protocol's: the parents are locked first, guards and numbers are computed after the lock, counters
are changed by what the guards let through. What that means for groups is in `group_endings.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fanfold.model import lifecycle
from fanfold.model.commands import Outcome
from fanfold.model.run import End
from fanfold.store.group_endings import ENDS_OF_GROUPS, GroupEndings
from fanfold.store.transaction import Locked, Transaction, keyed


class Endings:
    """Ends runs and records in `outcome` what happened."""

    def __init__(self, tx: Transaction, outcome: Outcome) -> None:
        self._tx = tx
        self._outcome = outcome
        self.groups = GroupEndings(tx, outcome)

    async def end(self, ends: list[End], event: str) -> None:
        """End runs from the state that `event` starts from, deliver them, and settle their parents, level by level."""
        tx = self._tx
        ends = _once(ends)
        while ends:
            if event in ENDS_OF_GROUPS:
                await self.groups.decide(ends)
            parents = sorted({end.parent_id for end in ends if end.parent_id})
            locked = (
                {row[0]: Locked(*row) for row in await tx.rows("lock_parents", ids=keyed(parents))} if parents else {}
            )
            from_state = lifecycle.source(event)
            if from_state == lifecycle.PENDING:
                await self.groups.take_held(ends, locked)
            if len(ends) > 1 and any(parent.decided for parent in locked.values()):
                ends = await self._ending(ends, from_state)
                if not ends:
                    break
            changed = await self._end_rows(ends, from_state)
            if changed < len(ends):
                ends = await self._accepted(ends)
            await self._deliver(ends, locked)
            await self.ask_children([end.id for end in ends if end.state != lifecycle.COMPLETED])
            idle = [id for id, parent in locked.items() if parent.idle and not parent.sealed]
            if idle and await tx.execute("wake", ids=keyed(idle), now=self._outcome.now):
                self._outcome.woken = True
            ends = await self.groups.on_ended(ends, locked)
            ends += await self.settled([id for id, parent in locked.items() if parent.sealed], besides=ends)
            event = "settle"

    async def _end_rows(self, ends: Sequence[End], from_state: str) -> int:
        if len(ends) > 1:
            return await self._tx.execute("end_runs", rows=ends, from_state=from_state, now=self._outcome.now)
        (end,) = ends
        return await self._tx.execute(
            "end_run", id=end.id, epoch=end.epoch, state=end.state, output=end.output, error=end.error,
            from_state=from_state, now=self._outcome.now,
        )  # fmt: skip

    async def _ending(self, ends: Sequence[End], from_state: str) -> list[End]:
        """Return what will be accepted."""
        there = {id for (id,) in await self._tx.rows("find_ending", rows=ends, from_state=from_state)}
        self._outcome.lost.update(end.id for end in ends if end.id not in there)
        return [end for end in ends if end.id in there]

    async def _accepted(self, ends: Sequence[End]) -> list[End]:
        found = await self._tx.rows("find_ended", rows=ends, now=self._outcome.now) if len(ends) > 1 else []
        there = {id for (id,) in found}
        self._outcome.lost.update(end.id for end in ends if end.id not in there)
        return [end for end in ends if end.id in there]

    async def _deliver(self, ends: Sequence[End], locked: Mapping[int, Locked]) -> None:
        """Note what each parent gets and from which place on, and lower the parents' counters."""
        groups: dict[int, list[End]] = {}
        for end in ends:
            groups.setdefault(end.parent_id, []).append(end)
        rows: list[tuple[int, int, int, int, int]] = []
        for id, group in groups.items():
            parent = locked.get(id)
            # Last in the order in which ends are dealt out: a group's own comes after those of its members.
            ended = self._outcome.ended.pop(id, [])
            ended.extend(group)
            self._outcome.ended[id] = ended
            self._outcome.first_seq.setdefault(id, parent.delivered + 1 if parent else 1)
            if id:
                delivered = 0 if parent is not None and parent.decided else len(group)
                failed = sum(end.state == lifecycle.FAILED for end in group)
                rows.append((id, len(group), delivered, failed, sum(end.state == lifecycle.CANCELLED for end in group)))
        await self.lower(rows)

    async def lower(self, rows: Sequence[tuple[int, int, int, int, int]]) -> None:
        """Change parents' counters; a row is (parent, ended, delivered, failed, cancelled)."""
        if rows:
            await self._tx.execute("lower_parents", rows=rows)

    async def ask_children(self, ids: Sequence[int]) -> None:
        """In the same commit, ask the open children of whoever failed or was cancelled to cancel."""
        parents = keyed(ids)
        if parents and await self._tx.execute("flag_children", ids=parents, now=self._outcome.now):
            found = await self._tx.rows("open_children", ids=parents, now=self._outcome.now)
            self._outcome.flagged.extend(id for (id,) in found)

    async def settled(self, parents: Sequence[int], besides: Sequence[End] = ()) -> list[End]:
        """Return the ends of those sealed parents whose last child has ended."""
        there = {end.id for end in besides}
        ids = [id for id in parents if id not in there]
        if not ids:
            return []
        rows = await self._tx.rows("find_settled", ids=keyed(ids))
        groups = [id for id, _, _, _, is_group in rows if is_group]
        plain = [row[:4] for row in rows if not row[4]]
        ends = [End(id, epoch, parent, lifecycle.COMPLETED, output) for id, epoch, parent, output in plain]
        return ends + (await self.groups.finished(groups) if groups else [])


def _once(ends: list[End]) -> list[End]:
    """Leave one end a run: cancel requests may come twice in a batch, and an end is counted and numbered once."""
    if len({end.id for end in ends}) == len(ends):
        return ends
    first = {end.id: end for end in reversed(ends)}
    return [end for end in ends if first[end.id] is end]
