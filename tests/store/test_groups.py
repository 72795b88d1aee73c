"""Groups: decided once, in the transaction of the member that decides; what ends later changes counters only."""

import json
from typing import Any

import pytest

from fanfold.model import lifecycle
from fanfold.model.commands import Seal
from fanfold.model.groups import COLLECT
from fanfold.model.run import WORKFLOW, End, NewRun
from tests.store.bench import Bench

ITEMS = '{"type":"ValueError","message":"no","said":"the items of work.map raised ValueError: no"}'


def owned(bench: Bench, **policy: Any) -> tuple[NewRun, NewRun]:
    """Return a running owner and its group."""
    owner = bench.started()
    return owner, bench.group(owner, **policy)


def failed(bench: Bench, *rows: NewRun, error: str = '{"type":"E","message":"row 7"}') -> Any:
    return bench.apply(ends=[End(row.id, 1, row.parent_id, lifecycle.FAILED, None, error) for row in rows])


def summary(bench: Bench, group: NewRun) -> dict[str, Any]:
    row = bench.row(group)
    return json.loads(row["output"]) if row["output"] else json.loads(row["error"])["summary"]


# Decided once --------------------------------------------------------------------------------------------------------


def test_the_first_failure_ends_a_group_in_its_own_transaction(bench: Bench):
    owner, group = owned(bench)
    members = bench.members(group, 3)
    outcome = failed(bench, members[1])
    assert {parent: [end.id for end in ends] for parent, ends in outcome.ended.items()} == {
        group.id: [members[1].id], owner.id: [group.id]
    }  # fmt: skip
    assert (bench.state(group), bench.parent(group)["decided"], bench.row(group)["seq"]) == (lifecycle.FAILED, 1, 1)
    assert sorted(outcome.flagged) == [members[0].id, members[2].id]


def test_members_that_fail_in_one_batch_are_all_in_the_summary(bench: Bench):
    _, group = owned(bench)
    members = bench.members(group, 4)
    states = (lifecycle.COMPLETED, lifecycle.FAILED, lifecycle.FAILED)
    bench.apply(ends=[bench.end_of(member, state) for member, state in zip(members, states, strict=False)])
    found = summary(bench, group)
    assert (found["spawned"], found["completed"], found["failed"], found["cancelled"]) == (4, 1, 2, 0)
    shown = json.loads(bench.row(group)["error"])["failures"]
    assert [failure["run_id"] for failure in shown] == [members[1].id, members[2].id]
    assert [bench.row(member)["seq"] for member in members] == [1, 2, 3, None]


def test_an_end_after_the_decision_changes_the_counters_only(bench: Bench):
    owner, group = owned(bench)
    first, *late = bench.members(group, 4)
    bench.end(first, state=lifecycle.FAILED)
    before, decided = bench.row(group), bench.parent(group)
    outcome = bench.apply(ends=[bench.end_of(late[0]), bench.end_of(late[1], lifecycle.FAILED)])
    bench.end(late[2], state=lifecycle.CANCELLED)
    assert outcome.lost == set()
    assert bench.row(group) == before
    assert [bench.row(member)["seq"] for member in late] == [None, None, None]
    assert bench.parent(group) == decided | {"open": 0, "failed": 2, "cancelled": 1}
    assert bench.parent(owner)["delivered"] == 1


def test_an_end_after_the_decision_is_counted_once_though_it_comes_twice_in_one_millisecond(bench: Bench):
    _, group = owned(bench)
    first, *late = bench.members(group, 4)
    bench.end(first, state=lifecycle.FAILED)
    bench.end(late[0], late[1])
    outcome = bench.end(*late)
    assert outcome.lost == {late[0].id, late[1].id}
    assert (bench.parent(group)["open"], bench.parent(group)["delivered"]) == (0, 1)


def test_a_member_that_is_completed_by_its_last_child_with_the_decision_has_no_place_behind_it(bench: Bench):
    _, group = owned(bench)
    member, other = bench.members(group, 2)
    child = bench.started(member)
    bench.give_back(member)
    bench.apply(ends=[bench.end_of(child), bench.end_of(other, lifecycle.FAILED)])
    assert (bench.state(member), bench.row(member)["seq"]) == (lifecycle.COMPLETED, None)
    assert (bench.parent(group)["delivered"], summary(bench, group)["completed"]) == (1, 0)


def test_no_member_is_added_to_a_group_that_is_decided(bench: Bench):
    _, group = owned(bench)
    bench.end(*bench.members(group, 1), state=lifecycle.FAILED)
    late = bench.member_row(group)
    assert bench.apply(new=[late]).refused == {late.id: None}
    assert bench.parent(group)["spawned"] == 1


