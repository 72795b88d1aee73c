"""A failed attempt that another one follows: the run is claimable again, later, and the failure is kept for people."""

import contextlib

import pytest

from fanfold.model import lifecycle
from fanfold.model.commands import Block, Retried
from fanfold.model.run import WORKFLOW, NewRun
from fanfold.store.database import BatchRejected
from tests.store.bench import Bench


def brought_to(bench: Bench, state: str) -> NewRun:
    """Return a child in `state` that made one attempt and did not fail in it; a pending one has made none."""
    child = bench.started(bench.started(), state="pending" if state == "pending" else "running")
    if state == lifecycle.WAITING:
        bench.started(child)
        bench.give_back(child)
    elif state == lifecycle.PAUSED:
        bench.apply(blocks=[Block(child.id, 1, "why")])
    elif state != lifecycle.PENDING:
        bench.end(child, state=state)
    bench.now += 1
    return child


def test_a_retried_run_is_pending_for_its_next_attempt_after_the_delay(bench: Bench):
    run = bench.started()
    bench.now += 3
    outcome = bench.retry(run, delay_ms=250)
    row = bench.row(run)
    assert (outcome.retried, outcome.lost, outcome.ended, outcome.flagged) == ({run.id}, set(), {}, [])
    assert (row["state"], row["owner"], row["epoch"]) == (lifecycle.PENDING, None, 1)
    assert (row["attempt"], row["available_at"], row["finished_at"]) == (2, bench.now + 250, None)
    assert (row["error"], row["started_at"]) == (None, bench.now - 3)


def test_the_next_attempt_is_claimed_when_its_delay_is_over_and_not_before(bench: Bench):
    run = bench.started()
    bench.retry(run, delay_ms=250)
    bench.now += 249
    assert bench.claim().claimed == []
    bench.now += 1
    (claimed,) = bench.claim().claimed
    assert (claimed.id, claimed.epoch, claimed.attempt) == (run.id, 2, 2)
    assert bench.row(run)["started_at"] == bench.now - 250


def test_each_failed_attempt_is_kept_with_its_error_and_its_time(bench: Bench):
    run = bench.started()
    times = []
    for attempt in (1, 2, 3):
        bench.now += 10
        times.append(bench.now)
        bench.apply(retries=[Retried(run.id, attempt, 0, f'"error {attempt} é\\n"')])
        bench.claim()
    assert bench.attempts(run) == [(n, times[n - 1], f'"error {n} é\\n"') for n in (1, 2, 3)]
    assert bench.row(run)["attempt"] == 4


def test_a_failed_attempt_forgets_the_crashes_before_it(bench: Bench):
    run = bench.suspect(crashes=1)
    bench.claim()
    assert bench.row(run)["crashes"] == 1
    bench.retry(run, epoch=3)
    assert bench.row(run)["crashes"] == 0


def test_a_failed_attempt_leaves_what_the_run_said_of_itself(bench: Bench):
    run = bench.started()
    bench.report(run, '{"done":1}')
    bench.retry(run)
    assert bench.row(run)["progress"] == '{"done":1}'


@pytest.mark.parametrize("epoch", [0, 2])
def test_another_epoch_retries_nothing(bench: Bench, epoch: int):
    run = bench.started()
    before = bench.row(run)
    outcome = bench.retry(run, epoch=epoch)
    assert (outcome.lost, outcome.retried, bench.row(run)) == ({run.id}, set(), before)
    assert bench.count("attempts") == 0


@pytest.mark.parametrize("state", [state for state in lifecycle.STATES if state != lifecycle.RUNNING])
def test_what_does_not_run_is_not_retried(bench: Bench, state: str):
    run = brought_to(bench, state)
    before = bench.row(run)
    outcome = bench.retry(run, epoch=before["epoch"])
    assert bench.row(run) == before
    assert bench.count("attempts") == 0
    assert (outcome.lost, outcome.retried) == ({run.id}, set())


