"""What P6 runs, the same functions and numbers of workers on both sides: fanfold's and the standard library's pools."""

import time

from benchmarks.sample import Figures

SIZES = {"threads": 20_000, "processes": 20_000}
THREADS = 10
PROCESSES = 2
SPIN_S = 0.05
WARM_UP = 64  # bodies before the clock starts, so that every thread and process is there


def double(i: int) -> int:
    """Return twice the number: the smallest body that has a result worth keeping."""
    return 2 * i


def spin(i: int) -> int:
    """Use 50 ms of processor time, however often it is taken from it, and return twice the number."""
    until = time.thread_time() + SPIN_S
    while time.thread_time() < until:
        pass
    return 2 * i


def figures(bodies: int, total: int, elapsed_s: float) -> Figures:
    """Return bodies per second, once the sum of the results is what it has to be."""
    if total != bodies * (bodies - 1):
        raise AssertionError(f"the sum is {total}")
    return {"bodies": bodies, "wall_s": elapsed_s, "per_s": bodies / elapsed_s}
