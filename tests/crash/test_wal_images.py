"""The log of a store cut at every frame and spoilt at random: it always opens with the state after some commit."""

import random
from pathlib import Path

import pytest

from fanfold.store.sqlite import SqliteDatabase
from tests.crash.fan_out import Size
from tests.crash.images import SECTOR, Image, Recording, draw_images, record
from tests.crash.kill_at_commit import NEVER
from tests.crash.lives import Lives
from tests.crash.remains import digest, is_whole, look_into, read, wal_bytes

SIZE = Size(squares=20, branches=2, leaves=4, steps=35, cubes=6)
IMAGES = 1000
PARTS = 4  # each in a test of its own
SEED = 11
CHECKED_EVERY = 20  # the pages and indexes of one image in so many
RESUMED = 8
CHECKPOINTS = 40


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return record(tmp_path_factory.mktemp("recorded"), SIZE)


def check(recording: Recording, image: Image, store: Path, number: int) -> None:
    """Open what a crash left and compare it with what was there after the last whole commit."""
    recording.write(image, store, random.Random(number))
    database = SqliteDatabase(str(store))
    try:
        found = read(database)
        assert found.digest == recording.digest_at(image.whole_bytes), image
        assert found.violations == [], image
        if number % CHECKED_EVERY == 0:
            assert is_whole(database), image
    finally:
        database.close()
    assert wal_bytes(store) == 0


def test_the_record_has_the_end_of_every_commit(recording: Recording):
    assert recording.lengths == recording.ends_of_commits()
    assert len(set(recording.digests)) == len(recording.digests)
    assert recording.boundaries[-1] == len(recording.log) == recording.lengths[-1]


@pytest.mark.parametrize("part", range(PARTS))
def test_a_log_cut_or_spoilt_anywhere_opens_with_the_state_after_its_last_whole_commit(
    recording: Recording, tmp_path: Path, part: int
):
    images = draw_images(recording, IMAGES, SEED)
    assert len(images) == IMAGES
    for number in range(part, IMAGES, PARTS):
        check(recording, images[number], tmp_path / "image.db", number)


def test_a_crash_while_the_log_is_written_back_loses_nothing(recording: Recording, tmp_path: Path):
    pages, size = recording.pages(), recording.page_bytes
    for number in range(CHECKPOINTS):
        draw = random.Random(number)
        store = tmp_path / "checkpoint.db"
        file = bytearray(recording.file.ljust(size * max(pages), b"\0"))
        for page in draw.sample(sorted(pages), draw.randrange(len(pages))):
            # The last sectors of a page may be missing: the log has it whole.
            written = size - SECTOR * draw.randrange(size // SECTOR)
            file[(page - 1) * size : (page - 1) * size + written] = pages[page][:written]
        store.write_bytes(file)
        Path(f"{store}-wal").write_bytes(recording.log)
        database = SqliteDatabase(str(store))
        try:
            assert digest(database._connection) == recording.digests[-1]
        finally:
            database.close()
    assert look_into(store).violations == []


@pytest.mark.parametrize("number", range(RESUMED))
def test_an_engine_goes_on_from_a_crash_image_to_the_right_sum(recording: Recording, tmp_path: Path, number: int):
    # Evenly over the run, from a place within each stretch; after the last commit there would be nothing to do.
    draw = random.Random(number)
    place = int((number + draw.random()) * (len(recording.log) - 1) / RESUMED)
    store = tmp_path / "resumed.db"
    recording.write(Image(place), store, draw)
    lives = Lives(store, SIZE)
    assert lives.is_unfinished
    lives.live(NEVER)
    lives.check_the_end()
