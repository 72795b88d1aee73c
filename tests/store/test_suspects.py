"""Runs whose process died whenever they were at work: started one by one, and at last not at all."""

import pytest

from fanfold.model import lifecycle
from fanfold.model.commands import ClaimRequest, Retried
from fanfold.model.run import MOST_CRASHES, SUSPECT, WORKFLOW
from tests.store.bench import QUEUE, Bench
from tests.store.test_retry import brought_to


def claimed_ids(outcome) -> list[int]:
    return [run.id for run in outcome.claimed]


# Claimed one at a time -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("crashes", range(MOST_CRASHES + 2))
def test_a_run_is_claimed_in_its_queue_or_as_a_suspect_or_not_at_all(bench: Bench, crashes: int):
    run = bench.suspect(crashes=crashes)
    in_queue = claimed_ids(bench.claim())
    assert in_queue == ([run.id] if crashes < SUSPECT else [])
    alone = claimed_ids(bench.claim_suspect())
    assert alone == ([run.id] if SUSPECT <= crashes < MOST_CRASHES else [])


def test_a_claim_passes_over_suspects_and_takes_what_is_behind_them(bench: Bench):
    bench.suspect(priority=9)
    bench.suspect()
    clean = [bench.started(state=lifecycle.PENDING, priority=priority) for priority in (9, 0)]
    outcome = bench.claim(most=2)
    assert claimed_ids(outcome) == [row.id for row in clean]


def test_suspects_are_claimed_one_by_one_oldest_first(bench: Bench):
    bench.now += 10
    young = bench.suspect()
    bench.now -= 5
    old, same = bench.suspect(), bench.suspect(priority=9, queue="other")
    bench.now += 10
    assert [claimed_ids(bench.claim_suspect()) for _ in range(4)] == [[old.id], [same.id], [young.id], []]


def test_a_claim_of_a_suspect_says_how_often_its_process_died(bench: Bench):
    run = bench.suspect()
    outcome = bench.claim_suspect()
    (claimed,) = outcome.claimed
    assert (claimed.id, claimed.epoch, claimed.attempt, claimed.crashes) == (run.id, 3, 1, 2)
    assert outcome.filled == [ClaimRequest(None, ("work",), 1)]
    assert bench.claim_suspect().filled == []


def test_only_a_suspect_whose_name_is_known_is_claimed(bench: Bench):
    bench.suspect(name="other")
    known = bench.suspect(name="play")
    assert claimed_ids(bench.claim_suspect("work", "play")) == [known.id]


def test_no_suspect_is_claimed_before_its_time(bench: Bench):
    run = bench.suspect()
    bench.now -= 1
    assert claimed_ids(bench.claim_suspect()) == []
    bench.now += 1
    assert claimed_ids(bench.claim_suspect()) == [run.id]


def test_a_suspect_that_runs_waits_or_has_ended_is_not_claimed(bench: Bench):
    run = bench.suspect()
    bench.claim_suspect()
    assert claimed_ids(bench.claim_suspect()) == []
    bench.end(run, epoch=3)
    assert (claimed_ids(bench.claim_suspect()), bench.row(run)["crashes"]) == ([], 2)


def test_a_suspect_task_that_is_to_be_cancelled_is_not_claimed(bench: Bench):
    parent = bench.started()
    run = bench.suspect(parent)
    bench.end(parent, state=lifecycle.FAILED)
    assert bench.row(run)["cancel_requested_at"] == bench.now
    assert claimed_ids(bench.claim_suspect()) == []
    bench.cancel(run)
    assert bench.state(run) == lifecycle.CANCELLED


def test_a_suspect_below_a_cancelled_parent_is_asked_to_cancel(bench: Bench):
    parent = bench.started()
    run = bench.suspect(parent)
    bench.cancel(parent)
    outcome = bench.claim_suspect()
    assert (claimed_ids(outcome), outcome.flagged) == ([], [run.id])
    assert outcome.filled == [ClaimRequest(None, ("work",), 1)]


def test_a_suspect_workflow_is_claimed_to_hear_of_its_cancel(bench: Bench):
    workflow = bench.suspect(kind=WORKFLOW)
    outcome = bench.cancel(workflow)
    assert (len(outcome.told), bench.state(workflow)) == (1, lifecycle.PENDING)
    assert claimed_ids(bench.claim()) == []
    assert claimed_ids(bench.claim_suspect()) == [workflow.id]


def test_a_body_that_returned_is_no_suspect_any_more(bench: Bench):
    parent = bench.suspect()
    bench.claim_suspect()
    bench.apply(new=[bench.run(parent, parent_epoch=3)])
    bench.give_back(parent, epoch=3)
    assert (bench.state(parent), bench.row(parent)["crashes"]) == (lifecycle.WAITING, 0)


