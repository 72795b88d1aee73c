"""What an engine does first: release what a dead process held, wake who is behind, find what was left undone."""

import pytest

from fanfold.model import lifecycle
from fanfold.model.commands import Block, Release
from fanfold.model.run import SUSPECT, WORKFLOW, NewRun
from fanfold.store.store import Suspect
from tests.store.bench import Bench


def test_recovery_releases_everything_that_ran_with_a_higher_epoch(bench: Bench):
    running, pending = bench.started(), bench.started(state=lifecycle.PENDING)
    bench.reopen()
    bench.now += 3
    assert bench.recover().released == 1
    row = bench.row(running)
    assert (row["state"], row["owner"], row["epoch"], row["crashes"]) == (lifecycle.PENDING, None, 2, 0)
    assert (row["attempt"], row["available_at"]) == (1, bench.now)
    assert (bench.row(pending)["epoch"], bench.row(pending)["crashes"]) == (0, 0)


def test_the_dead_process_can_write_nothing_any_more(bench: Bench):
    parent = bench.started()
    child = bench.started(parent)
    bench.recover()
    late = bench.run(parent)
    assert bench.apply(new=[late], ends=[bench.end_of(child)]).refused == {late.id: None}
    assert bench.end(child).lost == {child.id}
    assert bench.give_back(parent).lost == {parent.id}


def test_a_recovered_run_is_claimed_with_its_attempt_and_its_crashes(bench: Bench):
    run = bench.started()
    bench.recover(run)
    (claimed,) = bench.claim().claimed
    assert (claimed.epoch, claimed.attempt, claimed.crashes) == (3, 1, 1)


def test_only_what_was_at_work_is_accused_of_the_death(bench: Bench):
    poison, claimed, pending = bench.started(), bench.started(), bench.started(state=lifecycle.PENDING)
    assert bench.recover(poison).released == 2
    assert [bench.row(run)["crashes"] for run in (poison, claimed, pending)] == [1, 0, 0]


def test_deaths_add_up_until_a_run_is_a_suspect(bench: Bench):
    run = bench.started()
    for crashes in range(1, SUSPECT + 1):
        recovery = bench.recover(run)
        assert bench.row(run)["crashes"] == crashes
        bench.claim()
    (suspect,) = recovery.suspects
    assert (suspect.id, suspect.crashes) == (run.id, SUSPECT)


def test_recovery_finds_the_suspects_with_what_ends_those_that_are_quarantined(bench: Bench):
    parent = bench.started()
    bench.suspect(crashes=1)
    one, two = bench.suspect(parent), bench.suspect(crashes=3)
    bench.retry(parent)
    bench.claim()
    assert bench.recover(one).suspects == [Suspect(one.id, 2, parent.id, 1, 3), Suspect(two.id, 2, 0, 1, 3)]


def test_a_suspect_that_has_ended_is_found_no_more(bench: Bench):
    run = bench.suspect(crashes=3)
    bench.quarantine(run, epoch=2)
    assert bench.recover(run).suspects == []
    assert bench.row(run)["crashes"] == 3


def test_a_run_that_was_at_work_and_then_got_on_without_it_is_not_accused(bench: Bench):
    """The file may name what ended, or waits, or is not there at all."""
    ended, waiting = bench.started(), bench.started()
    bench.started(waiting)
    bench.end(ended)
    bench.give_back(waiting)
    bench.recover(ended, waiting, NewRun(4711, 4711, 0, 0, 0, None, "task", "work", 0, None, lifecycle.RUNNING))
    assert (bench.row(ended)["crashes"], bench.row(waiting)["crashes"], bench.count()) == (0, 0, 3)


def test_what_is_accused_twice_of_one_death_is_accused_once(bench: Bench):
    run = bench.started()
    bench.recover(run, run)
    assert bench.row(run)["crashes"] == 1


def test_ids_as_large_as_they_come_accuse_nobody(bench: Bench):
    run = bench.started()
    bench.recover_ids([(1 << 63) - 1, 1 << 53, (1 << 53) + 1])
    assert bench.row(run)["crashes"] == 0


def test_a_workflow_that_left_memory_is_not_accused_when_it_is_woken(bench: Bench):
    workflow = bench.started(kind=WORKFLOW)
    child, _ = bench.children(workflow, 2)
    bench.evict(workflow, 0)
    bench.end(child)
    bench.change("UPDATE runs SET state = 'waiting' WHERE id = 1")
    bench.recover(workflow)
    assert (bench.state(workflow), bench.row(workflow)["crashes"]) == (lifecycle.PENDING, 0)


