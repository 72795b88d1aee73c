"""P2: one workflow maps N trivial async tasks and folds what they return; some may fail and are collected.

The bodies are counted, so that `kill_restart` can kill it, start it again on the same store, and see what ran twice.
"""

import argparse
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from benchmarks.memory import Memory
from benchmarks.sample import measured
from benchmarks.stores import store_path, store_url, stored_bytes
from fanfold import App

CHILDREN = 1_000_000

# What goes in and what comes out, and nothing that is made of it.
PAYLOAD = "SELECT sum(octet_length(input)) + sum(coalesce(octet_length(output), 0)) FROM runs"

app = App("benchmark", store=store_url())


@dataclass
class Bodies:
    """How many bodies ran in this process, and when the first one did: two numbers, whatever N is."""

    count: int = 0
    first_at: float = 0.0


bodies = Bodies()


@dataclass
class Folded:
    """The sum of what the children returned, and the group's sentence about those that failed."""

    total: int
    summary: str


class Refused(Exception):
    """What a child raises that is to fail."""


@app.task
async def double(i: int) -> int:
    """Return twice the number; a negative one fails."""
    if not bodies.count:
        bodies.first_at = time.perf_counter()
    bodies.count += 1
    if i < 0:
        raise Refused(f"{i} is refused, as it should be")
    return 2 * i


def add(total: int, value: int) -> int:
    """Take one step of the fold."""
    return total + value


def item(number: int, failing: int) -> int:
    """Return the number, or, for `failing` of every hundred, one that fails."""
    return number if number % 100 >= failing else -number - 1


@app.workflow
async def fold_all(n: int, failing: int) -> Folded:
    """Map and fold. Failures are collected where there are to be some; elsewhere the first would be an error."""
    items = (item(number, failing) for number in range(n))
    group = double.map(items, failures="collect" if failing else "raise")
    total = await group.fold(add, 0)
    return Folded(total, str(group.summary))


def check(folded: Folded, children: int, failing: int) -> None:
    """Compare the sum and the number of failures with what they must be."""
    expected = sum(2 * value for number in range(children) if (value := item(number, failing)) >= 0)
    if folded.total != expected:
        raise AssertionError(f"the sum is {folded.total} and not {expected}")
    failed = sum(item(number, failing) < 0 for number in range(children))
    if failed and not folded.summary.startswith(f"{failed:,} of {children:,} failed: Refused"):
        raise AssertionError(f"{failed:,} failed, and the summary says: {folded.summary}")


def payload_bytes(path: Path) -> int:
    """Return the bytes of all inputs and outputs in a closed store."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return int(connection.execute(PAYLOAD).get)
    finally:
        connection.close()


def work(children: int, failing: int) -> dict[str, Any]:
    """Run, or go on with what an earlier process left; seconds from here, after the imports, to the closed store."""
    logging.getLogger("fanfold").setLevel(logging.CRITICAL)  # ten thousand failures are ten thousand lines otherwise
    with Memory() as memory:
        started = time.perf_counter()
        folded = app.run(fold_all, children, failing)
        elapsed_s = time.perf_counter() - started
    check(folded, children, failing)
    stored = stored_bytes(store_path())
    payload = payload_bytes(store_path())
    return {
        "children": children,
        "failing_percent": failing,
        "summary": folded.summary,
        "bodies": bodies.count,
        "first_body_s": bodies.first_at - started if bodies.count else None,
        "wall_s": elapsed_s,
        "per_s": children / elapsed_s,
        "bytes_per_child": stored / children,
        "payload_per_child": payload / children,
        "overhead_per_child": (stored - payload) / children,
        "rss_before_mib": round(memory.before_mib, 1),
        "rss_growth_mib": round(memory.growth_mib, 1),
        "rss_second_half_mib": round(memory.growth_in_second_half_mib, 1),
        "rss_curve": memory.curve,
    }


def main() -> None:
    """Measure once and print one JSON line."""
    parser = argparse.ArgumentParser(description="P2: map and fold.")
    parser.add_argument("--n", type=int, default=CHILDREN, help="children to start")
    parser.add_argument("--failing", type=int, default=0, metavar="PERCENT", help="of them fail and are collected")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    measured(lambda: work(options.n, options.failing), profile=options.profile)


if __name__ == "__main__":
    main()
