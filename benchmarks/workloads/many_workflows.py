"""P5: N workflows with one task each, started from outside in chunks that overlap inside the engine."""

import argparse
import asyncio
import time

from benchmarks.sample import Figures, measured
from benchmarks.stores import store_path, store_url, stored_bytes
from fanfold import App

WORKFLOWS = 10_000
CHUNK = 1_000

app = App("benchmark", store=store_url())


@app.task
async def double(i: int) -> int:
    """Return twice the number."""
    return 2 * i


@app.workflow
async def one_step(i: int) -> int:
    """Await one task."""
    return await double(i)


async def total_of(numbers: range) -> int:
    """Start a workflow for each number at once and add up their results."""
    runs = await asyncio.gather(*(app.start(one_step, i) for i in numbers))
    return sum(await asyncio.gather(*(run.result() for run in runs)))


async def all_chunks(workflows: int) -> tuple[int, float]:
    """Run every workflow in chunks of 1,000; return the sum of the results and the seconds, engine start left out."""
    async with app:
        started = time.perf_counter()
        total = 0
        for first in range(0, workflows, CHUNK):
            total += await total_of(range(first, min(first + CHUNK, workflows)))
        return total, time.perf_counter() - started


def work(workflows: int) -> Figures:
    """Measure on a fresh store; return workflows per second and bytes a workflow with its child."""
    total, elapsed_s = asyncio.run(all_chunks(workflows))
    if total != workflows * (workflows - 1):
        raise AssertionError(f"the sum is {total}")
    return {
        "workflows": workflows,
        "chunk": CHUNK,
        "wall_s": elapsed_s,
        "per_s": workflows / elapsed_s,
        "bytes_per_workflow": stored_bytes(store_path()) / workflows,
    }


def main() -> None:
    """Measure once and print one JSON line."""
    parser = argparse.ArgumentParser(description="P5: many small workflows.")
    parser.add_argument("--n", type=int, default=WORKFLOWS, help="workflows to start")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    measured(lambda: work(options.n), profile=options.profile)


if __name__ == "__main__":
    main()
