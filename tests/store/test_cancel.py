"""A cancel is a durable request; what it does depends on the kind of run and on how far it is."""

import pytest

from fanfold.model import lifecycle
from fanfold.model.commands import Block, Cancel, Release
from fanfold.model.run import EVENT, WORKFLOW
from tests.store.bench import Bench


@pytest.mark.parametrize("kind", ["task", WORKFLOW])
def test_a_run_that_has_not_started_is_cancelled_at_once(bench: Bench, kind: str):
    parent = bench.started()
    run = bench.started(parent, kind=kind, state=lifecycle.PENDING)
    outcome = bench.cancel(run)
    assert [(end.id, end.state) for end in outcome.ended[parent.id]] == [(run.id, lifecycle.CANCELLED)]
    assert (bench.state(run), bench.row(run)["cancel_requested_at"]) == (lifecycle.CANCELLED, bench.now)
    assert bench.claim().claimed == []


def test_a_running_task_is_flagged_and_its_worker_told(bench: Bench):
    run = bench.started()
    outcome = bench.cancel(run)
    assert (outcome.stopping, outcome.ended) == ([run.id], {})
    assert (bench.state(run), bench.row(run)["cancel_requested_at"]) == (lifecycle.RUNNING, bench.now)


def test_a_request_keeps_the_time_when_it_was_made(bench: Bench):
    run = bench.started()
    bench.cancel(run)
    bench.now += 5
    assert bench.cancel(run).stopping == [run.id]
    assert bench.row(run)["cancel_requested_at"] == bench.now - 5


def test_a_paused_run_is_cancelled_at_once(bench: Bench):
    run = bench.started()
    bench.apply(blocks=[Block(run.id, 1, "why")])
    bench.cancel(run)
    assert bench.state(run) == lifecycle.CANCELLED


def test_a_run_whose_body_has_returned_is_cancelled_with_its_open_children(bench: Bench):
    parent = bench.started()
    done, running = bench.children(parent, 2)
    bench.end(done)
    bench.give_back(parent)
    outcome = bench.cancel(parent)
    assert (bench.state(parent), outcome.flagged) == (lifecycle.CANCELLED, [running.id])
    assert (bench.row(parent)["output"], bench.row(running)["cancel_requested_at"]) == (None, bench.now)


@pytest.mark.parametrize("state", lifecycle.TERMINAL)
def test_a_run_that_has_ended_is_left_as_it_is(bench: Bench, state: str):
    run = bench.started()
    bench.end(run, state=state)
    before = bench.row(run)
    outcome = bench.cancel(run)
    assert (outcome.ended, outcome.stopping, bench.row(run)) == ({}, [], before)


def test_a_running_workflow_is_told_by_a_delivery(bench: Bench):
    workflow = bench.started(kind=WORKFLOW)
    outcome = bench.apply(cancels=[Cancel(workflow.id, 500)])
    assert (outcome.told, outcome.stopping) == ({500}, [])
    assert [end.id for end in outcome.ended[workflow.id]] == [500]
    event = bench.row(500)
    assert (event["kind"], event["key"], event["state"], event["seq"]) == (EVENT, "x:1", lifecycle.COMPLETED, 1)
    assert bench.state(workflow) == lifecycle.RUNNING


def test_a_workflow_is_told_once(bench: Bench):
    workflow = bench.started(kind=WORKFLOW)
    outcome = bench.apply(cancels=[Cancel(workflow.id, 500), Cancel(workflow.id, 501)])
    assert outcome.told == {500}
    assert bench.apply(cancels=[Cancel(workflow.id, 502)]).told == set()
    assert bench.parent(workflow)["delivered"] == 1


def test_a_cancel_takes_its_place_behind_what_was_delivered_before(bench: Bench):
    workflow = bench.started(kind=WORKFLOW)
    child = bench.started(workflow)
    outcome = bench.apply(ends=[bench.end_of(child)], cancels=[Cancel(workflow.id, 500)])
    assert [end.id for end in outcome.ended[workflow.id]] == [child.id, 500]
    assert (outcome.first_seq[workflow.id], bench.row(500)["seq"]) == (1, 2)


