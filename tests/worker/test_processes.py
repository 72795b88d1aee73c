"""Bodies in processes: what they return and raise, what they see of their run, and who waits for whom."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from fanfold.model.codec import decode_text
from fanfold.model.run import Claimed
from fanfold.worker.executors.pipe import Leave, TakeBack, frame, messages_of, take_frames
from fanfold.worker.executors.processes import BodyFailed
from fanfold.worker.reference import reference_to
from tests.engine.desk import on_a_loop
from tests.worker import process_tasks as tasks
from tests.worker.process_tasks import Pool, is_there, read, touch

MIB = 1 << 20


# Results and errors --------------------------------------------------------------------------------------------------


@on_a_loop
async def test_sync_and_async_bodies_return_their_results():
    async with Pool(2) as pool:
        bodies = [pool.submit(task, n, 1) for n in range(30) for task in (tasks.add, tasks.add_slowly)]
        assert [await pool.value(body) for body in bodies] == [n + 1 for n in range(30) for _ in range(2)]
        assert len(pool.executor) == pool.slots.taken == 0


@on_a_loop
async def test_bodies_run_in_few_processes_that_are_kept():
    async with Pool(2) as pool:
        bodies = [pool.submit(tasks.own_pid) for _ in range(50)]
        pids = {await pool.value(body) for body in bodies}
        again = {await pool.value(pool.submit(tasks.own_pid)) for _ in range(5)}
        assert again <= pids == set(pool.executor.pids)
        assert os.getpid() not in pids


@on_a_loop
async def test_a_process_starts_when_it_is_needed():
    async with Pool(4) as pool:
        assert pool.executor.pids == []
        await pool.value(pool.submit(tasks.add, 1, 1))
        assert len(pool.executor.pids) == 1


@on_a_loop
async def test_a_task_is_found_under_the_name_of_its_function_whatever_it_is_called():
    async with Pool() as pool:
        assert await pool.value(pool.submit(tasks.named, 3)) == -3
        assert await pool.value(pool.submit(tasks.registered, 3)) == 103


@on_a_loop
async def test_an_error_comes_back_with_its_traceback_and_the_names_of_its_classes():
    async with Pool() as pool:
        error = await pool.error(pool.submit(tasks.fails, "on purpose"))
    assert isinstance(error, BodyFailed)
    assert error.kinds == [
        "tests.worker.process_tasks.Wrong", "builtins.ValueError", "builtins.Exception", "builtins.BaseException"
    ]  # fmt: skip
    record = decode_text(error.text)
    assert (record["type"], record["message"]) == ("Wrong", "on purpose")
    assert "raise Wrong(text)" in record["traceback"]
    assert "process_main" not in record["traceback"]


@on_a_loop
async def test_a_body_that_asks_for_a_delay_says_how_long():
    async with Pool() as pool:
        assert (await pool.error(pool.submit(tasks.asks_to_wait, 2.5))).retry_after_ms == 2500
        assert (await pool.error(pool.submit(tasks.fails, ""))).retry_after_ms is None


@pytest.mark.parametrize(
    ("task", "kind", "told"),
    [
        (tasks.lies, "fanfold.errors.InvalidInput", "the result of lies"),
        (tasks.makes_a_lock, "fanfold.errors.InvalidInput", "the result of makes_a_lock"),
        (tasks.calls, "fanfold.errors.NotAllowed", "add.fn(...)"),
        (tasks.starts_an_engine, "fanfold.errors.NotAllowed", "process"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
@on_a_loop
async def test_a_body_that_does_what_it_may_not_fails_and_its_process_goes_on(task: Any, kind: str, told: str):
    async with Pool() as pool:
        error = await pool.error(pool.submit(task))
        assert kind in error.kinds
        assert told in decode_text(error.text)["message"]
        assert await pool.value(pool.submit(tasks.add, 1, 1)) == 2
        assert len(pool.executor.pids) == 1


@on_a_loop
async def test_a_body_that_exits_fails_and_its_process_goes_on():
    async with Pool() as pool:
        pid = await pool.value(pool.submit(tasks.own_pid))
        assert "builtins.SystemExit" in (await pool.error(pool.submit(tasks.exits, 3))).kinds
        assert await pool.value(pool.submit(tasks.own_pid)) == pid


@on_a_loop
async def test_what_cannot_be_pickled_is_no_matter():
    async with Pool() as pool:
        assert await pool.value(pool.submit(tasks.keeps_a_lock, 3)) == 3


@on_a_loop
async def test_payloads_of_megabytes_pass_in_both_directions():
    async with Pool(2) as pool:
        bodies = [pool.submit(tasks.repeat, "x" * (2 * MIB - 100), 2) for _ in range(6)]
        bodies += [pool.submit(tasks.repeat, "é", 100_000) for _ in range(20)]
        assert [len(await pool.value(body)) for body in bodies] == [4 * MIB - 200] * 6 + [100_000] * 20
        error = await pool.error(pool.submit(tasks.repeat, "x" * MIB, 5))
        assert "fanfold.errors.PayloadTooLarge" in error.kinds


@on_a_loop
async def test_thousands_of_short_bodies_each_end_once():
    async with Pool(2) as pool:
        bodies = [pool.submit(tasks.add, n, n) for n in range(3000)]
        assert [await pool.value(body) for body in bodies] == [2 * n for n in range(3000)]
        assert sorted(pool.told) == sorted(body.run.id for body in bodies)


# What a body sees ----------------------------------------------------------------------------------------------------


@on_a_loop
async def test_a_body_knows_its_run():
    claimed = Claimed(
        7, 1, 5, 2, 3, 0, 1, "k:mine", "task", "who", "default", 0, "{}", None, "2.1", '{"colour":"red"}', 0, 1_000, 0
    )
    async with Pool() as pool:
        assert await pool.value(pool.submit(tasks.who, claimed=claimed)) == {
            "id": 7, "key": "mine", "parent_id": 5, "attempt": 3, "version": "2.1", "tags": {"colour": "red"},
            "idempotency_key": "store-7-1000",
        }  # fmt: skip
        new = pool.submit(tasks.who)
        seen = await pool.value(new)
        assert (seen["attempt"], seen["key"], seen["parent_id"]) == (1, None, None)
        assert seen["idempotency_key"] == new.context.idempotency_key


@on_a_loop
async def test_what_a_body_says_of_its_progress_is_passed_on():
    async with Pool() as pool:
        body: Any = pool.submit(tasks.reports, 3)
        await pool.value(body)
    assert body.context.progress == [(0, 3, "at it"), (1, 3, "at it"), (2, 3, "at it")]


@on_a_loop
async def test_a_process_has_the_folder_the_arguments_and_the_path_of_its_program():
    async with Pool() as pool:
        seen = await pool.value(pool.submit(tasks.surroundings))
    assert seen["folder"] == str(Path.cwd())
    assert seen["argv"] == sys.argv
    assert [entry for entry in sys.path if Path(entry).is_absolute()] == [
        entry for entry in seen["path"] if entry in sys.path
    ]
    assert seen["ignores_interrupts"]


@on_a_loop
async def test_an_interrupt_does_not_reach_a_body():
    async with Pool() as pool:
        body = pool.submit(tasks.waits_for, "go", "began")
        await pool.until(lambda: is_there("began"))
        os.kill(int(read("began")), signal.SIGINT)
        touch("go")
        assert await pool.value(body) == int(read("began"))


@on_a_loop
async def test_what_a_body_prints_comes_out_where_the_program_prints(capfd: pytest.CaptureFixture[str]):
    async with Pool() as pool:
        await pool.value(pool.submit(tasks.prints, "good morning"))
        assert await pool.value(pool.submit(tasks.reads_input)) == ""
    assert capfd.readouterr() == ("good morning\n", "good morning\n")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="reads /proc")
@on_a_loop
async def test_a_process_inherits_no_open_file_of_the_engine():
    lock = os.open("lock", os.O_CREAT | os.O_RDWR)
    os.set_inheritable(lock, True)
    async with Pool() as pool:
        names = await pool.value(pool.submit(tasks.open_files))
    os.close(lock)
    assert len(names) > 3
    assert not any(name.endswith("lock") for name in names)


@on_a_loop
async def test_the_lifespan_is_entered_once_in_a_process_lives_on_its_loop_and_is_left_at_the_end():
    async with Pool(lifespan=reference_to(tasks.lifespan, "lifespan")) as pool:
        assert await pool.value(pool.submit(tasks.same_loop))
        assert await pool.value(pool.submit(tasks.same_loop))
        first = await pool.value(pool.submit(tasks.beats))

        async def has_gone_on() -> bool:
            return await pool.value(pool.submit(tasks.beats)) > first

        while not await has_gone_on():  # also while no body runs
            pass
        (pid,) = pool.executor.pids
    assert read("left") == str(pid)


@on_a_loop
async def test_a_lifespan_that_fails_fails_the_body_with_the_cause():
    async with Pool(lifespan=reference_to(tasks.broken_lifespan, "lifespan")) as pool:
        for _ in range(2):
            error = await pool.error(pool.submit(tasks.add, 1, 1))
            record = decode_text(error.text)
            assert "broken_lifespan could not be entered in a process: Wrong: no database" in record["message"]
            assert 'raise Wrong("no database")' in record["traceback"]


# Who waits for whom --------------------------------------------------------------------------------------------------


@on_a_loop
async def test_short_bodies_do_not_wait_behind_a_long_one():
    async with Pool(2) as pool:
        await pool.warm()
        slow = pool.submit(tasks.waits_for, "go", "began")
        short = [pool.submit(tasks.add, n, 0) for n in range(50)]
        assert [await pool.value(body) for body in short] == [*range(50)]
        assert slow.run.id not in pool.told
        touch("go")
        await pool.value(slow)


@on_a_loop
async def test_no_more_bodies_run_than_there_are_slots():
    async with Pool(4, slots=1) as pool:
        slow = pool.submit(tasks.waits_for, "go", "began")
        other = pool.submit(tasks.add, 1, 1)
        await pool.until(lambda: is_there("began"))
        assert (pool.slots.taken, len(pool.executor), len(pool.executor.pids)) == (1, 1, 1)
        touch("go")
        await pool.value(slow)
        assert await pool.value(other) == 2


@on_a_loop
async def test_nothing_begins_after_stop_and_what_runs_may_end():
    async with Pool() as pool:
        await pool.warm()
        slow = pool.submit(tasks.waits_for, "go", "began")
        behind = [pool.submit(tasks.add, n, 0) for n in range(20)]
        await pool.until(lambda: slow.run.id in pool.began)
        pool.executor.stop()
        await pool.until(lambda: len(pool.executor._pool[0].sent) == 1)
        touch("go")
        await pool.value(slow)
        await pool.until(lambda: not pool.slots.taken)
        assert len(pool.executor) == 20
        assert not any(body.is_started for body in behind)


def test_messages_are_taken_from_a_stream_however_it_is_cut():
    stream = frame([TakeBack()]) + frame([Leave(), Leave()])
    for cut in range(len(stream)):
        buffer = bytearray(stream[:cut])
        frames = take_frames(buffer)
        buffer += stream[cut:]
        frames += take_frames(buffer)
        assert [messages_of(raw) for raw in frames] == [[TakeBack()], [Leave(), Leave()]]
        assert not buffer
