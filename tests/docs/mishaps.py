"""Things that go wrong on purpose, so that the page of errors shows what the code says, to the letter.

Each mishap is a function without arguments, run in an empty folder; what it raises, or logs, is what is shown. Run ids
are those of a fresh store; process ids, folders and lines of code are made equal by `told`.
"""

import asyncio
import fcntl
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import apsw

from fanfold import App, GiveUp, Retry, RetryAfter, sleep
from fanfold.engine.trouble import SAY_AGAIN_MS, Trouble
from fanfold.model import lifecycle
from fanfold.model.clock import VirtualClock
from fanfold.model.run import End
from fanfold.store.database import StoreBusy
from fanfold.store.sqlite import _explained
from fanfold.testing import TestApp
from tests.house.source import ROOT

OTHER_PID = 4711

app = App("shop", store="sqlite:///shop.db", threads=1, processes=1)


@app.task
def price(cents: int) -> int:
    return cents


@app.task(retry=Retry(max_attempts=2, delay=0.1, jitter=0))
def fetch(url: str) -> str:
    raise ConnectionError(f"no route to {url}")


@app.task(retry=Retry())
def charge(cents: int) -> None:
    raise GiveUp(f"the card is closed, {cents} not charged")


@app.task(retry=Retry(max_attempts=2))
def ask() -> None:
    raise RetryAfter(0.1)


@app.task(timeout=0.1)
async def scan() -> None:
    await asyncio.Event().wait()


@app.task(executor="process")
def resize(name: str) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return len(name)


@app.task
def render(name: str) -> int:
    os._exit(len(name))


@app.task(executor="process")
def leaf(cents: int) -> int:
    return price(cents).result()


@app.task
def label(cents: int) -> int:
    return f"{cents}"  # pyright: ignore[reportReturnType]


@app.workflow
async def checkout() -> None:
    await asyncio.to_thread(print, "hello")


@app.workflow
async def order() -> None:
    await app.start(price, 3)


@app.task
async def ship(number: int) -> int:
    if number == 3:
        raise LookupError(f"no parcel {number}")
    return number


@app.workflow
async def ship_all() -> list[int]:
    return await ship.map(range(1, 4))


async def cancelled_from_outside() -> None:
    async with app:
        run = await app.start(scan.options(timeout=60))
        await run.cancel()
        await run.result()


def in_a_loop(work: Callable[[], Coroutine[Any, Any, Any]]) -> Callable[[], Any]:
    return lambda: asyncio.run(work())