def test_a_workflow_out_of_memory_is_woken_claimed_and_told(bench: Bench):
    workflow = bench.started(kind=WORKFLOW)
    bench.started(workflow)
    bench.evict(workflow, 0)
    assert bench.cancel(workflow).woken is True
    assert [run.id for run in bench.claim().claimed] == [workflow.id]


def test_a_workflow_that_was_told_is_claimed_again_after_a_crash(bench: Bench):
    workflow = bench.started(kind=WORKFLOW)
    bench.cancel(workflow)
    bench.reopen()
    recovery = bench.recover()
    assert recovery.flagged == [workflow.id]
    bench.cancel(workflow)
    assert [(run.id, run.epoch) for run in bench.claim().claimed] == [(workflow.id, 3)]


def test_a_task_that_was_asked_to_stop_is_cancelled_after_a_crash(bench: Bench):
    task = bench.started()
    bench.cancel(task)
    bench.reopen()
    assert bench.recover().flagged == [task.id]
    bench.cancel(task)
    assert bench.state(task) == lifecycle.CANCELLED


def test_a_pending_run_that_is_cancelled_twice_in_one_batch_is_counted_once(bench: Bench):
    parent = bench.started()
    run, other = bench.children(parent, 2, state=lifecycle.PENDING)
    outcome = bench.cancel(run, run, other)
    assert [end.id for end in outcome.ended[parent.id]] == [run.id, other.id]
    assert (bench.parent(parent)["open"], bench.row(other)["seq"]) == (0, 2)


def test_a_cancel_goes_down_level_by_level(bench: Bench):
    root = bench.started(state=lifecycle.PENDING)
    bench.claim()
    child = bench.started(root)
    leaf = bench.started(child, state=lifecycle.PENDING)
    bench.cancel(root)
    outcome = bench.end(root, state=lifecycle.CANCELLED)
    assert outcome.flagged == [child.id]
    bench.cancel(child)
    outcome = bench.end(child, state=lifecycle.CANCELLED)
    assert outcome.flagged == [leaf.id]
    bench.cancel(leaf)
    assert {bench.state(run) for run in (root, child, leaf)} == {lifecycle.CANCELLED}
    assert bench.recover().flagged == []


def test_a_parent_and_its_children_may_be_cancelled_in_one_batch(bench: Bench):
    paused = bench.started()
    pending, running = bench.started(paused, state=lifecycle.PENDING), bench.started(paused)
    bench.apply(blocks=[Block(paused.id, 1, "why")])
    outcome = bench.cancel(running, pending, paused)
    assert outcome.stopping == [running.id]
    assert (bench.state(paused), bench.state(pending)) == (lifecycle.CANCELLED, lifecycle.CANCELLED)


def test_a_timer_of_a_failed_workflow_is_cancelled(bench: Bench):
    workflow = bench.started(kind=WORKFLOW)
    timer = bench.timer(workflow, 50)
    bench.apply(new=[timer])
    (flagged,) = bench.end(workflow, state=lifecycle.FAILED).flagged
    bench.cancel(bench.rows[flagged])
    assert bench.state(timer) == lifecycle.CANCELLED


def test_a_run_that_does_not_exist_is_cancelled_without_effect(bench: Bench):
    outcome = bench.apply(cancels=[Cancel(4711, 4712)])
    assert (outcome.ended, outcome.told, bench.count()) == ({}, set(), 0)


def test_a_body_that_returns_in_spite_of_a_cancel_request_hands_it_on_to_its_open_children(bench: Bench):
    parent = bench.started()
    child = bench.started(parent, state=lifecycle.PENDING)
    bench.cancel(parent)
    outcome = bench.give_back(parent)
    assert (outcome.returned, outcome.flagged) == ({parent.id}, [child.id])
    bench.cancel(child)
    assert (bench.state(child), bench.state(parent)) == (lifecycle.CANCELLED, lifecycle.COMPLETED)


def test_a_request_to_a_run_that_is_given_back_is_carried_out_anew(bench: Bench):
    task, workflow = bench.started(), bench.started(kind=WORKFLOW)
    bench.cancel(task, workflow)
    assert bench.apply(releases=[Release(task.id, 1), Release(workflow.id, 1)]).flagged == [task.id, workflow.id]
    outcome = bench.cancel(task, workflow)
    assert ([end.id for end in outcome.ended[0]], outcome.told) == ([task.id], set())
    assert [run.id for run in bench.claim().claimed] == [workflow.id]
