"""A group's `concurrency`: members beyond it are held back, and come due one by one, whatever happens to the others."""

import pytest

from fanfold.model import lifecycle
from fanfold.model.groups import COLLECT
from fanfold.model.run import HELD, NewRun
from tests.store.bench import Bench


@pytest.fixture
def limited(bench: Bench) -> NewRun:
    """A group that runs two members at a time."""
    return bench.group(bench.started(), failures=COLLECT, concurrency=2)


def test_no_more_members_come_due_than_may_run_oldest_first(bench: Bench, limited: NewRun):
    members = bench.members(limited, 5, is_held=1)
    assert bench.due(limited) == [members[0].id, members[1].id]
    assert bench.parent(limited)["held"] == 3
    assert len(bench.claim(most=10).claimed) == 2
    assert bench.claim(most=10).claimed == []


@pytest.mark.parametrize("state", lifecycle.TERMINAL)
def test_each_end_lets_the_next_come_due(bench: Bench, limited: NewRun, state: str):
    members = bench.members(limited, 5, is_held=1)
    bench.claim()
    outcome = bench.end(members[1], state=state)
    assert (outcome.woken, bench.due(limited)) == (True, [members[2].id])
    bench.claim()
    bench.end(members[0], members[2], state=state)
    assert (bench.due(limited), bench.parent(limited)["held"]) == ([members[3].id, members[4].id], 0)


def test_members_that_come_later_are_held_back_as_well(bench: Bench, limited: NewRun):
    first = bench.members(limited, 1, is_held=1)
    later = bench.members(limited, 3, is_held=1)
    assert bench.due(limited) == [first[0].id, later[0].id]
    assert bench.parent(limited)["held"] == 2


def test_a_member_that_is_tried_again_keeps_its_place(bench: Bench, limited: NewRun):
    members = bench.members(limited, 3, is_held=1)
    bench.claim()
    bench.retry(members[0], delay_ms=5)
    bench.release(members[1])
    assert bench.parent(limited)["held"] == 1
    bench.now += 5
    assert bench.due(limited) == [members[0].id, members[1].id]


def test_a_member_whose_body_returned_keeps_its_place_until_its_children_have_ended(bench: Bench, limited: NewRun):
    members = bench.members(limited, 3, is_held=1)
    bench.claim()
    child = bench.started(members[0])
    bench.give_back(members[0])
    assert bench.due(limited) == []
    bench.end(child)
    assert bench.due(limited) == [members[2].id]


def test_cancelling_what_is_held_back_makes_no_room(bench: Bench, limited: NewRun):
    members = bench.members(limited, 5, is_held=1)
    bench.claim()
    bench.cancel(members[2], members[3])
    assert (bench.due(limited), bench.parent(limited)["held"], bench.parent(limited)["open"]) == ([], 1, 3)
    bench.end(members[0])
    assert bench.due(limited) == [members[4].id]


def test_cancelling_what_has_come_due_makes_room(bench: Bench, limited: NewRun):
    members = bench.members(limited, 4, is_held=1)
    bench.cancel(members[0], members[3])
    assert bench.due(limited) == [members[1].id, members[2].id]
    assert bench.parent(limited)["held"] == 0


def test_what_is_held_back_and_quarantined_is_held_back_no_longer(bench: Bench, limited: NewRun):
    members = bench.members(limited, 4, is_held=1)
    bench.quarantine(members[3], epoch=0)
    assert (bench.parent(limited)["held"], bench.parent(limited)["open"]) == (1, 3)


def test_an_end_that_is_refused_leaves_held_back_what_was(bench: Bench, limited: NewRun):
    members = bench.members(limited, 4, is_held=1)
    assert bench.quarantine(members[3], epoch=1).lost == {members[3].id}
    assert bench.parent(limited)["held"] == 2


def test_a_crash_lets_nobody_come_due(bench: Bench, limited: NewRun):
    members = bench.members(limited, 4, is_held=1)
    bench.claim()
    bench.reopen()
    bench.recover()
    assert bench.due(limited) == [members[0].id, members[1].id]
    assert bench.row(members[2])["available_at"] == HELD


def test_held_back_members_of_a_group_that_failed_never_come_due(bench: Bench):
    group = bench.group(bench.started(), concurrency=1)
    members = bench.members(group, 3, is_held=1)
    bench.claim()
    outcome = bench.end(members[0], state=lifecycle.FAILED)
    assert (bench.due(group), outcome.flagged) == ([], [members[1].id, members[2].id])
    bench.cancel(*members[1:])
    assert (bench.parent(group)["held"], bench.parent(group)["open"]) == (0, 0)


def test_a_member_that_takes_over_an_earlier_result_makes_room(bench: Bench):
    owner = bench.started()
    earlier, group = bench.group(owner), bench.group(owner, concurrency=1)
    old = bench.members(earlier, 1, key="k:a")[0]
    bench.end(old)
    new = [bench.member_row(group, key=key, is_held=1, adopts=earlier.id) for key in ("k:a", "k:b")]
    bench.apply(new=new)
    assert (bench.row(new[0])["same_as"], bench.row(new[0])["output"]) == (old.id, bench.row(old)["output"])
    assert bench.due(group) == [new[1].id]
