"""P6: one workflow awaits N trivial sync bodies, in threads or in processes."""

import argparse
import asyncio
import time

from benchmarks.bodies import PROCESSES, SIZES, THREADS, WARM_UP, double, figures
from benchmarks.sample import Figures, measured
from benchmarks.stores import store_path, store_url, stored_bytes
from fanfold import App

app = App("benchmark", store=store_url(), threads=THREADS, processes=PROCESSES)

double_in_thread = app.task(name="double_in_thread")(double)
double_in_process = app.task(name="double_in_process", executor="process")(double)

TASKS = {"threads": double_in_thread, "processes": double_in_process}


@app.workflow
async def gather_all(place: str, n: int) -> int:
    """Await n bodies through `asyncio.gather`."""
    task = TASKS[place]
    return sum(await asyncio.gather(*(task(i) for i in range(n))))


async def timed(place: str, bodies: int) -> tuple[int, float]:
    """Run the workflow on an engine whose threads and processes are there; return the sum and the seconds."""
    async with app:
        await (await app.start(gather_all, place, WARM_UP)).result()
        started = time.perf_counter()
        total = await (await app.start(gather_all, place, bodies)).result()
        return total, time.perf_counter() - started


def work(place: str, bodies: int) -> Figures:
    """Measure on a fresh store; return bodies per second and bytes a body."""
    total, elapsed_s = asyncio.run(timed(place, bodies))
    stored = stored_bytes(store_path()) / (bodies + WARM_UP)
    return {**figures(bodies, total, elapsed_s), "bytes_per_child": stored}


def main() -> None:
    """Measure once and print one JSON line."""
    parser = argparse.ArgumentParser(description="P6: sync bodies in threads and processes.")
    parser.add_argument("--place", choices=tuple(SIZES), default="threads")
    parser.add_argument("--n", type=int, help="bodies to run")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    measured(lambda: work(options.place, options.n or SIZES[options.place]), profile=options.profile)


if __name__ == "__main__":
    main()
