"""The fan-out of P1 whose bodies leave a trace: how many ran in this process, and when the first did.

P7 starts it, kills it, and starts it again on the same store.
"""

import argparse
import asyncio
import time

from benchmarks.sample import Figures, measured
from benchmarks.stores import store_path, store_url, stored_bytes
from fanfold import App

CHILDREN = 100_000

app = App("benchmark", store=store_url())
body_times: list[float] = []


@app.task
async def double(i: int) -> int:
    """Return twice the number and note the time."""
    body_times.append(time.perf_counter())
    return 2 * i


@app.workflow
async def fan_out(n: int) -> int:
    """Await n children through `asyncio.gather`."""
    return sum(await asyncio.gather(*(double(i) for i in range(n))))


def work(children: int) -> Figures:
    """Run, or go on with what an earlier process left; times in seconds from here, after the imports."""
    started = time.perf_counter()
    total = app.run(fan_out, children)
    elapsed_s = time.perf_counter() - started
    if total != children * (children - 1):
        raise AssertionError(f"the sum is {total}")
    return {
        "children": children,
        "bodies": len(body_times),
        "first_body_s": body_times[0] - started if body_times else None,
        "wall_s": elapsed_s,
        "bytes_per_child": stored_bytes(store_path()) / children,
    }


def main() -> None:
    """Run once and print one JSON line."""
    parser = argparse.ArgumentParser(description="A fan-out that counts its bodies.")
    parser.add_argument("--n", type=int, default=CHILDREN, help="children to start")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    measured(lambda: work(options.n), profile=options.profile)


if __name__ == "__main__":
    main()
