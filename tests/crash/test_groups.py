"""Groups whose process is killed while members are added, while they are folded, and at the end: totals stay right."""

import os
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.crash.groups import DEPTH, FIRST, ITEMS, LISTED, SLOW_ITEMS, grown_below
from tests.crash.groups_lives import GroupsLives, check_the_end
from tests.crash.kill_at_commit import NEVER, Kill

KILLS = int(os.environ.get("CRASH_KILLS", "30"))
EACH = 6  # of them in one store, one after the other
STORES = KILLS // EACH
AT_ONCE = 2
SEED = 86
FIRST_COMMITS = 5  # the store's, the root's, and those of the first members
LAST_COMMITS = 4  # which record the end


def expected() -> Counter[str]:
    """Return how many runs there are of each name."""
    grown = sum(1 for first in range(1, FIRST + 1) for _ in grown_below(first, DEPTH))
    return Counter(
        groups=1, folds_a_map=1, opens_in_a_thread=1, maps_in_a_thread=1, square=ITEMS + SLOW_ITEMS, cube=2 * LISTED,
        grow=grown, grow_in_thread=grown,
    )  # fmt: skip


@pytest.fixture(scope="module")
def commits(tmp_path_factory: pytest.TempPathFactory) -> int:
    """Count the commits of a whole run."""
    lives = GroupsLives(tmp_path_factory.mktemp("whole") / "lives")
    ending = lives.live(NEVER)
    check_the_end(lives.left, expected())
    return ending.commits


def kills_of(store: int, commits: int) -> list[Kill]:
    """Draw the kills of one store: spread over the whole of its work, a process dying where the next one goes on."""
    draw = random.Random(SEED + store)
    midst = commits - FIRST_COMMITS - LAST_COMMITS
    places = [FIRST_COMMITS + int((number + draw.random()) * midst / EACH) for number in range(EACH)]
    steps = [place - before for place, before in zip(places, [0, *places], strict=False)]
    return [Kill(max(step, 2), ("before", "after")[(number + store) % 2]) for number, step in enumerate(steps)]


def killed_again_and_again(folder: Path, kills: list[Kill]) -> list[int]:
    """Kill one process after the other, and let the last one finish; return how many members each kill left open."""
    lives = GroupsLives(folder)
    for kill in kills:
        if not lives.live(kill).was_killed:
            break
    else:
        if lives.left.is_unfinished:
            lives.live(NEVER)
    check_the_end(lives.left, expected())
    return lives.hits


def test_groups_killed_at_thirty_commits_have_the_totals_of_a_plain_loop_and_run_no_member_again(
    tmp_path: Path, commits: int
):
    with ThreadPoolExecutor(AT_ONCE) as pool:
        jobs = [
            pool.submit(killed_again_and_again, tmp_path / f"store-{n}", kills_of(n, commits)) for n in range(STORES)
        ]
    hits = [job.result() for job in jobs]
    print(f"{commits} commits; members that were open after each kill: {hits}")
    assert sum(len(opened) for opened in hits) >= STORES * EACH * 29 // 30
    assert sum(opened > 0 for opens in hits for opened in opens) >= STORES * EACH * 25 // 30


@pytest.mark.parametrize("when", ["before", "after"])
def test_groups_killed_at_their_last_commits_still_have_the_totals(tmp_path: Path, commits: int, when: str):
    for number, place in enumerate(range(commits - LAST_COMMITS, commits, 2)):
        lives = GroupsLives(tmp_path / f"store-{number}")
        lives.live(Kill(place, when))
        if lives.left.is_unfinished:
            lives.live(NEVER)
        check_the_end(lives.left, expected())
