"""`app.run` where a loop is running, as in a notebook's cell: on a loop of its own, and Ctrl-C stops it in order."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fanfold.errors import NotAllowed, TaskFailed
from tests.app.program import LIMIT_S, eventually, make, runs_in_a_loop

app = make()
double, fail, total = app.tasks["double"], app.tasks["fail"], app.tasks["total"]


@runs_in_a_loop
async def test_a_cell_runs_to_the_end():
    assert app.run(total, 10) == 90
    assert app.run(double.options(key="k"), 4) == app.run(double.options(key="k"), 4) == 8
    assert threading.active_count() == 1
    with pytest.raises(TaskFailed, match="no"):
        app.run(fail, "no")


@runs_in_a_loop
async def test_a_cell_beside_an_app_at_work_is_told_to_await():
    async with app:
        with pytest.raises(NotAllowed, match=r"`await \(await app.start\(double, ...\)\).result\(\)`"):
            app.run(double, 1)


@runs_in_a_loop
async def test_an_app_at_work_runs_what_another_thread_asks_for():
    async with app:
        assert await asyncio.to_thread(lambda: app.run(double, 4)) == 8


def test_an_app_at_work_in_the_background_is_used():
    with app.blocking:
        assert app.run(double, 4) == 8

        async def cell() -> int:
            return app.run(total, 4) + await (await app.start(double, 1)).result()

        assert asyncio.run(cell()) == 14


CELLS = """
import asyncio, pathlib, signal, sys
from fanfold import App

app = App("notebook", store="sqlite:///cells.db")

@app.task
async def tick(n: int) -> int:
    pathlib.Path(f"tick{n}").touch()
    while n == 2 and not pathlib.Path("gate").exists():
        await asyncio.sleep(0.01)
    return n

@app.workflow
async def ticks() -> int:
    return sum([await tick(n) for n in range(4)])

async def cell():
    try:
        return app.run(ticks)
    except KeyboardInterrupt as error:
        assert type(error) is KeyboardInterrupt
        print("interrupted", flush=True)

loop = asyncio.new_event_loop()
before = signal.getsignal(signal.SIGINT)
assert loop.run_until_complete(cell()) is None
assert signal.getsignal(signal.SIGINT) is before
pathlib.Path("gate").touch()
print(loop.run_until_complete(cell()), flush=True)
loop.close()
"""


@pytest.fixture
def kernel():
    Path("cells.py").write_text(CELLS)
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "cells.py"], stdout=pipe, stderr=pipe, text=True) as process:
        yield process
        process.kill()


def test_an_interrupt_of_a_cell_stops_in_order_and_the_next_cell_goes_on(kernel):
    eventually(lambda: Path("tick2").exists() or kernel.poll() is not None)
    kernel.send_signal(signal.SIGINT)
    assert kernel.stdout.readline() == "interrupted\n", kernel.communicate()
    out, err = kernel.communicate(timeout=LIMIT_S)
    assert out == "6\n", err
    assert "To go on: run this again" in err
    assert "continued run 1: 2 done" in err


def test_a_second_interrupt_leaves_the_cell_and_not_the_kernel(kernel):
    eventually(lambda: Path("tick2").exists() or kernel.poll() is not None)
    kernel.send_signal(signal.SIGINT)
    for line in kernel.stderr:
        if "stopping" in line:
            break
    os.kill(kernel.pid, signal.SIGINT)
    assert kernel.stdout.readline() == "interrupted\n"
    # The engine of the first cell has its grace still: the next cell waits for its end.
    out, err = kernel.communicate(timeout=LIMIT_S)
    assert out == "6\n", err
