"""The store once more, with dicts and one command at a time: slow, plain, and nothing of its SQL.

`Model.apply` says what a batch must do. The order of kinds is the protocol's; within a kind commands take effect in
the order in which they were asked for.
"""

from collections.abc import Collection, Iterable, Sequence

from fanfold.model import lifecycle
from fanfold.model.commands import (
    Batch,
    Cancel,
    Checkpoint,
    ClaimRequest,
    Folded,
    Progressed,
    Release,
    Retried,
    Seal,
)  # fmt: skip
from fanfold.model.run import EVENT, FOLD, GROUP, MOST_CRASHES, SUSPECT, TASK, WORKFLOW, End, NewRun
from tests.store.bench import OWNER
from tests.store.model_inserts import ModelInserts
from tests.store.model_rows import Expected, ModelParent, ModelRun


class Model(ModelInserts):
    """All rows, and how a batch changes them."""

    def __init__(self) -> None:
        super().__init__()
        self.attempts: dict[tuple[int, int], tuple[int, str]] = {}
        self.failed: set[tuple[int, int]] = set()  # run and epoch of each of these

    def apply(self, batch: Batch, now: int) -> Expected:
        self.now, self.expected = now, Expected()
        self._insert(batch.new)
        self._seal(batch.seals)
        for claim in batch.claims:
            self._claim(claim)
        self._note_progress(batch.progress)
        self._drop(batch.drops)
        self._end(batch.pages, "fire")
        for point in batch.checkpoints:
            self._checkpoint(point)
        self._end_folds(batch.folds)
        self._return(batch.returns)
        if batch.siblings:
            self._add_siblings(batch.siblings)
        self._end(batch.ends, "complete")
        self._retry(batch.retries)
        if batch.fires_timers:
            due = sorted(
                (run for run in self.timers() if run.available_at <= now), key=lambda r: (r.available_at, r.id)
            )
            self._end([End(run.id, run.epoch, run.parent_id, lifecycle.COMPLETED) for run in due[:1000]], "fire")
        self._end(batch.quarantines, "quarantine")
        self._end(self._settled(batch.settles), "settle")
        self._evict(batch)
        for id, epoch, reason in batch.blocks:
            if run := self.held(id, epoch):
                run.state, run.owner, run.blocked = lifecycle.PAUSED, None, reason
        for id, epoch, _ in batch.blocks:
            if (run := self.runs.get(id)) and run.state == lifecycle.PAUSED and run.epoch == epoch:
                self.expected.blocked.add(id)
        self._release(batch.releases)
        for run in self.runs.values():
            if run.state == lifecycle.PAUSED and run.root_id in batch.resumes:
                self._to_pending(run)
                run.blocked, self.expected.woken = None, True
        self._cancel(batch.cancels)
        self.expected.woken |= bool(batch.cancels)
        return self.expected

    def recover(self, now: int, at_work: Collection[int]) -> tuple[object, ...]:
        """Return how many runs were released, the flagged ones, the suspects, and when the next timer is due."""
        self.now = now
        held = [run for run in self.runs.values() if run.state == lifecycle.RUNNING]
        for run in held:
            self._to_pending(run)
            run.epoch += 1
        pending = [run for _, run in sorted(self.runs.items()) if run.state == lifecycle.PENDING]
        for run in pending:
            run.crashes += run.id in at_work
        found = [run for run in pending if run.crashes >= SUSPECT]
        suspects = [(run.id, run.epoch, run.parent_id, run.attempt, run.crashes) for run in found]
        flagged = [id for id, run in sorted(self.runs.items()) if run.cancel_requested_at and not run.finished_at]
        return len(held), flagged, suspects, self.next_timer()

    # Doing ---------------------------------------------------------------------------------------------------------

    def _may_start(self, run: ModelRun) -> bool:
        if run.cancel_requested_at is not None:
            return run.has_started  # it must hear of its cancel
        return bool(run.compensates) or not self._is_under_cancel(run)

    def _claim(self, claim: ClaimRequest) -> None:
        found = self._claimable(claim)[: claim.most]
        taken = [run for run in found if self._may_start(run)]
        doomed = sorted((run for run in found if run not in taken), key=lambda run: run.id)
        self._ask_above(doomed)
        for run in doomed:
            if run.cancel_requested_at is None:
                run.cancel_requested_at = self.now
                self.expected.flagged.append(run.id)
        for run in taken:
            run.state, run.owner, run.epoch, run.attempt = lifecycle.RUNNING, OWNER, run.epoch + 1, max(run.attempt, 1)
            run.started_at = run.started_at or self.now
            has_children = int(run.id in self.parents)
            self.expected.claimed.append((run.id, run.epoch, run.attempt, run.crashes, has_children))
        if len(found) == claim.most:
            self.expected.filled.append(claim)

    def _claimable(self, claim: ClaimRequest) -> list[ModelRun]:
        due = [run for run in self.runs.values() if run.state == lifecycle.PENDING and run.available_at <= self.now]
        ready = sorted((run for run in due if run.cancel_requested_at is None or run.has_started), key=lambda r: r.id)
        clean = [run for run in ready if run.crashes < SUSPECT]
        if claim.ids:
            return [run for run in clean if run.id in claim.ids]
        if claim.queue is None:
            suspects = [run for run in ready if SUSPECT <= run.crashes < MOST_CRASHES and run.name in claim.names]
            return sorted(suspects, key=lambda run: run.available_at)[:1]
        wanted = [run for run in clean if run.queue == claim.queue and run.name in claim.names]
        return sorted(wanted, key=lambda run: (claim.names.index(run.name), -run.priority, run.available_at))

    def _note_progress(self, progress: Iterable[Progressed]) -> None:
        for id, epoch, text in progress:
            if run := self.held(id, epoch):
                run.crashes, run.progress = 0, run.progress if text is None else text

    def _retry(self, retries: list[Retried]) -> None:
        for id, epoch, delay_ms, error in retries:
            if run := self.held(id, epoch):
                self.attempts[id, run.attempt] = self.now, error
                self.failed.add((id, epoch))
                self._to_pending(run)
                run.attempt, run.crashes, run.available_at = run.attempt + 1, 0, self.now + delay_ms
        # What is sent again is told that it was accepted, for as long as nobody has claimed the run.
        self.expected.retried = {
            id for id, epoch, *_ in retries
            if (id, epoch) in self.failed and (self.runs[id].state, self.runs[id].epoch) == (lifecycle.PENDING, epoch)
        }  # fmt: skip
        self.expected.lost |= {retry.id for retry in retries} - self.expected.retried
        self._ask_again(self.expected.retried)

    def _release(self, releases: list[Release]) -> None:
        for id, epoch, crashes in releases:
            if run := self.held(id, epoch):
                self._to_pending(run)
                run.epoch += 1
                run.crashes += crashes
        self._ask_again({release.id for release in releases})

    def _ask_again(self, ids: Collection[int]) -> None:
        """A request that went to whoever no longer holds the run is carried out anew."""
        there = [self.runs[id] for id in sorted(ids) if id in self.runs]
        self.expected.flagged += [run.id for run in there if run.cancel_requested_at is not None]

    def _drop(self, drops: Iterable[int]) -> None:
        owners = set()
        for id in dict.fromkeys(drops):
            run = self.runs.get(id)
            if run is not None and run in self.timers():
                run.state, run.finished_at = lifecycle.CANCELLED, self.now
                owner = self.parents[run.parent_id]
                owner.open -= 1
                owner.cancelled += 1
                owners.add(owner.id)
        self._end(self._settled(sorted(owners)), "settle")

    def _evict(self, batch: Batch) -> None:
        for id, epoch, consumed in batch.evictions:
            run, parent = self.held(id, epoch), self.parents.get(id)
            if run and (parent.delivered if parent else 0) == consumed:
                run.state, run.owner = lifecycle.WAITING, None
                self.expected.evicted.add(id)
                if parent:
                    parent.consumed = consumed

    def _seal(self, seals: list[Seal]) -> None:
        said = [
            seal for seal in seals if self.undecided(seal.id) and self.held(self.runs[seal.id].parent_id, seal.epoch)
        ]
        for seal in said:
            self.parents.setdefault(seal.id, ModelParent(seal.id)).sealed = 1
        failing = [self.runs[seal.id] for seal in said if seal.error is not None]
        errors = [(self._counts(group.id), (group.id,)) for group in failing]
        self._end(
            [
                End(group.id, 0, group.parent_id, lifecycle.FAILED, None, error)
                for group, error in zip(failing, errors, strict=True)
            ],
            "decide",
        )
        sealed = [seal.id for seal in said if seal.error is None]
        self._end([self._failed(id, ()) for id in sealed if self.parents[id].failed and self._is_broken(id)], "decide")
        self._end(self._settled(sealed), "settle")

    def _fold(self, id: int, epoch: int) -> ModelRun | None:
        """Return a fold that is not over, if its owner runs in this epoch."""
        run = self.runs.get(id)
        is_there = run and run.kind == FOLD and run.state == lifecycle.WAITING and self.held(run.parent_id, epoch)
        return run if is_there else None

    def _checkpoint(self, point: Checkpoint) -> None:
        if fold := self._fold(point.id, point.epoch):
            fold.output, fold.progress = point.output, point.progress
        fold = self.runs.get(point.id)
        if point.group_id and fold and fold.progress == point.progress:
            for run in self.runs.values():
                if run.parent_id == point.group_id and run.seq and point.after < run.seq <= point.upto:
                    run.output = None

    def _end_folds(self, folds: list[Folded]) -> None:
        found = [(said, self._fold(said.id, said.epoch)) for said in folds]
        self._end(
            [
                End(
                    fold.id, fold.epoch, fold.parent_id, lifecycle.FAILED if said.error else lifecycle.COMPLETED,
                    said.output, said.error,
                )
                for said, fold in found if fold
            ],
            "settle",
        )  # fmt: skip

    def _cancel(self, cancels: Sequence[Cancel]) -> None:
        ends: dict[str, list[End]] = {}
        events: list[tuple[int, ModelRun, int]] = []
        known = self.runs.keys() & {cancel.id for cancel in cancels if cancel.is_again}
        again = sorted(id for id in known if self.runs[id].cancel_requested_at is not None)
        for id, event_id, _ in cancels:
            run = self.runs.get(id)
            if run is None or run.finished_at:
                continue
            run.cancel_requested_at = run.cancel_requested_at or self.now
            is_sealed = id in self.parents and self.parents[id].sealed
            if run.state == lifecycle.PAUSED:
                event = "cancel_paused"
            elif run.state == lifecycle.WAITING and (is_sealed or run.kind in (GROUP, FOLD)):
                event = "abandon"
            elif run.state == lifecycle.PENDING and not run.has_started:
                event = "cancel"
            elif run.kind == WORKFLOW:
                told = sum(child.kind == EVENT and child.parent_id == id for child in self.runs.values())
                events.append((event_id, run, 1 + told * (id in again)))
                continue
            else:
                assert run.kind == TASK
                self.expected.stopping.append(id)
                continue
            ends.setdefault(event, []).append(End(id, run.epoch, run.parent_id, lifecycle.CANCELLED))
        self._tell(events)  # before the ends of its children
        for event, rows in sorted(ends.items()):
            self._end(rows, event)
        self._ask_children(again, compensation=True)

    def _tell(self, events: list[tuple[int, ModelRun, int]]) -> None:
        told = []
        for event_id, run, number in events:
            fields = (event_id, run.root_id, run.id, run.epoch, 0, f"x:{number}", EVENT, "cancel", 0, None)
            row = NewRun(*fields, lifecycle.PENDING, compensates=1)
            if not self._holder(row):
                self._add(row)
                self.expected.told.add(event_id)
                told.append(End(event_id, 0, run.id, lifecycle.COMPLETED))
        self.expected.woken |= bool(told)  # a pending one was passed over while only its parent was asked
        self._end(told, "fire")
