"""A saga that is killed while its cancel walks down the tree, and while it undoes what it did."""

import os
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from fanfold.model import lifecycle
from tests.crash.kill_at_commit import NEVER, Ending, Kill, spread_kills
from tests.crash.mixture import DEEP, ENDLESS
from tests.crash.mixture_lives import MixtureLives, check_final_attempts, check_sagas, until_hit

KILLS = int(os.environ.get("CRASH_KILLS", "12"))
AT_ONCE = 2  # each in a folder of its own
PLACES = KILLS // 2  # where a walk is killed first: the process that goes on is killed as well
PARTS = -(-PLACES // AT_ONCE)
SEED = 5
DRAWS = 10


class Cancelled(MixtureLives):
    """A saga that is cancelled when all of it is at work."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "saga")

    @property
    def is_asked(self) -> bool:
        """Tell whether the request is recorded."""
        return any(row["cancel_requested_at"] is not None for row in self.left.roots)

    def go_on(self, kill: Kill) -> Ending:
        """Cancel the saga if nobody has, and go on until the kill, counted from then, or the end."""
        counts_from = self.folder / "cancelled"
        counts_from.unlink(missing_ok=True)
        return self.live(kill) if self.is_asked else self.live(kill, CRASH_COUNT_FROM=str(counts_from))

    def check_the_end(self) -> None:
        """Check that all of it is cancelled and undone, and nothing else has come to an end of its own."""
        left = self.left
        check_sagas(left)
        sagas = [row for row in left.runs.values() if row["name"] == "saga"]
        events = [row for row in left.runs.values() if row["name"] == "cancel"]
        assert len(sagas) == len(events) == 2**DEEP - 1, "not every saga was told of its cancel"
        undone = {row["id"] for row in left.runs.values() if row["compensates"]}
        ended = Counter((row["name"], row["state"]) for id, row in left.runs.items() if id not in undone)
        assert ended["endless", lifecycle.CANCELLED] == ENDLESS + len(sagas)  # with the groups of some
        check_final_attempts(left)


@pytest.fixture(scope="module")
def commits(tmp_path_factory: pytest.TempPathFactory) -> int:
    """Count the commits from the cancel to the end."""
    lives = Cancelled(tmp_path_factory.mktemp("whole"))
    counted = lives.go_on(NEVER).commits
    lives.check_the_end()
    return counted


def killed(folder: Path, kill: Kill) -> Cancelled:
    """Start a saga that is killed after its cancel."""
    lives = Cancelled(folder)
    lives.go_on(kill)
    return lives


def killed_twice(folder: Path, commits: int, kill: Kill, seed: int) -> int:
    """Kill the walk, and whoever goes on with it; return how many of the kills hit unfinished work."""
    draw = random.Random(seed)
    kills = [kill, *(Kill(draw.randint(1, commits // 2), kill.when) for _ in range(DRAWS - 1))]
    lives = until_hit(folder, (partial(killed, kill=kill) for kill in kills))
    # A third death before the request is recorded would quarantine what never ends.
    lives.go_on(Kill(draw.randint(2, max(commits // 2, 3)), draw.choice(("before", "after"))))
    if lives.is_unfinished:
        lives.go_on(NEVER)
    lives.check_the_end()
    return lives.hits


@pytest.mark.parametrize("part", range(PARTS))
def test_a_saga_killed_while_it_is_cancelled_starts_nothing_any_more_and_undoes_all(
    tmp_path: Path, commits: int, part: int
):
    # The last commits record the end: what they leave is not sure to be unfinished.
    kills = [Kill(1, "after"), *spread_kills(SEED, commits * 4 // 5, PLACES - 1)][part::PARTS]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        jobs = [
            pool.submit(killed_twice, tmp_path / f"kill-{number}", commits, kill, SEED + PLACES * part + number)
            for number, kill in enumerate(kills)
        ]
    hits = [job.result() for job in jobs]
    print(f"{hits} of 2 kills each hit unfinished work: {kills} of {commits} commits")
    assert all(hits)
