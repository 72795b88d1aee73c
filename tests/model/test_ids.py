"""Run ids are never given twice; what a replay draws again is the same on every machine."""

from hypothesis import given
from hypothesis import strategies as st

from fanfold.model.ids import BLOCK, IdSource, new_store_id, new_worker_id, place_random, place_uuid

RANDOM = [318356581, 258602720, 11858898]
UUID = "a6fb7b60-4b5f-4239-983d-20a7a8561f83"


@given(st.lists(st.tuples(st.integers(0, 3 * BLOCK), st.booleans()), min_size=1, max_size=8))
def test_no_id_is_given_twice_over_crashes_when_only_the_reserved_end_is_remembered(lives):
    written, last = 1, 0
    for taken, is_clean in lives:
        source = IdSource(written)
        for _ in range(taken):
            # An id is used in a commit, and each commit writes down the end of the block as it is then.
            id = source.take()
            assert last < id < source.reserved
            last = id
            written = max(written, source.reserved)
        if is_clean:
            written = source.reserved


def test_ids_count_up_without_gap_in_one_life():
    source = IdSource(7)
    assert [source.take() for _ in range(3 * BLOCK)] == list(range(7, 7 + 3 * BLOCK))


def test_a_block_is_raised_well_before_its_end():
    source = IdSource(1)
    for _ in range(5 * BLOCK):
        id = source.take()
        assert source.reserved - id > BLOCK // 2 - 2


def test_random_numbers_of_a_place_are_pinned():
    generator = place_random(4711, 1_767_225_600_000, "/1/3:0")
    assert [generator.randrange(10**9) for _ in range(3)] == RANDOM
    assert place_random(4711, 1_767_225_600_000, "/1/3:1").random() != place_random(4711, 0, "/1/3:1").random()


def test_unique_ids_of_a_place_are_pinned():
    assert str(place_uuid(4711, 1_767_225_600_000, "/1/3:0")) == UUID
    places = [(4711, 0, "/1"), (4711, 0, "/2"), (4712, 0, "/1"), (4711, 1, "/1")]
    assert len({place_uuid(*place) for place in places}) == 4


def test_a_unique_id_is_of_version_4():
    assert place_uuid(1, 2, "/0").version == 4


def test_stores_and_workers_get_ids_of_their_own():
    assert len({new_store_id() for _ in range(100)}) == 100
    workers = {new_worker_id() for _ in range(100)}
    assert len(workers) == 100
    assert all(0 < worker < 1 << 53 for worker in workers)
