"""A body that returned while children are open waits for them; the commit that ends the last one completes it."""

import pytest

from fanfold.model import lifecycle
from fanfold.model.run import WORKFLOW
from tests.store.bench import Bench


def test_a_body_that_returns_without_open_children_is_complete(bench: Bench):
    parent = bench.started()
    bench.end(bench.started(parent))
    outcome = bench.give_back(parent)
    assert (outcome.returned, [end.id for end in outcome.ended[0]]) == (set(), [parent.id])
    assert (bench.state(parent), bench.row(parent)["output"]) == (lifecycle.COMPLETED, f'"out {parent.id}"')


def test_a_body_that_returns_before_its_children_waits_with_its_output(bench: Bench):
    parent = bench.started()
    bench.children(parent, 2)
    outcome = bench.give_back(parent)
    row = bench.row(parent)
    assert (outcome.returned, outcome.ended, outcome.lost) == ({parent.id}, {}, set())
    assert (row["state"], row["owner"], row["output"]) == (lifecycle.WAITING, None, f'"out {parent.id}"')
    assert (row["finished_at"], bench.parent(parent)["sealed"]) == (None, 1)


def test_the_last_child_completes_its_parent(bench: Bench):
    parent = bench.started()
    first, last = bench.children(parent, 2)
    bench.give_back(parent)
    assert 0 not in bench.end(first).ended
    outcome = bench.end(last)
    (ended,) = outcome.ended[0]
    assert (ended.id, ended.state, ended.output) == (parent.id, lifecycle.COMPLETED, f'"out {parent.id}"')
    assert bench.row(parent)["output"] == f'"out {parent.id}"'


@pytest.mark.parametrize("state", [lifecycle.FAILED, lifecycle.CANCELLED])
def test_a_last_child_that_does_not_complete_settles_its_parent_as_well(bench: Bench, state: str):
    parent = bench.started()
    child = bench.started(parent)
    bench.give_back(parent)
    bench.end(child, state=state)
    assert bench.state(parent) == lifecycle.COMPLETED


def test_several_levels_settle_in_one_commit(bench: Bench):
    runs = [bench.started()]
    for _ in range(5):
        runs.append(bench.started(runs[-1]))
    for run in runs[:-1]:
        bench.give_back(run)
    outcome = bench.end(runs[-1])
    assert {bench.state(run) for run in runs} == {lifecycle.COMPLETED}
    assert [outcome.ended[run.parent_id][0].id for run in reversed(runs)] == [run.id for run in reversed(runs)]
    assert [bench.row(run)["seq"] for run in runs] == [None, 1, 1, 1, 1, 1]


def test_a_settled_child_is_numbered_behind_those_that_ended_in_the_same_batch(bench: Bench):
    root = bench.started()
    parent, sibling = bench.children(root, 2)
    child = bench.started(parent)
    bench.give_back(parent)
    outcome = bench.end(child, sibling)
    assert [end.id for end in outcome.ended[root.id]] == [sibling.id, parent.id]
    assert (bench.row(sibling)["seq"], bench.row(parent)["seq"]) == (1, 2)


def test_returns_and_the_last_childs_end_in_one_batch_complete_the_parent(bench: Bench):
    parent = bench.started()
    child = bench.started(parent)
    bench.apply(returns=[bench.end_of(parent)], ends=[bench.end_of(child)])
    assert (bench.state(parent), bench.row(parent)["seq"]) == (lifecycle.COMPLETED, None)


def test_children_inserted_in_the_batch_of_the_return_are_waited_for(bench: Bench):
    parent = bench.started()
    child = bench.run(parent)
    outcome = bench.apply(new=[child], returns=[bench.end_of(parent)])
    assert outcome.returned == {parent.id}
    bench.end(child)
    assert bench.state(parent) == lifecycle.COMPLETED


def test_parents_and_leaves_that_return_in_one_batch_are_told_apart(bench: Bench):
    leaf, parent, stale = bench.started(), bench.started(), bench.started()
    bench.started(parent)
    outcome = bench.apply(returns=[bench.end_of(leaf), bench.end_of(parent), bench.end_of(stale, epoch=3)])
    assert (outcome.returned, outcome.lost) == ({parent.id}, {stale.id})
    assert [end.id for end in outcome.ended[0]] == [leaf.id]


@pytest.mark.parametrize("epoch", [0, 2])
def test_a_return_of_another_epoch_is_lost(bench: Bench, epoch: int):
    parent = bench.started()
    bench.started(parent)
    outcome = bench.give_back(parent, epoch=epoch)
    assert (outcome.lost, outcome.returned) == ({parent.id}, set())
    assert (bench.state(parent), bench.parent(parent)["sealed"]) == (lifecycle.RUNNING, 0)


def test_a_return_that_is_sent_again_changes_nothing(bench: Bench):
    parent = bench.started()
    bench.started(parent)
    bench.give_back(parent)
    before = bench.row(parent), bench.parent(parent)
    bench.give_back(parent)
    assert (bench.row(parent), bench.parent(parent)) == before


def test_who_waits_for_children_is_not_claimed(bench: Bench):
    parent = bench.started()
    first, _ = bench.children(parent, 2)
    bench.give_back(parent)
    outcome = bench.end(first)
    assert (outcome.woken, bench.claim().claimed) == (False, [])


def test_a_timer_that_is_dropped_after_its_owner_returned_settles_it(bench: Bench):
    parent = bench.started()
    timer = bench.timer(parent, 100)
    bench.apply(new=[timer])
    bench.give_back(parent)
    bench.apply(drops=[timer.id])
    assert bench.state(parent) == lifecycle.COMPLETED


def test_a_sweep_settles_only_who_is_sealed_and_has_no_open_child(bench: Bench):
    idle, busy = bench.started(), bench.started()
    child = bench.started(busy)
    bench.give_back(busy)
    outcome = bench.apply(settles=[idle.id, busy.id])
    assert outcome.ended == {}
    assert (bench.state(idle), bench.state(busy)) == (lifecycle.RUNNING, lifecycle.WAITING)
    bench.end(child)


def test_a_stale_return_beside_a_good_one_seals_nobody_who_left_memory(bench: Bench):
    evicted, parent = bench.started(kind=WORKFLOW), bench.started()
    bench.started(evicted)
    bench.started(parent)
    bench.evict(evicted, 0)
    outcome = bench.apply(returns=[bench.end_of(evicted), bench.end_of(parent)])
    assert (outcome.returned, outcome.lost) == ({parent.id}, {evicted.id})
    assert bench.parent(evicted)["sealed"] == 0
