"""How a cancel request is carried out: the flag first, then whatever it means for the run, its children next.

A run that no worker holds ends at once. A running task's body is asked to stop. A workflow is told by an event, a
delivery with a place in its order, so that replay raises CancelledError where it was raised before.
"""

from __future__ import annotations

from collections.abc import Sequence

from fanfold.model import lifecycle
from fanfold.model.commands import Cancel, Outcome
from fanfold.model.run import FOLD, GROUP, WORKFLOW, End
from fanfold.store.endings import Endings
from fanfold.store.transaction import Transaction, keyed


class Cancels:
    """Carries out cancel requests within one transaction."""

    def __init__(self, tx: Transaction, endings: Endings, outcome: Outcome) -> None:
        self._tx = tx
        self._endings = endings
        self._outcome = outcome

    async def carry_out(self, cancels: Sequence[Cancel]) -> None:
        """Flag these runs if they are not, and do to each what its state allows."""
        before = await self._tx.rows("cancelled_above", ids=keyed(cancel.id for cancel in cancels if cancel.is_again))
        again = {id for (id,) in before}
        await self._tx.execute("flag", ids=keyed(cancel.id for cancel in cancels), now=self._outcome.now)
        ends: dict[str, list[End]] = {}
        events: list[tuple[int, int, int, int, str]] = []
        for id, epoch, parent, root, depth, kind, state, event_id, sealed in await self._tx.rows(
            "find_flagged", rows=cancels
        ):
            if id == root:
                self._outcome.asked_roots.add(root)
            event = self._event(kind, state, epoch, is_sealed=bool(sealed))
            if event is not None:
                ends.setdefault(event, []).append(End(id, epoch, parent, lifecycle.target(event)))
            elif kind == WORKFLOW:
                number = 1 + (int(await self._tx.value("count_cancels", id=id) or 0) if id in again else 0)
                events.append((event_id, root, id, depth + 1, f"x:{number}"))
            else:
                self._outcome.stopping.append(id)
        if events:
            await self._tell(events)  # before the ends: a workflow hears of its own cancel before its children's
        for event, rows in sorted(ends.items()):  # abandon first: a group is cancelled and not failed by its members
            await self._endings.end(rows, event)
        if again and await self._tx.execute("flag_compensation", ids=keyed(sorted(again)), now=self._outcome.now):
            found = await self._tx.rows("open_children", ids=keyed(sorted(again)), now=self._outcome.now)
            self._outcome.flagged.extend(id for (id,) in found)
        self._outcome.woken = True  # what is pending below may be doomed: a claim looks

    @staticmethod
    def _event(kind: str, state: str, epoch: int, *, is_sealed: bool) -> str | None:
        """Return how the run ends at once; None if its code must hear of it first."""
        if state == lifecycle.PAUSED:
            return "cancel_paused"
        if state == lifecycle.WAITING and (is_sealed or kind in (GROUP, FOLD)):
            return "abandon"
        has_started = kind == WORKFLOW and epoch > 0
        return "cancel" if state == lifecycle.PENDING and not has_started else None

    async def _tell(self, events: Sequence[tuple[int, int, int, int, str]]) -> None:
        await self._tx.execute("insert_cancels", rows=events, now=self._outcome.now)
        there = {id for (id,) in await self._tx.rows("find_inserted", ids=keyed(event[0] for event in events))}
        told = [(id, parent) for id, _, parent, _, _ in events if id in there]
        if not told:
            return
        await self._tx.execute("raise_parents", rows=sorted((parent, 1, 0) for _, parent in told))
        self._outcome.told.update(id for id, _ in told)
        # One that was pending already, passed over because of its parent's request, may be claimed from here on.
        self._outcome.woken = True
        await self._endings.end([End(id, 0, parent, lifecycle.target("fire")) for id, parent in told], "fire")
