"""The customer merge as a durable job: ten shards as children, joined by a plain `asyncio.gather`.

`python -m examples.customer_merge.app` runs it to the end; after a crash the same command goes on where it stopped.
CUSTOMER_DATA_DIR is the folder with the CSV files, FANFOLD_STORE the store, CUSTOMER_MERGE_LOG a file that gets
one line for each shard that starts.
"""

import asyncio
import json
import os
from dataclasses import asdict
from pathlib import Path

from examples.customer_merge.merge import aggregate_results, merge_shard
from examples.customer_merge.profiles import ShardResult, Summary
from examples.customer_merge.sharding import NUM_SHARDS
from fanfold import App

# Parsing CSV holds the interpreter lock: more threads would not finish sooner, they would all be half done at a crash.
app = App("customers", threads=2)


@app.task
def process_shard(shard_id: int) -> ShardResult:
    """Load, merge and sum up one shard. It gets a number and reads the files itself: no customer passes the store."""
    log_start(shard_id)
    return merge_shard(data_dir(), shard_id)


@app.workflow
async def merge_customer_data() -> Summary:
    """Start every shard, wait for all, and fold their results. Reads no file."""
    shards = await asyncio.gather(*(process_shard(shard_id) for shard_id in range(NUM_SHARDS)))
    return aggregate_results(shards)


def data_dir() -> Path:
    """Return the folder with the CSV files."""
    return Path(os.environ.get("CUSTOMER_DATA_DIR") or Path(__file__).parent / "data")


def log_start(shard_id: int) -> None:
    """Append `shard_id pid` to CUSTOMER_MERGE_LOG, if set: what really ran, to be compared with what the store says.

    At the start and not at the end, so that a second run of a shard shows whatever becomes of it. One write and an
    fsync, so that a line is whole and outlives `kill -9`.
    """
    path = os.environ.get("CUSTOMER_MERGE_LOG")
    if not path:
        return
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(log, f"{shard_id} {os.getpid()}\n".encode())
        os.fsync(log)
    finally:
        os.close(log)


if __name__ == "__main__":
    print(json.dumps(asdict(app.run(merge_customer_data)), indent=2))
