"""The mixed workload of the crash tests: maps, retries, bodies in processes, tasks that are parents, sagas that cancel.

`python -m tests.crash.mixture` runs `mixture` to its end and prints its result; `python -m tests.crash.mixture saga`
starts a saga or finds the one that there is, and waits until its whole tree has ended; with CRASH_COUNT_FROM it makes
that file and cancels the saga as soon as all of it is at work. FANFOLD_STORE is the store, MIXTURE_LOG a file that gets
a line `life pid run attempt name` for each body and workflow that starts, where life is the process id of the engine.
"""

import asyncio
import hashlib
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import cache

from fanfold import App, Retry, TaskFailed, current, sleep

app = App("mixture", threads=3, processes=1)

MEMBERS, PAIRS, DIGESTS, EACH = 40, 12, 10, 4
UNDONE = 3  # steps that a saga takes back
DEEP = 2  # sagas within one another
LOOK_S = 0.005
AGAIN = Retry(max_attempts=4, delay=0.02, backoff=2, jitter=0)


@cache
def log() -> int:
    """Open the log once for the process; one write a line, so that lines stay whole and outlive a kill."""
    return os.open(os.environ["MIXTURE_LOG"], os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)


def note(name: str) -> None:
    """Write down that this attempt of a run starts, or goes on, in this life."""
    run = current()
    os.write(log(), f"{os.environ['MIXTURE_LIFE']} {os.getpid()} {run.id} {run.attempt} {name}\n".encode())


def fail_at_first(fails: int) -> None:
    """Fail in so many attempts, from the first on."""
    if current().attempt <= fails:
        raise ConnectionError(f"attempt {current().attempt} fails, as it should")


# Leaves ---------------------------------------------------------------------------------------------------------------


@app.task
async def square(n: int) -> int:
    note("square")
    await asyncio.sleep(0)
    return n * n


@app.task
def add(left: int, right: int) -> int:
    note("add")
    return left + right


@app.task(executor="process")
def digest(n: int) -> str:
    note("digest")
    return hashlib.pbkdf2_hmac("sha256", str(n).encode(), b"", 3000).hex()[:8]


@app.task(executor="process", retry=AGAIN)
def crunch(n: int) -> int:
    note("crunch")
    fail_at_first(n % 2)
    return -n


@app.task(retry=AGAIN)
async def flaky(n: int) -> int:
    note("flaky")
    fail_at_first(n % 4)
    return n + 100


@app.task(retry=AGAIN)
def sync_flaky(n: int) -> int:
    note("sync_flaky")
    fail_at_first(n % 4)
    return n + 200


@app.task
async def broken(n: int) -> int:
    note("broken")
    raise ValueError(f"{n} is refused, as it should be")


# Tasks that start children: by key, by content, twice the same, one that fails, one that nobody waits for -------------


@app.task(retry=AGAIN)
async def parent(n: int) -> list[int]:
    note("parent")
    square(1000 + n)
    keyed = (square.options(key=f"{n}-{i}")(i) for i in range(3))
    found = await asyncio.gather(*keyed, square(n), square(n), flaky(n))
    try:
        await broken(n)
    except TaskFailed:
        if current().attempt == 1 and n % 2:
            raise
    fail_at_first(1)
    return found


@app.task(retry=AGAIN)
def sync_parent(n: int) -> list[int]:
    note("sync_parent")
    add(1000, n)
    handles = [add.options(key=f"{n}-{i}")(i, n) for i in range(3)]
    handles += [square(n), square(n), sync_flaky(n)]
    found = [handle.result() for handle in handles]
    try:
        broken(n).result()
    except TaskFailed:
        if current().attempt == 1 and n % 2:
            raise
    fail_at_first(1)
    return found


# Sagas: what is undone after a cancel, level by level -----------------------------------------------------------------


@app.task
async def endless(n: int) -> int:
    note("endless")
    await asyncio.Event().wait()
    return n


@app.task
def sync_endless(n: int) -> int:
    note("sync_endless")
    return endless(n).result()


@app.task
async def endless_parent(n: int) -> int:
    note("endless_parent")
    return sum(await asyncio.gather(endless(n), sync_endless(n)))


@app.task(retry=AGAIN)
async def undo(n: int) -> int:
    note("undo")
    fail_at_first(1)
    return await square(n)


