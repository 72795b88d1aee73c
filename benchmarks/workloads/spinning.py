"""P6: bodies of 50 ms of processor time on two processes, fanfold's and a `ProcessPoolExecutor`'s taking turns.

Both are full of work and differ by a few hundredths, less than a shared machine's speed does from one second to the
next: so this row's two sides are slices of the same seconds, in one process. Whoever has no turn is idle.
"""

import argparse
import asyncio
import time
from concurrent.futures import ProcessPoolExecutor

from benchmarks.bodies import PROCESSES, double, spin
from benchmarks.sample import Figures, measured
from benchmarks.stores import store_path, store_url, stored_bytes
from fanfold import App

BODIES = 144
SLICE = 24
WARM_UP = 8

app = App("benchmark", store=store_url(), processes=PROCESSES)

spin_in_process = app.task(name="spin_in_process", executor="process")(spin)


@app.workflow
async def gather_all(first: int, n: int) -> int:
    """Await n bodies through `asyncio.gather`."""
    return sum(await asyncio.gather(*(spin_in_process(i) for i in range(first, first + n))))


async def in_fanfold(first: int, n: int) -> int:
    """Run a slice as a workflow."""
    return await (await app.start(gather_all, first, n)).result()


async def in_pool(pool: ProcessPoolExecutor, first: int, n: int) -> int:
    """Run a slice as one submit a body."""
    return sum(await asyncio.gather(*(asyncio.wrap_future(pool.submit(spin, i)) for i in range(first, first + n))))


async def slices(bodies: int, pool: ProcessPoolExecutor) -> tuple[float, float]:
    """Run every slice on both sides, the first one first in turns; return the seconds of fanfold and of the pool."""
    await in_pool(pool, 0, WARM_UP)  # forks before the engine has threads
    taken_s = [0.0, 0.0]
    async with app:
        await in_fanfold(0, WARM_UP)
        for turn, first in enumerate(range(WARM_UP, WARM_UP + bodies, SLICE)):
            n = min(SLICE, WARM_UP + bodies - first)
            for side in (turn % 2, 1 - turn % 2):
                started = time.perf_counter()
                total = await (in_pool(pool, first, n) if side else in_fanfold(first, n))
                taken_s[side] += time.perf_counter() - started
                if total != sum(double(i) for i in range(first, first + n)):
                    raise AssertionError(f"the sum is {total}")
    return taken_s[0], taken_s[1]


def work(bodies: int) -> Figures:
    """Measure on a fresh store; return bodies per second on both sides, and bytes a body."""
    with ProcessPoolExecutor(PROCESSES) as pool:
        fanfold_s, pool_s = asyncio.run(slices(bodies, pool))
    return {
        "bodies": bodies,
        "wall_s": fanfold_s,
        "per_s": bodies / fanfold_s,
        "pool_per_s": bodies / pool_s,
        "bytes_per_child": stored_bytes(store_path()) / (bodies + WARM_UP),
    }


def main() -> None:
    """Measure once and print one JSON line."""
    parser = argparse.ArgumentParser(description="P6: bodies that use the processor, on two processes.")
    parser.add_argument("--n", type=int, default=BODIES, help="bodies on each side")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    measured(lambda: work(options.n), profile=options.profile)


if __name__ == "__main__":
    main()
