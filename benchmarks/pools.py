"""What P6 is measured against: the pools of the standard library, which keep nothing.

Threads: `loop.run_in_executor` and `gather`. Processes: one `ProcessPoolExecutor.submit` a body. Both with as many
workers as fanfold, warm when the clock starts as fanfold's are, at the switch interval and the garbage collector's
thresholds that an engine sets while it works. Those make the threads two to three times as fast: `default_per_s` is
the same at the interpreter's own settings, and nothing is judged by it.
"""

import argparse
import asyncio
import contextlib
import gc
import sys
import time
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

from benchmarks.bodies import PROCESSES, SIZES, THREADS, WARM_UP, double, figures
from benchmarks.sample import Figures, emit
from fanfold.session import GC_THRESHOLDS, SWITCH_INTERVAL_S


async def gather_all(pool: ThreadPoolExecutor, bodies: int) -> int:
    """Await a call in the pool for each number."""
    loop = asyncio.get_running_loop()
    return sum(await asyncio.gather(*(loop.run_in_executor(pool, double, i) for i in range(bodies))))


async def timed_threads(bodies: int) -> Figures:
    """Measure threads in the interpreter's present settings."""
    with ThreadPoolExecutor(THREADS) as pool:
        await gather_all(pool, WARM_UP)
        started = time.perf_counter()
        total = await gather_all(pool, bodies)
        elapsed_s = time.perf_counter() - started
    return figures(bodies, total, elapsed_s)


@contextlib.contextmanager
def settings_of_an_engine() -> Generator[None]:
    """Run the block with what an engine sets in the interpreter while it works."""
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*thresholds)


def processes(bodies: int) -> Figures:
    """Measure one submit a body on a pool of processes, in the interpreter's present settings."""

    def submit_all(number: int) -> int:
        return sum(future.result() for future in [pool.submit(double, i) for i in range(number)])

    with ProcessPoolExecutor(PROCESSES) as pool:
        submit_all(WARM_UP)
        started = time.perf_counter()
        total = submit_all(bodies)
        elapsed_s = time.perf_counter() - started
    return figures(bodies, total, elapsed_s)


def work(place: str, bodies: int) -> Figures:
    """Measure one kind of pool."""
    with settings_of_an_engine():
        if place == "processes":
            return processes(bodies)
        measured = asyncio.run(timed_threads(bodies))
    return {**measured, "default_per_s": asyncio.run(timed_threads(bodies))["per_s"]}


def main() -> None:
    """Measure once and print one JSON line."""
    parser = argparse.ArgumentParser(description="The standard library's pools: what P6 is measured against.")
    parser.add_argument("--place", choices=tuple(SIZES), default="threads")
    parser.add_argument("--n", type=int, help="bodies to run")
    options = parser.parse_args()
    emit(work(options.place, options.n or SIZES[options.place]))


if __name__ == "__main__":
    main()
