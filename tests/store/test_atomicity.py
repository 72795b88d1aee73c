"""A batch is committed as a whole or not at all: on a full disk, after a refused statement, when the reply is lost."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fanfold.engine.writers import apply_for_sure, drive
from fanfold.errors import StoreUnavailable
from fanfold.model import lifecycle
from fanfold.model.clock import VirtualClock
from fanfold.model.commands import Batch, Progressed, Release, Retried
from fanfold.model.run import NewRun
from fanfold.store.database import BatchRejected, CommitUnknown, StoreBusy
from fanfold.store.store import Store
from tests.store.bench import OWNER, Bench
from tests.store.faults import FaultyDatabase

BIG = '"' + "x" * 20_000 + '"'


def everything(bench: Bench) -> list[list[dict[str, object]]]:
    return [bench.sql(f"SELECT * FROM {table}") for table in ("runs", "parents", "attempts", "meta")]


@contextmanager
def full_disk(bench: Bench, spare_pages: int) -> Iterator[None]:
    """Let the database grow by a few pages only."""
    (there,) = bench.sql("SELECT page_count FROM pragma_page_count")
    connection = bench.opened.writer._connection
    connection.execute(f"PRAGMA max_page_count = {there['page_count'] + spare_pages}")
    yield
    connection.execute("PRAGMA max_page_count = 1073741823")


@pytest.mark.parametrize("spare_pages", [0, 1, 3, 20, 60])
def test_nothing_of_a_batch_is_committed_on_a_full_disk(bench: Bench, spare_pages: int):
    parent = bench.started()
    children = bench.children(parent, 3)
    before = everything(bench)
    new = [bench.run(parent, input=BIG) for _ in range(20)]
    ends = [bench.end_of(child) for child in children]
    with full_disk(bench, spare_pages), pytest.raises((StoreBusy, BatchRejected)):
        bench.apply(new=new, ends=ends)
    assert everything(bench) == before
    assert bench.apply(new=new, ends=ends).refused == {}
    assert (bench.parent(parent)["spawned"], bench.parent(parent)["delivered"]) == (23, 3)


def test_a_disk_that_fills_up_while_a_result_is_written_loses_nothing(bench: Bench):
    parent = bench.started()
    child = bench.started(parent)
    end = bench.end_of(child)
    end.output = BIG
    before = everything(bench)
    with full_disk(bench, 1), pytest.raises((StoreBusy, BatchRejected)):
        bench.apply(new=[bench.run(parent)], ends=[end])
    assert everything(bench) == before
    assert bench.apply(ends=[end]).lost == set()


def test_after_the_transaction_is_gone_no_statement_is_run_alone(bench: Bench):
    bench.started()
    database = bench.opened.writer
    drive(database.begin())
    database._connection.execute("ROLLBACK")  # as SQLite does by itself on some errors
    with pytest.raises(BatchRejected, match="transaction is gone"):
        drive(database.execute("UPDATE runs SET state = 'failed'", {}))
    assert bench.state(1) == lifecycle.RUNNING


@pytest.mark.parametrize("nth", range(1, 13))
def test_a_statement_that_fails_takes_the_whole_batch_with_it(bench: Bench, nth: int):
    parent, other = bench.started(), bench.started()
    *children, again = bench.children(parent, 3)
    before = everything(bench)
    faulty = FaultyDatabase(bench.opened.writer)
    seen: list[str] = []

    def fail(statement: str) -> None:
        seen.append(statement)
        if len(seen) == nth:
            raise BatchRejected("planted")

    faulty.on_execute = fail
    batch = Batch(
        number=bench.number + 1,
        new=[bench.run(parent), bench.run(other)],
        returns=[bench.end_of(other)],
        ends=[bench.end_of(child, lifecycle.FAILED) for child in children],
        progress=[Progressed(again.id, 1, "1")],
        retries=[Retried(again.id, 1, 0, '"failed"')],
        releases=[Release(parent.id, 1)],
    )
    with pytest.raises(BatchRejected, match="planted"):
        drive(Store(faulty, OWNER).apply(batch, bench.now))
    assert len(seen) == nth
    assert everything(bench) == before


def test_a_row_with_an_id_that_is_taken_is_refused_with_its_whole_batch(bench: Bench):
    root = bench.started()
    with pytest.raises(BatchRejected):
        bench.apply(new=[bench.run(), NewRun(**{name: getattr(root, name) for name in root.__struct_fields__})])
    assert bench.count() == 1


def one_child(bench: Bench) -> tuple[Batch, NewRun]:
    """Return a batch that inserts a child, and the child."""
    child = bench.run(bench.started())
    return Batch(number=bench.number + 1, new=[child]), child


def test_a_reply_that_is_lost_after_the_commit_counts_as_committed(bench: Bench):
    batch, child = one_child(bench)
    faulty = FaultyDatabase(bench.opened.writer, after=(1,))
    outcome = drive(apply_for_sure(Store(faulty, OWNER), VirtualClock(), batch))
    assert (outcome.refused, faulty.commits, faulty.reopened) == ({}, 1, 1)
    assert bench.parent(bench.rows[child.parent_id])["spawned"] == 1


def test_a_reply_that_is_lost_before_the_commit_is_followed_by_another_try(bench: Bench):
    batch, child = one_child(bench)
    faulty = FaultyDatabase(bench.opened.writer, before=(1,))
    outcome = drive(apply_for_sure(Store(faulty, OWNER), VirtualClock(), batch))
    assert (outcome.refused, faulty.commits) == ({}, 2)
    assert bench.parent(bench.rows[child.parent_id])["spawned"] == 1


def test_a_reply_that_is_lost_before_and_then_after_the_commit_is_settled_as_well(bench: Bench):
    batch, child = one_child(bench)
    faulty = FaultyDatabase(bench.opened.writer, before=(1,), after=(2,))
    outcome = drive(apply_for_sure(Store(faulty, OWNER), VirtualClock(), batch))
    assert (outcome.refused, faulty.commits) == ({}, 2)
    assert bench.parent(bench.rows[child.parent_id])["spawned"] == 1


def test_a_commit_that_never_succeeds_is_told_to_whoever_waits(bench: Bench):
    batch, _ = one_child(bench)
    faulty = FaultyDatabase(bench.opened.writer, before=tuple(range(1, 10)))
    with pytest.raises(StoreBusy):
        drive(apply_for_sure(Store(faulty, OWNER), VirtualClock(), batch))
    assert bench.count() == 1


def test_a_disk_that_is_full_at_the_commit_leaves_a_store_that_goes_on(on_file: Bench):
    parent = on_file.started()
    before = everything(on_file)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises((CommitUnknown, StoreBusy)):
            on_file.apply(new=[on_file.run(parent, input=BIG) for _ in range(30)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    drive(on_file.opened.writer.rollback())
    drive(on_file.opened.writer.reopen())
    assert everything(on_file) == before
    on_file.children(parent, 3, input=BIG)
    assert on_file.count() == 4


def test_a_connection_that_cannot_be_opened_anew_can_be_used_or_tried_again(
    on_file: Bench, monkeypatch: pytest.MonkeyPatch
):
    database = on_file.opened.writer
    drive(database.begin())

    def fail() -> None:
        raise StoreUnavailable("planted")

    with monkeypatch.context() as patched:
        patched.setattr(database, "_open", fail)
        with pytest.raises(StoreUnavailable):
            drive(database.reopen())
    on_file.started()
