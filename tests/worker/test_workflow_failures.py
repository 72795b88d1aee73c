"""How a workflow's own code may fail, and what is no failure of it."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from fanfold import App, TaskFailed, sleep
from fanfold.testing import TestApp
from fanfold.worker.signals import is_from_a_signal


class Odd(BaseException):
    """Neither an Exception nor one of asyncio's."""


def raising(error: BaseException) -> Any:
    raise error


async def raised_by_the_code(error: BaseException) -> None:
    await sleep(1)
    raise error


async def raised_by_a_task(error: BaseException) -> None:
    await asyncio.create_task(raised_by_the_code(error))


async def raised_by_a_task_that_nobody_awaits(error: BaseException) -> None:
    task = asyncio.create_task(raised_by_the_code(error))
    await asyncio.Event().wait()
    del task


async def raised_by_a_callback(error: BaseException) -> None:
    asyncio.get_running_loop().call_later(1, raising, error)
    await asyncio.Event().wait()


def failing(body: Callable[[BaseException], Awaitable[None]], error: BaseException) -> tuple[str, str, int]:
    """Return how a run failed, and what another run of the same engine gave."""
    app = App("failing")

    @app.workflow
    async def fail(n: int) -> None:
        await body(error)

    @app.workflow
    async def other(n: int) -> int:
        await sleep(10)
        return n

    async def test() -> tuple[str, str, int]:
        async with TestApp(app) as test:
            beside = await test.start(other, 3)
            with pytest.raises(TaskFailed) as failed:
                await test.run(fail, 0)
            return failed.value.error_type, failed.value.message, await test.result(beside)

    return asyncio.run(test())


@pytest.mark.parametrize("error", [KeyboardInterrupt("x"), SystemExit("x"), Odd("x"), GeneratorExit("x")], ids=repr)
@pytest.mark.parametrize("body", [raised_by_the_code, raised_by_a_task], ids=lambda body: body.__name__)
def test_whatever_the_code_raises_fails_its_run_alone(
    body: Any, error: BaseException, caplog: pytest.LogCaptureFixture
):
    assert failing(body, error) == (type(error).__name__, "x", 3)
    assert caplog.text == ""


@pytest.mark.parametrize("error", [KeyboardInterrupt("x"), SystemExit("x")], ids=repr)
@pytest.mark.parametrize(
    "body", [raised_by_a_task_that_nobody_awaits, raised_by_a_callback], ids=lambda body: body.__name__
)
def test_what_ends_a_program_ends_the_run_wherever_it_is_raised(body: Any, error: BaseException):
    assert failing(body, error) == (type(error).__name__, "x", 3)


def test_a_handler_that_exits_the_process_fails_no_run(tmp_path: Path):
    app = App("exits", store=f"sqlite:///{tmp_path}/exits.db")
    lives: list[int] = []

    @app.workflow
    async def signalled(n: int) -> int:
        lives.append(n)
        await sleep(0.01)
        if len(lives) == 1:
            signal.raise_signal(signal.SIGUSR1)
        return n

    async def live() -> int:
        async with app:
            return await (await app.start(signalled.options(key="one"), 5)).result(timeout=10)

    before = signal.signal(signal.SIGUSR1, lambda *_: sys.exit(3))
    try:
        with pytest.raises(SystemExit):
            asyncio.run(live())
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert asyncio.run(live()) == 5
    assert lives == [5, 5]


def test_an_exception_is_a_signals_if_its_handler_raised_it():
    def caught(act: Callable[[], object]) -> BaseException:
        try:
            act()
        except BaseException as error:
            return error
        raise AssertionError

    assert is_from_a_signal(caught(lambda: signal.raise_signal(signal.SIGINT)))  # by Python's own handler
    assert not is_from_a_signal(caught(lambda: raising(KeyboardInterrupt())))
    assert not is_from_a_signal(caught(sys.exit))
