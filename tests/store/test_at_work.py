"""The file of what is at work: there after a SIGKILL, gone after an end in good order, harmless whatever is in it."""

import os
import stat
import subprocess
import sys
from array import array
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.store.at_work import AtWork

PLACES = 4

# Takes places for the runs that it is told, gives one of them back, says so, and waits for its end.
WORKS = """
import signal, sys
from pathlib import Path
from fanfold.store.at_work import AtWork

at_work = AtWork(Path(sys.argv[1]), 4)
places = {int(run): at_work.take(int(run)) for run in sys.argv[3:]}
at_work.give(places[int(sys.argv[2])])
print("at work", flush=True)
signal.pause()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db-work"


def before(path: Path) -> set[int]:
    """Return what the next engine hears was at work."""
    return set(AtWork(path, PLACES).before)


def test_a_fresh_file_names_nobody_and_is_the_owners_alone(path: Path):
    old = os.umask(0)
    try:
        at_work = AtWork(path, PLACES)
    finally:
        os.umask(old)
    assert at_work.before == frozenset()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes() == bytes(8 * (PLACES + 1))


def test_what_is_at_work_when_the_process_is_killed_is_known_to_the_next(path: Path):
    command = [sys.executable, "-c", WORKS, str(path), "8", "7", "8", str((1 << 62) + 1)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "at work\n"
        finally:
            process.kill()
    assert process.returncode == -9
    assert before(path) == {7, (1 << 62) + 1}


def test_a_process_that_was_killed_is_blamed_once(path: Path):
    AtWork(path, PLACES).take(7)
    assert before(path) == {7}
    assert before(path) == set()


def test_a_place_says_who_is_there_until_it_is_given_back(path: Path):
    at_work = AtWork(path, PLACES)
    first, second = at_work.take(7), at_work.take()
    at_work.runs[second] = 8  # as carriers do, body after body
    at_work.give(first)
    third = at_work.take(9)
    assert third == first
    assert len({second, third, 0}) == 3
    at_work.runs[second] = 10
    assert before(path) == {9, 10}


def test_what_finds_no_place_works_without_one_and_is_blamed_for_nothing(path: Path):
    at_work = AtWork(path, 2)
    places = [at_work.take(run) for run in (1, 2, 3, 4)]
    assert sorted(places) == [0, 0, 1, 2]
    at_work.give(0)
    at_work.give(0)
    assert at_work.take(5) == 0
    assert set(AtWork(path, 2).before) == {1, 2}


def test_a_place_that_was_given_back_is_taken_again(path: Path):
    at_work = AtWork(path, 1)
    for run in range(1, 10):
        place = at_work.take(run)
        assert place == 1
        at_work.give(place)
    assert before(path) == set()


def test_an_end_in_good_order_removes_the_file(path: Path):
    at_work = AtWork(path, PLACES)
    place = at_work.take(7)
    at_work.close()
    assert not path.exists()
    at_work.give(place)  # a thread that ends late
    at_work.take(8)
    at_work.close()
    assert before(path) == set()


def test_a_thread_that_ends_after_the_end_writes_nothing_that_the_next_engine_reads(path: Path):
    old = AtWork(path, PLACES)
    runs, place = old.runs, old.take(7)
    old.close()
    new = AtWork(path, PLACES)
    new.take(9)
    runs[place] = 8
    assert before(path) == {9}


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 9, 15, 16, 20, 24])
def test_a_file_that_was_cut_off_names_those_whose_places_are_whole(path: Path, kept: int):
    path.write_bytes(array("q", [5, 6, 7, 8]).tobytes()[:kept])
    assert before(path) == {6, 7, 8} & {5 + place for place in range(1, kept // 8)}


@given(data=st.binary(max_size=100))
def test_whatever_is_in_the_file_is_read_as_ids_that_a_run_could_have(tmp_path_factory: pytest.TempPathFactory, data):
    path = tmp_path_factory.mktemp("garbage") / "store.db-work"
    path.write_bytes(data)
    assert all(0 < id < 1 << 63 for id in before(path))
    assert path.stat().st_size == 8 * (PLACES + 1)
    assert before(path) == set()


def test_more_places_than_before_are_no_obstacle_nor_are_fewer(path: Path):
    wide = AtWork(path, 100)
    for run in range(1, 101):
        wide.take(run)
    assert AtWork(path, 1).before == frozenset(range(1, 101))
    assert AtWork(path, 100).before == frozenset()


def test_a_disk_that_fills_up_later_cannot_kill_the_process(path: Path):
    """A place that the disk has not promised is a SIGBUS for whoever writes into it."""
    AtWork(path, 10_000)
    there = path.stat()
    assert there.st_blocks * 512 >= there.st_size


def test_in_memory_the_next_one_hears_what_was_at_work():
    first = AtWork(None, 2)
    assert first.before == frozenset()
    for run in (7, 8, 9):  # the third has no place
        first.take(run)
    second = first.again()
    assert second.before == {7, 8}
    second.take(5)
    assert (second.again().before, first.again().before) == ({5}, {7, 8})
    second.close()