def test_a_retried_suspect_is_claimed_in_its_queue_again(bench: Bench):
    run = bench.suspect()
    bench.claim_suspect()
    bench.apply(retries=[Retried(run.id, 3, 0, '""')])
    assert (claimed_ids(bench.claim_suspect()), claimed_ids(bench.claim())) == ([], [run.id])


def test_a_release_counts_the_crashes_that_it_names(bench: Bench):
    run = bench.started()
    bench.release(run, crashes=1)
    bench.claim()
    bench.release(run, epoch=3, crashes=1)
    row = bench.row(run)
    assert (row["crashes"], row["epoch"], row["state"], row["available_at"]) == (2, 4, lifecycle.PENDING, bench.now)


@pytest.mark.parametrize("epoch", [0, 2])
def test_a_release_of_another_epoch_counts_no_crash(bench: Bench, epoch: int):
    run = bench.started()
    bench.release(run, epoch=epoch, crashes=1)
    assert (bench.state(run), bench.row(run)["crashes"]) == (lifecycle.RUNNING, 0)


# Claimed by id -------------------------------------------------------------------------------------------------------


def test_a_claim_by_ids_takes_just_those(bench: Bench):
    one, other, two = (bench.started(state=lifecycle.PENDING, queue="any") for _ in range(3))
    outcome = bench.claim_of(two, one)
    assert (claimed_ids(outcome), outcome.filled) == ([one.id, two.id], [])
    assert bench.state(other) == lifecycle.PENDING


def test_a_claim_by_ids_takes_no_more_than_it_asked_for(bench: Bench):
    rows = [bench.started(state=lifecycle.PENDING) for _ in range(3)]
    outcome = bench.claim_of(*rows, most=2)
    assert claimed_ids(outcome) == [rows[0].id, rows[1].id]
    assert outcome.filled == [ClaimRequest(None, ("work",), 2, tuple(row.id for row in rows))]


def test_a_claim_by_ids_waits_for_the_delay(bench: Bench):
    run = bench.started()
    bench.retry(run, delay_ms=10)
    bench.now += 9
    assert claimed_ids(bench.claim_of(run)) == []
    bench.now += 1
    (claimed,) = bench.claim_of(run).claimed
    assert (claimed.id, claimed.epoch, claimed.attempt) == (run.id, 2, 2)


def test_a_claim_by_ids_takes_no_suspect(bench: Bench):
    run = bench.suspect()
    assert claimed_ids(bench.claim_of(run)) == []


@pytest.mark.parametrize("state", [state for state in lifecycle.STATES if state != lifecycle.PENDING])
def test_a_claim_by_ids_takes_only_what_is_pending(bench: Bench, state: str):
    run = bench.started() if state == lifecycle.RUNNING else brought_to(bench, state)
    before = bench.row(run)
    assert claimed_ids(bench.claim_of(run)) == []
    assert bench.row(run) == before


def test_a_claim_by_ids_of_what_is_not_there_takes_nothing(bench: Bench):
    assert claimed_ids(bench.claim_of(bench.run())) == []


def test_a_task_that_is_to_be_cancelled_is_not_claimed_by_its_id(bench: Bench):
    parent = bench.started()
    run, doomed = bench.children(parent, 2, state=lifecycle.PENDING)
    bench.apply(cancels=bench.requests_to_cancel(parent))
    bench.change(f"UPDATE runs SET cancel_requested_at = 1 WHERE id = {run.id}")
    outcome = bench.claim_of(run, doomed)
    assert (claimed_ids(outcome), outcome.flagged) == ([], [doomed.id])


def test_a_workflow_that_was_told_of_its_cancel_is_claimed_by_its_id(bench: Bench):
    workflow = bench.started(kind=WORKFLOW)
    bench.cancel(workflow)
    bench.release(workflow)
    assert claimed_ids(bench.claim_of(workflow)) == [workflow.id]


def test_claims_of_each_kind_in_one_batch_share_no_run(bench: Bench):
    suspect, one, two = bench.suspect(), *(bench.started(state=lifecycle.PENDING) for _ in range(2))
    by_id, alone = ClaimRequest(None, ("work",), 1, (two.id,)), ClaimRequest(None, ("work",), 1)
    in_queue = ClaimRequest(QUEUE, ("work",), 9)
    outcome = bench.apply(claims=[by_id, alone, in_queue, by_id, alone])
    assert claimed_ids(outcome) == [two.id, suspect.id, one.id]
    assert outcome.filled == [by_id, alone]


# Quarantined ---------------------------------------------------------------------------------------------------------


