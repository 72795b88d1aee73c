"""Commands leave in batches, one at a time and at once, in an order in which no parent overtakes its children."""

from fanfold.engine.committer import MAX_BYTES, MAX_ROWS
from fanfold.model.commands import Block, ClaimRequest, Eviction
from tests.engine.desk import Desk, completed, on_a_loop, turn

CLAIM = ClaimRequest("default", ("work",), 3)


def ids(rows) -> list[int]:
    return [row.id for row in rows]


@on_a_loop
async def test_an_idle_committer_commits_at_once():
    desk = Desk(sequence=41)
    (root,) = desk.roots(1)
    desk.commits.spawn([root])
    assert desk.writer.submitted == []
    await turn()
    assert [(batch.number, batch.new) for batch in desk.writer.submitted] == [(42, [root])]


@on_a_loop
async def test_what_is_asked_for_in_one_callback_is_one_batch():
    desk = Desk()
    root, other = desk.roots(2)
    desk.commits.spawn([root])
    desk.commits.end(completed(other.id))
    desk.commits.claim(CLAIM)
    desk.commits.fire_timers()
    await turn()
    (batch,) = desk.writer.submitted
    assert (batch.new, ids(batch.ends), batch.claims, batch.fires_timers) == ([root], [other.id], [CLAIM], True)


@on_a_loop
async def test_while_one_batch_commits_the_next_gathers():
    desk = Desk()
    first, second, third = desk.roots(3)
    desk.commits.spawn([first])
    await turn()
    for root in (second, third):
        desk.commits.spawn([root])
        await turn()
    assert len(desk.writer.submitted) == 1
    desk.writer.answer()
    assert [batch.new for batch in desk.writer.submitted] == [[first], [second, third]]
    assert [batch.number for batch in desk.writer.submitted] == [1, 2]


@on_a_loop
async def test_the_next_batch_is_under_way_before_the_effects_of_the_last_are_dealt_out():
    desk = Desk()
    first, second = desk.roots(2)
    desk.commits.spawn([first])
    await turn()
    desk.commits.spawn([second])
    under_way: list[list] = []
    desk.on_committed = lambda batch: under_way.append(desk.writer.current.new)
    desk.writer.answer()
    assert under_way == [[second]]


@on_a_loop
async def test_what_the_effects_ask_for_leaves_as_one_batch_at_their_end():
    desk = Desk()
    first, second, third = desk.roots(3)
    desk.on_committed = lambda batch: batch.new == [first] and (
        desk.commits.spawn([second]), desk.commits.spawn([third])
    )  # fmt: skip
    desk.commits.spawn([first])
    await turn()
    desk.writer.answer()
    assert desk.writer.current is not None
    assert desk.writer.current.new == [second, third]


@on_a_loop
async def test_each_batch_reserves_ids_beyond_those_that_it_uses():
    desk = Desk()
    for _ in range(3):
        desk.commits.spawn(desk.roots(9000))
        await desk.settle()
    for batch in desk.committed:
        assert all(row.id < batch.next_id for row in batch.new)


@on_a_loop
async def test_a_batch_holds_so_many_rows_and_no_more():
    desk = Desk()
    roots = desk.roots(MAX_ROWS + 1)
    for root in roots:
        desk.commits.end(completed(root.id))
    desk.commits.spawn(roots)
    await desk.settle()
    assert [(len(batch.new), len(batch.ends)) for batch in desk.committed] == [(MAX_ROWS, MAX_ROWS), (1, 1)]
    assert desk.new_ids() == ids(roots)


