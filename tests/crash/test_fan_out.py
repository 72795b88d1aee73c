"""A fan-out of some thousand children, killed again and again: each start goes on where the last one died."""

import random
from pathlib import Path

import pytest

from tests.crash.fan_out import Size
from tests.crash.kill_at_commit import NEVER, Kill, run
from tests.crash.lives import PROGRAM, Lives, settings

KILLS = 5
HITS = 2  # of the kills of one seed: each comes within the first third of a run, so that two leave work in any case


@pytest.fixture(scope="module")
def commits(tmp_path_factory: pytest.TempPathFactory) -> int:
    """Count the commits of a whole run."""
    folder = tmp_path_factory.mktemp("whole")
    return run(PROGRAM, NEVER, settings(folder / "whole.db", Size()), folder).commits


@pytest.mark.parametrize("seed", range(4))
def test_a_fan_out_killed_several_times_runs_nothing_again_that_had_ended_and_has_the_right_sum(
    tmp_path: Path, commits: int, seed: int
):
    draw = random.Random(seed)
    lives = Lives(tmp_path / "fan-out.db", Size())
    ended: list[int] = []
    while len(ended) < KILLS and lives.is_unfinished:
        lives.live(Kill(draw.randint(3, commits // 3), draw.choice(("before", "after"))))
        ended.append(len(lives.left.ended))
    if lives.is_unfinished:
        lives.live(NEVER)
    print(f"killed when {ended} of {len(lives.left.runs)} runs had ended")
    lives.check_the_end()
    assert sum(number < len(lives.left.runs) for number in ended) >= HITS


@pytest.mark.parametrize("seed", range(3))
def test_a_fan_out_killed_by_the_clock_while_its_log_is_written_back_again_and_again_has_the_right_sum(
    tmp_path: Path, seed: int
):
    draw = random.Random(seed)
    # A log of a few pages is written back into the file at nearly every commit: many kills come in between.
    lives = Lives(tmp_path / "fan-out.db", Size(), CRASH_LOG_PAGES="20")
    for _ in range(KILLS):
        if lives.is_unfinished:
            lives.live_for(draw.randrange(600), draw.random() * 0.02)
    if lives.is_unfinished:
        lives.live(NEVER)
    lives.check_the_end()
