"""How runs end inside a transaction: numbered for their parents, counted, and whoever becomes complete by that.

The order is the protocol's: the parents are locked first, guards and numbers are computed after the lock, counters
are changed by what the guards let through.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from fanfold.model import lifecycle
from fanfold.model.commands import Outcome
from fanfold.model.groups import group_error
from fanfold.model.run import End
from fanfold.store.transaction import Transaction, keyed


class Endings:
    """Ends runs and records in `outcome` what happened."""

    def __init__(self, tx: Transaction, outcome: Outcome) -> None:
        self._tx = tx
        self._outcome = outcome

    async def end(self, ends: list[End], event: str) -> None:
        """End runs from the state that `event` starts from, deliver them, and settle their parents, level by level."""
        tx = self._tx
        ends = _once(ends)
        while ends:
            parents = sorted({end.parent_id for end in ends if end.parent_id})
            locked = await tx.rows("lock_parents", ids=keyed(parents)) if parents else []
            changed = await self._end_rows(ends, lifecycle.source(event))
            if changed < len(ends):
                ends = await self._accepted(ends)
            await self._deliver(ends, {id: delivered for id, delivered, _, _, _ in locked})
            await self.ask_children([end.id for end in ends if end.state != lifecycle.COMPLETED])
            idle = [id for id, _, sealed, idle, _ in locked if idle and not sealed]
            if idle and await tx.execute("wake", ids=keyed(idle), now=self._outcome.now):
                self._outcome.woken = True
            await self._decide(ends, {id for id, _, _, _, is_group in locked if is_group})
            ends = await self.settled([id for id, _, sealed, _, _ in locked if sealed])
            event = "settle"

    async def _decide(self, ends: Sequence[End], groups: Container[int]) -> None:
        """End the groups of which a member did not complete; the rest of their members are asked to cancel."""
        failures: dict[int, list[End]] = {}
        for end in ends:
            if end.parent_id in groups and end.state != lifecycle.COMPLETED:
                failures.setdefault(end.parent_id, []).append(end)
        if failures:
            rows = await self._tx.rows("find_deciding", ids=keyed(sorted(failures)))
            failed = lifecycle.target("decide")
            decided = [
                End(id, epoch, parent, failed, None, group_error(spawned, failures[id]))
                for id, epoch, parent, spawned in rows
            ]
            await self.end(decided, "decide")

    async def _end_rows(self, ends: Sequence[End], from_state: str) -> int:
        if len(ends) > 1:
            return await self._tx.execute("end_runs", rows=ends, from_state=from_state, now=self._outcome.now)
        (end,) = ends
        return await self._tx.execute(
            "end_run", id=end.id, epoch=end.epoch, state=end.state, output=end.output, error=end.error,
            from_state=from_state, now=self._outcome.now,
        )  # fmt: skip

    async def _accepted(self, ends: Sequence[End]) -> list[End]:
        found = await self._tx.rows("find_ended", rows=ends, now=self._outcome.now) if len(ends) > 1 else []
        there = {id for (id,) in found}
        self._outcome.lost.update(end.id for end in ends if end.id not in there)
        return [end for end in ends if end.id in there]

    async def _deliver(self, ends: Sequence[End], delivered: Mapping[int, int]) -> None:
        """Note what each parent gets and from which place on, and lower the parents' counters."""
        groups: dict[int, list[End]] = {}
        for end in ends:
            groups.setdefault(end.parent_id, []).append(end)
        for parent, group in groups.items():
            # Last in the order in which ends are dealt out: a group's own comes after those of its members.
            ended = self._outcome.ended.pop(parent, [])
            ended.extend(group)
            self._outcome.ended[parent] = ended
            self._outcome.first_seq.setdefault(parent, delivered.get(parent, 0) + 1)
        await self.lower([
            (
                parent, len(group), len(group),
                sum(end.state == lifecycle.FAILED for end in group),
                sum(end.state == lifecycle.CANCELLED for end in group),
            )
            for parent, group in groups.items() if parent
        ])  # fmt: skip

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

    async def settled(self, parents: Sequence[int]) -> list[End]:
        """Return the ends of those sealed parents whose last child has ended."""
        if not parents:
            return []
        rows = await self._tx.rows("find_settled", ids=keyed(parents))
        return [End(id, epoch, parent, lifecycle.COMPLETED, output) for id, epoch, parent, output in rows]


def _once(ends: list[End]) -> list[End]:
    """Leave one end a run: cancel requests may come twice in a batch, and an end is counted and numbered once."""
    if len({end.id for end in ends}) == len(ends):
        return ends
    first = {end.id: end for end in reversed(ends)}
    return [end for end in ends if first[end.id] is end]
