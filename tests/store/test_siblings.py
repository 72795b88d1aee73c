"""Siblings: what a member adds to its own group goes in with its end, or not at all."""

import json

import pytest

from fanfold.errors import KeyConflict
from fanfold.model import lifecycle
from fanfold.model.commands import Siblings
from fanfold.model.groups import COLLECT
from fanfold.model.run import NewRun
from fanfold.store.database import BatchRejected
from tests.store.bench import Bench
from tests.store.faults import FaultyDatabase


@pytest.fixture
def group(bench: Bench) -> NewRun:
    return bench.group(bench.started(), failures=COLLECT)


@pytest.fixture
def spawner(bench: Bench, group: NewRun) -> NewRun:
    """The only member, of a sealed group."""
    (member,) = bench.members(group, 1)
    bench.seal(group)
    return member


def test_siblings_are_inserted_with_the_end_of_who_adds_them(bench: Bench, group: NewRun, spawner: NewRun):
    siblings = [bench.sibling_row(spawner) for _ in range(2)]
    outcome = bench.end_with(spawner, *siblings)
    assert (outcome.refused, outcome.woken) == ({}, True)
    assert bench.state(spawner) == lifecycle.COMPLETED
    assert bench.members_in(group, lifecycle.PENDING) == [row.id for row in siblings]
    assert (bench.parent(group)["spawned"], bench.parent(group)["open"]) == (3, 2)


def test_a_sealed_group_is_not_over_while_its_last_member_adds_another(bench: Bench, group: NewRun, spawner: NewRun):
    sibling = bench.sibling_row(spawner)
    outcome = bench.end_with(spawner, sibling)
    assert list(outcome.ended) == [group.id]
    assert bench.state(group) == lifecycle.WAITING
    bench.claim()
    bench.end(sibling)
    assert bench.state(group) == lifecycle.COMPLETED


def test_siblings_are_dropped_when_the_lease_is_lost(bench: Bench, group: NewRun, spawner: NewRun):
    sibling = bench.sibling_row(spawner)
    bench.release(spawner)
    outcome = bench.end_with(spawner, sibling)
    assert (outcome.lost, outcome.refused) == ({spawner.id}, {sibling.id: None})
    assert (bench.parent(group)["spawned"], bench.state(spawner)) == (1, lifecycle.PENDING)


def test_siblings_of_another_epoch_are_dropped(bench: Bench, group: NewRun, spawner: NewRun):
    sibling = bench.sibling_row(spawner, parent_epoch=2)
    outcome = bench.end_with(spawner, sibling, epoch=2)
    assert (outcome.lost, outcome.refused) == ({spawner.id}, {sibling.id: None})
    assert bench.parent(group)["open"] == 1


def test_neither_the_end_nor_the_siblings_are_there_when_the_transaction_fails(
    bench: Bench, group: NewRun, spawner: NewRun
):
    def refuse(statement: str) -> None:
        if "INSERT INTO runs" in statement:
            raise BatchRejected("no")

    faulty = FaultyDatabase(bench.store.database)
    store, bench.store = bench.store, type(bench.store)(faulty, bench.store.owner)
    faulty.on_execute = refuse
    with pytest.raises(BatchRejected):
        bench.end_with(spawner, bench.sibling_row(spawner))
    bench.store = store
    assert (bench.state(spawner), bench.parent(group)["spawned"]) == (lifecycle.RUNNING, 1)


def test_open_is_raised_before_it_is_lowered(bench: Bench, group: NewRun, spawner: NewRun):
    faulty = FaultyDatabase(bench.store.database)
    lowest: list[int] = []
    faulty.on_execute = lambda _: lowest.append(bench.parent(group)["open"])
    bench.store = type(bench.store)(faulty, bench.store.owner)
    bench.end_with(spawner, bench.sibling_row(spawner))
    assert (min(lowest), max(lowest)) == (1, 2)


def test_a_group_that_is_decided_takes_no_siblings(bench: Bench):
    group = bench.group(bench.started())
    member, spawner = bench.members(group, 2)
    bench.end(member, state=lifecycle.FAILED)
    sibling = bench.sibling_row(spawner, key="k:a")
    outcome = bench.end_with(spawner, sibling)
    assert outcome.refused == {sibling.id: None}
    assert (bench.state(spawner), bench.parent(group)["spawned"]) == (lifecycle.COMPLETED, 2)


