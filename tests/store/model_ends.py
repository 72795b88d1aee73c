"""How runs end in the model of the store: numbered, counted, and what that does to whoever waits for them.

All ends of one kind and batch take effect at once; then parents and groups are looked at, level by level.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from fanfold.model import lifecycle
from fanfold.model.run import EVENT, GROUP, HELD, TIMER, End, NewRun
from tests.store.model_rows import Expected, ModelParent, ModelRun

SHOWN = 5  # failed members that a digest names


class ModelEnds:
    """All rows, and what ends do to them."""

    def __init__(self) -> None:
        self.now, self.expected = 0, Expected()
        self.runs: dict[int, ModelRun] = {}
        self.parents: dict[int, ModelParent] = {}
        self.policies: dict[int, dict[str, Any]] = {}  # of groups
        self.noted: dict[int, list[int]] = {}  # members that had failed while their group was not decided

    # Looking -------------------------------------------------------------------------------------------------------

    def held(self, id: int, epoch: int | None = None) -> ModelRun | None:
        run = self.runs.get(id)
        is_held = run is not None and run.state == lifecycle.RUNNING and epoch in (None, run.epoch)
        return run if is_held else None

    def undecided(self, id: int) -> ModelRun | None:
        run = self.runs.get(id)
        return run if run and run.kind == GROUP and run.state == lifecycle.WAITING else None

    def timers(self) -> list[ModelRun]:
        return [run for run in self.runs.values() if run.kind == TIMER and run.state == lifecycle.PENDING]

    def next_timer(self) -> int | None:
        return min((run.available_at for run in self.timers()), default=None)

    def open_children(self, id: int) -> list[ModelRun]:
        return [run for run in self.runs.values() if run.parent_id == id and not run.finished_at]

    def _holder(self, row: NewRun | ModelRun) -> ModelRun | None:
        return next(
            (
                run for run in self.runs.values()
                if row.key is not None and (run.parent_id, run.key, run.name) == (row.parent_id, row.key, row.name)
            ),
            None,
        )  # fmt: skip

    # Ends ----------------------------------------------------------------------------------------------------------

    def _to_pending(self, run: ModelRun) -> None:
        run.state, run.owner, run.available_at = lifecycle.PENDING, None, self.now

    def _end(self, ends: Iterable[End], event: str) -> None:
        ends = list({end.id: end for end in reversed(list(ends))}.values())[::-1]
        while ends:
            for end in ends if event in ("settle", "decide", "abandon") else ():
                if self.undecided(end.id) and end.id in self.parents:
                    self.parents[end.id].decided = 1
            touched = sorted({end.parent_id for end in ends} & self.parents.keys())
            asleep = [id for id in touched if self._is_asleep(id)]
            crowded = [id for id in touched if self.undecided(id) and self.parents[id].held]
            accepted = [end for end in ends if self._guard(end, event)]
            self.expected.lost |= {end.id for end in ends} - {end.id for end in accepted}
            for end in accepted:
                self._end_one(end)
            self._ask_children([end.id for end in accepted if end.state != lifecycle.COMPLETED])
            for id in asleep:
                if self.parents[id].delivered > self.parents[id].consumed:
                    self._to_pending(self.runs[id])
                    self.expected.woken = True
            decided = self._judge(touched, accepted)
            over = {end.id for end in decided}
            for id in crowded:
                if id not in over:
                    self._make_room(id)
            ends, event = decided + self._settled([id for id in touched if id not in over]), "settle"

    def _is_asleep(self, id: int) -> bool:
        run = self.runs[id]
        return run.state == lifecycle.WAITING and run.kind != GROUP and not self.parents[id].sealed

    def _guard(self, end: End, event: str) -> bool:
        run = self.runs.get(end.id)
        return run is not None and run.epoch == end.epoch and run.state == lifecycle.source(event)

    def _end_one(self, end: End) -> None:
        run, parent = self.runs[end.id], self.parents.get(end.parent_id)
        if parent and run.state == lifecycle.PENDING and run.available_at == HELD:
            parent.held -= 1
        run.state, run.output, run.error, run.owner, run.finished_at = end.state, end.output, end.error, None, self.now
        self.expected.ended.setdefault(end.parent_id, []).append(end.id)
        self.expected.first_seq.setdefault(end.parent_id, parent.delivered + 1 if parent else 1)
        if parent:
            parent.open -= 1
            parent.failed += end.state == lifecycle.FAILED
            parent.cancelled += end.state == lifecycle.CANCELLED
            if not parent.decided:
                parent.delivered += 1
                run.seq = parent.delivered

    def _ask_children(self, ids: list[int], *, compensation: bool = False) -> None:
        flagged = [run for id in ids for run in self.open_children(id) if self._is_meant(run, compensation)]
        for run in flagged:
            run.cancel_requested_at = self.now
        if flagged:
            asked = [run for id in ids for run in self.open_children(id) if run.cancel_requested_at == self.now]
            self.expected.flagged += sorted(run.id for run in asked)

    def _is_meant(self, run: ModelRun, compensation: bool) -> bool:  # noqa: FBT001 - as its caller has it
        parent = self.runs[run.parent_id]
        all_too = compensation or (parent.compensates and parent.cancel_requested_at)
        is_meant = all_too if run.compensates else not compensation
        return run.cancel_requested_at is None and run.kind != EVENT and is_meant

    def _settled(self, ids: Iterable[int]) -> list[End]:
        rows, groups = [], []
        for id in ids:
            parent, run = self.parents.get(id), self.runs.get(id)
            if run and parent and parent.sealed and not parent.open and run.state == lifecycle.WAITING:
                if run.kind != GROUP:
                    rows.append(End(id, run.epoch, run.parent_id, lifecycle.COMPLETED, run.output))
                elif self._is_broken(id):
                    groups.append(self._failed(id, ()))
                else:
                    groups.append(End(id, run.epoch, run.parent_id, lifecycle.COMPLETED, self._counts(id)))
        return rows + groups

    # Groups --------------------------------------------------------------------------------------------------------

    def _judge(self, ids: Iterable[int], ends: Iterable[End]) -> list[End]:
        """Note failures, and return the ends of the groups that have too many."""
        decided = []
        for id in ids:
            bad = [end for end in ends if end.parent_id == id and end.state != lifecycle.COMPLETED]
            if bad and self.undecided(id):
                noted = self.noted.setdefault(id, [])
                noted += [end.id for end in bad if end.state == lifecycle.FAILED]
                self.runs[id].progress = (len(noted), tuple(noted[:SHOWN]))
                if self._is_broken(id):
                    decided.append(self._failed(id, [end.id for end in bad]))
        return decided

    def _is_broken(self, id: int) -> bool:
        policy, group = self.policies[id], self.parents[id]
        if policy.get("failures") != "collect":
            return group.failed + group.cancelled > 0
        most, percent = policy.get("max_failures"), policy.get("max_percent")
        is_known = group.sealed and not (policy.get("is_open") and group.open)
        has_too_many = most is not None and group.failed > most
        return bool(has_too_many or (percent and is_known and group.failed * 100 > percent * group.spawned))

    def _counts(self, id: int) -> tuple[int, int, int, int]:
        """Return what a summary says: all members, those that completed, failed and were cancelled."""
        group = self.parents[id]
        completed = group.spawned - group.open - group.failed - group.cancelled
        return group.spawned, completed, group.failed, group.cancelled

    def _failed(self, id: int, deciding: Sequence[int]) -> End:
        run, named = self.runs[id], self.noted.get(id, [])[:SHOWN]
        shown = (*deciding, *(member for member in named if member not in deciding))
        return End(id, run.epoch, run.parent_id, lifecycle.FAILED, None, (self._counts(id), shown))

    def _make_room(self, id: int) -> None:
        group = self.parents[id]
        if self.undecided(id) and group.held:
            room = (self.policies[id].get("concurrency") or group.open) - (group.open - group.held)
            waiting = [run for run in self.open_children(id) if run.available_at == HELD]
            for run in sorted(waiting, key=lambda run: run.id)[: max(room, 0)]:
                run.available_at = self.now
                group.held -= 1
                self.expected.woken = True


def policy_in(row: NewRun) -> dict[str, Any]:
    """Return what a group's options say."""
    return msgspec.json.decode(row.options) if row.options else {}
