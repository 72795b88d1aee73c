"""The machine that does to a store what it does to the model, and compares: commands gather in a batch, as in life."""

import json
import shutil
import tempfile
from dataclasses import asdict, fields
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize

from fanfold.engine.writers import drive
from fanfold.model import lifecycle
from fanfold.model.commands import Batch, ClaimRequest, Outcome, Release
from fanfold.model.run import GROUP, SUSPECT, TASK, TIMER, WORKFLOW, End
from tests.store.bench import Bench
from tests.store.invariants import violations
from tests.store.model import Expected, Model, ModelParent, ModelRun

RUN_COLUMNS = [column.name for column in fields(ModelRun)]
PARENT_COLUMNS = [column.name for column in fields(ModelParent)]
FINISHED_AT, OUTPUT = RUN_COLUMNS.index("finished_at"), RUN_COLUMNS.index("output")
EPOCHS = st.sampled_from([0, 0, 0, 0, 0, 1, -1])  # added to the right one
PICK = st.integers(0, 99)
PICKS = st.lists(PICK, min_size=1, max_size=4)
LATE = st.integers(0, 9)  # 9: whoever it is, in whatever state
MORE = st.sampled_from([False, False, True])  # whether the batch waits for another command


class Machine(RuleBasedStateMachine):
    """Gathers commands in a batch, commits it to the store and to the model, and compares."""

    url = "sqlite://"

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.mkdtemp()
        self.bench = self.fresh_bench()
        # What a power cut would do is not looked at here, and the disk is not measured.
        self.bench.opened.writer._connection.execute("PRAGMA synchronous = OFF")
        self.model = Model()
        self.batch, self.last = Batch(), Batch()
        self.busy: set[int] = set()  # one transition a run and batch
        self.ended: dict[int, tuple[object, ...]] = {}
        # Something to begin with: a workflow with a timer and three children, of which one has children of its own
        # and one is a suspect.
        root = self.bench.run(kind=WORKFLOW)
        below = [self.bench.run(root, kind=kind) for kind in (TASK, WORKFLOW, TASK)]
        for rows in ([root], [*below, self.bench.timer(root, 3)], [self.bench.run(below[1]), self.bench.run(below[1])]):
            self.batch.new += rows
            self.commit(more=False)
        self.batch.releases.append(Release(below[2].id, 1, SUSPECT))
        self.commit(more=False)
        # And two groups: one that its first failure ends, and one that runs two members at a time.
        for policy in ({}, {"failures": "collect", "max_failures": 1, "concurrency": 2}):
            group = self.bench.group_row(root, **policy)
            members = [self.bench.member_row(group, is_held=int(bool(policy))) for _ in range(4)]
            self.batch.new += [group, *members]
            self.commit(more=False)
        # The second has a fold, and two of its members have ended.
        self.batch.new.append(self.bench.fold_row(group))
        self.batch.claims.append(ClaimRequest(None, ("work",), 2, tuple(member.id for member in members)))
        self.commit(more=False)
        self.batch.ends += [self.bench.end_of(member) for member in members[:2]]
        self.commit(more=False)

    def fresh_bench(self) -> Bench:
        return Bench(self.url.format(self.folder))

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            self.commit(more=False)
            self.bench.close()
            shutil.rmtree(self.folder)

    # Choosing ------------------------------------------------------------------------------------------------------

    def pick(self, number: int, *states: str, kinds: tuple[str, ...] = (TASK, WORKFLOW)) -> ModelRun | None:
        """Return one of the runs in these states that this batch has not touched; the newest are picked first."""
        runs = [
            run for run in reversed(self.model.runs.values())
            if run.kind in kinds and run.id not in self.busy and (not states or run.state in states)
        ]  # fmt: skip
        return runs[number % len(runs)] if runs else None

    def end_of(self, run: ModelRun, state: str, epoch: int) -> End:
        output = f'"{run.id}"' if state == lifecycle.COMPLETED else None
        error = '{"type":"E"}' if state == lifecycle.FAILED else None
        return End(run.id, run.epoch + epoch, run.parent_id, state, output, error)

    # Committing and comparing --------------------------------------------------------------------------------------

    def commit(self, more: bool) -> None:  # noqa: FBT001 - drawn by each rule
        if more or not len(self.batch):
            return
        batch, self.batch, self.busy = self.batch, Batch(), set()
        self.last = batch
        expected = self.model.apply(batch, self.bench.now)
        self.bench.number += 1
        batch.number = self.bench.number
        outcome = drive(self.bench.store.apply(batch, self.bench.now))
        assert told(outcome) == asdict(expected)
        if batch.fires_timers or any(row.kind == TIMER for row in batch.new):
            assert outcome.next_timer == self.model.next_timer()
        self.compare()

    def compare(self) -> None:
        connection = self.bench.opened.writer._connection
        found = connection.execute(f"SELECT {', '.join(RUN_COLUMNS)} FROM runs ORDER BY id").fetchall()
        rows = [plain(row) for row in found]
        assert rows == [tuple(vars(run).values()) for _, run in sorted(self.model.runs.items())]
        parents = connection.execute(f"SELECT {', '.join(PARENT_COLUMNS)} FROM parents ORDER BY id").fetchall()
        assert parents == [tuple(vars(parent).values()) for _, parent in sorted(self.model.parents.items())]
        attempts = connection.execute(
            "SELECT run_id, attempt, finished_at, error FROM attempts ORDER BY 1, 2"
        ).fetchall()
        assert attempts == [(*made, *failed) for made, failed in sorted(self.model.attempts.items())]
        assert violations(connection) == []
        assert connection.execute("SELECT commit_sequence FROM meta").fetchall() == [(self.bench.number,)]
        # Who has ended never changes again.
        ended = {row[0]: row for row in rows if row[FINISHED_AT] is not None}
        for id, before in self.ended.items():
            after = ended[id]
            # A value that a fold has taken in may be dropped.
            assert after == before or after == (*before[:OUTPUT], None, *before[OUTPUT + 1 :])
        self.ended = ended


def plain(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a row as the model has it: of what is recorded of a group, what must be in it."""
    values = dict(zip(RUN_COLUMNS, row, strict=True))
    if values["kind"] == GROUP:
        if values["output"]:
            values["output"] = counts_in(json.loads(values["output"]))
        if values["error"]:
            error = json.loads(values["error"])
            values["error"] = counts_in(error["summary"]), tuple(failure["run_id"] for failure in error["failures"])
        if values["progress"]:
            kinds = json.loads(values["progress"])["kinds"]
            examples = [example["run_id"] for kind in kinds for example in kind["examples"]]
            values["progress"] = sum(kind["count"] for kind in kinds), tuple(examples)
    return tuple(values.values())


def counts_in(summary: dict[str, Any]) -> tuple[int, ...]:
    return summary["spawned"], summary["completed"], summary["failed"], summary["cancelled"]


def told(outcome: Outcome) -> dict[str, object]:
    """Return what an Outcome says, in the form of Expected."""
    said = {name.name: getattr(outcome, name.name) for name in fields(Expected)}
    return said | {
        "ended": {parent: [end.id for end in ends] for parent, ends in outcome.ended.items()},
        "claimed": [(run.id, run.epoch, run.attempt, run.crashes, run.has_children) for run in outcome.claimed],
        "refused": {id: existing.id if existing else None for id, existing in outcome.refused.items()},
    }
