"""Runs come into the table: guarded by their parent, once an identity, counted as really inserted."""

import pytest

from fanfold.model import lifecycle
from fanfold.model.commands import Existing
from fanfold.model.run import WORKFLOW
from tests.store.bench import OWNER, Bench


def test_a_run_that_is_inserted_as_claimed_is_held_by_the_worker(bench: Bench):
    row = bench.row(bench.started())
    assert (row["state"], row["owner"], row["epoch"], row["attempt"], row["started_at"]) == (
        lifecycle.RUNNING, OWNER, 1, 1, bench.now,
    )  # fmt: skip


def test_a_pending_run_is_held_by_nobody(bench: Bench):
    row = bench.row(bench.started(state=lifecycle.PENDING))
    assert (row["owner"], row["epoch"], row["attempt"], row["started_at"]) == (None, 0, 0, None)
    assert row["available_at"] == row["created_at"] == bench.now


def test_what_is_given_comes_back(bench: Bench):
    parent = bench.started()
    bench.started(
        parent, name="résumé 'x' \"y\"", key="k:1e3", digest=(1 << 63) - 1, input='{"a":"\\u0000\\n"}', priority=-3,
        version="7", options='{"x":1}', tags='{"a":"b"}', queue="q'", compensates=1,
    )  # fmt: skip
    row = bench.row(2)
    assert (row["name"], row["key"], row["digest"], row["input"]) == (
        "résumé 'x' \"y\"", "k:1e3", (1 << 63) - 1, '{"a":"\\u0000\\n"}',
    )  # fmt: skip
    assert (row["priority"], row["version"], row["options"], row["tags"], row["queue"], row["compensates"]) == (
        -3, "7", '{"x":1}', '{"a":"b"}', "q'", 1,
    )  # fmt: skip


@pytest.mark.parametrize("text", ["12", "1.5", "true", "null", "[1]", "", "0x1F"])
def test_a_text_that_looks_like_something_else_stays_a_text(bench: Bench, text: str):
    row = bench.row(bench.started(bench.started(), key=text, name=text, input=text, tags=text, version=text))
    assert [row[column] for column in ("key", "name", "input", "tags", "version")] == [text] * 5


def test_children_are_counted_under_their_parent(bench: Bench):
    first, second = bench.started(), bench.started()
    bench.apply(new=[bench.run(first), bench.run(second), bench.run(first)])
    bench.children(first, 3)
    assert (bench.parent(first)["spawned"], bench.parent(first)["open"], bench.parent(first)["delivered"]) == (5, 5, 0)
    assert bench.parent(second)["spawned"] == 1


def test_a_leaf_has_no_row_of_counters(bench: Bench):
    bench.started()
    assert bench.count("parents") == 0


def test_a_grandchild_may_come_in_one_batch_with_its_parent(bench: Bench):
    root = bench.run()
    child = bench.run(root)
    outcome = bench.apply(new=[root, child, bench.run(child)])
    # A statement sees the table as it was when it began: rows of one batch are not yet there for their children.
    assert set(outcome.refused) in (set(), {child.id, child.id + 1})


@pytest.mark.parametrize("state", [lifecycle.COMPLETED, lifecycle.FAILED, lifecycle.CANCELLED])
def test_under_an_ended_parent_nothing_is_inserted(bench: Bench, state: str):
    parent = bench.started()
    bench.end(parent, state=state)
    late = bench.run(parent)
    assert bench.apply(new=[late]).refused == {late.id: None}
    assert bench.count() == 1
    assert bench.count("parents") == 0


def test_under_a_pending_parent_nothing_is_inserted(bench: Bench):
    late = bench.run(bench.started(state=lifecycle.PENDING))
    assert bench.apply(new=[late]).refused == {late.id: None}


def test_under_a_parent_whose_body_has_returned_nothing_is_inserted(bench: Bench):
    parent = bench.started()
    bench.started(parent)
    bench.give_back(parent)
    late = bench.run(parent)
    assert bench.apply(new=[late]).refused == {late.id: None}
    assert bench.parent(parent)["spawned"] == 1


@pytest.mark.parametrize("epoch", [0, 2])
def test_a_parent_of_another_epoch_spawns_nothing(bench: Bench, epoch: int):
    parent = bench.started()
    late = bench.run(parent, parent_epoch=epoch)
    assert bench.apply(new=[late]).refused == {late.id: None}


