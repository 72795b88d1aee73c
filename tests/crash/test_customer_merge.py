"""The customer merge, killed at commits all over the run and by the clock: it always ends with the same numbers."""

import json
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from examples.customer_merge.generate import generate
from examples.customer_merge.sequential import merge_sequentially
from examples.customer_merge.sharding import NUM_SHARDS
from tests.crash.kill_at_commit import NEVER, Ending, Kill, kill_later, run, spread_kills, start
from tests.crash.remains import Remains, look_into, wal_bytes

APP = "examples.customer_merge.app"
ROWS = 500
KILLS = 20
KILLS_BY_THE_CLOCK = 5
HITS = 15
AT_ONCE = 2  # each in a folder of its own
SEED = 7
DRAWS = 10


@dataclass(frozen=True)
class Data:
    """The customers' files, and what the sequential version makes of them."""

    folder: Path
    summary: Any


@dataclass(frozen=True)
class Merge:
    """One durable merge: its store and its log of side effects."""

    data: Data
    folder: Path

    @property
    def store(self) -> Path:
        return self.folder / "customers.db"

    @property
    def log(self) -> Path:
        return self.folder / "shards.log"

    @property
    def env(self) -> dict[str, str]:
        return {
            "CUSTOMER_DATA_DIR": str(self.data.folder),
            "CUSTOMER_MERGE_LOG": str(self.log),
            "FANFOLD_STORE": f"sqlite:///{self.store}",
        }

    def run(self, kill: Kill) -> Ending:
        return run(APP, kill, self.env, self.folder)

    def started(self, pid: int) -> list[int]:
        """Return the shards that a process started, in order of their numbers."""
        lines = [line.split() for line in self.log.read_text().splitlines()] if self.log.exists() else []
        return sorted(int(shard) for shard, starter in lines if int(starter) == pid)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    folder = tmp_path_factory.mktemp("customers")
    generate(folder, rows=ROWS)
    return Data(folder, json.loads(json.dumps(asdict(merge_sequentially(folder)))))


def recorded_shards(remains: Remains) -> set[int]:
    """Return the shards whose result is in a store."""
    return {json.loads(row["input"])["shard_id"] for row in remains.completed("process_shard")}


def resume(merge: Merge, killed_pid: int) -> bool:
    """Start a killed merge again and check all that must hold; tell whether the kill hit unfinished work."""
    left = look_into(merge.store)
    assert left.violations == []
    recorded = recorded_shards(left)
    first = merge.started(killed_pid)
    assert recorded <= set(first), "a shard is recorded that never ran"
    assert len(first) == len(set(first)), "one process ran a shard twice"

    second = merge.run(NEVER)
    assert second.result == merge.data.summary
    again = merge.started(second.pid)
    # A finished run is not gone on with: the next start is a new run of all shards.
    expected = set(range(NUM_SHARDS)) - (recorded if left.is_unfinished else set())
    assert again == sorted(expected), f"recorded {recorded}, ran again {again}"

    after = look_into(merge.store)
    assert after.violations == []
    assert len(after.ended) == len(after.runs)
    assert {id: after.runs[id] for id in left.ended} == left.ended, "what had ended has changed"
    assert after.sequence > left.sequence
    assert wal_bytes(merge.store) == 0
    return left.is_unfinished


def killed_at_commit(data: Data, folder: Path, kill: Kill, seed: int) -> bool:
    """Kill a merge at a commit and resume it. How many commits a run has is a matter of luck: draw again beyond it."""
    draw = random.Random(seed)
    for number in range(DRAWS):
        merge = Merge(data, folder / f"draw-{number}")
        merge.folder.mkdir(parents=True)
        first = merge.run(kill)
        if first.was_killed:
            return resume(merge, first.pid)
        kill = Kill(draw.randint(1, first.commits), kill.when)
    raise AssertionError(f"{DRAWS} runs in a row had fewer commits than the one before")


def test_a_merge_killed_at_any_commit_ends_with_the_sequential_numbers_and_keeps_its_shards(data: Data, tmp_path: Path):
    whole = Merge(data, tmp_path / "whole")
    whole.folder.mkdir()
    kills = spread_kills(SEED, whole.run(NEVER).commits, KILLS)
    assert len(set(kills)) > KILLS / 2
    with ThreadPoolExecutor(AT_ONCE) as pool:
        hits = list(
            pool.map(
                lambda number: killed_at_commit(data, tmp_path / f"kill-{number}", kills[number], SEED + number),
                range(KILLS),
            )
        )
    print(f"{sum(hits)} of {KILLS} kills hit an unfinished run: {kills}")
    assert sum(hits) >= HITS


@pytest.mark.parametrize("number", range(KILLS_BY_THE_CLOCK))
def test_a_merge_killed_by_the_clock_ends_with_the_sequential_numbers_and_keeps_its_shards(
    data: Data, tmp_path: Path, number: int
):
    merge = Merge(data, tmp_path)
    shards = 1 + number * (NUM_SHARDS - 1) // KILLS_BY_THE_CLOCK
    first = kill_later(start(APP, NEVER, merge.env), merge.log, shards, random.Random(SEED + number).random() * 0.02)
    # Whether it was quick enough to be done already is the machine's affair; what follows holds either way.
    print(f"killed: {first.was_killed}, unfinished: {resume(merge, first.pid)}")
