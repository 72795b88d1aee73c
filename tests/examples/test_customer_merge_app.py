"""The customer merge on fanfold: the same numbers, also over a kill -9."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from examples.customer_merge.generate import generate
from examples.customer_merge.sequential import merge_sequentially
from examples.customer_merge.sharding import NUM_SHARDS

ROOT = Path(__file__).parents[2]


def run(module, *args, **env):
    command = [sys.executable, "-m", f"examples.customer_merge.{module}", *map(str, args)]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    )


def test_the_durable_merge_gives_the_numbers_of_the_sequential_version_and_runs_each_shard_once(tmp_path):
    generate(tmp_path / "data", rows=500)
    log = tmp_path / "shards.log"
    done = run(
        "app",
        CUSTOMER_DATA_DIR=str(tmp_path / "data"),
        CUSTOMER_MERGE_LOG=str(log),
        FANFOLD_STORE=f"sqlite:///{tmp_path / 'customers.db'}",
    )
    assert json.loads(done.stdout) == json.loads(json.dumps(asdict(merge_sequentially(tmp_path / "data"))))
    assert sorted(int(line.split()[0]) for line in log.read_text().splitlines()) == list(range(NUM_SHARDS))


def test_the_demo_keeps_the_recorded_shards_over_a_kill_and_ends_with_the_summary(tmp_path):
    done = run("demo", "--rows", 10_000, "--dir", tmp_path)
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary == json.loads(json.dumps(asdict(merge_sequentially(tmp_path / "data"))))
    # It reads: kept 4 shards (0 1 2 3), ran 6 shards (4 5 6 7 8 9)
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("   kept "))
    kept, ran = (set(part.rstrip(")").split("(")[1].split()) for part in line.split(", "))
    assert 3 <= len(kept) < NUM_SHARDS
    assert kept.isdisjoint(ran)
    assert kept | ran == {str(shard_id) for shard_id in range(NUM_SHARDS)}
