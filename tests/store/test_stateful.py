"""Any sequence of commands does to the store what it does to a model, and breaks no invariant on the way.

The invariants are checked after each commit. MODEL_EXAMPLES and MODEL_STEPS raise the numbers for the long proof,
which also needs `-o timeout=0 -o faulthandler_timeout=0`.
"""

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from msgspec.structs import astuple

from fanfold.model import lifecycle
from fanfold.model.commands import Batch, Block, Cancel, ClaimRequest, Eviction, Progressed, Release, Retried
from fanfold.model.run import FOLD, GROUP, PAGE, SUSPECT, TASK, TIMER, WORKFLOW
from tests.store.bench import QUEUE
from tests.store.group_rules import GroupRules
from tests.store.machine import EPOCHS, LATE, MORE, PICK, PICKS
from tests.store.model import ModelParent

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "300"))
STEPS = int(os.environ.get("MODEL_STEPS", "50"))

KINDS = st.sampled_from([TASK, TASK, WORKFLOW])
STARTS = st.sampled_from([lifecycle.RUNNING, lifecycle.RUNNING, lifecycle.PENDING])
NAMES = st.sampled_from(["work", "play"])
KEYS = st.sampled_from([None, None, None, "k:a", "k:b"])


class StoreMachine(GroupRules):
    """All commands: those about single runs are here, the others are inherited."""

    # Commands ------------------------------------------------------------------------------------------------------

    @rule(kind=KINDS, state=STARTS, name=NAMES, key=KEYS, priority=st.integers(0, 2), more=MORE)
    def root(self, kind: str, state: str, name: str, key: str | None, priority: int, *, more: bool) -> None:
        row = self.bench.run(kind=kind, state=state, name=name, key=key, priority=priority)
        self.batch.new.append(row)
        self.commit(more)

    @rule(
        picks=PICKS, kind=KINDS, state=STARTS, name=NAMES, key=KEYS, epoch=EPOCHS, late=st.integers(0, 5),
        undo=st.sampled_from([0, 0, 0, 1]), more=MORE,
    )  # fmt: skip
    def children(self, picks, kind, state, name, key, epoch, late, undo, more) -> None:
        for pick in picks:
            parent = self.pick(pick) if late == 5 else self.pick(pick, lifecycle.RUNNING)
            if parent is not None:
                row = self.bench.run(self.bench.rows[parent.id], kind=kind, state=state, name=name, compensates=undo)
                row.parent_epoch = parent.epoch + epoch
                row.key = key or row.key
                self.batch.new.append(row)
        self.commit(more)

    @rule(pick=PICK, delay_ms=st.integers(0, 4), more=MORE)
    def timer(self, pick: int, delay_ms: int, *, more: bool) -> None:
        parent = self.pick(pick, lifecycle.RUNNING, kinds=(WORKFLOW,))
        if parent is not None:
            row = self.bench.timer(self.bench.rows[parent.id], delay_ms)
            row.parent_epoch = parent.epoch
            self.batch.new.append(row)
        self.commit(more)

    @rule(names=st.permutations(["work", "play"]), names_count=st.integers(1, 2), most=st.integers(1, 3), more=MORE)
    def claim(self, names: list[str], names_count: int, most: int, *, more: bool) -> None:
        self.batch.claims.append(ClaimRequest(QUEUE, tuple(names[:names_count]), most))
        self.commit(more)

    @rule(picks=PICKS, state=st.sampled_from(lifecycle.TERMINAL), epoch=EPOCHS, late=LATE, more=MORE)
    def end(self, picks: list[int], state: str, epoch: int, late: int, *, more: bool) -> None:
        for pick in picks:
            run = self.pick(pick) if late == 9 else self.pick(pick, lifecycle.RUNNING)
            # Of a root that ended in this very millisecond the store cannot say in which batch.
            if run is not None and (run.parent_id or run.finished_at != self.bench.now):
                self.busy.add(run.id)
                has_children = run.id in self.model.parents or any(row.parent_id == run.id for row in self.batch.new)
                kind = self.batch.returns if state == lifecycle.COMPLETED and has_children else self.batch.ends
                kind.append(self.end_of(run, state, epoch))
        self.commit(more)

    @rule(pick=PICK, epoch=EPOCHS, more=MORE)
    def give_back(self, pick: int, epoch: int, *, more: bool) -> None:
        run = self.pick(pick, lifecycle.RUNNING)
        if run is not None:
            self.busy.add(run.id)
            self.batch.returns.append(self.end_of(run, lifecycle.COMPLETED, epoch))
        self.commit(more)

    @rule(pick=PICK, more=MORE)
    def drop(self, pick: int, *, more: bool) -> None:
        run = self.pick(pick, kinds=(TIMER, TIMER, TASK))
        if run is not None:
            self.batch.drops.append(run.id)
        self.commit(more)

    @rule(pick=PICK, behind=st.sampled_from([0, 0, 0, 1]), epoch=EPOCHS, more=MORE)
    def evict(self, pick: int, behind: int, epoch: int, *, more: bool) -> None:
        run = self.pick(pick, lifecycle.RUNNING, kinds=(WORKFLOW,))
        if run is not None:
            self.busy.add(run.id)
            parent = self.model.parents.get(run.id, ModelParent(run.id))
            self.batch.evictions.append(Eviction(run.id, run.epoch + epoch, max(parent.delivered - behind, 0)))
        self.commit(more)

    @rule(pick=PICK, epoch=EPOCHS, more=MORE)
    def block(self, pick: int, epoch: int, *, more: bool) -> None:
        run = self.pick(pick, lifecycle.RUNNING)
        if run is not None:
            self.busy.add(run.id)
            self.batch.blocks.append(Block(run.id, run.epoch + epoch, "why"))
        self.commit(more)

    @rule(pick=PICK, epoch=EPOCHS, crashes=st.sampled_from([0, 0, 1, SUSPECT]), more=MORE)
    def release(self, pick: int, epoch: int, crashes: int, *, more: bool) -> None:
        run = self.pick(pick)
        if run is not None:
            self.busy.add(run.id)
            self.batch.releases.append(Release(run.id, run.epoch + epoch, crashes))
        self.commit(more)

    @rule(picks=PICKS, epoch=EPOCHS, delay_ms=st.integers(0, 3), late=LATE, more=MORE)
    def retry(self, picks: list[int], epoch: int, delay_ms: int, late: int, *, more: bool) -> None:
        # What is pending was not at work in its epoch, or has been retried: `send_again` does that.
        states = [state for state in lifecycle.STATES if state != lifecycle.PENDING]
        for pick in picks:
            run = self.pick(pick, *states) if late == 9 else self.pick(pick, lifecycle.RUNNING)
            if run is not None:
                self.busy.add(run.id)
                self.batch.retries.append(Retried(run.id, run.epoch + epoch, delay_ms, f'"attempt {run.attempt}"'))
        self.commit(more)

    @rule(pick=PICK, epoch=EPOCHS, text=st.sampled_from([None, '{"done":1}', '"ü"']), late=LATE, more=MORE)
    def report(self, pick: int, epoch: int, text: str | None, late: int, *, more: bool) -> None:
        run = self.pick(pick) if late == 9 else self.pick(pick, lifecycle.RUNNING)
        # It is no transition: the run may do something else in the same batch.
        if run is not None and all(report.id != run.id for report in self.batch.progress):
            self.batch.progress.append(Progressed(run.id, run.epoch + epoch, text))
        self.commit(more)

    @rule(picks=PICKS, epoch=EPOCHS, late=LATE, more=MORE)
    def quarantine(self, picks: list[int], epoch: int, late: int, *, more: bool) -> None:
        for pick in picks:
            run = self.pick(pick) if late == 9 else self.pick(pick, lifecycle.PENDING)
            if run is not None and (run.parent_id or run.finished_at != self.bench.now):
                self.busy.add(run.id)
                self.batch.quarantines.append(self.end_of(run, lifecycle.FAILED, epoch))
        self.commit(more)

    @rule(picks=PICKS, most=st.integers(1, 3), late=LATE, more=MORE)
    def claim_of(self, picks: list[int], most: int, late: int, *, more: bool) -> None:
        found = [self.pick(pick) if late == 9 else self.pick(pick, lifecycle.PENDING) for pick in picks]
        ids = tuple(run.id for run in found if run is not None)
        if ids:
            self.batch.claims.append(ClaimRequest(None, ("work", "play"), most, ids))
        self.commit(more)

    @rule(names=st.sampled_from([("work",), ("work", "play")]), more=MORE)
    def claim_suspect(self, names: tuple[str, ...], *, more: bool) -> None:
        self.batch.claims.append(ClaimRequest(None, names, 1))
        self.commit(more)

    @rule(pick=PICK, command=st.sampled_from(["resumes", "settles"]), more=MORE)
    def sweep(self, pick: int, command: str, *, more: bool) -> None:
        run = self.pick(pick)
        if run is not None:
            self.busy.add(run.id)
            getattr(self.batch, command).append(run.root_id if command == "resumes" else run.id)
        self.commit(more)

    @precondition(lambda self: len(self.model.runs) > 3)
    @rule(picks=st.lists(PICK, min_size=1, max_size=2), is_again=st.booleans(), more=MORE)
    def cancel(self, picks: list[int], *, is_again: bool, more: bool) -> None:
        runs = [self.pick(pick, kinds=(TASK, WORKFLOW, TIMER, GROUP, FOLD, PAGE)) for pick in picks]
        self.batch.cancels += [Cancel(run.id, next(self.bench.ids), is_again) for run in runs if run is not None]
        self.commit(more)

    @rule(moved_ms=st.integers(0, 3), more=MORE)
    def fire(self, moved_ms: int, *, more: bool) -> None:
        self.bench.now += moved_ms
        self.batch.fires_timers = True
        self.commit(more)

    @precondition(lambda self: len(self.last) > 0)
    @rule()
    def send_again(self) -> None:
        """What changes a run is refused the second time; nothing is counted twice."""
        self.commit(more=False)
        self.bench.now += 1
        last = self.last
        self.batch = Batch(
            returns=last.returns, ends=last.ends, drops=last.drops, blocks=last.blocks, progress=last.progress,
            retries=last.retries, quarantines=last.quarantines, releases=last.releases, pages=last.pages,
            folds=last.folds, seals=last.seals, checkpoints=last.checkpoints,
        )  # fmt: skip
        self.commit(more=False)

    @rule(picks=st.lists(PICK, max_size=4), held=st.booleans())
    def crash(self, picks: list[int], *, held: bool) -> None:
        """The process dies with what it had gathered, and the next one recovers; what was at work is accused."""
        self.batch, self.busy = Batch(), set()
        found = [self.pick(pick, lifecycle.RUNNING) if held else self.pick(pick) for pick in picks]
        at_work = {run.id for run in found if run is not None}
        self.bench.reopen()
        self.bench.now += 1
        expected = self.model.recover(self.bench.now, at_work)
        recovery = self.bench.recover_ids(at_work)
        suspects = sorted(astuple(suspect) for suspect in recovery.suspects)
        assert (recovery.released, recovery.flagged, suspects, recovery.next_timer) == expected
        assert recovery.unsettled == []
        self.last.retries = []  # a refused one may name the epoch that was given to the run now
        self.compare()


class FileMachine(StoreMachine):
    """The same on a file, which is closed and opened again at each crash."""

    url = "sqlite:///{}/store.db"


PROFILE = settings(
    max_examples=max(EXAMPLES // 2, 1),
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
# Nothing waits in them: how long they take is a matter of the machine.
TestStoreInMemory = pytest.mark.timeout(300)(StoreMachine.TestCase)
TestStoreInMemory.settings = PROFILE
TestStoreInAFile = pytest.mark.timeout(300)(FileMachine.TestCase)
TestStoreInAFile.settings = PROFILE
