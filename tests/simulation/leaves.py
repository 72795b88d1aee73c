"""The tasks that random programs call and that call nothing themselves, and what is told to the simulation."""

import asyncio
import json
from typing import Any

from fanfold import App, GiveUp, Retry, RetryAfter, current
from fanfold.model.retry import ONCE
from tests.simulation.disk import POISON
from tests.simulation.values import ATTEMPTS, is_refused, work_value

app = App("simulation", store="sqlite://")
LATER_S = 0.4  # what `flaky` asks for with RetryAfter
DEAF_S = 30.0  # how long `deaf` goes on after it was asked to stop


class Killed(BaseException):
    """The process of this body is dead."""


class Bodies:
    """Told about every body that starts; set by the simulation that runs."""

    lives = 0

    @staticmethod
    def delay_s(_context: Any, _ms: int) -> float:
        return 0.0

    @staticmethod
    def is_asked(_run_id: int) -> bool:
        return False

    @staticmethod
    def generation_of(_group_id: int) -> int:
        return 1

    @staticmethod
    def violate(what: str) -> None:
        raise AssertionError(what)

    @staticmethod
    def die() -> None:
        raise Killed


bodies: Any = Bodies


def use(told: Any) -> Any:
    """Tell this one from now on; return who was told before."""
    global bodies
    before, bodies = bodies, told
    return before


async def begin(ms: int = 0) -> None:
    """Take note that an async body starts, and take its time."""
    delay_s = bodies.delay_s(current(), ms)
    if delay_s:
        await asyncio.sleep(delay_s)


def note_begin() -> None:
    """Take note that a body starts which takes no time."""
    bodies.delay_s(current(), 0)


def generation(key: str | None) -> int:
    """Return which attempt of its parent started the run of this key afresh, from 1."""
    return int((key or "").partition(":")[0].partition("#")[2] or 1)


@app.task
async def work(x: int, ms: int = 0) -> int:
    await begin(ms)
    if not x % 7:
        current().report_progress(x)
    return work_value(x)


@app.task
def sync_work(x: int) -> int:
    note_begin()
    return work_value(x)


@app.task(priority=3)
async def stubborn(x: int, ms: int) -> int:
    """Refuse to be cancelled."""
    try:
        await begin(ms)
    except asyncio.CancelledError:
        return work_value(x)
    return work_value(x)


@app.task
async def deaf(x: int, ms: int) -> int:
    """Go on for longer than the grace of a cancel."""
    try:
        await begin(ms)
    except asyncio.CancelledError:
        await asyncio.sleep(DEAF_S)
    return work_value(x)


@app.task(name="cancel")
async def named_like_an_event(x: int) -> int:
    note_begin()
    return work_value(x)


@app.task(name="sleep")
async def named_like_a_timer(x: int) -> int:
    note_begin()
    return work_value(x)


@app.task
async def tally(values: set[int]) -> int:
    note_begin()
    return sum(values)


@app.task
async def boom(x: int) -> int:
    note_begin()
    raise ValueError(f"boom {x}")


@app.task
async def picky(x: int, ms: int) -> int:
    """Fail with some inputs."""
    await begin(ms)
    if is_refused(x):
        raise ValueError(f"picky {x}")
    return work_value(x)


@app.task
async def tell(text: str) -> int:
    note_begin()
    return len(text)


@app.task
async def poison(x: int) -> str:
    note_begin()
    return POISON * (x % 3 + 1)


@app.task
async def bomb(x: int) -> int:
    """Kill the process."""
    note_begin()
    bodies.die()
    return x


@app.task
def sync_bomb(x: int) -> int:
    """Kill the process."""
    note_begin()
    bodies.die()
    return x


@app.task(retry=Retry(max_attempts=ATTEMPTS, delay=0.05, jitter=0.5))
async def flaky(x: int, fails: int) -> int:
    """Fail in the first attempts."""
    note_begin()
    if current().attempt <= fails:
        raise RetryAfter(LATER_S) if x % 3 == 0 else ValueError(f"flaky {x}")
    return work_value(x)


@app.task(retry=Retry(max_attempts=ATTEMPTS, delay=0.02, backoff=3))
def sync_flaky(x: int, fails: int) -> int:
    """Fail in the first attempts, in a thread."""
    note_begin()
    if current().attempt <= fails:
        raise ValueError(f"flaky {x}")
    return work_value(x)


@app.task(retry=Retry(max_attempts=ATTEMPTS, delay=0.1), timeout=1)
async def slow(x: int, late: int) -> int:
    """Run out of time in the first attempts."""
    note_begin()
    if current().attempt <= late:
        await asyncio.sleep(5)
    return work_value(x)


@app.task(retry=Retry(max_attempts=ATTEMPTS, delay=0))
async def quitter(x: int) -> int:
    """Fail in a way that no second attempt mends."""
    note_begin()
    raise GiveUp(f"quitter {x}")


@app.task
async def stale(x: int, until: int) -> int:
    """Fail unless a later attempt of its parent starts it afresh."""
    note_begin()
    if generation(current()._run.key) <= until:
        raise ValueError(f"stale {x}")
    return work_value(x)


@app.task
async def ticket() -> int:
    """Return what no other run returns."""
    note_begin()
    return current().id


# Policies, as they were meant: what the engine made of them is compared with this -------------------------------------


def policy(name: str, options: str | None) -> Retry:
    """Return the retry policy of a run of a task."""
    stored = json.loads(options or "{}").get("retry")
    task = app.tasks.get(name)
    return Retry(**stored) if stored else ONCE if task is None else task.retry


def least_delay_ms(name: str, input: str, options: str | None, attempt: int) -> int:
    """Return how long a run waits at least after this attempt (from 1) has failed."""
    if name == "flaky" and json.loads(input)["x"] % 3 == 0:
        return round(LATER_S * 1000)
    rule: Any = policy(name, options)
    return int(rule.delay * rule.backoff ** (attempt - 1) * (1 - rule.jitter) * 1000)