def test_a_parent_that_does_not_exist_spawns_nothing(bench: Bench):
    orphan = bench.run(bench.run())
    assert bench.apply(new=[orphan]).refused == {orphan.id: None}


def test_under_a_parent_that_is_being_cancelled_nothing_starts_but_compensation(bench: Bench):
    parent = bench.started()
    bench.cancel(parent)
    late, undo = bench.run(parent), bench.run(parent, compensates=1)
    outcome = bench.apply(new=[late, undo])
    assert (outcome.refused, outcome.doomed, outcome.flagged) == ({}, {late.id}, [late.id])
    assert (bench.state(undo), bench.state(late)) == (lifecycle.RUNNING, lifecycle.PENDING)
    assert bench.claim().claimed == []
    # It keeps its place: its parent hears that it was cancelled.
    assert [end.id for end in bench.cancel(late).ended[parent.id]] == [late.id]


def test_in_a_tree_whose_root_is_being_cancelled_nothing_starts(bench: Bench):
    root = bench.started()
    child = bench.started(root)
    waiting = bench.started(child, state=lifecycle.PENDING)
    bench.cancel(root)
    late = bench.run(child)
    assert bench.apply(new=[late]).doomed == {late.id}
    claim = bench.claim()
    assert claim.claimed == []
    assert claim.flagged == [waiting.id]
    assert bench.row(waiting)["cancel_requested_at"] is not None


def test_a_second_child_of_the_same_identity_is_told_who_holds_it(bench: Bench):
    parent = bench.started()
    first = bench.started(parent, key="k:a", digest=5, state=lifecycle.PENDING)
    second = bench.run(parent, key="k:a", digest=6)
    assert bench.apply(new=[second]).refused == {second.id: Existing(first.id, 5, lifecycle.PENDING)}
    assert (bench.parent(parent)["spawned"], bench.parent(parent)["open"]) == (1, 1)


def test_two_of_one_identity_in_one_batch_are_one_child(bench: Bench):
    parent = bench.started()
    first, second = bench.run(parent, key="k:a"), bench.run(parent, key="k:a")
    assert bench.apply(new=[first, second]).refused == {second.id: Existing(first.id, 1, lifecycle.RUNNING)}
    assert bench.parent(parent)["spawned"] == 1


def test_the_same_key_under_another_name_or_parent_is_another_child(bench: Bench):
    one, two = bench.started(), bench.started()
    rows = [bench.run(one, key="k:a"), bench.run(one, key="k:a", name="other"), bench.run(two, key="k:a")]
    assert bench.apply(new=rows).refused == {}


def test_a_root_key_is_taken_once_even_when_its_run_has_ended(bench: Bench):
    first = bench.started(key="k:order-1", digest=9)
    bench.end(first)
    second = bench.run(key="k:order-1", digest=9)
    assert bench.apply(new=[second]).refused == {second.id: Existing(first.id, 9, lifecycle.COMPLETED)}


def test_roots_without_a_key_never_collide(bench: Bench):
    rows = [bench.run(), bench.run()]
    assert bench.apply(new=rows).refused == {}
    assert bench.apply(new=[bench.run()]).refused == {}
    assert bench.count() == 3


def test_refused_rows_leave_the_others_of_their_batch_alone(bench: Bench):
    parent, ended = bench.started(kind=WORKFLOW), bench.started()
    held = bench.started(parent, key="k:a")
    bench.end(ended)
    rows = [bench.run(parent), bench.run(parent, key="k:a"), bench.run(ended), bench.run(parent), bench.run()]
    assert bench.apply(new=rows).refused == {rows[1].id: Existing(held.id, 1, lifecycle.RUNNING), rows[2].id: None}
    assert bench.parent(parent)["spawned"] == 3
    assert bench.count() == 6


def test_a_child_whose_key_is_held_is_told_so_even_under_an_ended_parent(bench: Bench):
    parent = bench.started()
    held = bench.started(parent, key="k:a")
    bench.end(held)
    bench.end(parent)
    late = bench.run(parent, key="k:a")
    assert bench.apply(new=[late]).refused == {late.id: Existing(held.id, 1, lifecycle.COMPLETED)}