def test_recovery_wakes_who_was_left_behind(bench: Bench):
    workflow = bench.started(kind=WORKFLOW)
    child, _ = bench.children(workflow, 2)
    bench.evict(workflow, 0)
    bench.end(child)
    # As if the process that delivered had forgotten to wake.
    bench.change("UPDATE runs SET state = 'waiting' WHERE id = 1")
    bench.recover()
    assert bench.state(workflow) == lifecycle.PENDING


def test_recovery_leaves_those_asleep_who_have_seen_everything(bench: Bench):
    workflow = bench.started(kind=WORKFLOW)
    bench.started(workflow)
    bench.evict(workflow, 0)
    bench.recover()
    assert bench.state(workflow) == lifecycle.WAITING


def test_recovery_finds_sealed_parents_whose_last_child_has_ended(bench: Bench):
    parent = bench.started()
    child = bench.started(parent)
    bench.give_back(parent)
    bench.change(
        "UPDATE runs SET state = 'completed', owner = NULL, finished_at = 1, seq = 1, output = '1' WHERE id = 2"
    )
    bench.change("UPDATE parents SET open = 0, delivered = 1")
    recovery = bench.recover()
    assert recovery.unsettled == [parent.id]
    outcome = bench.apply(settles=recovery.unsettled)
    assert [end.id for end in outcome.ended[0]] == [parent.id]
    assert (bench.state(parent), child.parent_id) == (lifecycle.COMPLETED, parent.id)


@pytest.mark.parametrize("how", ["releases", "recover"])
def test_a_released_run_can_be_claimed_at_once(bench: Bench, how: str):
    run = bench.started(delay_ms=0)
    if how == "recover":
        bench.recover()
    else:
        bench.apply(releases=[Release(run.id, 1)])
    assert [claimed.id for claimed in bench.claim().claimed] == [run.id]


def test_a_release_is_no_crash(bench: Bench):
    run, other = bench.started(), bench.started()
    bench.apply(releases=[Release(run.id, 1)])
    row = bench.row(run)
    assert (row["state"], row["epoch"], row["crashes"]) == (lifecycle.PENDING, 2, 0)
    assert bench.state(other) == lifecycle.RUNNING


def test_a_run_that_was_claimed_again_is_not_released_by_whoever_held_it_before(bench: Bench):
    run = bench.started()
    bench.apply(releases=[Release(run.id, 1)])
    bench.claim()
    before = bench.row(run)
    bench.apply(releases=[Release(run.id, 1)])
    assert before["state"] == lifecycle.RUNNING
    assert bench.row(run) == before


def test_a_release_of_what_does_not_run_does_nothing(bench: Bench):
    run = bench.started()
    bench.end(run)
    before = bench.row(run)
    bench.apply(releases=[Release(run.id, 1)])
    assert bench.row(run) == before


@pytest.mark.parametrize("epoch", [0, 2])
def test_another_epoch_blocks_nothing(bench: Bench, epoch: int):
    run = bench.started()
    assert bench.apply(blocks=[Block(run.id, epoch, "why")]).blocked == set()
    assert (bench.state(run), bench.row(run)["blocked"]) == (lifecycle.RUNNING, None)


def test_a_blocked_run_stands_still_until_its_tree_is_resumed(bench: Bench):
    root, other = bench.started(kind=WORKFLOW), bench.started()
    child = bench.started(root)
    outcome = bench.apply(blocks=[Block(child.id, 1, "the code has changed"), Block(other.id, 1, "too")])
    assert outcome.blocked == {child.id, other.id}
    row = bench.row(child)
    assert (row["state"], row["owner"], row["blocked"]) == (lifecycle.PAUSED, None, "the code has changed")
    assert bench.claim().claimed == []
    assert bench.apply(resumes=[root.id]).woken is True
    assert [run.id for run in bench.claim().claimed] == [child.id]
    assert (bench.row(child)["blocked"], bench.state(other)) == (None, lifecycle.PAUSED)


def test_resuming_a_tree_in_which_nothing_is_paused_wakes_nobody(bench: Bench):
    run = bench.started()
    assert bench.apply(resumes=[run.id]).woken is False


def test_each_commit_writes_its_number_its_time_and_the_reserved_ids(bench: Bench):
    bench.apply(next_id=500)
    bench.now += 5
    bench.apply(next_id=400)
    (meta,) = bench.sql("SELECT * FROM meta")
    assert (meta["commit_sequence"], meta["next_id"], meta["clock_ms"]) == (2, 500, bench.now)


def test_recovery_takes_a_number_and_leaves_the_ids(bench: Bench):
    bench.apply(next_id=500)
    bench.recover()
    (meta,) = bench.sql("SELECT * FROM meta")
    assert (meta["commit_sequence"], meta["next_id"]) == (2, 500)
