"""Groups of every kind, in workflows and in tasks: folded maps, siblings that add siblings, members that fail.

`python -m tests.crash.groups` runs `groups` to its end and prints whether it is what a plain loop makes of it.
FANFOLD_STORE is the store, GROUPS_LOG a file that gets a line `pid run name` for each body and workflow that starts.
"""

import os
from collections.abc import Iterator
from functools import cache

from fanfold import App, Outcome, current, open_group
from fanfold.worker import folds

app = App("groups", threads=3)

ITEMS, SLOW_ITEMS, LISTED = 400, 150, 150
FIRST, WIDTH, DEPTH = 3, 3, 3  # siblings: of so many, each adds so many, so many times
AT_ONCE = 12  # members of a group: so that there are many commits
FAILS = 100  # one in so many members fails

folds.EVERY_MS = 10  # a life has a few tenths of a second: there are to be checkpoints in it


@cache
def log() -> int:
    """Open the log once for the process; one write a line, so that lines stay whole and outlive a kill."""
    return os.open(os.environ["GROUPS_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def note(name: str) -> None:
    """Write down that a run starts, or goes on, in this process."""
    os.write(log(), f"{os.getpid()} {current().id} {name}\n".encode())


def refuse(n: int) -> None:
    """Fail for one in a hundred."""
    if n % FAILS == FAILS // 2:
        raise ValueError(f"{n} is refused, as it should be")


def add(total: int, value: int) -> int:
    return total + value


# Members --------------------------------------------------------------------------------------------------------------


@app.task
async def square(n: int) -> int:
    note("square")
    refuse(n)
    return n * n


@app.task
def cube(n: int) -> int:
    note("cube")
    refuse(n)
    return n**3


@app.task
async def grow(n: int, depth: int) -> int:
    """Add siblings, if this one is to have any."""
    note("grow")
    for child in children(n, depth):
        current().group.spawn(grow.options(key=str(child)), child, depth - 1)
    refuse(n)
    return n


@app.task
def grow_in_thread(n: int, depth: int) -> int:
    note("grow_in_thread")
    for child in children(n, depth):
        current().group.spawn(grow_in_thread, child, depth - 1)
    refuse(n)
    return n


def children(n: int, depth: int) -> list[int]:
    """Return the numbers of those that a member adds: no two have the same."""
    return [n * (WIDTH + 1) + place for place in range(1, WIDTH + 1)] if depth else []


# Owners ---------------------------------------------------------------------------------------------------------------


@app.task
async def folds_a_map(count: int) -> tuple[int, str]:
    note("folds_a_map")
    group = square.map((n for n in range(count)), failures="collect", concurrency=AT_ONCE)
    total = await group.fold(add, 0)
    return total, str(group.summary)


@app.task
def opens_in_a_thread(first: int) -> tuple[int, str]:
    note("opens_in_a_thread")
    with open_group(failures="collect", concurrency=AT_ONCE) as group:
        for n in range(1, first + 1):
            group.spawn(grow_in_thread, n, DEPTH)
        total = group.fold(add, 0).result()
    return total, str(group.summary)


@app.task
def maps_in_a_thread(count: int) -> list[int | None]:
    note("maps_in_a_thread")

    def lines() -> Iterator[int]:
        yield from range(count)

    return values(cube.map(lines(), failures="collect", concurrency=AT_ONCE).result())


def values(outcomes: list[Outcome[int]]) -> list[int | None]:
    return [outcome.value for outcome in outcomes]


@app.workflow
async def groups() -> list[object]:
    note("groups")
    mapped = square.map(range(ITEMS), failures="collect", concurrency=AT_ONCE, keep_results=False)
    total = mapped.fold(add, 0)
    in_tasks = folds_a_map(SLOW_ITEMS), opens_in_a_thread(FIRST), maps_in_a_thread(LISTED)
    async with open_group(failures="collect", concurrency=AT_ONCE) as group:
        for n in range(1, FIRST + 1):
            group.spawn(grow.options(key=str(n)), n, DEPTH)
        grown = await group.fold(add, 0)
    listed = cube.map(range(LISTED), failures="collect", concurrency=AT_ONCE)
    by_and_by = [outcome.value async for outcome in listed if outcome.ok]
    sums: list[object] = [await total, str(mapped.summary), grown, str(group.summary), sum(by_and_by)]
    return [*sums, *[list(await handle) for handle in in_tasks]]


# The same, one after the other ----------------------------------------------------------------------------------------


def grown_below(n: int, depth: int) -> Iterator[int]:
    """Yield the members that come of one; what a failed one would have added is not among them."""
    yield n
    if n % FAILS != FAILS // 2:
        for child in children(n, depth):
            yield from grown_below(child, depth - 1)


def told(numbers: list[int], name: str) -> str:
    """Return what a group's summary says."""
    failed = sum(n % FAILS == FAILS // 2 for n in numbers)
    return f"{failed} of {len(numbers)} failed" if failed else f"all {len(numbers)} completed"


def expected() -> list[object]:
    """Return what a plain loop makes of it; summaries as far as their numbers go."""

    def good(numbers: list[int]) -> list[int]:
        return [n for n in numbers if n % FAILS != FAILS // 2]

    many, few = list(range(ITEMS)), list(range(SLOW_ITEMS))
    grown = [n for first in range(1, FIRST + 1) for n in grown_below(first, DEPTH)]
    listed = [n**3 if n in good([n]) else None for n in range(LISTED)]
    return [
        sum(n * n for n in good(many)), told(many, "square"), sum(good(grown)), told(grown, "grow"),
        sum(n for n in listed if n), (sum(n * n for n in good(few)), told(few, "square")),
        (sum(good(grown)), told(grown, "grow")), listed,
    ]  # fmt: skip


def without_examples(found: object) -> object:
    """Leave out of summaries of whom failed: by which key or place depends on nothing here."""
    if isinstance(found, list | tuple):
        return [without_examples(part) for part in found]
    return found.split(":")[0] if isinstance(found, str) else found


if __name__ == "__main__":
    result = app.run(groups)
    print(without_examples(result) == without_examples(expected()) or result)
