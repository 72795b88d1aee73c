"""The store once more, with dicts and one command at a time: slow, plain, and nothing of its SQL.

`Model.apply` says what a batch must do. The order of kinds is the protocol's; within a kind commands take effect in
the order in which they were asked for.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from fanfold.model import lifecycle
from fanfold.model.commands import Batch, Cancel, ClaimRequest, Progressed, Release, Retried
from fanfold.model.run import EVENT, MOST_CRASHES, SUSPECT, TASK, TIMER, WORKFLOW, End, NewRun
from tests.store.bench import OWNER


@dataclass
class ModelRun:
    """A row of `runs`, as far as anything depends on it."""

    id: int
    root_id: int
    parent_id: int
    key: str | None
    kind: str
    name: str
    state: str
    queue: str
    priority: int
    available_at: int
    compensates: int
    epoch: int = 0
    attempt: int = 0
    crashes: int = 0
    owner: int | None = None
    seq: int | None = None
    cancel_requested_at: int | None = None
    finished_at: int | None = None
    blocked: str | None = None
    progress: str | None = None
    started_at: int | None = None
    output: str | None = None
    error: str | None = None

    @property
    def has_started(self) -> bool:
        return self.kind == WORKFLOW and self.epoch > 0


@dataclass
class ModelParent:
    """A row of `parents`."""

    id: int
    spawned: int = 0
    open: int = 0
    delivered: int = 0
    consumed: int = 0
    failed: int = 0
    cancelled: int = 0
    sealed: int = 0


@dataclass
class Expected:
    """What an Outcome must say."""

    ended: dict[int, list[int]] = field(default_factory=dict)
    first_seq: dict[int, int] = field(default_factory=dict)
    claimed: list[tuple[int, ...]] = field(default_factory=list)  # id, epoch, attempt, crashes, has_children
    filled: list[ClaimRequest] = field(default_factory=list)
    refused: dict[int, int | None] = field(default_factory=dict)
    doomed: set[int] = field(default_factory=set)
    blocked: set[int] = field(default_factory=set)
    lost: set[int] = field(default_factory=set)
    retried: set[int] = field(default_factory=set)
    returned: set[int] = field(default_factory=set)
    evicted: set[int] = field(default_factory=set)
    woken: bool = False
    told: set[int] = field(default_factory=set)
    stopping: list[int] = field(default_factory=list)
    flagged: list[int] = field(default_factory=list)


class Model:
    """All rows, and how a batch changes them."""

    def __init__(self) -> None:
        self.runs: dict[int, ModelRun] = {}
        self.parents: dict[int, ModelParent] = {}
        self.attempts: dict[tuple[int, int], tuple[int, str]] = {}
        self.failed: set[tuple[int, int]] = set()  # run and epoch of each of these

    def apply(self, batch: Batch, now: int) -> Expected:
        self.now, self.expected = now, Expected()
        self._insert(batch.new)
        for claim in batch.claims:
            self._claim(claim)
        self._note_progress(batch.progress)
        self._drop(batch.drops)
        self._return(batch.returns)
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

    # Looking -------------------------------------------------------------------------------------------------------

    def held(self, id: int, epoch: int | None = None) -> ModelRun | None:
        run = self.runs.get(id)
        is_held = run is not None and run.state == lifecycle.RUNNING and epoch in (None, run.epoch)
        return run if is_held else None

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

    # Doing ---------------------------------------------------------------------------------------------------------

    def _to_pending(self, run: ModelRun) -> None:
        run.state, run.owner, run.available_at = lifecycle.PENDING, None, self.now

    def _insert(self, new: list[NewRun]) -> None:
        doomed = [row for row in new if self._is_under_cancel(row) and not row.compensates and row.kind != TIMER]
        self.expected.doomed = {row.id for row in doomed if row.state == lifecycle.RUNNING}
        self.expected.flagged += [row.id for row in doomed]
        self._insert_rows(doomed, self.now)
        self._insert_rows([row for row in new if row not in doomed], None)

    def _insert_rows(self, new: list[NewRun], cancel_requested_at: int | None) -> None:
        # A statement sees the table as it was when it began.
        allowed = {row.id for row in new if row.parent_id == 0 or self.held(row.parent_id, row.parent_epoch)}
        refused = []
        for row in new:
            if row.id not in allowed or self._holder(row):
                refused.append(row)
            else:
                self._add(row, cancel_requested_at)
        for row in refused:
            holder = self._holder(row)
            self.expected.refused[row.id] = holder.id if holder else None

    def _is_under_cancel(self, row: NewRun | ModelRun) -> bool:
        above = [self.runs[id] for id in (row.parent_id, row.root_id) if id in self.runs and row.parent_id]
        return any(run.cancel_requested_at is not None for run in above)

    def _add(self, row: NewRun, cancel_requested_at: int | None = None) -> None:
        started = int(row.state == lifecycle.RUNNING and cancel_requested_at is None)
        self.runs[row.id] = ModelRun(
            row.id, row.root_id, row.parent_id, row.key, row.kind, row.name,
            lifecycle.RUNNING if started else lifecycle.PENDING, row.queue, row.priority, self.now + row.delay_ms,
            row.compensates, started, started, 0, OWNER if started else None, None, cancel_requested_at,
            started_at=self.now if started else None,
        )  # fmt: skip
        if row.parent_id:
            parent = self.parents.setdefault(row.parent_id, ModelParent(row.parent_id))
            parent.spawned += 1
            parent.open += 1

    def _may_start(self, run: ModelRun) -> bool:
        if run.cancel_requested_at is not None:
            return run.has_started  # it must hear of its cancel
        return bool(run.compensates) or not self._is_under_cancel(run)

    def _claim(self, claim: ClaimRequest) -> None:
        found = self._claimable(claim)[: claim.most]
        taken = [run for run in found if self._may_start(run)]
        for run in sorted(found, key=lambda run: run.id):
            if run not in taken:
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

    def _return(self, returns: Iterable[End]) -> None:
        at_once = []
        for end in returns:
            run, parent = self.held(end.id, end.epoch), self.parents.get(end.id)
            if run and parent and parent.open:
                run.state, run.owner, run.output, parent.sealed = lifecycle.WAITING, None, end.output, 1
                run.crashes = 0
                self.expected.returned.add(end.id)
            else:
                at_once.append(end)
        # Who returned in spite of a cancel request hands it on.
        self._ask_children([id for id in sorted(self.expected.returned) if self.runs[id].cancel_requested_at])
        self._end(at_once, "complete")

    def _end(self, ends: Iterable[End], event: str) -> None:
        ends = list({end.id: end for end in reversed(list(ends))}.values())[::-1]
        while ends:
            touched = sorted({end.parent_id for end in ends} & self.parents.keys())
            asleep = [id for id in touched if self.runs[id].state == lifecycle.WAITING and not self.parents[id].sealed]
            accepted = [end for end in ends if self._guard(end, event)]
            self.expected.lost |= {end.id for end in ends} - {end.id for end in accepted}
            for end in accepted:
                self._end_one(end)
            self._ask_children([end.id for end in accepted if end.state != lifecycle.COMPLETED])
            for id in asleep:
                if self.parents[id].delivered > self.parents[id].consumed:
                    self._to_pending(self.runs[id])
                    self.expected.woken = True
            ends, event = self._settled(touched), "settle"

    def _guard(self, end: End, event: str) -> bool:
        run = self.runs.get(end.id)
        return run is not None and run.epoch == end.epoch and run.state == lifecycle.source(event)

    def _end_one(self, end: End) -> None:
        run, parent = self.runs[end.id], self.parents.get(end.parent_id)
        run.state, run.output, run.error, run.owner, run.finished_at = end.state, end.output, end.error, None, self.now
        self.expected.ended.setdefault(end.parent_id, []).append(end.id)
        if parent:
            parent.open -= 1
            parent.delivered += 1
            parent.failed += end.state == lifecycle.FAILED
            parent.cancelled += end.state == lifecycle.CANCELLED
            run.seq = parent.delivered
        self.expected.first_seq.setdefault(end.parent_id, run.seq or 1)

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
        rows = []
        for id in ids:
            parent, run = self.parents.get(id), self.runs.get(id)
            if run and parent and parent.sealed and not parent.open and run.state == lifecycle.WAITING:
                rows.append(End(id, run.epoch, run.parent_id, lifecycle.COMPLETED, run.output))
        return rows

    def _evict(self, batch: Batch) -> None:
        for id, epoch, consumed in batch.evictions:
            run, parent = self.held(id, epoch), self.parents.get(id)
            if run and (parent.delivered if parent else 0) == consumed:
                run.state, run.owner = lifecycle.WAITING, None
                self.expected.evicted.add(id)
                if parent:
                    parent.consumed = consumed

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
            if run.state == lifecycle.PAUSED:
                event = "cancel_paused"
            elif run.state == lifecycle.WAITING and id in self.parents and self.parents[id].sealed:
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
        for event, rows in ends.items():
            self._end(rows, event)
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
        self._ask_children(again, compensation=True)
