"""What the committer does when the database refuses, is busy, or breaks."""

import contextlib
from typing import Any

import pytest

from fanfold.engine.committer import MAX_ROWS, RETRY_MS
from fanfold.model import lifecycle
from fanfold.model.commands import Batch, Block, Cancel, ClaimRequest, Eviction, Progressed, Retried
from fanfold.store.database import BatchRejected, StoreBusy
from tests.engine.desk import Desk, completed, on_a_loop, turn


@pytest.mark.parametrize("place", range(9))
@on_a_loop
async def test_the_command_that_is_refused_is_found_and_the_others_keep_their_order(place: int):
    desk = Desk()
    roots = desk.roots(9)
    desk.commits.spawn(roots)
    await desk.settle(frozenset({roots[place].id}))
    assert desk.rejected == [roots[place].id]
    assert desk.new_ids() == [root.id for root in roots if root is not roots[place]]
    assert [batch.number for batch in desk.committed] == sorted(batch.number for batch in desk.committed)
    assert desk.commits.is_idle


@on_a_loop
async def test_several_refused_commands_are_all_found():
    desk = Desk()
    roots = desk.roots(20)
    bad = {roots[n].id for n in (0, 3, 4, 19)}
    desk.commits.spawn(roots)
    for root in roots:
        desk.commits.end(completed(root.id + 100))
    await desk.settle(frozenset(bad))
    assert desk.rejected == sorted(bad)
    assert desk.new_ids() == [root.id for root in roots if root.id not in bad]
    assert [end.id for batch in desk.committed for end in batch.ends] == [root.id + 100 for root in roots]


@on_a_loop
async def test_after_a_refusal_nothing_that_the_same_run_asked_for_later_is_committed():
    desk = Desk()
    parent, other = desk.roots(2)
    one, bad, three = desk.children(parent, 3)
    (stranger,) = desk.children(other, 1)
    desk.commits.spawn([one, bad, stranger, three])
    desk.commits.returned(completed(parent.id))
    desk.commits.returned(completed(other.id))
    await turn()
    desk.commits.spawn(desk.children(parent, 2))
    desk.commits.evict(Eviction(parent.id, 1, 0))
    desk.commits.end(completed(parent.id))
    await desk.settle(frozenset({bad.id}))
    assert desk.rejected == [parent.id]
    assert desk.new_ids() == [one.id, stranger.id]
    assert [end.id for batch in desk.committed for end in batch.returns] == [other.id]
    assert [batch for batch in desk.committed if batch.evictions or batch.ends] == []


@on_a_loop
async def test_after_a_refusal_no_other_run_overtakes_its_own_children():
    desk = Desk()
    parent, other = desk.roots(2)
    bad, *_ = desk.children(parent, 1)
    desk.commits.spawn([bad])
    await turn()
    children = desk.children(other, MAX_ROWS + 500)
    desk.commits.spawn(children)
    desk.commits.returned(completed(other.id))
    desk.commits.spawn(desk.children(parent, MAX_ROWS))
    await desk.settle(frozenset({bad.id}))
    assert desk.new_ids() == [row.id for row in children]
    (last,) = [batch for batch in desk.committed if batch.returns]
    assert children[-1] in [row for batch in desk.committed[: desk.committed.index(last) + 1] for row in batch.new]


@on_a_loop
async def test_a_refused_result_is_reported_so_that_its_run_can_fail():
    desk = Desk()
    desk.commits.end(completed(7))
    desk.commits.end(completed(8))
    await desk.settle(frozenset({7}))
    assert (desk.rejected, [end.id for batch in desk.committed for end in batch.ends]) == ([7], [8])
    desk.commits.end(completed(7, state=lifecycle.FAILED))
    await desk.settle()
    assert desk.committed[-1].ends[0].state == lifecycle.FAILED


@on_a_loop
async def test_a_failure_that_is_refused_is_told_once_and_then_the_engine_stops():
    desk = Desk()
    failed = completed(7, state=lifecycle.FAILED)
    desk.commits.end(failed)
    await desk.settle(frozenset({7}))
    assert (desk.rejected, desk.fatal) == ([7], [])
    desk.commits.end(failed)  # what the worker makes of it, which holds nothing of the body's
    await desk.settle(frozenset({7}))
    assert (desk.rejected, [type(error) for error in desk.fatal]) == ([7], [BatchRejected])


@on_a_loop
async def test_a_failure_that_was_recorded_after_a_refusal_is_history():
    desk = Desk()
    failed = completed(7, state=lifecycle.FAILED)
    for bad in ({7}, set[int](), {7}):
        desk.commits.end(failed)
        await desk.settle(frozenset(bad))
    assert (desk.rejected, desk.fatal) == ([7, 7], [])


@pytest.mark.parametrize(
    ("verb", "command"),
    [
        ("retry", Retried(7, 1, 0, "{}")),
        ("quarantine", completed(7, state=lifecycle.FAILED)),
        ("progress", Progressed(7, 1, "{}")),
        ("evict", Eviction(7, 1, 0)),
        ("block", Block(7, 1, "why")),
        ("settle", 7),
        ("wake", 7),
        ("resume", 7),
    ],
)
@on_a_loop
async def test_a_refused_command_of_any_kind_is_the_matter_of_its_run_alone(verb: str, command: Any):
    desk = Desk()
    getattr(desk.commits, verb)(command)
    await turn()
    desk.writer.answer(BatchRejected("planted"))
    desk.commits.end(completed(8))
    await desk.settle()
    assert (desk.rejected, desk.fatal, len(desk.committed)) == ([7], [], 1)