def test_a_group_is_inserted_with_its_first_members(bench: Bench):
    owner = bench.started()
    group = bench.group_row(owner)
    outcome = bench.apply(new=[group, bench.member_row(group), bench.member_row(group)])
    assert (outcome.refused, bench.parent(group)["open"], bench.parent(owner)["open"]) == ({}, 2, 1)


def test_an_owner_that_lost_its_lease_adds_no_member(bench: Bench):
    _, group = owned(bench)
    late = bench.member_row(group, parent_epoch=2)
    assert bench.apply(new=[late]).refused == {late.id: None}


# Sealed --------------------------------------------------------------------------------------------------------------


def test_a_group_that_is_not_sealed_waits_for_more_members(bench: Bench):
    _, group = owned(bench)
    bench.end(*bench.members(group, 2))
    assert bench.state(group) == lifecycle.WAITING
    bench.seal(group)
    assert bench.state(group) == lifecycle.COMPLETED
    assert summary(bench, group) == {
        "spawned": 2, "completed": 2, "failed": 0, "cancelled": 0, "errors": [], "other": 0
    }  # fmt: skip


def test_the_last_end_completes_a_sealed_group(bench: Bench):
    owner, group = owned(bench)
    first, last = bench.members(group, 2)
    bench.seal(group)
    bench.end(first)
    assert bench.state(group) == lifecycle.WAITING
    outcome = bench.end(last)
    assert [end.id for end in outcome.ended[owner.id]] == [group.id]
    assert bench.state(group) == lifecycle.COMPLETED


def test_an_empty_group_is_completed_when_it_is_sealed(bench: Bench):
    owner = bench.started()
    group = bench.group_row(owner)
    outcome = bench.apply(new=[group], seals=[Seal(group.id, 1)])
    assert [end.id for end in outcome.ended[owner.id]] == [group.id]
    assert (bench.state(group), bench.parent(group)["decided"]) == (lifecycle.COMPLETED, 1)


def test_an_owner_that_lost_its_lease_seals_nothing(bench: Bench):
    _, group = owned(bench)
    bench.end(*bench.members(group, 1))
    bench.seal(group, epoch=2)
    bench.seal(group, ITEMS, epoch=2)
    assert (bench.state(group), bench.parent(group)["sealed"]) == (lifecycle.WAITING, 0)


def test_a_group_fails_when_its_items_cannot_be_made(bench: Bench):
    owner, group = owned(bench, failures=COLLECT)
    done, still = bench.members(group, 2)
    bench.end(done)
    outcome = bench.seal(group, ITEMS)
    error = json.loads(bench.row(group)["error"])
    assert (bench.state(group), error["message"]) == (lifecycle.FAILED, "the items of work.map raised ValueError: no")
    assert [failure["run_id"] for failure in error["failures"]] == [group.id]
    assert (outcome.flagged, [end.id for end in outcome.ended[owner.id]]) == ([still.id], [group.id])
    assert summary(bench, group)["completed"] == 1


def test_a_group_cannot_fail_for_its_items_after_it_was_decided(bench: Bench):
    _, group = owned(bench)
    bench.end(*bench.members(group, 1), state=lifecycle.FAILED)
    before = bench.row(group)
    assert bench.seal(group, ITEMS).ended == {}
    assert bench.row(group) == before


def test_a_workflow_that_left_memory_is_woken_by_its_group(bench: Bench):
    owner = bench.started(kind=WORKFLOW)
    group = bench.group(owner)
    (member,) = bench.members(group, 1)
    bench.seal(group)
    bench.evict(owner, 0)
    assert bench.end(member).woken
    assert bench.state(owner) == lifecycle.PENDING


# What a policy allows ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("together", [True, False])
def test_ten_failures_are_tolerated_where_ten_are_allowed_and_the_eleventh_decides(bench: Bench, *, together: bool):
    _, group = owned(bench, failures=COLLECT, max_failures=10)
    members = bench.members(group, 13)
    for rows in [members[:10]] if together else [[member] for member in members[:10]]:
        bench.end(*rows, state=lifecycle.FAILED)
    assert bench.state(group) == lifecycle.WAITING
    outcome = bench.end(members[10], state=lifecycle.FAILED)
    assert (bench.state(group), summary(bench, group)["failed"]) == (lifecycle.FAILED, 11)
    assert sorted(outcome.flagged) == [members[11].id, members[12].id]


def test_collected_failures_do_not_end_a_group_early(bench: Bench):
    _, group = owned(bench, failures=COLLECT)
    members = bench.members(group, 3)
    bench.seal(group)
    bench.end(*members[:2], state=lifecycle.FAILED)
    assert bench.state(group) == lifecycle.WAITING
    bench.end(members[2], state=lifecycle.CANCELLED)
    found = summary(bench, group)
    assert (bench.state(group), found["failed"], found["cancelled"]) == (lifecycle.COMPLETED, 2, 1)


