"""Claims: by priority, then age, among the names that the worker knows, no more than it asked for."""

from fanfold.model import lifecycle
from fanfold.model.commands import ClaimRequest, Release
from fanfold.model.run import Claimed
from tests.store.bench import OWNER, QUEUE, Bench


def ids(claimed: list[Claimed]) -> list[int]:
    return [run.id for run in claimed]


def test_a_claim_raises_the_epoch_and_takes_the_run(bench: Bench):
    row = bench.started(state=lifecycle.PENDING, input='{"x":1}', tags='{"a":"b"}', priority=2)
    bench.now += 5
    (claimed,) = bench.claim().claimed
    assert (claimed.id, claimed.epoch, claimed.attempt, claimed.input, claimed.tags) == (
        row.id, 1, 1, '{"x":1}', '{"a":"b"}',
    )  # fmt: skip
    assert (claimed.created_at, claimed.has_children, claimed.crashes) == (bench.now - 5, 0, 0)
    there = bench.row(row)
    assert (there["state"], there["owner"], there["started_at"]) == (lifecycle.RUNNING, OWNER, bench.now)


def test_the_oldest_of_the_highest_priority_comes_first(bench: Bench):
    low, old, young = (bench.started(state=lifecycle.PENDING, priority=p) for p in (-1, 4, 4))
    bench.now += 1
    late = bench.started(state=lifecycle.PENDING, priority=9)
    assert ids(bench.claim(most=2).claimed) == [late.id, old.id]
    assert ids(bench.claim(most=2).claimed) == [young.id, low.id]


def test_a_claimed_run_is_not_claimed_again(bench: Bench):
    bench.started(state=lifecycle.PENDING)
    assert len(bench.claim().claimed) == 1
    assert bench.claim().claimed == []


def test_two_claims_in_one_batch_share_no_run(bench: Bench):
    rows = [bench.started(state=lifecycle.PENDING) for _ in range(3)]
    request = ClaimRequest(QUEUE, ("work",), 2)
    assert ids(bench.apply(claims=[request, request]).claimed) == [row.id for row in rows]


def test_only_known_names_of_the_queue_are_claimed(bench: Bench):
    known = bench.started(state=lifecycle.PENDING, name="b")
    bench.started(state=lifecycle.PENDING, name="c")
    bench.started(state=lifecycle.PENDING, name="b", queue="other")
    assert ids(bench.claim("a", "b").claimed) == [known.id]


def test_no_run_is_claimed_before_its_delay(bench: Bench):
    bench.started(state=lifecycle.PENDING, delay_ms=10)
    bench.now += 9
    assert bench.claim().claimed == []
    bench.now += 1
    assert len(bench.claim().claimed) == 1


def test_a_delayed_run_of_high_priority_holds_nobody_up(bench: Bench):
    bench.started(state=lifecycle.PENDING, priority=9, delay_ms=10)
    ready = bench.started(state=lifecycle.PENDING)
    assert ids(bench.claim(most=1).claimed) == [ready.id]


def test_a_claim_that_filled_its_limit_says_so(bench: Bench):
    for _ in range(3):
        bench.started(state=lifecycle.PENDING)
    full = bench.claim(most=2)
    assert full.filled == [ClaimRequest(QUEUE, ("work",), 2)]
    assert bench.claim(most=2).filled == []


def test_a_claim_fills_up_over_several_names_and_priorities(bench: Bench):
    for name, priority in (("a", 0), ("b", 5), ("a", 3), ("b", 0)):
        bench.started(state=lifecycle.PENDING, name=name, priority=priority)
    assert sorted(ids(bench.claim("a", "b", most=4).claimed)) == [1, 2, 3, 4]


def test_a_task_that_is_to_be_cancelled_is_not_claimed(bench: Bench):
    parent = bench.started()
    child = bench.started(parent, state=lifecycle.PENDING)
    bench.end(parent, state=lifecycle.FAILED)
    assert bench.row(child)["cancel_requested_at"] == bench.now
    assert bench.claim().claimed == []


def test_a_run_claimed_in_the_batch_that_inserts_it_starts_once(bench: Bench):
    row = bench.run(state=lifecycle.PENDING)
    outcome = bench.apply(new=[row], claims=[ClaimRequest(QUEUE, ("work",), 1)])
    assert ids(outcome.claimed) == [row.id]
    assert bench.row(row)["epoch"] == 1


def test_a_claim_knows_whether_the_run_has_children(bench: Bench):
    parent = bench.started()
    bench.started(parent)
    bench.apply(releases=[Release(parent.id, 1)])
    (claimed,) = bench.claim().claimed
    assert (claimed.has_children, claimed.epoch) == (1, 3)
