"""What `make demo` runs: start the merge, `kill -9` it in the middle, start it again, and see what was kept.

Prints plain lines, the last of them the summary as JSON, and ends with 1 if a promise did not hold.
Waits for states and never for a time, so it is as quick as the machine.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from examples.customer_merge.generate import DEFAULT_ROWS, generate
from examples.customer_merge.sequential import merge_sequentially
from examples.customer_merge.sharding import NUM_SHARDS
from fanfold import App

ROOT = Path(__file__).resolve().parents[2]
ENOUGH_SHARDS = 3
LOOK_EVERY_S = 0.005
PATIENCE_S = 600
MOST_TRIES = 5


class DemoError(Exception):
    """A promise that the demo shows did not hold, or the merge could not run."""


@dataclass(frozen=True)
class Place:
    """The folder that the demo works in: data, store, and the log of the shards that started."""

    folder: Path

    @property
    def data(self) -> Path:
        """The folder with the CSV files."""
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """The file with one line `shard_id pid` for each shard that started."""
        return self.folder / "shards.log"

    @property
    def store(self) -> str:
        """The address of the store."""
        return f"sqlite:///{self.folder / 'customers.db'}"

    def clear(self) -> None:
        """Remove what an earlier demo left: its store would be continued, and there would be nothing to do."""
        for path in (self.log, *self.folder.glob("customers.db*")):
            path.unlink(missing_ok=True)

    def start_merge(self) -> subprocess.Popen[str]:
        """Start the merge as a process of its own; its talk goes to stderr, its result comes through the pipe."""
        return subprocess.Popen(
            [sys.executable, "-m", "examples.customer_merge.app"],
            cwd=ROOT,
            env=os.environ
            | {
                "CUSTOMER_DATA_DIR": str(self.data),
                "CUSTOMER_MERGE_LOG": str(self.log),
                "FANFOLD_STORE": self.store,
            },
            stdout=subprocess.PIPE,
            text=True,
        )

    def started_shards(self, pid: int) -> list[int]:
        """Return the shards that a process started, one entry for each time."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [int(shard_id) for shard_id, starter in map(str.split, lines) if int(starter) == pid]

    def recorded_shards(self) -> set[int]:
        """Return the shards whose result is in the store. Only reads, so it may look while the merge runs."""
        return asyncio.run(self._recorded_shards())

    async def _recorded_shards(self) -> set[int]:
        client = App("demo", store=self.store)
        return {run.input["shard_id"] async for run in client.runs(task="process_shard", state="completed")}


def listed(shards: Collection[int]) -> str:
    """Return a count and the shards in order, such as `2 shards (3 7)`."""
    return f"{len(shards)} shards ({' '.join(map(str, sorted(shards)))})"


def kill_in_the_middle(place: Place) -> set[int] | None:
    """Start the merge, kill it once some shards are recorded, and return those; None if it was quicker and is done."""
    child = place.start_merge()
    give_up_at = time.monotonic() + PATIENCE_S
    try:
        # The store is there once a shard has started; before, there is nothing to look into.
        while not place.started_shards(child.pid) or len(place.recorded_shards()) < ENOUGH_SHARDS:
            if time.monotonic() > give_up_at:
                raise DemoError(f"{ENOUGH_SHARDS} shards were not done within {PATIENCE_S} s")
            try:
                status = child.wait(timeout=LOOK_EVERY_S)
            except subprocess.TimeoutExpired:
                continue
            if status:
                raise DemoError(f"the merge ended by itself with status {status}")
            break
    finally:
        child.kill()
        child.communicate()
        if sys.stderr.isatty():
            print(file=sys.stderr)  # whoever is killed leaves its progress bar behind
    kept = place.recorded_shards()
    return kept if len(kept) < NUM_SHARDS else None


def crash(place: Place) -> set[int]:
    """Crash the merge in the middle and return the shards that were recorded by then."""
    for _ in range(MOST_TRIES):
        place.clear()
        kept = kill_in_the_middle(place)
        if kept is not None:
            return kept
        print("   it was done before it could be killed; once more")
    raise DemoError("the merge is too quick to be killed in the middle; give it more --rows")


def resume(place: Place, kept: set[int]) -> dict[str, Any]:
    """Start the merge again, check that it runs exactly the shards that were not kept, and return its summary."""
    child = place.start_merge()
    try:
        output, _ = child.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired as error:
        raise DemoError(f"the merge did not end within {PATIENCE_S} s") from error
    finally:
        child.kill()
        child.wait()
    if child.returncode:
        raise DemoError(f"the merge could not go on; it ended with status {child.returncode}")
    ran = place.started_shards(child.pid)
    print(f"   kept {listed(kept)}, ran {listed(ran)}")
    if sorted([*kept, *ran]) != list(range(NUM_SHARDS)):
        raise DemoError("a shard that was recorded ran again, or one is missing")
    return json.loads(output)


def show(place: Place, rows: int) -> dict[str, Any]:
    """Run the demo from the files to the comparison, and return the summary."""
    counts = generate(place.data, rows)
    print(f"1. made {rows:,} customers in {place.data}")
    print("  ", ", ".join(f"{name}: {count:,} rows" for name, count in counts.items()))
    print(f"2. starting the merge: {NUM_SHARDS} shards, each reads the files itself", flush=True)
    kept = crash(place)
    print(f"3. killed it with kill -9 when {len(kept)} of {NUM_SHARDS} shards were recorded")
    print("4. starting it again, with the same command", flush=True)
    summary = resume(place, kept)
    plain = json.loads(json.dumps(asdict(merge_sequentially(place.data))))
    if summary != plain:
        raise DemoError(f"the sequential version has other numbers: {plain} and not {summary}")
    print("5. the sequential version has the same numbers")
    print(f"   look around: FANFOLD_STORE={place.store} {Path(sys.executable).with_name('fanfold')} runs list")
    print("6. the summary:")
    return summary


def main() -> None:
    """Run the demo in a folder and print the summary in the last line."""
    parser = argparse.ArgumentParser(description="Crash the customer merge and watch it go on.")
    parser.add_argument("--rows", type=int, default=DEFAULT_ROWS, help="customers to make")
    parser.add_argument("--dir", type=Path, default=ROOT / "build" / "demo", help="folder to work in")
    options = parser.parse_args()
    try:
        summary = show(Place(options.dir.resolve()), options.rows)
    except (DemoError, ValueError) as error:
        sys.exit(f"demo: {error}")
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
