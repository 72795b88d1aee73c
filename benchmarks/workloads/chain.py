"""P3: one workflow awaits N tasks one after the other; nothing can be batched, every step waits for the disk."""

import argparse
import time

from benchmarks.sample import Figures, measured
from benchmarks.stores import store_path, store_url, stored_bytes
from fanfold import App

STEPS = 2_000

app = App("benchmark", store=store_url())


@app.task
async def increment(i: int) -> int:
    """Return the next number."""
    return i + 1


@app.workflow
async def count_to(n: int) -> int:
    """Await n tasks, each with the result of the one before."""
    total = 0
    for _ in range(n):
        total = await increment(total)
    return total


def work(steps: int) -> Figures:
    """Run the chain on a fresh store; return steps per second and bytes a step."""
    started = time.perf_counter()
    total = app.run(count_to, steps)
    elapsed_s = time.perf_counter() - started
    if total != steps:
        raise AssertionError(f"the chain ended at {total}")
    return {
        "children": steps,
        "wall_s": elapsed_s,
        "per_s": steps / elapsed_s,
        "bytes_per_child": stored_bytes(store_path()) / steps,
    }


def main() -> None:
    """Measure once and print one JSON line."""
    parser = argparse.ArgumentParser(description="P3: a chain of tasks in one workflow.")
    parser.add_argument("--n", type=int, default=STEPS, help="steps of the chain")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    measured(lambda: work(options.n), profile=options.profile)


if __name__ == "__main__":
    main()
