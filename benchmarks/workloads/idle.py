"""P9: what an engine costs that is at work and has nothing to do, its warm threads and processes included."""

import argparse
import asyncio
import time

import psutil

from benchmarks.bodies import PROCESSES, THREADS, double
from benchmarks.sample import Figures, measured
from benchmarks.stores import store_url
from fanfold import App

IDLE_S = 6
LEAST_S = 2
SETTLE_S = 0.5

app = App("benchmark", store=store_url(), threads=THREADS, processes=PROCESSES)

double_in_thread = app.task(name="double_in_thread")(double)
double_in_process = app.task(name="double_in_process", executor="process")(double)


@app.task
async def double_on_loop(i: int) -> int:
    """Return twice the number."""
    return 2 * i


@app.workflow
async def one_of_each(i: int) -> int:
    """Run a body in every kind of place, so that whatever an engine starts has been started."""
    return sum(await asyncio.gather(double_on_loop(i), double_in_thread(i), double_in_process(i)))


def cpu_s_of_children() -> float:
    """Return the processor time of the living child processes in seconds; the system counts it in steps of 10 ms."""
    times = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    return sum(time.user + time.system for time in times)


async def idle(idle_s: float) -> Figures:
    """Do a little of everything, then nothing; return the processor time of the second part."""
    async with app:
        if await (await app.start(one_of_each, 7)).result() != 3 * 14:
            raise AssertionError("the bodies did not double")
        await asyncio.sleep(SETTLE_S)
        here_s, children_s, started = time.process_time(), cpu_s_of_children(), time.perf_counter()
        await asyncio.sleep(idle_s)
        here_s, children_s = time.process_time() - here_s, cpu_s_of_children() - children_s
        elapsed_s = time.perf_counter() - started
    return {
        "wall_s": elapsed_s,
        "idle_cpu_s": here_s,
        "children_cpu_s": children_s,
        "cpu_percent": 100 * (here_s + children_s) / elapsed_s,
    }


def main() -> None:
    """Measure once and print one JSON line."""
    parser = argparse.ArgumentParser(description="P9: an engine with nothing to do.")
    parser.add_argument("--n", type=int, default=IDLE_S, help="seconds to do nothing; at least 2")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    measured(lambda: asyncio.run(idle(max(options.n, LEAST_S))), profile=options.profile)


if __name__ == "__main__":
    main()