def test_no_member_adds_to_a_group_that_is_not_its_own(bench: Bench, spawner: NewRun):
    other = bench.group(bench.rows[1])
    stranger = bench.member_row(other, spawner=spawner.id, position=None)
    assert bench.end_with(spawner, stranger).refused == {stranger.id: None}


# Keys ----------------------------------------------------------------------------------------------------------------


def test_a_key_that_is_there_with_the_same_input_starts_no_second_run(bench: Bench, group: NewRun):
    first, second = bench.members(group, 2)
    there, again = bench.sibling_row(first, key="k:a"), bench.sibling_row(second, key="k:a")
    bench.end_with(first, there)
    outcome = bench.end_with(second, again)
    assert outcome.refused[again.id].id == there.id
    assert (bench.state(second), bench.parent(group)["spawned"]) == (lifecycle.COMPLETED, 3)


def test_a_key_that_is_there_with_another_input_fails_who_adds_it(bench: Bench, group: NewRun):
    first, second = bench.members(group, 2)
    bench.end_with(first, there := bench.sibling_row(first, key="k:a"))
    bench.end_with(second, bench.sibling_row(second), bench.sibling_row(second, key="k:a", digest=2))
    error = json.loads(bench.row(second)["error"])
    assert (bench.state(second), error["type"]) == (lifecycle.FAILED, KeyConflict.__name__)
    assert str(there.id) in error["message"]
    assert bench.parent(group)["spawned"] == 3  # nothing of what it adds
    assert '"KeyConflict"' in bench.row(group)["progress"]


@pytest.mark.parametrize("is_one_member", [True, False])
def test_two_inputs_for_one_key_are_a_conflict_in_one_batch_as_well(
    bench: Bench, group: NewRun, *, is_one_member: bool
):
    first, second = bench.members(group, 2)
    spawners = (first, first) if is_one_member else (first, second)
    rows = [bench.sibling_row(row, key="k:a", digest=digest) for digest, row in enumerate(spawners)]
    if is_one_member:
        bench.end_with(first, *rows)
    else:
        bench.apply(siblings=[Siblings(bench.end_of(row), [new]) for row, new in zip(spawners, rows, strict=True)])
    assert bench.state(spawners[-1]) == lifecycle.FAILED
    assert bench.parent(group)["spawned"] == 2 + (not is_one_member)


def test_who_lost_its_lease_is_in_nobodys_way(bench: Bench, group: NewRun):
    late, other = bench.members(group, 2)
    rows = [bench.sibling_row(late, key="k:a", digest=1), bench.sibling_row(other, key="k:a", digest=2)]
    bench.release(late)
    outcome = bench.apply(siblings=[Siblings(bench.end_of(late), rows[:1]), Siblings(bench.end_of(other), rows[1:])])
    assert outcome.lost == {late.id}
    assert (bench.state(other), bench.members_in(group, lifecycle.COMPLETED)) == (lifecycle.COMPLETED, [other.id])
    assert bench.row(rows[1])["digest"] == 2


# Held back -----------------------------------------------------------------------------------------------------------


def test_siblings_of_a_group_with_a_limit_are_held_back_until_there_is_room(bench: Bench):
    group = bench.group(bench.started(), concurrency=1)
    (spawner,) = bench.members(group, 1, is_held=1)
    bench.claim()
    siblings = [bench.sibling_row(spawner) for _ in range(3)]
    bench.end_with(spawner, *siblings)
    assert bench.due(group) == [siblings[0].id]
    assert bench.parent(group)["held"] == 2


def test_who_waits_for_its_children_adds_siblings_at_once(bench: Bench, group: NewRun, spawner: NewRun):
    child = bench.started(spawner)
    sibling = bench.sibling_row(spawner)
    outcome = bench.end_with(spawner, sibling)
    assert outcome.returned == {spawner.id}
    assert bench.members_in(group, lifecycle.PENDING) == [sibling.id]
    bench.end(child)
    assert (bench.state(spawner), bench.parent(group)["open"]) == (lifecycle.COMPLETED, 1)
