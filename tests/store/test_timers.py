"""Timers are rows: never early, fired in order of their due times, dropped without a place in the order."""

from fanfold.model import lifecycle
from fanfold.model.run import WORKFLOW
from tests.store.bench import Bench


def owner(bench: Bench):
    return bench.started(kind=WORKFLOW)


def test_a_timer_is_due_at_its_commit_and_its_delay(bench: Bench):
    workflow = owner(bench)
    outcome = bench.apply(new=[bench.timer(workflow, 250), bench.timer(workflow, 90)])
    assert outcome.next_timer == bench.now + 90
    assert [row["available_at"] - bench.now for row in bench.sql("SELECT * FROM runs WHERE kind = 'timer'")] == [
        250, 90,
    ]  # fmt: skip


def test_no_timer_fires_early(bench: Bench):
    workflow = owner(bench)
    timer = bench.timer(workflow, 100)
    bench.apply(new=[timer])
    bench.now += 99
    outcome = bench.apply(fires_timers=True)
    assert (outcome.ended, outcome.next_timer) == ({}, bench.now + 1)
    bench.now += 1
    outcome = bench.apply(fires_timers=True)
    assert ([end.id for end in outcome.ended[workflow.id]], outcome.next_timer) == ([timer.id], None)
    assert (bench.state(timer), bench.row(timer)["seq"]) == (lifecycle.COMPLETED, 1)


def test_due_timers_fire_in_the_order_of_their_due_times(bench: Bench):
    workflow = owner(bench)
    timers = [bench.timer(workflow, delay) for delay in (30, 10, 20, 10, 99)]
    bench.apply(new=timers)
    bench.now += 50
    bench.apply(fires_timers=True)
    assert [bench.row(timer)["seq"] for timer in timers] == [4, 1, 3, 2, None]


def test_more_timers_than_one_commit_takes_are_left_to_the_next(bench: Bench):
    workflow = owner(bench)
    bench.apply(new=[bench.timer(workflow, 5) for _ in range(1001)])
    bench.now += 5
    outcome = bench.apply(fires_timers=True)
    assert (len(outcome.ended[workflow.id]), outcome.next_timer) == (1000, bench.now)
    assert len(bench.apply(fires_timers=True).ended[workflow.id]) == 1
    assert bench.parent(workflow)["open"] == 0


def test_a_dropped_timer_takes_no_place(bench: Bench):
    workflow = owner(bench)
    dropped, kept = bench.timer(workflow, 10), bench.timer(workflow, 20)
    bench.apply(new=[dropped, kept])
    outcome = bench.apply(drops=[dropped.id])
    assert outcome.ended == {}
    bench.now += 30
    bench.apply(fires_timers=True)
    assert (bench.state(dropped), bench.row(dropped)["seq"], bench.row(kept)["seq"]) == (lifecycle.CANCELLED, None, 1)
    there = bench.parent(workflow)
    assert [there[name] for name in ("open", "delivered", "cancelled")] == [0, 1, 1]


def test_a_timer_that_is_dropped_twice_is_counted_once(bench: Bench):
    workflow = owner(bench)
    one, two = bench.timer(workflow, 10), bench.timer(workflow, 10)
    bench.apply(new=[one, two])
    bench.apply(drops=[one.id, one.id])
    bench.apply(drops=[one.id, two.id])
    assert (bench.parent(workflow)["open"], bench.parent(workflow)["cancelled"]) == (0, 2)


def test_a_timer_that_has_fired_is_not_dropped(bench: Bench):
    workflow = owner(bench)
    timer = bench.timer(workflow, 10)
    bench.apply(new=[timer])
    bench.now += 10
    bench.apply(fires_timers=True)
    bench.apply(drops=[timer.id])
    assert (bench.state(timer), bench.parent(workflow)["cancelled"]) == (lifecycle.COMPLETED, 0)


def test_a_drop_in_the_batch_that_fires_comes_first(bench: Bench):
    workflow = owner(bench)
    timer = bench.timer(workflow, 10)
    bench.apply(new=[timer])
    bench.now += 10
    assert bench.apply(drops=[timer.id], fires_timers=True).ended == {}


def test_only_timers_can_be_dropped(bench: Bench):
    task = bench.started(owner(bench), state=lifecycle.PENDING)
    bench.apply(drops=[task.id])
    assert bench.state(task) == lifecycle.PENDING


def test_a_timer_wakes_its_workflow(bench: Bench):
    workflow = owner(bench)
    bench.apply(new=[bench.timer(workflow, 10)])
    bench.evict(workflow, 0)
    bench.now += 10
    assert bench.apply(fires_timers=True).woken is True
    assert bench.state(workflow) == lifecycle.PENDING


def test_no_worker_claims_a_timer(bench: Bench):
    workflow = owner(bench)
    bench.apply(new=[bench.timer(workflow, 0)])
    assert bench.claim("sleep", "work").claimed == []


def test_a_timer_without_delay_is_announced_and_fires(bench: Bench):
    workflow = owner(bench)
    assert bench.apply(new=[bench.timer(workflow, 0)]).next_timer == bench.now
    assert len(bench.apply(fires_timers=True).ended[workflow.id]) == 1


def test_a_timer_survives_downtime_and_fires_at_the_start(bench: Bench):
    workflow = owner(bench)
    bench.apply(new=[bench.timer(workflow, 10)])
    due = bench.now + 10
    bench.reopen()
    bench.now += 86_400_000
    assert bench.recover().next_timer == due
    assert len(bench.apply(fires_timers=True).ended[workflow.id]) == 1
