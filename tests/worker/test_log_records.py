"""What `logging` says inside runs: whose record it is, and that a replay repeats nothing that is known to be said."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from fanfold import App, Retry, current, sleep
from fanfold.model.run import Claimed
from fanfold.testing import TestApp
from fanfold.worker import log_records
from fanfold.worker.context import Context, set_current
from tests.engine.desk import on_a_loop
from tests.worker.process_tasks import Pool

log = logging.getLogger("shop")
app = App("log records")


@app.task
async def on_the_loop(n: int) -> int:
    log.info("before")
    await asyncio.sleep(0)
    log.info("after")
    return n


@app.task
def in_a_thread() -> None:
    log.info("in a thread")


@app.task
async def in_a_thread_of_its_own() -> None:
    await asyncio.to_thread(log.info, "in a thread of its own")


@app.task(retry=Retry(delay=1))
async def fails_once() -> None:
    log.info("trying")
    if current().attempt == 1:
        raise OSError


@app.task(executor="process")
def in_a_process() -> list[list[int]]:
    """Return what the records of this process carry: what it logs is seen here only."""
    found: list[list[int]] = []
    seen = logging.Handler()
    seen.emit = lambda record: found.append([vars(record)["run_id"], vars(record)["attempt"]])
    logger = logging.getLogger("shop.process")
    logger.setLevel(logging.INFO)
    logger.addHandler(seen)
    logger.info("in a process")
    logger.removeHandler(seen)
    return found


@app.workflow
async def chain() -> int:
    log.info("begins")
    total = await on_the_loop(1)
    log.info("one")
    await sleep(3600)
    log.info("slept")
    total += await on_the_loop(2)
    log.info("ends")
    return total


@app.workflow
async def fan() -> int:
    async def one(n: int) -> int:
        await sleep(20 * n)  # long enough to leave memory
        log.info("member %s", n)
        return n

    return sum(await asyncio.gather(*(one(n) for n in (1, 2, 3))))


@pytest.fixture(autouse=True)
def heard(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


def said(heard: pytest.LogCaptureFixture, *more: str, by: str = "shop") -> list[Any]:
    """Return what a logger has said: the texts, or tuples with more fields of the records."""
    records = [record for record in heard.records if record.name == by]
    return [
        (record.getMessage(), *(vars(record)[name] for name in more)) if more else record.getMessage()
        for record in records
    ]


def of_workflow(heard: pytest.LogCaptureFixture) -> list[str]:
    """Return what the workflow has said, without its children."""
    return [text for text, function in said(heard, "funcName") if function != "on_the_loop"]


# Whose a record is ---------------------------------------------------------------------------------------------------


def test_a_record_outside_of_runs_belongs_to_none_and_can_be_formatted(heard: pytest.LogCaptureFixture):
    log.info("outside")
    assert said(heard, "run_id", "attempt") == [("outside", None, None)]
    assert logging.Formatter("%(run_id)s %(message)s").format(heard.records[0]) == "None outside"


def test_records_of_a_body_carry_its_run_and_its_attempt(heard: pytest.LogCaptureFixture):
    async def test() -> None:
        async with TestApp(app) as test:
            await test.run(on_the_loop, 1)
            await test.run(in_a_thread)
            await test.run(in_a_thread_of_its_own)
            await test.run(fails_once)

    asyncio.run(test())
    assert said(heard, "run_id", "attempt") == [
        ("before", 1, 1), ("after", 1, 1), ("in a thread", 2, 1), ("in a thread of its own", 3, 1), ("trying", 4, 1),
        ("trying", 4, 2),
    ]  # fmt: skip


@on_a_loop
async def test_records_of_a_process_carry_them_as_well():
    claimed = Claimed(
        7, 7, 0, 2, 3, 0, 0, None, "task", "in_a_process", "default", 0, "{}", None, "0", None, 0, 1_000, 0
    )
    async with Pool() as pool:
        assert await pool.value(pool.submit(in_a_process, claimed=claimed)) == [[7, 3]]


def test_records_of_a_workflow_carry_it_and_those_of_its_children_do_not(heard: pytest.LogCaptureFixture):
    async def test() -> None:
        async with TestApp(app) as test:
            assert await test.run(chain) == 3

    asyncio.run(test())
    assert said(heard, "run_id", "attempt") == [
        ("begins", 1, 1), ("before", 2, 1), ("after", 2, 1), ("one", 1, 1), ("slept", 1, 1), ("before", 4, 1),
        ("after", 4, 1), ("ends", 1, 1),
    ]  # fmt: skip


def test_what_the_program_says_itself_stays(heard: pytest.LogCaptureFixture):
    log.info("of a batch", extra={"run_id": "batch 5", "attempt": 9})
    assert said(heard, "run_id", "attempt") == [("of a batch", "batch 5", 9)]


def test_fanfold_speaks_about_runs_and_not_inside_them(heard: pytest.LogCaptureFixture):
    in_a_run(spoken := Told(3), logging.getLogger("fanfold").info, "run 3 is there")
    spoken.is_silent = True
    in_a_run(spoken, logging.getLogger("fanfold").info, "run 3 is gone")
    assert said(heard, "run_id", by="fanfold") == [("run 3 is there", None), ("run 3 is gone", None)]


def test_a_silent_run_silences_nobody_else(heard: pytest.LogCaptureFixture):
    silent, other = Told(1), Told(2)
    silent.is_silent = True

    def speak() -> None:
        log.info("not this")
        thread = threading.Thread(target=in_a_run, args=(other, log.info, "but this"))
        thread.start()
        thread.join()
        assert log.isEnabledFor(logging.INFO)

    in_a_run(silent, speak)
    assert said(heard, "run_id") == [("but this", 2)]


def test_installed_twice_it_does_the_same(heard: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(logging.Logger, "handle", logging.Logger.handle)
    log_records.install(lambda: None)
    log.info("once")
    assert said(heard, "run_id") == [("once", None)]


class Told(Context):
    """A run that is silent when it is told so."""

    is_silent = False

    def __init__(self, id: int) -> None:
        self._id = id

    @property
    def id(self) -> int:
        return self._id

    @property
    def attempt(self) -> int:
        return 1


def in_a_run(run: Context, function: Callable[..., Any], *args: Any) -> None:
    """Call a function as code of a run."""
    context = contextvars.Context()
    context.run(set_current, run)
    context.run(function, *args)


# Replay --------------------------------------------------------------------------------------------------------------


def test_a_replay_after_a_crash_says_nothing_again(heard: pytest.LogCaptureFixture):
    async def test() -> None:
        async with TestApp(app) as test:
            run = await test.start(chain)
            await test.settle()
            await test.crash()
            assert of_workflow(heard) == ["begins", "one"]
            await test.result(run)

    asyncio.run(test())
    assert of_workflow(heard) == ["begins", "one", "slept", "ends"]


def test_what_was_delivered_while_a_workflow_was_out_of_memory_is_said(heard: pytest.LogCaptureFixture):
    async def test() -> None:
        async with TestApp(app) as test:
            run = await test.start(chain)
            await test.advance(60)
            assert (await run.status()).state == "waiting"
            assert of_workflow(heard) == ["begins", "one"]
            await test.advance(3600)
            assert await run.result() == 3

    asyncio.run(test())
    assert of_workflow(heard) == ["begins", "one", "slept", "ends"]


def test_a_workflow_that_comes_back_to_memory_repeats_nothing(heard: pytest.LogCaptureFixture):
    async def test() -> None:
        async with TestApp(app) as test:
            assert await test.run(fan) == 6

    asyncio.run(test())
    assert of_workflow(heard) == ["member 1", "member 2", "member 3"]


def test_after_a_crash_turns_that_left_no_trace_say_it_again(heard: pytest.LogCaptureFixture):
    async def test() -> None:
        async with TestApp(app) as test:
            run = await test.start(fan)
            await test.advance(21)
            assert of_workflow(heard) == ["member 1"]
            await test.crash()
            assert await test.result(run) == 6

    asyncio.run(test())
    assert of_workflow(heard) == ["member 1", "member 1", "member 2", "member 3"]


def test_what_frames_say_when_they_leave_memory_is_dropped(heard: pytest.LogCaptureFixture):
    tidy = App("tidy")

    @tidy.workflow
    async def rests() -> None:
        try:
            await sleep(60)
        finally:
            log.info("tidied up")

    async def test() -> None:
        async with TestApp(tidy) as test:
            run = await test.start(rests)
            await test.advance(30)
            assert (await run.status()).state == "waiting"
            assert of_workflow(heard) == []
            await test.result(run)

    asyncio.run(test())
    assert of_workflow(heard) == ["tidied up"]


def test_a_cancel_that_comes_to_a_workflow_out_of_memory_is_spoken_of(heard: pytest.LogCaptureFixture):
    stoppable = App("stoppable")

    @stoppable.workflow
    async def rests() -> None:
        log.info("begins")
        try:
            await sleep(3600)
        except asyncio.CancelledError:
            log.info("cancelled")
            raise

    async def test() -> None:
        async with TestApp(stoppable) as test:
            run = await test.start(rests)
            await test.advance(60)
            await run.cancel()
            await test.settle()
            assert (await run.status()).state == "cancelled"

    asyncio.run(test())
    assert of_workflow(heard) == ["begins", "cancelled"]


@pytest.mark.parametrize("where", ["crash_at", "crash_before"])
@pytest.mark.parametrize("workflow", [chain, fan], ids=["chain", "fan"])
def test_a_crash_at_any_commit_loses_no_line(heard: pytest.LogCaptureFixture, workflow: Any, where: str):
    async def run(**crash: int) -> int:
        heard.clear()
        async with TestApp(app, **crash) as test:
            await test.run(workflow)
            return test.commits

    commits = asyncio.run(run())
    lines = of_workflow(heard)
    assert commits > 5
    for number in range(1, commits + 1):
        asyncio.run(run(**{where: number}))
        found = Counter(of_workflow(heard))
        assert list(found) == lines
        assert max(found.values()) <= 2
