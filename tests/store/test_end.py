"""Runs end once, by whoever holds them, and are numbered without gap in their parent's order of delivery."""

import pytest

from fanfold.model import lifecycle
from fanfold.model.commands import Block
from fanfold.model.run import WORKFLOW
from tests.store.bench import Bench


def seqs(bench: Bench, rows) -> list[int | None]:
    return [bench.row(row)["seq"] for row in rows]


@pytest.mark.parametrize("state", lifecycle.TERMINAL)
def test_an_end_is_written_with_what_the_body_gave(bench: Bench, state: str):
    run = bench.started()
    bench.now += 3
    outcome = bench.end(run, state=state)
    row = bench.row(run)
    assert (row["state"], row["owner"], row["finished_at"], row["seq"]) == (state, None, bench.now, None)
    assert (row["output"] is None, row["error"] is None) == (state != "completed", state == "completed")
    assert [end.id for end in outcome.ended[0]] == [run.id]
    assert outcome.lost == set()


@pytest.mark.parametrize("epoch", [0, 2])
def test_another_epoch_ends_nothing(bench: Bench, epoch: int):
    parent = bench.started()
    child = bench.started(parent)
    outcome = bench.end(child, epoch=epoch)
    assert (outcome.lost, outcome.ended) == ({child.id}, {})
    assert bench.state(child) == lifecycle.RUNNING
    assert bench.parent(parent)["open"] == 1


def not_running(bench: Bench, state: str):
    """Bring a child that has children into `state`, in epoch 1."""
    child = bench.started(bench.started(), kind=WORKFLOW, state="pending" if state == "pending" else "running")
    if state == lifecycle.WAITING:
        bench.started(child)
        bench.give_back(child)
    elif state == lifecycle.PAUSED:
        bench.apply(blocks=[Block(child.id, 1, "why")])
    elif state != lifecycle.PENDING:
        bench.end(child, state=state)
    bench.now += 1
    return child


@pytest.mark.parametrize("state", [state for state in lifecycle.STATES if state != lifecycle.RUNNING])
def test_what_does_not_run_is_not_ended(bench: Bench, state: str):
    child = not_running(bench, state)
    before = bench.row(child), bench.sql("SELECT * FROM parents")
    outcome = bench.end(child, epoch=before[0]["epoch"])
    assert outcome.lost == {child.id}
    assert (bench.row(child), bench.sql("SELECT * FROM parents")) == before


def test_ends_are_numbered_in_the_order_asked_for_over_two_batches(bench: Bench):
    parent = bench.started()
    rows = bench.children(parent, 6)
    first = bench.end(rows[4], rows[1], rows[3])
    second = bench.end(rows[5], rows[0], rows[2])
    assert seqs(bench, rows) == [5, 2, 6, 3, 1, 4]
    assert (first.first_seq, second.first_seq) == ({parent.id: 1}, {parent.id: 4})
    assert [end.id for end in second.ended[parent.id]] == [rows[5].id, rows[0].id, rows[2].id]


def test_refused_ends_in_between_leave_no_gap(bench: Bench):
    parent = bench.started()
    rows = bench.children(parent, 5)
    bench.end(rows[1])
    bench.now += 1
    ends = [bench.end_of(row, epoch=9 if row is rows[3] else 1) for row in reversed(rows)]
    outcome = bench.apply(ends=ends)
    assert outcome.lost == {rows[1].id, rows[3].id}
    assert [end.id for end in outcome.ended[parent.id]] == [rows[4].id, rows[2].id, rows[0].id]
    assert seqs(bench, rows) == [4, 1, 3, None, 2]
    assert outcome.first_seq == {parent.id: 2}


def test_several_parents_are_numbered_apart(bench: Bench):
    one, two = bench.started(), bench.started()
    (a, b), (c, d) = bench.children(one, 2), bench.children(two, 2)
    bench.end(d, a, c, b)
    assert seqs(bench, (a, b, c, d)) == [1, 2, 2, 1]


def test_counters_say_how_the_children_ended(bench: Bench):
    parent = bench.started()
    rows = bench.children(parent, 5)
    states = [lifecycle.FAILED, lifecycle.COMPLETED, lifecycle.CANCELLED, lifecycle.FAILED]
    bench.apply(ends=[bench.end_of(row, state) for row, state in zip(rows, states, strict=False)])
    there = bench.parent(parent)
    assert [there[name] for name in ("spawned", "open", "delivered", "failed", "cancelled")] == [5, 1, 4, 2, 1]


def test_an_end_that_is_sent_again_is_refused(bench: Bench):
    parent = bench.started()
    child = bench.started(parent)
    bench.end(child)
    bench.now += 1
    assert bench.end(child).lost == {child.id}


def test_an_end_that_is_sent_again_within_the_same_millisecond_is_refused(bench: Bench):
    parent = bench.started()
    child, _open = bench.children(parent, 2)
    bench.end(child)
    outcome = bench.end(child)
    assert (outcome.lost, outcome.ended) == ({child.id}, {})
    assert bench.parent(parent)["open"] == 1


def test_a_root_that_ends_again_within_the_same_millisecond_is_refused(bench: Bench):
    root = bench.started()
    bench.end(root)
    outcome = bench.end(root)
    assert (outcome.lost, outcome.ended) == ({root.id}, {})


def test_one_run_that_is_ended_twice_in_one_batch_ends_once(bench: Bench):
    parent = bench.started()
    child, other, last = bench.children(parent, 3)
    bench.end(child, child, other)
    bench.end(last)
    assert sorted(seqs(bench, (child, other, last))) == [1, 2, 3]
    assert bench.parent(parent)["open"] == 0


def test_a_run_and_its_child_may_end_in_one_batch(bench: Bench):
    root = bench.started()
    parent = bench.started(root)
    child = bench.started(parent)
    bench.end(child, parent)
    assert (bench.state(parent), bench.parent(parent)["open"]) == (lifecycle.COMPLETED, 0)


def test_a_failed_run_asks_its_open_children_to_cancel_in_the_same_commit(bench: Bench):
    parent = bench.started()
    done, running = bench.children(parent, 2)
    undo = bench.started(parent, compensates=1)
    timer = bench.timer(parent, 1000)
    bench.apply(new=[timer])
    bench.end(done)
    outcome = bench.end(parent, state=lifecycle.FAILED)
    assert outcome.flagged == [running.id, timer.id]
    flags = [bench.row(row)["cancel_requested_at"] for row in (done, running, undo, timer)]
    assert flags == [None, bench.now, None, bench.now]


def test_a_child_may_end_after_its_parent_and_is_still_numbered(bench: Bench):
    parent = bench.started()
    child = bench.started(parent)
    bench.end(parent, state=lifecycle.FAILED)
    outcome = bench.end(child)
    assert (outcome.first_seq, bench.row(child)["seq"]) == ({parent.id: 1}, 1)
    assert bench.parent(parent)["open"] == 0


def test_a_completed_run_asks_nobody(bench: Bench):
    run = bench.started()
    assert bench.end(run).flagged == []


def test_an_empty_batch_commits_its_number(bench: Bench):
    outcome = bench.apply()
    assert (outcome.ended, outcome.claimed, outcome.refused, outcome.lost) == ({}, [], {}, set())
    assert bench.sql("SELECT commit_sequence AS n FROM meta") == [{"n": 1}]
