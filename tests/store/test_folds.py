"""Folds and pages: what an owner reads of its group is recorded, so that no crash loses or repeats any of it."""

import pytest

from fanfold.model import lifecycle
from fanfold.model.commands import Checkpoint, Folded
from fanfold.model.groups import COLLECT
from fanfold.model.run import NewRun
from tests.store.bench import Bench


@pytest.fixture
def ended(bench: Bench) -> NewRun:
    """A group of three members that have ended, one of them failed."""
    group = bench.group(bench.started(), failures=COLLECT)
    members = bench.members(group, 4)
    bench.end(*members[:2])
    bench.end(members[2], state=lifecycle.FAILED)
    return group


def outputs(bench: Bench, group: NewRun) -> list[bool]:
    """Tell of each member, in the order of their ends, whether it has a value."""
    return [row["output"] is not None for row in bench.sql(
        "SELECT output FROM runs WHERE parent_id = :id AND seq IS NOT NULL ORDER BY seq", id=group.id
    )]  # fmt: skip


def test_a_checkpoint_is_the_value_and_how_far_it_is(bench: Bench, ended: NewRun):
    fold = bench.fold(ended)
    bench.checkpoint(fold, 2)
    row = bench.row(fold)
    assert (row["state"], row["output"], row["progress"]) == (lifecycle.WAITING, '"2"', '{"done":2}')
    assert outputs(bench, ended) == [True, True, False]


def test_an_owner_that_lost_its_lease_records_nothing_of_a_fold(bench: Bench, ended: NewRun):
    fold = bench.fold(ended)
    bench.release(bench.rows[1])
    bench.checkpoint(fold, 2, ended.id, 0, 2)
    bench.apply(folds=[Folded(fold.id, 1, "1")])
    row = bench.row(fold)
    assert (row["state"], row["output"], row["progress"]) == (lifecycle.WAITING, None, None)
    assert outputs(bench, ended) == [True, True, False]


def test_values_that_are_in_a_fold_are_dropped_with_the_checkpoint(bench: Bench, ended: NewRun):
    fold = bench.fold(ended)
    bench.checkpoint(fold, 1, ended.id, 0, 1)
    assert outputs(bench, ended) == [False, True, False]
    bench.checkpoint(fold, 3, ended.id, 1, 3)
    assert outputs(bench, ended) == [False, False, False]
    assert bench.sql("SELECT count(*) AS n FROM runs WHERE parent_id = :id AND error IS NOT NULL", id=ended.id) == [
        {"n": 1}
    ]


def test_the_values_of_several_folds_are_dropped_in_one_batch(bench: Bench, ended: NewRun):
    other = bench.group(bench.rows[1])
    bench.end(*bench.members(other, 2))
    folds = [bench.fold(ended), bench.fold(other)]
    bench.apply(
        checkpoints=[
            Checkpoint(fold.id, 1, "0", '{"done":1}', source.id, 0, 1)
            for fold, source in zip(folds, (ended, other), strict=True)
        ]
    )
    assert (outputs(bench, ended), outputs(bench, other)) == ([False, True, False], [False, True])


@pytest.mark.parametrize(("error", "state"), [(None, lifecycle.COMPLETED), ('{"type":"E"}', lifecycle.FAILED)])
def test_the_end_of_a_fold_is_delivered_to_its_owner(bench: Bench, ended: NewRun, error: str | None, state: str):
    fold = bench.fold(ended)
    bench.checkpoint(fold, 3)
    outcome = bench.apply(folds=[Folded(fold.id, 1, None if error else "3", error)])
    assert [end.id for end in outcome.ended[1]] == [fold.id]
    assert (bench.state(fold), bench.row(fold)["output"]) == (state, None if error else "3")


def test_a_fold_that_is_over_takes_no_checkpoint(bench: Bench, ended: NewRun):
    fold = bench.fold(ended)
    bench.apply(folds=[Folded(fold.id, 1, "3")])
    before = bench.row(fold)
    bench.checkpoint(fold, 1)
    assert bench.apply(folds=[Folded(fold.id, 1, "4")]).ended == {}
    assert bench.row(fold) == before


def test_a_cancelled_fold_ends_at_once(bench: Bench, ended: NewRun):
    fold = bench.fold(ended)
    bench.checkpoint(fold, 2)
    bench.cancel(fold)
    assert (bench.state(fold), bench.state(ended)) == (lifecycle.CANCELLED, lifecycle.WAITING)


def test_folds_and_pages_end_with_their_owner(bench: Bench, ended: NewRun):
    owner, fold, page = bench.rows[1], bench.fold(ended), bench.page_row(ended)
    bench.apply(new=[page])
    outcome = bench.end(owner, state=lifecycle.FAILED)
    assert sorted(outcome.flagged) == [ended.id, fold.id, page.id]
    bench.cancel(ended, fold, page)
    assert {bench.state(row) for row in (ended, fold, page)} == {lifecycle.CANCELLED}


def test_a_page_is_delivered_once(bench: Bench, ended: NewRun):
    page = bench.page_row(ended)
    bench.apply(new=[page])
    outcome = bench.apply(pages=[bench.end_of(page, epoch=0)])
    assert [end.id for end in outcome.ended[1]] == [page.id]
    assert (bench.state(page), bench.row(page)["seq"]) == (lifecycle.COMPLETED, 1)
    assert bench.apply(pages=[bench.end_of(page, epoch=0)]).lost == {page.id}


def test_a_page_is_no_timer_whatever_its_task_is_called(bench: Bench, ended: NewRun):
    page = bench.page_row(ended, name="sleep")
    bench.apply(new=[page])
    outcome = bench.apply(fires_timers=True)
    assert (outcome.next_timer, outcome.ended, bench.state(page)) == (None, {}, lifecycle.PENDING)