@app.workflow
async def saga(n: int, deep: int) -> int:
    note("saga")
    try:
        await square(n)
        below = [saga(n, deep - 1) for _ in range(2 if deep > 1 else 0)]
        await asyncio.gather(endless_parent(n), endless.map(range(2)), *below)
    except asyncio.CancelledError:
        await undo.map(range(UNDONE - 1))
        await sleep(0.005)
        await undo(UNDONE)
        raise
    raise AssertionError("what never ends has ended")


ENDLESS = 4 * (2**DEEP - 1)  # bodies that never end by themselves, in a whole saga


# The whole ------------------------------------------------------------------------------------------------------------


@app.workflow
async def branch(n: int) -> list[int]:
    note("branch")
    await sleep(0.002)
    return await square.map(n + i for i in range(5))


@app.workflow
async def mixture() -> list[list[int | str | list[int]]]:
    note("mixture")
    sagas = [saga(n, 1) for n in range(2)]
    many = (flaky, sync_flaky, crunch, parent, sync_parent, branch)
    others = [asyncio.gather(*(task(n) for n in range(EACH))) for task in many]
    maps = [
        square.map(range(MEMBERS)),
        add.starmap((n, 2 * n) for n in range(PAIRS)),
        digest.map(range(DIGESTS)),
    ]
    await sleep(0.01)
    for handle in sagas:
        handle.cancel()
    return [list(await found) for found in (*maps, *others)]


def expected() -> list[list[int | str | list[int]]]:
    """Return what the mixture returns."""
    keyed = [i * i for i in range(3)]
    return [
        [n * n for n in range(MEMBERS)],
        [3 * n for n in range(PAIRS)],
        [hashlib.pbkdf2_hmac("sha256", str(n).encode(), b"", 3000).hex()[:8] for n in range(DIGESTS)],
        [n + 100 for n in range(EACH)],
        [n + 200 for n in range(EACH)],
        [-n for n in range(EACH)],
        [[*keyed, n * n, n * n, n + 100] for n in range(EACH)],
        [[*(i + n for i in range(3)), n * n, n * n, n + 200] for n in range(EACH)],
        [[(n + i) ** 2 for i in range(5)] for n in range(EACH)],
    ]


def expected_runs() -> Counter[str]:
    """Return how many runs of each name the mixture makes, those below its sagas and its timers left out."""
    parents = 6 + 4  # calls of `square` in an async parent, of which the one that nobody waits for, and in a sync one
    return Counter(
        mixture=1,
        saga=2,
        square=MEMBERS + EACH * (parents - 2) + EACH * 5,
        add=PAIRS + EACH * 4,
        digest=DIGESTS,
        crunch=EACH,
        flaky=2 * EACH,
        sync_flaky=2 * EACH,
        broken=2 * 2 * EACH,  # the second attempt starts afresh what failed in the first
        parent=EACH,
        sync_parent=EACH,
        branch=EACH,
    )


def failures(name: str, n: int) -> int:
    """Return in how many attempts a run of a task fails before one completes."""
    if name in ("flaky", "sync_flaky"):
        return n % 4
    if name == "crunch":
        return n % 2
    return 1 if name in ("parent", "sync_parent", "undo") else 0


async def is_all_at_work() -> bool:
    """Tell whether all bodies of a saga that never end have started in this life."""
    mine = os.environ["MIXTURE_LIFE"].encode()
    lines = [line.split() for line in os.pread(log(), 1 << 20, 0).splitlines()]
    return sum(life == mine and name == b"endless" for life, *_, name in lines) == ENDLESS


async def is_over() -> bool:
    """Tell whether every run has ended."""
    return not [status async for status in app.runs() if status.finished_at is None]


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something holds; whoever started this process has the patience for it."""
    while not await holds():  # noqa: ASYNC110 - what is looked at is a file
        await asyncio.sleep(LOOK_S)


async def cancel_saga() -> None:
    """Start a saga and cancel it when all of it is at work, unless it has been; wait for the end of its tree."""
    async with app:
        run = await app.start(saga.options(key="doomed"), 7, DEEP)
        if counts_from := os.environ.get("CRASH_COUNT_FROM"):
            await until(is_all_at_work)
            os.close(os.open(counts_from, os.O_CREAT))
            await run.cancel()
        await until(is_over)


def main() -> None:
    os.environ["MIXTURE_LIFE"] = str(os.getpid())
    if sys.argv[1:] == ["saga"]:
        asyncio.run(cancel_saga())
    else:
        print(app.run(mixture) == expected())


if __name__ == "__main__":
    main()
