"""How runs come into the model of the store: whose parent may start them, what is held back, what members add."""

from collections.abc import Iterable

from fanfold.model import lifecycle
from fanfold.model.commands import Siblings
from fanfold.model.run import GROUP, HELD, PAGE, TIMER, End, NewRun, conflict_text
from tests.store.bench import OWNER
from tests.store.model_ends import ModelEnds, policy_in
from tests.store.model_rows import ModelParent, ModelRun


class ModelInserts(ModelEnds):
    """Inserts runs."""

    def _insert(self, new: list[NewRun]) -> None:
        doomed = [
            row for row in new
            if self._is_under_cancel(row) and not row.compensates and row.kind not in (TIMER, PAGE)
        ]  # fmt: skip
        self.expected.doomed |= {row.id for row in doomed if row.state == lifecycle.RUNNING}
        self._insert_rows(doomed, self.now)
        self._ask_above(doomed)
        self.expected.flagged += [row.id for row in doomed]
        rest = [row for row in new if row not in doomed]
        groups = {row.id for row in rest if row.kind == GROUP}
        self._insert_rows([row for row in rest if row.parent_id not in groups], None)
        self._insert_rows([row for row in rest if row.parent_id in groups], None)

    def _insert_rows(self, new: list[NewRun], cancel_requested_at: int | None) -> None:
        # A statement sees the table as it was when it began.
        allowed = {row.id for row in new if self._may_insert(row)}
        refused, added = [], []
        for row in new:
            if row.id not in allowed or self._holder(row):
                refused.append(row)
            else:
                self._add(row, cancel_requested_at)
                added.append(row)
        for row in refused:
            holder = self._holder(row)
            self.expected.refused[row.id] = holder.id if holder else None
        if cancel_requested_at is None:
            for id in sorted({row.parent_id for row in added if row.is_held}):
                self._make_room(id)
        self._adopt([row for row in added if row.adopts])

    def _may_insert(self, row: NewRun) -> bool:
        if row.parent_id == 0 or self.held(row.parent_id, row.parent_epoch):
            return True
        group = self.undecided(row.parent_id)
        spawner = self.held(row.spawner, row.parent_epoch)
        return group is not None and bool(
            (row.position is not None and self.held(group.parent_id, row.parent_epoch))
            or (spawner and spawner.parent_id == group.id)
        )

    def _is_under_cancel(self, row: NewRun | ModelRun) -> bool:
        above = [self.runs[id] for id in (row.parent_id, row.root_id) if id in self.runs and row.parent_id]
        return any(run.cancel_requested_at is not None for run in above)

    def _ask_above(self, runs: Iterable[NewRun | ModelRun]) -> None:
        """Ask whoever stands between these and a root that was asked; top down."""
        above: dict[int, int] = {}
        for run in runs:
            root = self.runs.get(run.root_id)
            path, id = [], run.parent_id
            # A refused row stands nowhere.
            while run.id in self.runs and root and root.cancel_requested_at is not None and id != root.id and id:
                path.append(id)
                id = self.runs[id].parent_id
            above |= {id: depth for depth, id in enumerate(reversed(path))}
        for _, id in sorted((depth, id) for id, depth in above.items()):
            run = self.runs[id]
            if not run.finished_at and run.cancel_requested_at is None and not run.compensates:
                run.cancel_requested_at = self.now
                self.expected.flagged.append(id)

    def _add(self, row: NewRun, cancel_requested_at: int | None = None) -> None:
        is_free = cancel_requested_at is None
        started, held = int(row.state == lifecycle.RUNNING and is_free), int(row.is_held and is_free)
        waits = lifecycle.WAITING if row.state == lifecycle.WAITING and is_free else lifecycle.PENDING
        self.runs[row.id] = ModelRun(
            row.id, row.root_id, row.parent_id, row.key, row.kind, row.name,
            lifecycle.RUNNING if started else waits, row.queue, row.priority,
            HELD if held else self.now + row.delay_ms, row.compensates, row.digest, started, started, 0,
            OWNER if started else None, None, cancel_requested_at, started_at=self.now if started else None,
        )  # fmt: skip
        if row.kind == GROUP:
            self.policies[row.id] = policy_in(row)
        if row.parent_id:
            parent = self.parents.setdefault(row.parent_id, ModelParent(row.parent_id))
            parent.spawned += 1
            parent.open += 1
            parent.held += held

    def _adopt(self, rows: list[NewRun]) -> None:
        """Complete new members with what those of an earlier group have returned."""
        found = []
        for row in rows:
            for old in self.runs.values():
                same = (old.key, old.name, old.digest, old.state) == (
                    row.key,
                    row.name,
                    row.digest,
                    lifecycle.COMPLETED,
                )
                is_kept = old.output is not None  # a fold may have dropped it
                if same and is_kept and old.parent_id == row.adopts and self.runs[row.id].state == lifecycle.PENDING:
                    found.append((row, old))
        self._end([End(row.id, 0, row.parent_id, lifecycle.COMPLETED, old.output) for row, old in found], "fire")
        for row, old in found:
            self.runs[row.id].same_as = old.id
        self.expected.woken |= bool(rows)

    def _add_siblings(self, commands: list[Siblings]) -> None:
        refused: list[End] = []
        taken: dict[tuple[int, str | None, str], tuple[int, int]] = {}
        for end, new in commands:
            spawner = self.held(end.id, end.epoch)
            if spawner is None or self.undecided(spawner.parent_id) is None:
                continue
            own = dict(taken)
            for row in new:
                there = self._holder(row)
                known = (there.id, there.digest) if there else (row.id, row.digest)
                id, digest = own.setdefault((row.parent_id, row.key, row.name), known)
                if digest != row.digest:
                    error = conflict_text((row.key or "").partition(":")[2], row.name, id)
                    refused.append(End(end.id, end.epoch, end.parent_id, lifecycle.FAILED, None, error))
                    break
            else:
                taken = own
        without = {end.id for end in refused}
        rows = [row for end, new in commands if end.id not in without for row in new]
        for row in rows:
            is_limited = self.undecided(row.parent_id) and self.policies[row.parent_id].get("concurrency")
            row.is_held = int(bool(is_limited))
        self._insert(rows)
        self.expected.woken |= bool(commands)
        self._end(refused, "fail")
        self._return([end for end, _ in commands if end.id not in without])

    def _return(self, returns: Iterable[End]) -> None:
        at_once, waiting = [], []
        for end in returns:
            run, parent = self.held(end.id, end.epoch), self.parents.get(end.id)
            if run and parent and parent.open:
                run.state, run.owner, run.output, parent.sealed = lifecycle.WAITING, None, end.output, 1
                run.crashes = 0
                waiting.append(end.id)
            else:
                at_once.append(end)
        self.expected.returned |= set(waiting)
        # Who returned in spite of a cancel request hands it on.
        self._ask_children([id for id in sorted(waiting) if self.runs[id].cancel_requested_at])
        self._end(at_once, "complete")
