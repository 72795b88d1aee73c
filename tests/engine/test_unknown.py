"""A commit of which nobody knows whether it took effect is looked up before it is made again, whatever goes wrong."""

import pytest

from fanfold.engine.committer import RETRY_MS
from fanfold.engine.writers import apply_for_sure, drive
from fanfold.errors import StoreUnavailable
from fanfold.model.clock import VirtualClock
from fanfold.model.commands import Batch, Outcome
from fanfold.store.database import BatchRejected, Parameters, StoreBusy
from fanfold.store.store import Store
from tests.engine.desk import Desk, on_a_loop, turn
from tests.store.bench import OWNER, Bench
from tests.store.faults import FaultyDatabase

CLOCK = VirtualClock()


class CutOff(FaultyDatabase):
    """A database to which no new connection can be made `cut` times, and whose number cannot be read `mute` times."""

    cut = 0
    mute = 0

    async def reopen(self) -> None:
        if self.cut:
            self.cut -= 1
            raise StoreUnavailable("cannot open: too many open files")
        await super().reopen()

    async def fetch(self, statement: str, parameters: Parameters) -> str | int | None:
        if self.mute and "commit_sequence" in statement:
            self.mute -= 1
            raise BatchRejected("cannot read")
        return await super().fetch(statement, parameters)


@pytest.fixture
def bench():
    bench = Bench("sqlite://")
    yield bench
    bench.close()


def a_child(bench: Bench) -> Batch:
    child = bench.run(bench.started())
    return Batch(number=bench.number + 1, new=[child])


def tries(store: Store, batch: Batch) -> tuple[Outcome, list[str]]:
    """Send a batch until the store says what came of it; return that, and what it said before."""
    said: list[str] = []
    while True:
        try:
            return drive(apply_for_sure(store, CLOCK, batch)), said
        except StoreBusy as busy:
            said.append(str(busy))
            assert len(said) < 9


@pytest.mark.parametrize("is_committed", [True, False])
@pytest.mark.parametrize(("cut", "mute"), [(1, 0), (4, 0), (0, 1), (0, 3), (2, 2)])
def test_a_batch_takes_effect_once_however_long_it_cannot_be_looked_up(
    bench: Bench, *, is_committed: bool, cut: int, mute: int
):
    batch = a_child(bench)
    database = CutOff(bench.opened.writer, **{"after" if is_committed else "before": (1,)})
    database.cut, database.mute = cut, mute
    outcome, said = tries(Store(database, OWNER), batch)
    assert (outcome.refused, len(said), batch.unknown) == ({}, cut + mute, None)
    assert database.commits == (1 if is_committed else 2)
    assert bench.parent(bench.rows[batch.new[0].parent_id])["spawned"] == 1


def test_the_cause_is_kept_while_the_outcome_is_unknown(bench: Bench):
    database = CutOff(bench.opened.writer, after=(1,))
    database.cut = 1
    _, said = tries(Store(database, OWNER), a_child(bench))
    assert said == ["lost after the commit; then: cannot open: too many open files"]


def test_a_commit_that_never_succeeds_says_why(bench: Bench):
    database = FaultyDatabase(bench.opened.writer, before=tuple(range(1, 10)))
    with pytest.raises(StoreBusy, match="lost before the commit"):
        drive(apply_for_sure(Store(database, OWNER), CLOCK, a_child(bench)))


def test_rows_that_were_there_before_are_not_counted_again(bench: Bench):
    parent = bench.started()
    rows = bench.children(parent, 3)
    fresh = bench.run(parent)
    for again in ([*rows, fresh], rows, rows[:1]):
        with pytest.raises(BatchRejected, match="id that is taken"):
            bench.apply(new=again)
    assert (bench.parent(parent)["spawned"], bench.parent(parent)["open"]) == (3, 3)


@on_a_loop
async def test_an_unknown_batch_comes_back_under_its_number():
    desk = Desk(sequence=6)
    first, second = desk.roots(2)
    desk.commits.spawn([first])
    await turn()
    batch = desk.writer.current
    assert batch is not None
    batch.unknown = Outcome(0)
    desk.writer.answer(StoreBusy("no answer"))
    desk.commits.spawn([second])
    desk.clock.move_to(desk.clock.now_ms() + RETRY_MS)
    assert (desk.writer.current, batch.number) == (batch, 7)
    batch.unknown = None
    await desk.settle()
    assert [batch.number for batch in desk.committed] == [7, 8]
