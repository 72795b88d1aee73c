"""The mixture, killed at commits all over the run and by the clock: each start goes on and repeats nothing."""

import os
import random
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.crash.kill_at_commit import NEVER, Ending, Kill, spread_kills
from tests.crash.mixture_lives import MixtureLives, check_the_end, until_hit

KILLS = int(os.environ.get("CRASH_KILLS", "12"))
AT_ONCE = 2  # each in a folder of its own
PLACES = KILLS // 2  # where a run is killed first: the process that goes on is killed as well
PARTS = -(-PLACES // AT_ONCE)
KILLS_BY_THE_CLOCK = KILLS // 6
BODIES = 120  # that have started when a kill by the clock comes, at most; of some 220
SEED = 3
DRAWS = 10


@pytest.fixture(scope="module")
def commits(tmp_path_factory: pytest.TempPathFactory) -> int:
    """Count the commits of a whole run."""
    lives = MixtureLives(tmp_path_factory.mktemp("whole"))
    ending = lives.live(NEVER)
    assert ending.output.split() == ["True"]
    check_the_end(lives)
    return ending.commits


def killed(folder: Path, attack: Callable[[MixtureLives], Ending]) -> MixtureLives:
    """Start a run that is killed like this."""
    lives = MixtureLives(folder)
    attack(lives)
    return lives


def go_on(lives: MixtureLives, kill: Kill = NEVER) -> Ending:
    """Start again what was killed, and check that it says so and goes on with the root that there is."""
    roots = [row["id"] for row in lives.left.roots]
    ending = lives.live(kill)
    told = [int(id) for id in re.findall(r"mixture: continued run (\d+)", ending.errors)]
    # Killed early enough it has said nothing yet.
    assert told == roots or (ending.was_killed and not told), ending.errors
    if not ending.was_killed:
        assert ending.output.split() == ["True"]
        check_the_end(lives)
    return ending


def killed_twice(folder: Path, commits: int, kill: Kill, seed: int) -> int:
    """Kill a run at a commit and the one that goes on at another, and finish it; return how many kills hit work."""
    draw = random.Random(seed)
    kills = [kill, *(Kill(draw.randint(2, commits // 2), kill.when) for _ in range(DRAWS - 1))]
    lives = until_hit(folder, (partial(killed, attack=partial(MixtureLives.live, kill=kill)) for kill in kills))
    go_on(lives, Kill(draw.randint(1, max(commits // 3, 2)), draw.choice(("before", "after"))))
    if lives.is_unfinished:
        go_on(lives)
    return lives.hits


@pytest.mark.parametrize("part", range(PARTS))
def test_a_mixture_killed_at_two_commits_ends_as_if_it_had_not_been(tmp_path: Path, commits: int, part: int):
    # The last commits record the end: what they leave is not sure to be unfinished.
    kills = spread_kills(SEED, commits * 4 // 5, PLACES)[part::PARTS]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        jobs = [
            pool.submit(killed_twice, tmp_path / f"kill-{number}", commits, kill, SEED + PLACES * part + number)
            for number, kill in enumerate(kills)
        ]
    hits = [job.result() for job in jobs]
    print(f"{hits} of 2 kills each hit unfinished work: {kills}")
    assert all(hits)


@pytest.mark.parametrize("number", range(KILLS_BY_THE_CLOCK))
def test_a_mixture_killed_by_the_clock_ends_as_if_it_had_not_been(tmp_path: Path, number: int):
    draw = random.Random(SEED + number)
    bodies = 1 + number * BODIES // KILLS_BY_THE_CLOCK

    def attack(lives: MixtureLives) -> Ending:
        return lives.live_for(bodies, draw.random() * 0.01)

    go_on(until_hit(tmp_path, [partial(killed, attack=attack)] * DRAWS))
