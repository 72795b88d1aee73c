"""P1: one workflow starts N trivial async tasks at once and adds up what they return; `gather` or `map`."""

import argparse
import asyncio
import time

from benchmarks.sample import Figures, measured
from benchmarks.stores import store_path, store_url, stored_bytes
from fanfold import App

CHILDREN = 100_000

app = App("benchmark", store=store_url())


@app.task
async def double(i: int) -> int:
    """Return twice the number: the smallest body that has a result worth keeping."""
    return 2 * i


@app.workflow
async def gather_all(n: int) -> int:
    """Await n children through `asyncio.gather`."""
    return sum(await asyncio.gather(*(double(i) for i in range(n))))


@app.workflow
async def map_all(n: int) -> int:
    """Await n children as the members of one group."""
    return sum(await double.map(range(n)))


def work(shape: str, children: int) -> Figures:
    """Run the workflow on a fresh store, from opening to closing it; return children per second and bytes a child."""
    workflow = map_all if shape == "map" else gather_all
    started = time.perf_counter()
    total = app.run(workflow, children)
    elapsed_s = time.perf_counter() - started
    if total != children * (children - 1):
        raise AssertionError(f"the sum is {total}")
    return {
        "children": children,
        "wall_s": elapsed_s,
        "per_s": children / elapsed_s,
        "bytes_per_child": stored_bytes(store_path()) / children,
    }


def main() -> None:
    """Measure once and print one JSON line."""
    parser = argparse.ArgumentParser(description="P1: fan out from one workflow.")
    parser.add_argument("--n", type=int, default=CHILDREN, help="children to start")
    parser.add_argument("--shape", choices=("gather", "map"), default="gather")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    measured(lambda: work(options.shape, options.n), profile=options.profile)


if __name__ == "__main__":
    main()
