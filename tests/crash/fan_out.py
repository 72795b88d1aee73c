"""The workload of the crash tests: children of every kind, durable sleeps, failures, cancels; its sum is known.

`python -m tests.crash.fan_out` runs it to the end. FANFOLD_STORE is the store, FAN_OUT the size as JSON, FAN_OUT_LOG a
file that gets one line `run pid` for each body and workflow that starts.
"""

import asyncio
import json
import os
from functools import cache

import msgspec

from fanfold import App, TaskFailed, current, sleep

app = App("fan-out", threads=4)


class Size(msgspec.Struct, frozen=True):
    """How much of each kind there is."""

    squares: int = 3000
    branches: int = 30
    leaves: int = 20
    steps: int = 8
    cubes: int = 40

    @property
    def total(self) -> int:
        """What the whole must sum up to."""
        leaves = sum(first + leaf for first in range(self.branches) for leaf in range(self.leaves))
        steps = sum((first + step) ** 2 for first in range(self.branches) for step in range(self.steps))
        return sum(n * n for n in range(self.squares)) + leaves + steps + sum(n**3 for n in range(self.cubes))


@cache
def log() -> int | None:
    """Open the log once for the process; one write a line, so that lines stay whole and outlive a kill."""
    path = os.environ.get("FAN_OUT_LOG")
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644) if path else None


def note() -> None:
    """Write down that this run has started, or goes on, in this process."""
    if (file := log()) is not None:
        os.write(file, f"{current().id} {os.getpid()}\n".encode())


@app.task
async def square(n: int) -> int:
    note()
    if n % 3 == 0:
        await asyncio.sleep(0)
    return n * n


@app.task
async def leaf(n: int) -> int:
    note()
    return n


@app.task
def cube(n: int) -> int:
    note()
    return n**3


@app.task
async def refuses(n: int) -> int:
    note()
    raise ValueError(f"{n} is refused, as it should be")


@app.workflow
async def endless() -> None:
    await sleep(3600)


@app.workflow
async def branch(first: int, leaves: int, steps: int) -> int:
    note()
    await sleep(0.001 * (first % 7 + 1))
    total = sum(await asyncio.gather(*(leaf(first + n) for n in range(leaves))))
    for step in range(steps):
        total += await square(first + step)
    try:
        await refuses(first)
    except TaskFailed:
        return total
    raise AssertionError("what must fail has not failed")


@app.workflow
async def fan_out(size: Size) -> int:
    note()
    abandoned = endless()
    squares = asyncio.gather(*(square(n) for n in range(size.squares)))
    branches = asyncio.gather(*(branch(n, size.leaves, size.steps) for n in range(size.branches)))
    cubes = asyncio.gather(*(cube(n) for n in range(size.cubes)))
    try:
        async with asyncio.timeout(3600):
            total = sum(await cubes) + sum(await branches) + sum(await squares)
    finally:
        abandoned.cancel()
    return total


def size() -> Size:
    """Return the size that was asked for."""
    return msgspec.convert(json.loads(os.environ.get("FAN_OUT") or "{}"), Size)


if __name__ == "__main__":
    print(app.run(fan_out, size()))
