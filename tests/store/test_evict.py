"""A workflow leaves memory only when it has seen everything, and comes back with whatever is delivered next."""

import pytest

from fanfold.model import lifecycle
from fanfold.model.commands import Eviction
from fanfold.model.run import WORKFLOW
from tests.store.bench import Bench


@pytest.fixture
def workflow(bench: Bench):
    """A running workflow with four open children."""
    row = bench.started(kind=WORKFLOW)
    bench.children(row, 4)
    return row


def children_of(bench: Bench, parent) -> list:
    return [row for row in bench.rows.values() if row.parent_id == parent.id]


def test_who_has_seen_everything_leaves(bench: Bench, workflow):
    first, *_ = children_of(bench, workflow)
    bench.end(first)
    assert bench.evict(workflow, 1).evicted == {workflow.id}
    row = bench.row(workflow)
    assert (row["state"], row["owner"], bench.parent(workflow)["consumed"]) == (lifecycle.WAITING, None, 1)


@pytest.mark.parametrize("consumed", [0, 2])
def test_who_has_not_seen_everything_stays(bench: Bench, workflow, consumed: int):
    bench.end(children_of(bench, workflow)[0])
    assert bench.evict(workflow, consumed).evicted == set()
    assert (bench.state(workflow), bench.parent(workflow)["consumed"]) == (lifecycle.RUNNING, 0)


def test_another_epoch_evicts_nobody(bench: Bench, workflow):
    assert bench.evict(workflow, 0, epoch=2).evicted == set()


def test_a_delivery_in_the_batch_of_the_eviction_prevents_it(bench: Bench, workflow):
    outcome = bench.apply(ends=[bench.end_of(children_of(bench, workflow)[0])], evictions=[Eviction(workflow.id, 1, 0)])
    assert (outcome.evicted, bench.state(workflow)) == (set(), lifecycle.RUNNING)


def test_a_delivery_wakes_who_has_left_in_the_same_transaction(bench: Bench, workflow):
    bench.evict(workflow, 0)
    bench.now += 7
    outcome = bench.end(children_of(bench, workflow)[2])
    row = bench.row(workflow)
    assert (outcome.woken, row["state"], row["available_at"]) == (True, lifecycle.PENDING, bench.now)
    (claimed,) = bench.claim().claimed
    assert (claimed.id, claimed.epoch, claimed.attempt) == (workflow.id, 2, 1)


def test_a_delivery_to_a_running_workflow_wakes_nobody(bench: Bench, workflow):
    assert bench.end(children_of(bench, workflow)[0]).woken is False


def test_an_evicted_workflow_may_leave_again_after_it_has_read(bench: Bench, workflow):
    first, second, *_ = children_of(bench, workflow)
    bench.evict(workflow, 0)
    bench.end(first)
    bench.claim()
    assert bench.evict(workflow, 1, epoch=1).evicted == set()
    assert bench.evict(workflow, 1, epoch=2).evicted == {workflow.id}
    assert bench.end(second).woken is True


def test_a_stale_eviction_beside_a_good_one_takes_nothing_back(bench: Bench, workflow):
    other = bench.started(kind=WORKFLOW)
    bench.started(other)
    first, *_ = children_of(bench, workflow)
    bench.end(first)
    bench.evict(workflow, 1)
    outcome = bench.apply(evictions=[Eviction(workflow.id, 0, 0), Eviction(other.id, 1, 0)])
    assert outcome.evicted == {other.id}
    assert bench.parent(workflow)["consumed"] == 1


def test_a_body_that_has_returned_is_not_evicted(bench: Bench, workflow):
    bench.give_back(workflow)
    other = bench.started(kind=WORKFLOW)
    bench.started(other)
    assert bench.apply(evictions=[Eviction(workflow.id, 1, 0), Eviction(other.id, 1, 0)]).evicted == {other.id}
    for child in children_of(bench, workflow):
        bench.end(child)
    assert bench.state(workflow) == lifecycle.COMPLETED


def test_a_workflow_without_children_leaves_and_comes_back_with_its_first_delivery(bench: Bench):
    workflow = bench.started(kind=WORKFLOW)
    assert bench.evict(workflow, 0).evicted == {workflow.id}
    assert bench.cancel(workflow).woken is True
    assert [run.id for run in bench.claim().claimed] == [workflow.id]