def test_a_retry_of_a_run_that_stood_still_and_was_resumed_is_lost(bench: Bench):
    run = bench.started()
    bench.apply(blocks=[Block(run.id, 1, "why")])
    bench.apply(resumes=[run.id])
    outcome = bench.retry(run)
    assert bench.row(run)["attempt"] == 1
    assert (outcome.lost, outcome.retried) == ({run.id}, set())


def test_a_retry_of_a_run_that_is_not_there_is_lost(bench: Bench):
    outcome = bench.apply(retries=[Retried(4711, 1, 0, '""')])
    assert (outcome.lost, outcome.retried, bench.count("attempts")) == ({4711}, set(), 0)


def test_a_dead_process_retries_nothing_any_more(bench: Bench):
    run = bench.started()
    bench.recover()
    before = bench.row(run)
    assert bench.retry(run).lost == {run.id}
    assert (bench.row(run), bench.attempts(run)) == (before, [])


def test_only_what_was_accepted_has_its_attempt_recorded(bench: Bench):
    good, ended, stale, other = (bench.started() for _ in range(4))
    bench.end(ended)
    bench.now += 1
    retries = [
        Retried(stale.id, 2, 0, '"stale"'), Retried(other.id, 1, 7, '"other"'), Retried(ended.id, 1, 0, '"ended"'),
        Retried(good.id, 1, 3, '"good"'),
    ]  # fmt: skip
    outcome = bench.apply(retries=retries)
    assert (outcome.retried, outcome.lost) == ({good.id, other.id}, {ended.id, stale.id})
    assert [bench.attempts(run) for run in (good, ended, stale, other)] == [
        [(1, bench.now, '"good"')], [], [], [(1, bench.now, '"other"')],
    ]  # fmt: skip
    assert [bench.row(run)["available_at"] - bench.now for run in (good, other)] == [3, 7]


def test_a_retry_that_is_sent_again_counts_no_second_attempt(bench: Bench):
    run = bench.started()
    bench.retry(run, delay_ms=5)
    before = bench.row(run), bench.attempts(run)
    bench.now += 1
    bench.retry(run, delay_ms=5)
    assert (bench.row(run), bench.attempts(run)) == before


def test_a_retry_that_is_sent_again_after_the_next_claim_is_lost(bench: Bench):
    run = bench.started()
    bench.retry(run)
    bench.claim()
    assert bench.retry(run).lost == {run.id}
    assert (bench.row(run)["attempt"], len(bench.attempts(run))) == (2, 1)


def test_one_run_that_is_retried_twice_in_one_batch_fails_once_at_most(bench: Bench):
    run = bench.started()
    with contextlib.suppress(BatchRejected):
        bench.retry(run, run)
    assert (len(bench.attempts(run)), bench.row(run)["attempt"]) in ((0, 1), (1, 2))


def test_an_end_and_a_retry_of_one_run_in_one_batch_end_it(bench: Bench):
    run = bench.started()
    outcome = bench.apply(retries=[Retried(run.id, 1, 0, '""')], ends=[bench.end_of(run)])
    assert ([end.id for end in outcome.ended[0]], outcome.retried, outcome.lost) == ([run.id], set(), {run.id})
    assert (bench.state(run), bench.attempts(run)) == (lifecycle.COMPLETED, [])


def test_a_claim_in_the_batch_of_a_retry_comes_before_it(bench: Bench):
    pending, run = bench.started(state=lifecycle.PENDING), bench.started()
    outcome = bench.apply(claims=bench.requests(), retries=[Retried(run.id, 1, 0, '""')])
    assert ([claimed.id for claimed in outcome.claimed], bench.state(run)) == ([pending.id], lifecycle.PENDING)