@on_a_loop
async def test_a_batch_of_rows_is_bound_by_bytes():
    desk = Desk()
    roots = desk.roots(7, input="x" * (MAX_BYTES // 4))
    desk.commits.spawn(roots)
    await desk.settle()
    assert [len(batch.new) for batch in desk.committed] == [4, 3]


@on_a_loop
async def test_rows_outputs_and_returns_share_the_bytes_of_a_batch():
    desk = Desk()
    half = "x" * (MAX_BYTES // 2)
    desk.commits.spawn(desk.roots(1, input=half))
    for id in (101, 102):
        desk.commits.end(completed(id, output=half))
    desk.commits.returned(completed(103, output=half))
    await desk.settle()
    assert [(len(b.new), len(b.ends), len(b.returns)) for b in desk.committed] == [(1, 1, 0), (0, 1, 1)]


@on_a_loop
async def test_the_bytes_of_other_alphabets_are_counted_as_well():
    desk = Desk()
    desk.commits.spawn(desk.roots(16, input="€" * (MAX_BYTES // 8)))
    await desk.settle()
    for batch in desk.committed:
        assert sum(len((row.input or "").encode()) for row in batch.new[:-1]) <= MAX_BYTES


@on_a_loop
async def test_a_parents_commands_stay_behind_the_children_that_it_started_before():
    desk = Desk()
    parent, other = desk.roots(2)
    children = desk.children(parent, MAX_ROWS + 10)
    desk.commits.spawn(children)
    desk.commits.drop(children[0].id)
    desk.commits.returned(completed(parent.id))
    desk.commits.spawn(desk.children(other, 1))
    desk.commits.evict(Eviction(other.id, 1, 0))
    await desk.settle()
    first, second = desk.committed
    assert (len(first.new), first.drops, first.returns) == (MAX_ROWS, [], [])
    assert (len(second.new), second.drops, ids(second.returns)) == (11, [children[0].id], [parent.id])
    assert ids(second.evictions) == [other.id]


@on_a_loop
async def test_what_a_leaf_says_overtakes_a_large_fan_out():
    desk = Desk()
    (parent,) = desk.roots(1)
    children = desk.children(parent, 3 * MAX_ROWS)
    desk.commits.spawn(children)
    await turn()
    desk.commits.end(completed(children[0].id, parent.id))
    desk.writer.answer()
    await turn()
    assert desk.writer.current is not None
    assert (len(desk.writer.current.new), ids(desk.writer.current.ends)) == (MAX_ROWS, [children[0].id])


@on_a_loop
async def test_commands_of_a_kind_keep_the_order_in_which_they_were_asked_for():
    desk = Desk()
    for id in (5, 3, 9):
        desk.commits.end(completed(id))
        desk.commits.end_parent(completed(id + 100))
        desk.commits.drop(id)
        desk.commits.release(id, 1)
        desk.commits.resume(id)
        desk.commits.settle(id)
        desk.commits.block(Block(id, 1, "why"))
        desk.commits.cancel([id])
    await desk.settle()
    (batch,) = desk.committed
    assert ids(batch.ends) == [5, 3, 9, 105, 103, 109]
    assert batch.drops == ids(batch.releases) == batch.resumes == batch.settles == ids(batch.blocks) == [5, 3, 9]
    assert ids(batch.cancels) == [5, 3, 9]
    assert len({cancel.event_id for cancel in batch.cancels}) == 3


@on_a_loop
async def test_idle_waits_until_everything_is_committed():
    desk = Desk()
    await desk.commits.idle()
    first, second = desk.roots(2)
    desk.commits.spawn([first])
    assert not desk.commits.is_idle
    await turn()
    desk.on_committed = lambda batch: batch.new == [first] and desk.commits.spawn([second])
    desk.writer.answer()
    assert not desk.commits.is_idle
    desk.writer.answer()
    assert desk.commits.is_idle
    await desk.commits.idle()


@on_a_loop
async def test_an_idle_committer_starts_again():
    desk = Desk()
    for root in desk.roots(3):
        desk.commits.spawn([root])
        await desk.settle()
    assert [batch.number for batch in desk.committed] == [1, 2, 3]


@on_a_loop
async def test_a_closed_committer_takes_nothing_and_deals_nothing_out():
    desk = Desk()
    first, second = desk.roots(2)
    desk.commits.spawn([first])
    await turn()
    desk.commits.close()
    desk.commits.spawn([second])
    desk.writer.answer()
    await turn()
    assert (len(desk.writer.submitted), desk.committed, desk.writer.is_closed) == (1, [], True)
