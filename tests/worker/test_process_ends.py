"""Processes that die, are killed or cannot start: which body pays for it, and what never outlives the engine."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from fanfold.worker.executors import processes
from fanfold.worker.executors.processes import ProcessDied
from fanfold.worker.reference import ProcessNotReady
from tests.engine.desk import on_a_loop
from tests.worker import process_tasks as tasks
from tests.worker.process_tasks import LIMIT_S, Pool, environment, is_alive, is_there, read, touch


@pytest.mark.parametrize(
    ("task", "arguments", "told"),
    [(tasks.kills_itself, (), "SIGKILL"), (tasks.segfaults, (), "SIGSEGV"), (tasks.leaves, (7,), "exit status 7")],
    ids=lambda value: getattr(value, "name", None),
)
@on_a_loop
async def test_a_process_that_dies_fails_the_body_in_it_and_none_of_those_beside_and_behind_it(
    task: Any, arguments: tuple[int, ...], told: str
):
    async with Pool(2) as pool:
        await pool.warm()
        before = [pool.submit(tasks.add, n, 0) for n in range(10)]
        poison = pool.submit(task, *arguments)
        behind = [pool.submit(tasks.add, n, 0) for n in range(10)]
        error = await pool.error(poison)
        assert isinstance(error, ProcessDied)
        assert told in str(error)
        assert f"{task.name} (run {poison.run.id})" in str(error)
        assert [await pool.value(body) for body in before + behind] == [*range(10), *range(10)]
        assert list(pool.errors) == [poison.run.id]
        assert len(pool.executor) == pool.slots.taken == 0


@on_a_loop
async def test_a_process_that_is_killed_while_it_has_nothing_to_do_harms_no_body():
    async with Pool() as pool:
        pid = await pool.value(pool.submit(tasks.own_pid))
        os.kill(pid, signal.SIGKILL)
        assert await pool.value(pool.submit(tasks.own_pid)) != pid


@on_a_loop
async def test_a_process_left_behind_by_a_body_does_not_hide_that_the_body_s_own_has_died():
    async with Pool() as pool:
        body = pool.submit(tasks.forks_and_leaves, "forked")
        await pool.until(lambda: is_there("forked"))
        try:
            assert "exit status 3" in str(await pool.error(body))
        finally:
            os.kill(int(read("forked")), signal.SIGKILL)


@on_a_loop
async def test_a_body_that_is_killed_ends_with_its_process_and_nothing_is_told_of_it():
    async with Pool() as pool:
        await pool.warm()
        slow = pool.submit(tasks.waits_for, "go", "began")
        behind = [pool.submit(tasks.add, n, 0) for n in range(20)]
        await pool.until(lambda: slow.run.id in pool.began)
        pid = pool.executor.pids[0]
        pool.executor.kill(slow)
        assert [await pool.value(body) for body in behind] == [*range(20)]
        await pool.until(lambda: not is_alive(pid))
        assert slow.run.id not in pool.told
        assert pid not in pool.executor.pids
        assert pool.slots.taken == 0


@on_a_loop
async def test_c_code_that_keeps_the_interpreter_to_itself_can_be_killed():
    async with Pool() as pool:
        body = pool.submit(tasks.counts_without_a_break, 1 << 60)
        await pool.until(lambda: body.run.id in pool.began)
        pool.executor.kill(body)
        assert await pool.value(pool.submit(tasks.add, 1, 1)) == 2


@on_a_loop
async def test_a_body_that_is_killed_before_it_begins_does_not_begin():
    async with Pool() as pool:
        await pool.warm()
        slow = pool.submit(tasks.waits_for, "go", "began")
        sent = pool.submit(tasks.waits_for, "never", "begun-as-well")
        await pool.until(lambda: slow.run.id in pool.began)
        queued = pool.submit(tasks.waits_for, "never", "begun-as-well")
        pool.executor.kill(sent)
        pool.executor.kill(queued)
        await pool.until(lambda: len(pool.executor._pool[0].sent) == 1)  # taken back, so that it cannot begin
        touch("go")
        assert is_alive(await pool.value(slow))
        assert await pool.value(pool.submit(tasks.add, 1, 1)) == 2
        assert not is_there("begun-as-well")
        assert (sent.run.id in pool.told, queued.run.id in pool.told) == (False, False)


@on_a_loop
async def test_close_ends_all_processes_and_those_at_work_as_well():
    async with Pool(2) as pool:
        pool.submit(tasks.waits_for, "never", "began")
        await pool.value(pool.submit(tasks.add, 1, 1))
        await pool.until(lambda: is_there("began"))
        pids = pool.executor.pids
    assert len(pids) == 2
    assert not any(is_alive(pid) for pid in pids)


@pytest.mark.parametrize(
    ("program", "told"), [("no-such-python", "none can be started"), ("false", "exit status 1")], ids=str
)
@on_a_loop
async def test_processes_that_cannot_start_fail_their_bodies(program: str, told: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(processes, "RESTART_S", 0.01)
    monkeypatch.setattr(sys, "executable", program)
    async with Pool(2) as pool:
        bodies = [pool.submit(tasks.add, n, 0) for n in range(3)]
        for body in bodies:
            error = await pool.error(body)
            assert isinstance(error, ProcessNotReady)
            assert told in str(error)
        monkeypatch.undo()
        assert await pool.value(pool.submit(tasks.add, 1, 1)) == 2


ENGINE = """
import asyncio
from pathlib import Path
from tests.worker import process_tasks as tasks

async def main() -> None:
    async with tasks.Pool(3) as pool:
        pool.submit(tasks.waits_for, "never", "began")
        busy = pool.submit(tasks.counts_without_a_break, 1 << 60)
        await pool.value(pool.submit(tasks.add, 1, 1))
        await pool.until(lambda: busy.run.id in pool.began and Path("began").exists())
        print(*pool.executor.pids, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_the_processes_of_an_engine_that_is_killed_end(end: signal.Signals):
    Path("engine.py").write_text(ENGINE)
    with subprocess.Popen(
        [sys.executable, "engine.py"], env=environment(), stdout=subprocess.PIPE, text=True
    ) as engine:
        assert engine.stdout is not None
        pids = [int(pid) for pid in engine.stdout.readline().split()]
        engine.send_signal(end)
        engine.wait(LIMIT_S)
    assert len(pids) == 3
    left = [psutil.Process(pid) for pid in pids if is_alive(pid)]
    if sys.platform != "linux":  # elsewhere nothing reaches what keeps the interpreter locked
        left = [process for process in left if process.cpu_percent(0.1) < 50]
    _, alive = psutil.wait_procs(left, timeout=LIMIT_S)
    assert not [process for process in alive if is_alive(process.pid)]
