"""What can be asked of groups, their members, folds and pages, in any order."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from fanfold.model import lifecycle
from fanfold.model.commands import Checkpoint, ClaimRequest, Folded, Seal, Siblings
from fanfold.model.run import FOLD, GROUP, PAGE, NewRun
from tests.store.machine import EPOCHS, LATE, MORE, PICK, PICKS, Machine
from tests.store.model import ModelRun

KEYS = st.sampled_from([None, None, "k:a", "k:b"])
ERROR = '{"type":"E","message":"","said":"the items raised"}'
ENDS = st.sampled_from([lifecycle.COMPLETED] * 4 + [lifecycle.FAILED, lifecycle.CANCELLED])
LIMITS = st.sampled_from([{}, {}, {"concurrency": 1}, {"concurrency": 2}])
POLICIES = st.one_of(
    LIMITS,
    st.fixed_dictionaries(
        {"failures": st.just("collect")},
        optional={
            "max_failures": st.integers(0, 3),
            "max_percent": st.sampled_from([25.0, 50.0]),
            "concurrency": st.integers(1, 3),
            "is_open": st.booleans(),
        },
    ),
)


class GroupRules(Machine):
    """Commands about groups."""

    def pick_group(self, number: int, *, late: int = 0) -> ModelRun | None:
        states = () if late == 9 else (lifecycle.WAITING,)
        return self.pick(number, *states, kinds=(GROUP,))

    def member_of(self, group: ModelRun | NewRun, epoch: int, **fields: Any) -> NewRun:
        """Make a member by its owner, whatever epoch that is in."""
        row = self.bench.member_row(self.bench.rows[group.id], **fields)
        row.parent_epoch = self.model.runs[group.parent_id].epoch + epoch
        return row

    @rule(pick=PICK, policy=POLICIES, count=st.integers(0, 5), state=st.sampled_from(["running", "pending"]), more=MORE)
    def group(self, pick: int, policy: dict[str, Any], count: int, state: str, *, more: bool) -> None:
        owner = self.pick(pick, lifecycle.RUNNING)
        if owner is not None:
            group = self.bench.group_row(self.bench.rows[owner.id], **policy)
            group.parent_epoch = owner.epoch
            how = {"is_held": 1} if "concurrency" in policy else {"state": state}
            self.batch.new += [group, *(self.member_of(group, 0, **how) for _ in range(count))]
        self.commit(more)

    @rule(picks=PICKS, keys=st.lists(KEYS, min_size=4, max_size=4), adopts=PICK, epoch=EPOCHS, late=LATE, more=MORE)
    def members(self, picks, keys, adopts, epoch, late, more) -> None:
        for pick, key in zip(picks, keys, strict=False):
            group = self.pick_group(pick, late=late)
            if group is not None:
                is_limited = "concurrency" in self.model.policies[group.id]
                row = self.member_of(group, epoch, is_held=int(is_limited))
                row.key = key or row.key
                if adopts % 3 == 0:
                    self.adopt(row, adopts)
                self.batch.new.append(row)
        self.commit(more)

    def adopt(self, row: NewRun, number: int) -> None:
        """Let a new member take over a member of another group."""
        groups = self.model.policies.keys() - {row.parent_id}
        earlier = [run for run in self.model.runs.values() if run.parent_id in groups]
        ended = [run for run in earlier if run.state == lifecycle.COMPLETED] or earlier
        if ended:
            old = ended[number % len(ended)]
            row.adopts, row.key, row.name, row.state = old.parent_id, old.key, old.name, lifecycle.PENDING

    @rule(pick=PICK, is_sealed=st.booleans(), states=st.lists(ENDS, min_size=4, max_size=4), more=MORE)
    def work(self, pick: int, states: list[str], *, is_sealed: bool, more: bool) -> None:
        """Members of one group are claimed and end, and perhaps the owner adds no more: what happens most."""
        group = self.pick_group(pick)
        members = [] if group is None else self.model.open_children(group.id)
        due = [run.id for run in members if run.state == lifecycle.PENDING and run.available_at <= self.bench.now]
        if due:
            self.batch.claims.append(ClaimRequest(None, ("work", "play"), 3, tuple(due)))
        running = [run for run in members if run.state == lifecycle.RUNNING and run.id not in self.busy]
        for run, state in zip(running, states, strict=False):
            self.busy.add(run.id)
            kind = self.batch.returns if state == lifecycle.COMPLETED else self.batch.ends
            kind.append(self.end_of(run, state, 0))
        if is_sealed and group is not None:
            self.busy.add(group.id)
            self.batch.seals.append(Seal(group.id, self.model.runs[group.parent_id].epoch))
        self.commit(more)

    @rule(pick=PICK, error=st.sampled_from([None, None, ERROR]), epoch=EPOCHS, late=LATE, more=MORE)
    def seal(self, pick: int, error: str | None, epoch: int, late: int, *, more: bool) -> None:
        group = self.pick_group(pick, late=late)
        if group is not None:
            self.busy.add(group.id)
            self.batch.seals.append(Seal(group.id, self.model.runs[group.parent_id].epoch + epoch, error))
        self.commit(more)

    @rule(
        pick=PICK, keys=st.lists(KEYS, max_size=3), digests=st.lists(st.sampled_from([1, 1, 2]), min_size=3),
        epoch=EPOCHS, late=LATE, more=MORE,
    )  # fmt: skip
    def siblings(self, pick, keys, digests, epoch, late, more) -> None:
        runs = [
            run for run in reversed(self.model.runs.values())
            if run.parent_id in self.model.policies and run.id not in self.busy
            and (late == 9 or run.state == lifecycle.RUNNING)
        ]  # fmt: skip
        if runs:
            run = runs[pick % len(runs)]
            self.busy.add(run.id)
            spawner = self.bench.rows[run.id]
            new = [self.bench.sibling_row(spawner, digest=digest) for digest in digests[: len(keys)]]
            for row, key in zip(new, keys, strict=True):
                row.key, row.parent_epoch = key or row.key, run.epoch + epoch
            self.batch.siblings.append(Siblings(self.end_of(run, lifecycle.COMPLETED, epoch), new))
        self.commit(more)

    @rule(pick=PICK, kind=st.sampled_from([FOLD, PAGE]), more=MORE)
    def reader(self, pick: int, kind: str, *, more: bool) -> None:
        """A fold or a page of a group begins."""
        group = self.pick_group(pick, late=9)
        owner = None if group is None else self.model.held(group.parent_id)
        if group is not None and owner is not None:
            make = self.bench.fold_row if kind == FOLD else self.bench.page_row
            row = make(self.bench.rows[group.id])
            row.parent_epoch = owner.epoch
            self.batch.new.append(row)
        self.commit(more)

    @rule(picks=PICKS, late=LATE, more=MORE)
    def hand_out(self, picks: list[int], late: int, *, more: bool) -> None:
        for pick in picks:
            page = self.pick(pick, *(() if late == 9 else (lifecycle.PENDING,)), kinds=(PAGE,))
            if page is not None:
                self.busy.add(page.id)
                self.batch.pages.append(self.end_of(page, lifecycle.COMPLETED, 0))
        self.commit(more)

    @rule(pick=PICK, behind=st.integers(0, 2), drops=st.booleans(), epoch=EPOCHS, late=LATE, more=MORE)
    def checkpoint(self, pick: int, behind: int, epoch: int, late: int, *, drops: bool, more: bool) -> None:
        fold = self.pick(pick, *(() if late == 9 else (lifecycle.WAITING,)), kinds=(FOLD,))
        if fold is not None:
            self.busy.add(fold.id)
            group_id = group_of(self.bench.rows[fold.id])
            parent = self.model.parents.get(group_id)
            done = max((parent.delivered if parent else 0) - behind, done_in(fold.progress))
            dropped = (group_id, 0, done) if drops else ()
            owner = self.model.runs[fold.parent_id]
            self.batch.checkpoints.append(
                Checkpoint(fold.id, owner.epoch + epoch, f'"{done}"', f'{{"done":{done}}}', *dropped)
            )
        self.commit(more)

    @rule(pick=PICK, error=st.sampled_from([None, None, '{"type":"E"}']), epoch=EPOCHS, late=LATE, more=MORE)
    def end_fold(self, pick: int, error: str | None, epoch: int, late: int, *, more: bool) -> None:
        fold = self.pick(pick, *(() if late == 9 else (lifecycle.WAITING,)), kinds=(FOLD,))
        if fold is not None:
            self.busy.add(fold.id)
            owner = self.model.runs[fold.parent_id]
            self.batch.folds.append(Folded(fold.id, owner.epoch + epoch, None if error else "7", error))
        self.commit(more)


def done_in(progress: str | None) -> int:
    """Return how far a fold is."""
    return 0 if progress is None else int(progress.partition(":")[2].rstrip("}"))


def group_of(fold: NewRun) -> int:
    """Return the group that a fold reads."""
    return int((fold.input or "").partition(":")[2].rstrip("}"))