def test_a_percentage_is_judged_when_the_number_of_members_is_known(bench: Bench):
    _, group = owned(bench, failures=COLLECT, max_percent=50.0)
    members = bench.members(group, 4)
    bench.end(*members[:3], state=lifecycle.FAILED)
    assert bench.state(group) == lifecycle.WAITING
    bench.seal(group)
    assert (bench.state(group), summary(bench, group)["failed"]) == (lifecycle.FAILED, 3)


def test_just_the_percentage_is_tolerated(bench: Bench):
    _, group = owned(bench, failures=COLLECT, max_percent=50.0)
    members = bench.members(group, 4)
    bench.seal(group)
    bench.end(*members[:2], state=lifecycle.FAILED)
    assert bench.state(group) == lifecycle.WAITING
    bench.end(members[2], state=lifecycle.FAILED)
    assert bench.state(group) == lifecycle.FAILED


@pytest.mark.parametrize(
    ("last", "state"), [(lifecycle.FAILED, lifecycle.FAILED), (lifecycle.COMPLETED, lifecycle.COMPLETED)]
)
def test_the_percentage_of_an_open_group_is_judged_when_the_last_member_has_ended(bench: Bench, last: str, state: str):
    _, group = owned(bench, failures=COLLECT, max_percent=50.0, is_open=True)
    members = bench.members(group, 2)
    bench.end(members[0], state=lifecycle.FAILED)
    bench.seal(group)
    assert bench.state(group) == lifecycle.WAITING
    bench.end(members[1], state=last)
    assert bench.state(group) == state


# The digest ----------------------------------------------------------------------------------------------------------


def test_a_member_whose_every_attempt_failed_is_in_the_digest_once(bench: Bench):
    _, group = owned(bench, failures=COLLECT)
    (member,) = bench.members(group, 1)
    bench.retry(member)
    bench.claim_of(member)
    bench.retry(member, epoch=2)
    bench.claim_of(member)
    bench.end(member, state=lifecycle.FAILED, epoch=3)
    assert bench.end(member, state=lifecycle.FAILED, epoch=3).lost == {member.id}
    bench.seal(group)
    (kind,) = summary(bench, group)["errors"]
    assert (kind["count"], [example["run_id"] for example in kind["examples"]]) == (1, [member.id])


def test_failures_of_one_kind_are_counted_together_over_batches(bench: Bench):
    _, group = owned(bench, failures=COLLECT)
    members = bench.members(group, 7)
    for place, member in enumerate(members):
        failed(bench, member, error=f'{{"type":"OSError","message":"row {place}"}}')
    bench.seal(group)
    (kind,) = summary(bench, group)["errors"]
    assert (kind["error_type"], kind["message"], kind["count"]) == ("OSError", "row <n>", 7)
    assert [example["run_id"] for example in kind["examples"]] == [member.id for member in members[:5]]


def test_the_digest_of_a_decided_group_does_not_change(bench: Bench):
    _, group = owned(bench)
    members = bench.members(group, 3)
    bench.end(members[0], state=lifecycle.FAILED)
    before = bench.row(group)["progress"]
    bench.end(*members[1:], state=lifecycle.FAILED)
    assert bench.row(group)["progress"] == before


# Cancelled -----------------------------------------------------------------------------------------------------------


def test_a_cancelled_group_ends_at_once_and_asks_its_members(bench: Bench):
    _, group = owned(bench, concurrency=1)
    members = bench.members(group, 3, is_held=1)
    outcome = bench.cancel(group)
    assert (bench.state(group), bench.parent(group)["decided"]) == (lifecycle.CANCELLED, 1)
    assert sorted(outcome.flagged) == [member.id for member in members]
    bench.cancel(*members)
    assert (bench.parent(group)["open"], bench.parent(group)["held"], bench.parent(group)["delivered"]) == (0, 0, 0)


def test_a_group_that_is_cancelled_with_its_members_is_cancelled_and_has_not_failed(bench: Bench):
    _, group = owned(bench)
    member, _ = bench.members(group, 2, state=lifecycle.PENDING)
    bench.cancel(member, group)
    assert (bench.state(group), bench.row(group)["error"]) == (lifecycle.CANCELLED, None)
    assert bench.row(member)["seq"] is None


def test_a_cancelled_member_breaks_a_group_that_raises(bench: Bench):
    _, group = owned(bench)
    member, _ = bench.members(group, 2, state=lifecycle.PENDING)
    bench.cancel(member)
    assert bench.state(group) == lifecycle.FAILED


def test_a_group_under_a_cancelled_owner_never_begins(bench: Bench):
    root = bench.started()
    owner = bench.started(root)
    bench.cancel(root)
    group = bench.group_row(owner)
    outcome = bench.apply(new=[group, bench.member_row(group)])
    assert set(outcome.refused) == {group.id + 1}
    bench.cancel(*(bench.rows[id] for id in outcome.flagged))
    assert bench.state(group) == lifecycle.CANCELLED
