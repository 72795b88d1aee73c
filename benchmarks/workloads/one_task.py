"""P4: from `app.start` to the result of one task on an engine that has nothing else to do."""

import argparse
import asyncio
import time

from benchmarks.sample import Figures, measured, quantile
from benchmarks.stores import store_path, store_url, stored_bytes
from fanfold import App

STARTS = 300
WARM_UP = 20

app = App("benchmark", store=store_url())


@app.task
async def double(i: int) -> int:
    """Return twice the number."""
    return 2 * i


async def timed_start(i: int) -> float:
    """Start one task, await its result, and return how long both took in seconds."""
    started = time.perf_counter()
    run = await app.start(double, i)
    result = await run.result()
    elapsed_s = time.perf_counter() - started
    if result != 2 * i:
        raise AssertionError(f"double({i}) is {result}")
    return elapsed_s


async def latencies(starts: int) -> list[float]:
    """Return the seconds of each start, one at a time, the first ones left out."""
    async with app:
        took_s = [await timed_start(i) for i in range(WARM_UP + starts)]
    return took_s[WARM_UP:]


def work(starts: int) -> Figures:
    """Measure on a fresh store; return quantiles in ms."""
    took_s = asyncio.run(latencies(starts))
    return {
        "starts": starts,
        "wall_s": sum(took_s),
        "p50_ms": quantile(took_s, 0.5) * 1e3,
        "p99_ms": quantile(took_s, 0.99) * 1e3,
        "bytes_per_child": stored_bytes(store_path()) / (starts + WARM_UP),
    }


def main() -> None:
    """Measure once and print one JSON line."""
    parser = argparse.ArgumentParser(description="P4: latency of one task on an idle engine.")
    parser.add_argument("--n", type=int, default=STARTS, help="tasks to start, one at a time")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    measured(lambda: work(options.n), profile=options.profile)


if __name__ == "__main__":
    main()