@on_a_loop
async def test_a_timer_that_cannot_be_dropped_stops_nothing():
    desk = Desk()
    desk.commits.drop(7)
    await turn()
    desk.writer.answer(BatchRejected("planted"))
    await desk.settle()
    assert (desk.rejected, desk.fatal, desk.commits.is_idle) == ([], [], True)


@on_a_loop
async def test_a_text_that_cannot_be_encoded_is_a_refusal():
    desk = Desk()
    desk.commits.progress(Progressed(7, 1, "{}"))
    await turn()
    desk.writer.answer(UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"))
    await turn()
    assert (desk.rejected, desk.fatal) == ([7], [])


@on_a_loop
async def test_the_worker_is_told_of_every_row_that_goes_with_a_refused_one():
    desk = Desk()
    parent, other = desk.roots(2)
    one, bad, three = desk.children(parent, 3)
    (stranger,) = desk.children(other, 1)
    desk.commits.spawn([one, bad, stranger, three])
    await turn()
    (late,) = desk.children(parent, 1)
    desk.commits.spawn([late])
    await desk.settle(frozenset({bad.id}))
    assert (desk.new_ids(), {row.id for row in desk.dropped}) == ([one.id, stranger.id], {bad.id, three.id, late.id})
    assert len(desk.dropped) == 3


@on_a_loop
async def test_a_cancel_is_not_forgotten_with_what_its_run_had_asked_for():
    desk = Desk()
    desk.commits.progress(Progressed(7, 1, "{}"))
    await turn()
    desk.commits.cancel([7])
    desk.writer.answer(BatchRejected("planted"))
    await desk.settle()
    assert [cancel.id for batch in desk.committed for cancel in batch.cancels] == [7]


@on_a_loop
async def test_a_mistake_while_a_refusal_is_told_stops_the_engine():
    desk = Desk()

    def fail(rows: object) -> None:
        raise RuntimeError("planted")

    desk.commits._on_dropped = fail
    desk.commits.spawn(desk.roots(1))
    await turn()
    desk.writer.answer(BatchRejected("planted"))
    await desk.commits.idle()
    assert [str(error) for error in desk.fatal] == ["planted"]


@on_a_loop
async def test_when_not_even_a_claim_is_taken_the_engine_stops():
    desk = Desk()
    desk.commits.claim(ClaimRequest("default", ("work",), 1))
    await turn()
    desk.writer.answer(BatchRejected("no such table: runs"))
    assert len(desk.fatal) == 1


@on_a_loop
async def test_a_busy_store_is_asked_again_with_the_same_batch_and_not_before_its_time():
    desk = Desk()
    first, second = desk.roots(2)
    desk.commits.spawn([first])
    await turn()
    batch = desk.writer.answer(StoreBusy("disk full"))
    desk.commits.spawn([second])
    await turn()
    desk.clock.move_to(desk.clock.now_ms() + RETRY_MS - 1)
    await turn()
    assert (len(desk.writer.submitted), desk.commits.is_idle) == (1, False)
    desk.clock.move_to(desk.clock.now_ms() + 1)
    assert desk.writer.current is batch
    await desk.settle()
    assert desk.new_ids() == [first.id, second.id]
    assert desk.commits.is_idle


@on_a_loop
async def test_a_store_may_be_busy_many_times():
    desk = Desk()
    desk.commits.spawn(desk.roots(1))
    await turn()
    for _ in range(5):
        desk.writer.answer(StoreBusy("disk full"))
        desk.clock.move_to(desk.clock.now_ms() + RETRY_MS)
    await desk.settle()
    assert (len(desk.committed), desk.fatal, desk.rejected) == (1, [], [])


@on_a_loop
async def test_an_error_of_another_kind_stops_everything_and_is_told():
    desk = Desk()
    first, second = desk.roots(2)
    desk.commits.spawn([first])
    await turn()
    desk.commits.spawn([second])
    error = RuntimeError("the disk is gone")
    desk.writer.answer(error)
    await turn()
    assert (desk.fatal, desk.committed, len(desk.writer.submitted)) == ([error], [], 1)
    desk.commits.spawn(desk.roots(1))
    await turn()
    assert len(desk.writer.submitted) == 1
    await desk.commits.idle()


def test_a_batch_is_split_by_kind_and_then_by_halves_until_one_command_is_left():

    batch = Batch(drops=[1, 2, 3], ends=[completed(n) for n in range(3)], cancels=[Cancel(1, 2)], fires_timers=True)

    kinds = batch.split()
    assert [len(part) for part in kinds] == [3, 3, 1, 1]
    assert [part.drops for part in kinds[0].split()] == [[1], [2, 3]]
    assert [part.split() for part in kinds[2:]] == [[], []]
    assert len(batch) == 8


@on_a_loop
async def test_an_error_while_effects_are_dealt_out_stops_the_engine_or_nothing():
    desk = Desk()
    desk.commits.spawn(desk.roots(1))
    await turn()

    def fail(batch: Batch) -> None:
        raise RuntimeError("planted")

    desk.on_committed = fail
    with contextlib.suppress(RuntimeError):
        desk.writer.answer()
    desk.commits.spawn(desk.roots(1))
    await turn()
    assert desk.fatal or len(desk.writer.submitted) == 2
