"""The store: one batch, one transaction. One class for every database.

`apply` is the only verb that changes runs while an engine lives. The order of kinds in it is fixed, op order within a
kind is kept, and every change is guarded by epoch and state in the statements themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Container, Iterable, Sequence
from functools import partial

import msgspec

from fanfold.model import lifecycle
from fanfold.model.commands import (
    Batch,
    Block,
    Checkpoint,
    ClaimRequest,
    Eviction,
    Existing,
    Folded,
    Outcome,
    Progressed,
    Release,
    Retried,
    Seal,
    Siblings,
)  # fmt: skip
from fanfold.model.run import GROUP, MOST_CRASHES, PAGE, ROOT, SUSPECT, TIMER, Claimed, End, NewRun
from fanfold.store.cancels import Cancels
from fanfold.store.database import BatchRejected, CommitUnknown, Database
from fanfold.store.endings import Endings
from fanfold.store.siblings import refuse_conflicts
from fanfold.store.transaction import Transaction, keyed

CHUNK = 1000  # rows of one step of work that the engine set itself
_ABOVE_ALL = 1 << 31

_claimed = msgspec.json.Decoder(list[Claimed])


class Store:
    """Applies the batches of one worker (`owner`) to a database."""

    def __init__(self, database: Database, owner: int) -> None:
        self.database = database
        self.owner = owner
        self._tx = Transaction(database)

    async def apply(self, batch: Batch, now: int) -> Outcome:
        """Commit all of `batch` at engine time `now`, or nothing.

        Raises BatchRejected or StoreBusy when nothing was committed, CommitUnknown when that cannot be known.
        """
        await self.database.begin()
        try:
            outcome = await _Application(self._tx, self.owner, batch, now).run()
            await self._tx.execute("write_meta", batch=batch.number, now=now, next_id=batch.next_id)
        except BaseException:
            await self.database.rollback()
            raise
        try:
            await self.database.commit()
        except CommitUnknown as unknown:
            unknown.outcome = outcome
            raise
        return outcome

    async def committed_batch(self) -> int:
        """Return the number of the last batch that was committed."""
        ((_version, _store, _next, sequence, _clock),) = await self._tx.rows("read_meta")
        return sequence

    async def recover(self, batch: int, now: int, at_work: Collection[int] = ()) -> Recovery:
        """Take over from a dead process: release what it held, and wake who is behind.

        The death counts against the runs that were `at_work`.
        """
        tx = self._tx
        await self.database.begin()
        try:
            released = await tx.execute("release_all", now=now)
            if at_work:
                await tx.execute("accuse", ids=keyed(sorted(at_work)))
            behind = [id for (id,) in await tx.rows("find_behind")]
            if behind:
                await tx.execute("wake", ids=keyed(behind), now=now)
            unsettled = [id for (id,) in await tx.rows("find_unsettled")]
            flagged = [id for (id,) in await tx.rows("flagged")]
            suspects = [Suspect(*row) for row in await tx.rows("find_suspects", suspect=SUSPECT)]
            due = await tx.value("next_timer")
            await tx.execute("write_meta", batch=batch, now=now, next_id=0)
        except BaseException:
            await self.database.rollback()
            raise
        await self.database.commit()
        return Recovery(released, unsettled, flagged, suspects, None if due is None else int(due))


def _is_doomed(row: NewRun, cancelled: Container[int]) -> bool:
    """Tell whether a new run is under a cancel request: anything but compensation, and what starts nothing."""
    is_under = row.parent_id in cancelled or row.root_id in cancelled
    return is_under and row.parent_id != ROOT and not row.compensates and row.kind not in (TIMER, PAGE)


class Suspect(msgspec.Struct):
    """A run that was at work in one dead process after the other."""

    id: int
    epoch: int
    parent_id: int
    attempt: int
    crashes: int


class Recovery(msgspec.Struct):
    """What an engine found at its start."""

    released: int  # runs that a dead process held
    unsettled: list[int]  # sealed parents whose last child has ended
    flagged: list[int]  # cancel requests that were not carried out
    suspects: list[Suspect]
    next_timer: int | None


class _Application:
    """One batch on its way through one transaction."""

    def __init__(self, tx: Transaction, owner: int, batch: Batch, now: int) -> None:
        self._tx = tx
        self._owner = owner
        self._batch = batch
        self._outcome = Outcome(now)
        self._endings = Endings(tx, self._outcome)

    async def run(self) -> Outcome:
        """Take the batch's commands, kind by kind."""
        batch, outcome = self._batch, self._outcome
        for kind, step in (
            ("new", self._insert),
            ("seals", self._seal),
            ("claims", self._claim_all),
            ("progress", self._note_progress),
            ("drops", self._drop),
            ("pages", partial(self._endings.end, event="fire")),
            ("checkpoints", self._checkpoint),
            ("folds", self._end_folds),
            ("returns", self._return),
            ("siblings", self._add_siblings),
            ("ends", partial(self._endings.end, event="complete")),
            ("retries", self._retry),
            ("fires_timers", self._fire_timers),
            ("quarantines", partial(self._endings.end, event="quarantine")),
            ("settles", self._settle),
            ("wakes", self._wake),
            ("evictions", self._evict),
            ("blocks", self._block),
            ("releases", self._release),
            ("resumes", self._resume),
            ("cancels", Cancels(self._tx, self._endings, outcome).carry_out),
        ):
            commands = getattr(batch, kind)
            if commands:
                await step(commands)
        if batch.fires_timers or any(row.kind == TIMER for row in batch.new):
            due = await self._tx.value("next_timer")
            outcome.next_timer = None if due is None else int(due)
        return outcome

    async def _seal(self, seals: Sequence[Seal]) -> None:
        await self._tx.execute("seal_groups", rows=seals)
        errors = {seal.id: seal.error for seal in seals if seal.error is not None}
        if errors:
            failing = [
                id for (id,) in await self._tx.rows("find_failing", rows=[s for s in seals if s.error is not None])
            ]
            await self._endings.end(await self._endings.groups.failing(failing, errors), "decide")
        sealed = [seal.id for seal in seals if seal.error is None]
        await self._endings.end(await self._endings.groups.broken(sealed), "decide")
        await self._settle(sealed)

    async def _claim_all(self, claims: Sequence[ClaimRequest]) -> None:
        for claim in claims:
            await self._claim(claim)

    async def _note_progress(self, progress: Sequence[Progressed]) -> None:
        latest: dict[tuple[int, int], str | None] = {}
        for id, epoch, text in progress:
            latest[id, epoch] = text or latest.get((id, epoch))
        await self._tx.execute("note_progress", rows=[(*run, text) for run, text in latest.items()])

    async def _add_siblings(self, commands: Sequence[Siblings]) -> None:
        """End members that add others to their groups; who gives a key to another input than it has fails for it."""
        ends = await refuse_conflicts(self._tx, commands)
        refused = {end.id for end in ends}
        accepted = [command for command in commands if command.id not in refused]
        rows = [row for command in accepted for row in command.new]
        limited = await self._endings.groups.limited(sorted({row.parent_id for row in rows}))
        for row in rows:
            row.is_held = int(row.parent_id in limited)
        await self._insert(rows)
        self._outcome.woken = True
        await self._endings.end([end for end in ends if end.state != lifecycle.COMPLETED], "fail")
        await self._return([command.end for command in accepted])

    async def _checkpoint(self, checkpoints: Sequence[Checkpoint]) -> None:
        await self._tx.execute("checkpoint", rows=[checkpoint[:4] for checkpoint in checkpoints])
        dropped = [
            (point.id, point.progress, point.group_id, point.after, point.upto) for point in checkpoints if point.drops
        ]
        if dropped:
            await self._tx.execute("drop_values", rows=dropped)

    async def _end_folds(self, folds: Sequence[Folded]) -> None:
        said = {fold.id: fold for fold in folds}
        ends: list[End] = []
        for id, epoch, parent in await self._tx.rows("find_folds", rows=[(fold.id, fold.epoch) for fold in folds]):
            state = lifecycle.COMPLETED if said[id].error is None else lifecycle.FAILED
            ends.append(End(id, epoch, parent, state, said[id].output, said[id].error))
        await self._endings.end(ends, "settle")

    async def _settle(self, parents: Sequence[int]) -> None:
        await self._endings.end(await self._endings.settled(parents), "settle")

    async def _wake(self, workflows: Sequence[int]) -> None:
        if await self._tx.execute("wake", ids=keyed(workflows), now=self._outcome.now):
            self._outcome.woken = True

    async def _block(self, blocks: Sequence[Block]) -> None:
        await self._tx.execute("block", rows=blocks)
        self._outcome.blocked.update(id for (id,) in await self._tx.rows("find_blocked", rows=blocks))

    async def _release(self, releases: Sequence[Release]) -> None:
        await self._tx.execute("release", rows=releases, now=self._outcome.now)
        await self._ask_again(release.id for release in releases)

    async def _resume(self, roots: Sequence[int]) -> None:
        if await self._tx.execute("resume", ids=keyed(roots), now=self._outcome.now):
            self._outcome.woken = True

    async def _ask_again(self, ids: Iterable[int]) -> None:
        """Have a cancel request that went to whoever no longer holds the run carried out anew."""
        asked = await self._tx.rows("cancelled_above", ids=keyed(ids))
        self._outcome.flagged.extend(id for (id,) in asked)

    async def _retry(self, retries: Sequence[Retried]) -> None:
        tx, now = self._tx, self._outcome.now
        await tx.execute("record_attempts", rows=retries, now=now)
        retried = {retry.id for retry in retries}
        if await tx.execute("retry_runs", rows=retries, now=now) < len(retries):
            there = {id for (id,) in await tx.rows("find_retried", rows=retries)}
            self._outcome.lost.update(retried - there)
            retried &= there
        self._outcome.retried.update(retried)
        await self._ask_again(retried)

    async def _insert(self, new: Sequence[NewRun]) -> None:
        above = sorted({id for row in new if row.parent_id for id in (row.parent_id, row.root_id)})
        cancelled = {id for (id,) in await self._tx.rows("cancelled_above", ids=keyed(above))} if above else set[int]()
        if cancelled:
            doomed = [row for row in new if _is_doomed(row, cancelled)]
            # They never start, but they have a place in their parent's order: it hears that they were cancelled.
            self._outcome.doomed.update(row.id for row in doomed if row.state == lifecycle.RUNNING)
            pending = [msgspec.structs.replace(row, state=lifecycle.PENDING, is_held=0) for row in doomed]
            await self._insert_rows(pending, is_doomed=True)
            await self._ask([row.id for row in doomed])
            new = [row for row in new if not _is_doomed(row, cancelled)]
        groups = {row.id for row in new if row.kind == GROUP}
        if groups:  # a statement does not see what it inserts: members come after their groups
            members = [row for row in new if row.parent_id in groups]
            await self._insert_rows([row for row in new if row.parent_id not in groups], is_doomed=False)
            new = members
        await self._insert_rows(new, is_doomed=False)

    async def _insert_rows(self, new: Sequence[NewRun], *, is_doomed: bool) -> None:
        tx = self._tx
        if not new:
            return
        inserted = await tx.execute(
            "insert_runs", rows=new, owner=self._owner, now=self._outcome.now, doomed=int(is_doomed)
        )
        if inserted < len(new):
            there = {id for (id,) in await tx.rows("find_inserted", ids=keyed(row.id for row in new))}
            if len(there) > inserted:
                # Some were there before, and counting those would make a parent wait for ever.
                raise BatchRejected(f"{len(there) - inserted} of {len(new)} new runs have an id that is taken")
            await self._explain([row for row in new if row.id not in there])
            new = [row for row in new if row.id in there]
        counts = Counter(row.parent_id for row in new)
        del counts[0]
        if counts:
            held = Counter(row.parent_id for row in new if row.is_held)
            await tx.execute("raise_parents", rows=[(id, number, held[id]) for id, number in sorted(counts.items())])
            if held:
                await self._endings.groups.make_room(sorted(held))
        adopting = [(row.id, row.adopts) for row in new if row.adopts]
        if adopting:
            await self._adopt(adopting)

    async def _adopt(self, rows: Sequence[tuple[int, int]]) -> None:
        """Complete new members with what those of an earlier group have returned."""
        found = await self._tx.rows("find_adoptable", rows=rows)
        ends = [End(id, 0, parent, lifecycle.COMPLETED, output) for id, parent, _, output in found]
        await self._endings.end(ends, "fire")
        if found:
            await self._tx.execute("note_same_as", rows=[(id, old) for id, _, old, _ in found])
        self._outcome.woken = True  # the rest may be claimed

    async def _explain(self, refused: Sequence[NewRun]) -> None:
        """Find out why rows were not inserted: their identity is taken, or their parent may start nothing."""
        keys = [(row.parent_id, row.key, row.name) for row in refused]
        holders = {tuple(row[:3]): Existing(*row[3:]) for row in await self._tx.rows("find_by_key", keys=keys)}
        for row in refused:
            self._outcome.refused[row.id] = holders.get((row.parent_id, row.key, row.name))

    async def _claim(self, claim: ClaimRequest) -> None:
        found = [id for (id,) in await self._claimable(claim)]
        if len(found) == claim.most:
            self._outcome.filled.append(claim)
        doomed = {id for (id,) in await self._tx.rows("find_doomed", ids=keyed(found))} if found else set[int]()
        if doomed:
            # What may never start must not be waited for: it is asked to cancel, as a new run in its place would be.
            await self._ask(sorted(doomed))
        ids = [id for id in found if id not in doomed]
        if ids:
            await self._tx.execute("claim", ids=keyed(ids), owner=self._owner, now=self._outcome.now)
            self._outcome.claimed.extend(_claimed.decode(await self._tx.text("read_claimed", ids=keyed(ids))))

    async def _ask(self, ids: Sequence[int]) -> None:
        """Ask what must not start to cancel, and first, top down, whoever stands between it and a root that was asked.

        A workflow would otherwise hear of its child's end before its own cancel, and fail instead of compensating.
        """
        above = [id for (id,) in await self._tx.rows("open_above", ids=keyed(ids))]
        asked = [*above, *(id for id in ids if id not in above)]
        await self._tx.execute("flag", ids=keyed(asked), now=self._outcome.now)
        self._outcome.flagged.extend(asked)

    async def _claimable(self, claim: ClaimRequest) -> list[tuple[int]]:
        """Return the ids of what a claim is for, as rows."""
        limits = {"now": self._outcome.now, "suspect": SUSPECT}
        if claim.ids:
            return await self._tx.rows("claimable_of", ids=keyed(claim.ids), most=claim.most, **limits)
        if claim.queue is None:
            names = [(name,) for name in claim.names]
            return await self._tx.rows("claimable_suspect", names=names, most_crashes=MOST_CRASHES, **limits)
        found: list[tuple[int]] = []
        for name in claim.names:
            below = _ABOVE_ALL
            while len(found) < claim.most:
                priority = await self._tx.value("top_priority", queue=claim.queue, name=name, below=below)
                if priority is None:
                    break
                below = int(priority)
                found += await self._tx.rows(
                    "claimable", queue=claim.queue, name=name, priority=below, most=claim.most - len(found), **limits
                )
        return found

    async def _drop(self, timers: Sequence[int]) -> None:
        dropped = await self._tx.rows("find_dropped", ids=keyed(timers))
        if dropped:
            await self._tx.execute("drop_timers", ids=dropped, now=self._outcome.now)
            counts = Counter(parent for _, parent in dropped)
            await self._endings.lower([(parent, n, 0, 0, n) for parent, n in counts.items()])
            await self._endings.end(await self._endings.settled(sorted(counts)), "settle")

    async def _return(self, returns: Sequence[End]) -> None:
        if await self._tx.execute("return_runs", rows=returns):
            waiting = [id for (id,) in await self._tx.rows("find_returned", rows=returns)]
            await self._tx.execute("seal_parents", ids=keyed(waiting))
            self._outcome.returned.update(waiting)
            # Who returned in spite of a cancel request hands it on: nothing may start below, so nothing would end.
            cancelled = await self._tx.rows("cancelled_above", ids=keyed(waiting))
            await self._endings.ask_children([id for (id,) in cancelled])
        rest = [end for end in returns if end.id not in self._outcome.returned]
        await self._endings.end(rest, "complete")

    async def _fire_timers(self, _asked: bool) -> None:  # noqa: FBT001 - called like the other kinds
        due = await self._tx.rows("due_timers", now=self._outcome.now, most=CHUNK)
        ends = [End(id, epoch, parent, lifecycle.target("fire")) for id, epoch, parent in due]
        await self._endings.end(ends, "fire")

    async def _evict(self, rows: Sequence[Eviction]) -> None:
        if await self._tx.execute("evict", rows=rows):
            await self._tx.execute("consume", rows=rows)
            self._outcome.evicted.update(id for (id,) in await self._tx.rows("find_evicted", rows=rows))
