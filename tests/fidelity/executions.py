"""Runs a program on the durable loop, with crashes or without, and on stock asyncio with the same deliveries.

`python -m tests.fidelity --seed 7` shows both traces; `--programs 5000` is for the long proof.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import selectors
from collections.abc import Iterator
from typing import Any, NamedTuple

from fanfold import App
from fanfold.testing import TestApp
from fanfold.worker.callbacks import DurableTimer
from fanfold.worker.workflow import WorkflowRun
from tests.fidelity.programs import FAILS, CallFailed, play

Said = list[Any]  # traces, as they come out of a file


class Delivery(NamedTuple):
    """What was delivered: the number of a call, or None for a timer; and the time of it."""

    call: int | None
    now_ms: int


class Life:
    """One execution of a program on a durable loop: what it said, and what was delivered to it."""

    def __init__(self, start_ms: int) -> None:
        self.start_ms = start_ms
        self.said: list[tuple[Any, ...]] = []
        self.ordered: list[tuple[Any, ...]] = []
        self.deliveries: list[Delivery] = []
        self.number: dict[int, int] = {}

    def call(self, n: int, delay: float) -> asyncio.Future[int]:
        handle = work.options(delay=delay)(n)
        self.number[handle.id] = len(self.number)
        return handle

    def say(self, *what: Any) -> None:
        self.said.append((round(asyncio.get_running_loop().time() * 1000), *what))

    def order(self, *what: Any) -> None:
        self.ordered.append(what)


LIVES: list[Life] = []
app = App("fidelity")


@app.task
async def work(n: int) -> int:
    for _ in range(n % 3):
        await asyncio.sleep(0)
    if n % FAILS == 0:
        raise CallFailed
    return n


@app.workflow
async def program(seed: int) -> int:
    life = Life(round(asyncio.get_running_loop().time() * 1000))
    LIVES.append(life)
    await play(life, seed)
    return len(life.said)


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """Note every delivery in the life that gets it."""
    settle = WorkflowRun._settle

    def noted(workflow: WorkflowRun, end: Any) -> None:
        handle = workflow._handles.get(end.id)
        life = LIVES[-1]
        if handle is not None:
            number = None if isinstance(handle, DurableTimer) else life.number[end.id]
            life.deliveries.append(Delivery(number, workflow.loop.now_ms))
        settle(workflow, end)

    WorkflowRun._settle = noted  # type: ignore[method-assign]
    try:
        yield
    finally:
        WorkflowRun._settle = settle  # type: ignore[method-assign]


def durable(seed: int, crash_at: tuple[int, ...] = ()) -> tuple[list[Life], int]:
    """Run a program on the durable loop; return its lives and the number of commits."""

    async def main() -> int:
        async with TestApp(app, crash_at=crash_at) as test:
            await test.run(program, seed)
            return test.commits

    LIVES.clear()
    with listening():
        commits = asyncio.run(main())
    return list(LIVES), commits


class Stock:
    """The same program on a stock loop, which is fed with the deliveries of a durable life."""

    def __init__(self, life: Life) -> None:
        self.said: list[tuple[Any, ...]] = []
        self._life = life
        self._left = iter(life.deliveries)
        self._calls: list[tuple[int, asyncio.Future[int]]] = []
        self._loop = StockLoop(self, life.start_ms)

    def call(self, n: int, delay: float) -> asyncio.Future[int]:
        self._calls.append((n, self._loop.create_future()))
        return self._calls[-1][1]

    def say(self, *what: Any) -> None:
        self.said.append((round(self._loop.time() * 1000), *what))

    def order(self, *what: Any) -> None:
        """Stock asyncio promises no order of its sets."""

    def deliver(self) -> None:
        """Nothing is ready: hand over the next delivery."""
        delivery = next(self._left, None)
        if delivery is None:
            raise AssertionError(f"stock asyncio waits for more than was delivered; it said {self.said[-3:]}")
        self._loop.now = delivery.now_ms / 1000
        if delivery.call is None:
            return
        n, future = self._calls[delivery.call]
        if not future.done():
            if n % FAILS == 0:
                future.set_exception(CallFailed())
                future.exception()  # not everybody looks, and a handle does not mind
            else:
                future.set_result(n)

    def run(self, seed: int) -> list[tuple[Any, ...]]:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(play(self, seed))
        return self.said


class StockLoop(asyncio.SelectorEventLoop):
    """A stock loop with a time of its own; when it would wait, it gets the next delivery."""

    def __init__(self, stock: Stock, start_ms: int) -> None:
        self.now = start_ms / 1000
        super().__init__(Idle(stock))
        self._clock_resolution = 1e-5  # sums of floats

    def time(self) -> float:
        return self.now


class Idle(selectors.SelectSelector):
    def __init__(self, stock: Stock) -> None:
        super().__init__()
        self._stock = stock

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None or timeout > 0:
            self._stock.deliver()
        return super().select(0)


def alike(lives: list[Life], seed: int, what: str) -> Life:
    """Compare the lives of one run (after crashes, and after it left memory) with its last, and that with stock."""
    whole = lives[-1]
    for life in lives[:-1]:
        assert whole.said[: len(life.said)] == life.said, f"seed {seed}, {what}: the replay differs"
        assert whole.ordered[: len(life.ordered)] == life.ordered, f"seed {seed}, {what}: sets iterate differently"
    assert Stock(whole).run(seed) == whole.said, f"seed {seed}, {what}: stock asyncio differs"
    return whole


def check(seed: int, crashes: int) -> str:
    """Return a digest of what the program did; AssertionError where an execution differs from another."""
    lives, commits = durable(seed)
    first = alike(lives, seed, "no crash")
    step = max(commits // crashes, 1) if crashes else commits + 1
    for commit in range(1 + seed % step, commits, step):
        alike(durable(seed, (commit,))[0], seed, f"a crash after commit {commit}")
    return hashlib.blake2b(repr((first.said, first.ordered)).encode(), digest_size=8).hexdigest()


def main() -> None:
    """Check programs from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fidelity")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--programs", type=int, default=500)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--crashes", type=int, default=1000, help="crashes a program, spread over its commits")
    options = parser.parse_args()
    if options.seed is not None:
        lives, commits = durable(options.seed)
        life = lives[-1]
        stock = Stock(life)
        with contextlib.suppress(AssertionError):
            stock.run(options.seed)
        for ours, theirs in zip(life.said, [*stock.said, *[()] * len(life.said)], strict=False):
            print("  " if ours == theirs else "! ", ours, theirs if ours != theirs else "")
        print(f"{commits} commits, {len(life.deliveries)} deliveries")
        return
    digests = [check(seed, options.crashes) for seed in range(options.first, options.first + options.programs)]
    print(hashlib.blake2b("".join(digests).encode(), digest_size=8).hexdigest())
