"""Failed attempts are tried again as the policy has it, and each is recorded; what makes no sense is not repeated."""

import asyncio
import logging
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from fanfold import App, GiveUp, InvalidInput, KeyConflict, NotFound, Retry, RetryAfter, TaskFailed, current
from fanfold.model import lifecycle
from fanfold.model.codec import decode_text
from fanfold.testing import TestApp
from fanfold.worker.executors.process_body import failure_of
from tests.engine.desk import on_a_loop

QUICK = Retry(max_attempts=3, delay=1, jitter=0)
LIMIT_S = 20


class Flaky:
    """Fails so many times, with what it is told to raise, and writes down each try."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.attempts: list[int] = []

    def __call__(self) -> int:
        self.attempts.append(current().attempt)
        if self.errors:
            raise self.errors.pop(0)
        return len(self.attempts)


async def outcome(flaky: Flaky, retry: Retry | None, *, is_async: bool = True) -> Any:
    """Run a task with a policy; return its result or the error."""
    app = App("retries")

    @app.task(retry=retry)
    async def on_loop() -> int:
        return flaky()

    @app.task(retry=retry)
    def in_thread() -> int:
        return flaky()

    async with TestApp(app) as test, asyncio.timeout(LIMIT_S):
        try:
            return await test.run(on_loop if is_async else in_thread)
        except TaskFailed as failed:
            return failed


@pytest.mark.parametrize("where", ["loop", "thread"])
@on_a_loop
async def test_a_task_that_fails_twice_completes_in_its_third_attempt(where: str):
    flaky = Flaky(OSError("one"), OSError("two"))
    assert await outcome(flaky, QUICK, is_async=where == "loop") == 3
    assert flaky.attempts == [1, 2, 3]


@on_a_loop
async def test_the_last_failure_is_the_runs_and_says_how_many_attempts_there_were():
    failed = await outcome(Flaky(*[OSError(f"try {n}") for n in range(1, 9)]), QUICK)
    assert (failed.attempts, failed.error_type, failed.message) == (3, "OSError", "try 3")


@on_a_loop
async def test_without_a_policy_there_is_one_attempt():
    flaky = Flaky(OSError("no"))
    assert (await outcome(flaky, None)).attempts == 1
    assert flaky.attempts == [1]


@pytest.mark.parametrize(
    ("error", "retry", "attempts"),
    [
        (ConnectionError("a kind of OSError"), Retry(delay=0, retry_on=(OSError,)), 2),
        (ValueError("not named"), Retry(delay=0, retry_on=(OSError,)), 1),
        (ConnectionError("given up on"), Retry(delay=0, retry_on=(OSError,), give_up_on=(ConnectionError,)), 1),
        (GiveUp("it is of no use"), Retry(delay=0), 1),
        (InvalidInput("a wrong argument"), Retry(delay=0), 1),
        (KeyConflict("the key is taken", 1), Retry(delay=0), 1),
        (NotFound("there is no such run"), Retry(delay=0), 1),
        (SystemExit(3), Retry(delay=0), 1),
        (SystemExit(3), Retry(delay=0, retry_on=(SystemExit,)), 2),
        (OSError("one alone, without a tuple"), Retry(delay=0, retry_on=cast("Any", OSError)), 2),
    ],
)
@on_a_loop
async def test_what_is_tried_again_is_what_the_policy_names(error: BaseException, retry: Retry, attempts: int):
    flaky = Flaky(error)
    await outcome(flaky, retry)
    assert len(flaky.attempts) == attempts


@on_a_loop
async def test_a_result_that_cannot_be_stored_is_not_tried_again():
    app, tries = App("retries"), []

    @app.task(retry=Retry(delay=0))
    async def lies() -> int:
        tries.append(current().attempt)
        return cast("int", "no number")

    async with TestApp(app) as test:
        with pytest.raises(TaskFailed, match="result of lies"):
            await test.run(lies)
    assert tries == [1]


@on_a_loop
async def test_a_retry_starts_after_its_delay_and_not_before():
    app, starts = App("retries"), []
    flaky = Flaky(*[OSError("no")] * 3)

    @app.task(retry=Retry(max_attempts=4, delay=10, backoff=3, max_delay=timedelta(seconds=60), jitter=0))
    async def work() -> int:
        starts.append(test.clock.now_ms())
        return flaky()

    async with TestApp(app) as test:
        begin = test.clock.now_ms()
        run = await test.start(work)
        await test.advance(9.9)
        assert len(starts) == 1
        assert (await run.status()).state == lifecycle.PENDING
        assert await test.result(run) == 4
    # A claim may find it a little later, never earlier.
    assert [round((start - begin) / 1000) for start in starts] == [0, 10, 40, 100]


@on_a_loop
async def test_a_body_may_say_itself_when_it_wants_to_be_tried_again():
    app, starts = App("retries"), []
    flaky = Flaky(RetryAfter(timedelta(minutes=5)))

    @app.task(retry=Retry(max_attempts=2, retry_on=(KeyError,)))
    async def work() -> int:
        starts.append(test.clock.now_ms())
        return flaky()

    async with TestApp(app) as test:
        assert await test.run(work) == 2
    assert starts[1] - starts[0] >= 300_000


class Vague(RetryAfter):
    """Asks for a delay that it cannot name."""

    def __init__(self) -> None: ...

    @property
    def delay(self) -> float:
        raise LookupError("no delay was set")

    @delay.setter
    def delay(self, delay: float) -> None: ...


@pytest.mark.parametrize("where", ["loop", "thread"])
@pytest.mark.parametrize(
    ("error", "error_type", "message"),
    [
        (RetryAfter(float("inf")), "InvalidInput", "at most 3155760000 s, a hundred years, not inf"),
        (RetryAfter(1e30), "InvalidInput", "at most 3155760000 s, a hundred years, not 1e+30"),
        (RetryAfter(float("nan")), "InvalidInput", "must be seconds or a timedelta, not nan"),
        (RetryAfter(cast("Any", "soon")), "InvalidInput", "must be seconds or a timedelta, not 'soon'"),
        (Vague(), "LookupError", "no delay was set"),
    ],
    ids=["infinite", "too long", "not a number", "text", "raises"],
)
@on_a_loop
async def test_a_body_that_asks_for_a_delay_that_is_none_fails_for_good_and_its_run_ends(
    error: RetryAfter, error_type: str, message: str, where: str
):
    flaky = Flaky(error)
    failed = await outcome(flaky, QUICK, is_async=where == "loop")
    assert (failed.error_type, failed.attempts, flaky.attempts) == (error_type, 1, [1])
    assert message in failed.message
    assert "raise self.errors.pop(0)" in failed.traceback  # where the body asked for it


@pytest.mark.parametrize("delay_s", [float("inf"), 1e30])
def test_a_process_reports_a_delay_that_is_none_as_what_is_wrong(delay_s: float):
    failure = failure_of(RetryAfter(delay_s), 1)
    assert failure.kinds[0] == "fanfold.errors.InvalidInput"
    assert "at most 3155760000 s" in decode_text(failure.text)["message"]
    assert failure.retry_after_ms is None


@on_a_loop
async def test_a_result_that_wants_to_leave_when_it_is_stored_fails_its_run():
    app = App("retries")

    class Leaving:
        @property
        def __class__(self) -> Any:
            raise SystemExit(3)

        @__class__.setter
        def __class__(self, kind: Any) -> None: ...

    @app.task
    async def leaves() -> object:
        return Leaving()

    async with TestApp(app) as test:
        with pytest.raises(TaskFailed, match="SystemExit: 3"):
            await test.run(leaves)


@on_a_loop
async def test_a_call_may_have_a_policy_of_its_own_and_keeps_it_over_a_crash():
    app = App("retries", default_retry=Retry(max_attempts=1))
    flaky = Flaky(OSError("one"), OSError("two"))

    @app.task
    async def work() -> int:
        return flaky()

    @app.workflow
    async def parent() -> int:
        return await work.options(retry=Retry(max_attempts=3, delay=1, retry_on=(OSError,)))()

    async with TestApp(app) as test:
        run = await test.start(parent)
        await test.settle()
        await test.crash()
        assert await test.result(run) == 3


@on_a_loop
async def test_failed_attempts_are_kept_with_their_tracebacks():
    app = App("retries")
    flaky = Flaky(OSError("one"), ValueError("two"))

    @app.task(retry=QUICK)
    async def work() -> int:
        return flaky()

    async with TestApp(app) as test:
        run = await test.start(work)
        await test.result(run)
        attempts = await test.queries.attempts(run.id)
    errors = [decode_text(error) for _, _, error in attempts]
    assert [number for number, _, _ in attempts] == [1, 2]
    assert [error["type"] for error in errors] == ["OSError", "ValueError"]
    assert all("in work" in error["traceback"] for error in errors)


@on_a_loop
async def test_each_failed_attempt_is_logged_at_once(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.WARNING, "fanfold")
    await outcome(Flaky(*[OSError("no luck")] * 3), QUICK)
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "on_loop (run 1) failed: attempt 1 of 3: OSError: no luck; the next one in 1.0 s",
        "on_loop (run 1) failed: attempt 2 of 3: OSError: no luck; the next one in 2.0 s",
        "on_loop (run 1) failed: attempt 3 of 3: OSError: no luck",
    ]


@pytest.mark.parametrize("text", ["cut \udc80 off", "nul \0", "\ud83d" * 600, "\0" * 600, "é" * 5_000])
@on_a_loop
async def test_what_is_logged_of_a_failure_can_be_written_by_every_handler(
    text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.WARNING, "fanfold")
    lost: list[logging.LogRecord] = []
    handler = logging.FileHandler(tmp_path / "log", encoding="utf-8")
    handler.handleError = lost.append
    logging.getLogger("fanfold").addHandler(handler)
    try:
        await outcome(Flaky(*[ValueError(text)] * 2), Retry(max_attempts=2, delay=0))
    finally:
        logging.getLogger("fanfold").removeHandler(handler)
        handler.close()
    lines = (tmp_path / "log").read_bytes().decode().splitlines()
    assert [line.partition(" of 2: ValueError: ")[0] for line in lines] == [
        f"on_loop (run 1) failed: attempt {attempt}" for attempt in (1, 2)
    ]
    assert not lost
    assert not any("\0" in line or len(line) > 5_000 for line in lines)


@on_a_loop
async def test_an_attempt_that_a_crash_ended_does_not_count():
    app, attempts = App("retries"), []
    flaky = Flaky(OSError("one"))

    @app.task(retry=QUICK)
    async def work() -> int:
        attempts.append(current().attempt)
        if len(attempts) == 2:
            test._crash()
        return flaky()

    async with TestApp(app) as test:
        run = await test.start(work)
        await test.settle()
        await test.advance(2)
        assert await test.result(run) == 2 or attempts
    assert attempts[:3] == [1, 2, 2]


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_attempts": 0}, {"max_attempts": 1.5}, {"max_attempts": True}, {"delay": -1}, {"delay": "1"},
        {"max_delay": float("inf")}, {"backoff": 0.5}, {"backoff": float("nan")}, {"jitter": 2}, {"retry_on": (3,)},
        {"give_up_on": int},
    ],
)  # fmt: skip
def test_a_policy_that_makes_no_sense_is_refused_by_name(wrong: dict[str, Any]):
    (name,) = wrong
    with pytest.raises(InvalidInput, match=name):
        Retry(**wrong)