@pytest.mark.parametrize("state", lifecycle.TERMINAL)
def test_a_retried_child_is_delivered_once_at_its_end(bench: Bench, state: str):
    parent = bench.started()
    child, _open = bench.children(parent, 2)
    before = bench.parent(parent)
    for epoch in (1, 2):
        outcome = bench.retry(child, epoch=epoch)
        assert (outcome.ended, outcome.woken, bench.parent(parent)) == ({}, False, before)
        bench.claim()
    outcome = bench.end(child, state=state, epoch=3)
    assert ([end.id for end in outcome.ended[parent.id]], outcome.first_seq) == ([child.id], {parent.id: 1})
    there = bench.parent(parent)
    assert (bench.row(child)["seq"], there["open"], there["delivered"]) == (1, 1, 1)
    assert (there["failed"], there["cancelled"]) == (state == lifecycle.FAILED, state == lifecycle.CANCELLED)


def test_a_retried_child_keeps_a_workflow_asleep_and_a_parent_waiting(bench: Bench):
    workflow, parent = bench.started(kind=WORKFLOW), bench.started()
    first, second = bench.started(workflow), bench.started(parent)
    bench.evict(workflow, 0)
    bench.give_back(parent)
    bench.retry(first, second)
    assert (bench.state(workflow), bench.state(parent)) == (lifecycle.WAITING, lifecycle.WAITING)
    bench.claim()
    bench.end(first, second, epoch=2)
    assert (bench.state(workflow), bench.state(parent)) == (lifecycle.PENDING, lifecycle.COMPLETED)


def test_a_retried_run_keeps_its_children(bench: Bench):
    parent = bench.started()
    done, still = bench.children(parent, 2)
    bench.end(done)
    bench.retry(parent)
    assert bench.row(still)["cancel_requested_at"] is None
    (claimed,) = bench.claim().claimed
    assert (claimed.id, claimed.has_children, bench.parent(parent)["open"]) == (parent.id, 1, 1)


def test_between_two_attempts_a_run_starts_no_children(bench: Bench):
    parent = bench.started()
    bench.retry(parent)
    late = bench.run(parent)
    assert bench.apply(new=[late]).refused == {late.id: None}


def test_a_cancel_request_that_stands_on_a_retried_run_is_carried_out_anew(bench: Bench):
    parent = bench.started()
    asked, other = bench.children(parent, 2)
    bench.cancel(asked)
    outcome = bench.retry(other, asked)
    assert (outcome.retried, outcome.flagged) == ({asked.id, other.id}, [asked.id])
    assert [claimed.id for claimed in bench.claim().claimed] == [other.id]
    assert [end.id for end in bench.cancel(asked).ended[parent.id]] == [asked.id]
    assert (bench.state(asked), bench.row(asked)["seq"]) == (lifecycle.CANCELLED, 1)


def test_a_refused_retry_asks_for_no_cancel(bench: Bench):
    run = bench.started()
    bench.cancel(run)
    assert bench.retry(run, epoch=2).flagged == []


def test_a_retry_and_a_cancel_in_one_batch_cancel_the_run(bench: Bench):
    run = bench.started()
    outcome = bench.apply(retries=[Retried(run.id, 1, 1000, '""')], cancels=bench.requests_to_cancel(run))
    assert (outcome.retried, [end.id for end in outcome.ended[0]]) == ({run.id}, [run.id])
    assert (bench.state(run), len(bench.attempts(run))) == (lifecycle.CANCELLED, 1)


def test_below_a_cancelled_parent_no_next_attempt_starts(bench: Bench):
    parent = bench.started()
    child = bench.started(parent)
    bench.cancel(parent)
    bench.retry(child)
    outcome = bench.claim()
    assert (outcome.claimed, outcome.flagged) == ([], [child.id])


def test_a_process_that_dies_between_two_attempts_takes_nothing_from_the_delay(bench: Bench):
    run = bench.started()
    bench.retry(run, delay_ms=100)
    before = bench.row(run)
    bench.reopen()
    bench.now += 1
    assert bench.recover().released == 0
    assert bench.row(run) == before