def test_a_quarantined_run_has_failed_and_is_delivered(bench: Bench):
    parent = bench.started()
    run, _open = bench.suspect(parent, crashes=3), bench.started(parent)
    bench.now += 3
    outcome = bench.quarantine(run, epoch=2)
    row = bench.row(run)
    assert (row["state"], row["owner"], row["finished_at"], row["seq"]) == (lifecycle.FAILED, None, bench.now, 1)
    assert (row["error"], row["output"], row["crashes"]) == ('{"type":"E"}', None, 3)
    assert ([end.id for end in outcome.ended[parent.id]], outcome.lost) == ([run.id], set())
    there = bench.parent(parent)
    assert [there[name] for name in ("open", "delivered", "failed", "cancelled")] == [1, 1, 1, 0]


def test_a_run_that_never_started_may_be_quarantined(bench: Bench):
    run = bench.started(state=lifecycle.PENDING)
    bench.quarantine(run, epoch=0)
    assert (bench.state(run), bench.row(run)["attempt"]) == (lifecycle.FAILED, 0)


@pytest.mark.parametrize("epoch", [1, 3])
def test_another_epoch_quarantines_nothing(bench: Bench, epoch: int):
    run = bench.suspect(crashes=3)
    before = bench.row(run)
    outcome = bench.quarantine(run, epoch=epoch)
    assert (outcome.lost, outcome.ended, bench.row(run)) == ({run.id}, {}, before)


@pytest.mark.parametrize("state", [state for state in lifecycle.STATES if state != lifecycle.PENDING])
def test_only_what_is_pending_is_quarantined(bench: Bench, state: str):
    run = bench.started(bench.started()) if state == lifecycle.RUNNING else brought_to(bench, state)
    before = bench.row(run), bench.sql("SELECT * FROM parents")
    assert bench.quarantine(run).lost == {run.id}
    assert (bench.row(run), bench.sql("SELECT * FROM parents")) == before


def test_a_quarantine_that_is_sent_again_is_refused(bench: Bench):
    parent = bench.started()
    run, _open = bench.suspect(parent), bench.started(parent)
    bench.quarantine(run, epoch=2)
    outcome = bench.quarantine(run, epoch=2)
    assert (outcome.lost, outcome.ended, bench.parent(parent)["open"]) == ({run.id}, {}, 1)


def test_quarantined_runs_are_numbered_in_the_order_asked_for_behind_the_ends_of_their_batch(bench: Bench):
    parent = bench.started()
    one, two, three = (bench.suspect(parent) for _ in range(3))
    last = bench.started(parent)
    quarantines = [bench.end_of(row, lifecycle.FAILED, epoch=2) for row in (three, one)]
    quarantines.insert(1, bench.end_of(two, lifecycle.FAILED, epoch=1))
    outcome = bench.apply(quarantines=quarantines, ends=[bench.end_of(last)])
    assert [end.id for end in outcome.ended[parent.id]] == [last.id, three.id, one.id]
    assert ([bench.row(row)["seq"] for row in (one, two, three, last)], outcome.lost) == ([3, None, 2, 1], {two.id})


def test_a_quarantined_run_asks_its_open_children_to_cancel(bench: Bench):
    run = bench.started()
    child, undo = bench.started(run), bench.started(run, compensates=1)
    bench.release(run, crashes=3)
    outcome = bench.quarantine(run, epoch=2)
    assert (outcome.flagged, bench.row(undo)["cancel_requested_at"]) == ([child.id], None)


def test_a_quarantined_child_settles_and_wakes_whoever_waits_for_it(bench: Bench):
    parent, workflow = bench.started(), bench.started(kind=WORKFLOW)
    first, second = bench.suspect(parent), bench.suspect(workflow)
    bench.give_back(parent)
    bench.evict(workflow, 0)
    outcome = bench.quarantine(first, second, epoch=2)
    assert (bench.state(parent), bench.state(workflow), outcome.woken) == (
        lifecycle.COMPLETED, lifecycle.PENDING, True,
    )  # fmt: skip


def test_a_cancel_in_the_batch_of_a_quarantine_finds_the_run_ended(bench: Bench):
    run = bench.suspect(crashes=3)
    quarantine = bench.end_of(run, lifecycle.FAILED, epoch=2)
    outcome = bench.apply(quarantines=[quarantine], cancels=bench.requests_to_cancel(run))
    assert ([end.id for end in outcome.ended[0]], bench.state(run)) == ([run.id], lifecycle.FAILED)
    assert bench.row(run)["cancel_requested_at"] is None


def test_a_run_that_was_asked_to_cancel_may_be_quarantined_first(bench: Bench):
    run = bench.started()
    bench.cancel(run)
    bench.release(run, crashes=3)
    bench.quarantine(run, epoch=2)
    assert bench.cancel(run).ended == {}
    assert bench.state(run) == lifecycle.FAILED