def another_engine_has_the_store() -> None:
    with Path("shop.db.lock").open("w") as lock:
        lock.write(f"{OTHER_PID}\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        app.run(price, 3)


async def a_second_app_on_the_store() -> None:
    async with app, App("other", store=app.store):
        pass


def a_newer_store() -> None:
    app.run(price, 3)
    connection = apsw.Connection("shop.db")
    connection.execute("UPDATE meta SET schema_version = 99")
    connection.close()
    app.run(price, 3)


def a_file_of_something_else() -> None:
    Path("shop.db").write_text("Dear diary")
    app.run(price, 3)


def the_key_is_taken() -> None:
    app.run(price.options(key="may"), 3)
    app.run(price.options(key="may"), 4)


def a_path_in_a_signature() -> None:
    def store(folder: Path) -> None: ...

    App("other").task(store)


def a_task_of_another_app() -> None:
    other = App("other")

    @other.task
    def greet() -> None: ...

    app.run(greet)


def a_tour(city: str) -> Any:
    tours = App("tours", store="sqlite:///tours.db")

    @tours.task
    async def book(city: str) -> str:
        return city

    @tours.workflow
    async def tour() -> None:
        await book(city)
        await sleep(0.2)

    return tours, tour


def the_code_has_changed() -> None:
    async def begin() -> None:
        tours, tour = a_tour("rome")
        async with tours:
            run = await tours.start(tour)
            while not (await run.status()).children.completed:  # noqa: ASYNC110 - what is waited for is in the store
                await asyncio.sleep(0.01)

    async def go_on() -> None:
        tours, _ = a_tour("paris")
        async with tours:
            await (await tours.get(1)).result()

    asyncio.run(begin())
    asyncio.run(go_on())


async def a_thread_that_goes_on() -> None:
    hanging, open_ = App("hanging", store="sqlite://", threads=1), threading.Event()

    @hanging.task(timeout=0.1)
    def convert() -> None:
        open_.wait(30)

    @hanging.task
    def starts_when_the_thread_is_free() -> None:
        """Do nothing."""

    async with hanging:
        run = await hanging.start(convert)
        try:
            await run.result()
        finally:
            open_.set()
            await (await hanging.start(starts_when_the_thread_is_free)).result()


async def nobody_is_at_work() -> None:
    async with app:
        run = await app.start(price.options(delay=60), 3)
    await run.result(timeout=0.15)


def deaths_in_a_row() -> None:
    program = "from tests.docs import mishaps; mishaps.app.run(mishaps.render, 'a.png')"
    for _ in range(3):
        subprocess.run([sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False)
    app.run(render, "a.png")


async def a_lost_lease() -> None:
    lost, open_ = App("lost"), asyncio.Event()

    @lost.task
    async def index() -> None:
        await open_.wait()

    async with TestApp(lost) as test:
        run = await test.start(index)
        await test.settle()
        session = test._at_work.session
        session.engine.commits.release(run.id, 1)  # as if another worker had taken it
        await test.settle()
        session.engine.commits.end(End(run.id, 1, 0, lifecycle.COMPLETED, "null"))
        await test.settle()
        session.worker.lose(run.id, 3)
        open_.set()
        await test.settle()


def a_full_disk() -> None:
    clock = VirtualClock(1)
    trouble = Trouble("/srv/shop.db", clock)
    full = StoreBusy(_explained(apsw.FullError("database or disk is full")))
    trouble.go_on(full)
    clock.move_to(clock.now_ms() + SAY_AGAIN_MS)
    trouble.go_on(full)
    trouble.end()
    trouble.go_on(full)
    trouble.give_up(3)


MISHAPS: dict[str, Callable[[], Any]] = {
    "called outside a run": lambda: price(3),
    "I/O in a workflow": lambda: app.run(checkout),
    "a root in a workflow": lambda: app.run(order),
    "a child of a process body": lambda: app.run(leaf, 3),
    "no app at work": in_a_loop(lambda: app.start(price, 3)),
    "a task of another app": a_task_of_another_app,
    "an argument of another type": lambda: app.run(price, "three"),  # pyright: ignore[reportArgumentType]
    "a type that cannot travel": a_path_in_a_signature,
    "a large input": lambda: app.run(fetch, "x" * 5_000_000),
    "a key that is taken": the_key_is_taken,
    "no such run": lambda: (app.run(price, 3), asyncio.run(app.get(99))),
    "an attempt that fails": lambda: app.run(fetch, "example.org"),
    "a result of another type": lambda: app.run(label, 3),
    "an attempt that takes too long": lambda: app.run(scan),
    "a member that fails": lambda: app.run(ship_all),
    "a run that is cancelled": in_a_loop(cancelled_from_outside),
    "a process that is killed": lambda: app.run(resize, "a.png"),
    "three deaths in a row": deaths_in_a_row,
    "code that has changed": the_code_has_changed,
    "an engine elsewhere": another_engine_has_the_store,
    "an engine here": in_a_loop(a_second_app_on_the_store),
    "no such store": in_a_loop(lambda: app.get(1)),
    "a newer store": a_newer_store,
    "another file": a_file_of_something_else,
    "a body that gives up": lambda: app.run(charge, 250),
    "a body that asks for time": lambda: app.run(ask),
    "a thread that goes on": in_a_loop(a_thread_that_goes_on),
    "nobody at work": in_a_loop(nobody_is_at_work),
    "a full disk": a_full_disk,
    "a lost lease": in_a_loop(a_lost_lease),
}


def told(text: str, folder: Path) -> str:
    """Return a message as the page shows it: one folder, one process id, one place in the code."""
    text = text.replace(str(folder), "/srv")
    text = re.sub(r"\S*/(\w+\.py):\d+", r"shop.py:42", text)
    return re.sub(r"process \(?\d+\)?", lambda found: re.sub(r"\d+", str(OTHER_PID), found[0]), text)
