"""A workflow that leaves memory: what its frames still do reaches nothing, and they come to an end."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from fanfold import App, current, sleep
from fanfold.errors import Evicted
from fanfold.testing import TestApp

Body = Callable[["Dying"], Awaitable[Any]]


class Dying:
    """An app with one task, and what dying frames did."""

    def __init__(self) -> None:
        self.app = App("dying")
        self.did: list[Any] = []

        @self.app.task
        async def effect(n: int) -> int:
            self.did.append(("effect", n))
            return n

        self.call = effect

    async def clean(self, name: str = "clean") -> None:
        """Clean up with a call."""
        self.did.append((name, type(asyncio.get_running_loop()).__name__))
        await self.call(1)

    async def release(self) -> None:
        """Clean up without one."""
        await asyncio.sleep(0)
        self.did.append("released")


async def in_gather(dying: Dying) -> None:
    try:
        await sleep(3600)
    finally:
        await asyncio.gather(dying.release(), dying.clean())


async def in_group(dying: Dying) -> None:
    async with asyncio.TaskGroup() as group:
        try:
            await sleep(3600)
        finally:
            group.create_task(dying.release())


async def in_task(dying: Dying) -> None:
    try:
        await sleep(3600)
    finally:
        await asyncio.create_task(dying.release())


async def in_task_of_a_kept_loop(dying: Dying) -> None:
    loop = asyncio.get_running_loop()
    try:
        await sleep(3600)
    finally:
        await loop.create_task(dying.release())


async def in_wait_for(dying: Dying) -> None:
    try:
        await sleep(3600)
    finally:
        await asyncio.wait_for(dying.release(), 5)


async def in_shield(dying: Dying) -> None:
    try:
        await sleep(3600)
    finally:
        await asyncio.shield(dying.release())


async def in_timeout(dying: Dying) -> None:
    try:
        await sleep(3600)
    finally:
        async with asyncio.timeout(5):
            await dying.release()


async def in_thread(dying: Dying) -> None:
    try:
        await sleep(3600)
    finally:
        await asyncio.to_thread(dying.did.append, "in a thread")


async def in_executor(dying: Dying) -> None:
    try:
        await sleep(3600)
    finally:
        asyncio.get_running_loop().run_in_executor(None, dying.did.append, "in an executor")


async def in_callback(dying: Dying) -> None:
    try:
        await sleep(3600)
    finally:
        asyncio.get_running_loop().call_soon(dying.did.append, "in a callback")


async def in_later_callback(dying: Dying) -> None:
    try:
        await sleep(3600)
    finally:
        asyncio.get_running_loop().call_later(1, dying.did.append, "in a callback")


async def in_many_tasks(dying: Dying) -> None:
    async def child() -> None:
        try:
            await sleep(3600)
        finally:
            await asyncio.gather(dying.release(), dying.release())

    await asyncio.gather(child(), child(), child())


ALL = [
    in_gather, in_group, in_task, in_task_of_a_kept_loop, in_wait_for, in_shield, in_timeout, in_thread, in_executor,
    in_callback, in_later_callback, in_many_tasks,
]  # fmt: skip


def evicted(body: Body, *, crash: bool = False) -> list[Any]:
    """Run `body` in a workflow until it leaves memory; return what was done then."""
    dying = Dying()

    @dying.app.workflow
    async def workflow(n: int) -> int:
        await body(dying)
        return 7

    async def test() -> list[Any]:
        async with TestApp(dying.app) as test:
            run = await test.start(workflow, 0)
            await test.settle()
            before = len(dying.did)
            if crash:
                await test.crash()
            else:
                await test.advance(60)
                assert (await run.status()).state == "waiting"
            await asyncio.sleep(0.01)  # what landed on the test's own loop would be done now
            gc.collect()
            return dying.did[before:]

    return asyncio.run(test())


@pytest.mark.parametrize("end", ["evicted", "crashed"])
@pytest.mark.parametrize("body", ALL, ids=lambda body: body.__name__)
def test_what_a_dying_frame_starts_never_begins(body: Body, end: str):
    assert evicted(body, crash=end == "crashed") == []


@pytest.mark.parametrize("body", [in_gather, in_group, in_wait_for, in_many_tasks], ids=lambda body: body.__name__)
def test_a_workflow_whose_frames_started_things_on_their_way_out_goes_on(body: Body):
    dying = Dying()

    @dying.app.workflow
    async def workflow(n: int) -> int:
        await body(dying)
        return 7

    async def test() -> int:
        async with TestApp(dying.app) as test:
            return await test.run(workflow, 0)

    assert asyncio.run(test()) == 7
    assert "released" in dying.did


def test_a_dying_frame_hears_evicted_and_has_its_run_and_its_task():
    heard: list[Any] = []
    variable = contextvars.ContextVar("variable", default="outer")

    async def body(dying: Dying) -> None:
        variable.set("inner")
        task = asyncio.current_task()
        try:
            await sleep(3600)
        except BaseException as error:
            heard.append((type(error), current().id, variable.get(), asyncio.current_task() is task))
            raise

    evicted(body)
    assert heard == [(Evicted, 1, "inner", True)]


async def numbers(dying: Dying) -> AsyncIterator[int]:
    try:
        yield 1
        await sleep(3600)
        yield 2
    finally:
        dying.did.append(("closed", current().id))
        await dying.call(1)
        dying.did.append("went on")


async def waits_in_a_generator(dying: Dying) -> None:
    async for _ in numbers(dying):
        pass


async def waits_beside_a_generator(dying: Dying) -> None:
    stream = numbers(dying)
    await stream.__anext__()
    await sleep(3600)


async def waits_in_a_call_of_a_generator(dying: Dying) -> None:
    async def nested() -> None:
        try:
            await sleep(3600)
        finally:
            dying.did.append(("closed", current().id))
            await dying.call(1)
            dying.did.append("went on")

    async def stream() -> AsyncIterator[int]:
        yield 1
        await nested()

    async for _ in stream():
        pass


async def begins_a_generator_at_the_end(dying: Dying) -> None:
    try:
        await sleep(3600)
    finally:
        async for _ in numbers(dying):
            break


@pytest.mark.parametrize(
    "body",
    [
        waits_in_a_generator, waits_beside_a_generator, waits_in_a_call_of_a_generator,
        begins_a_generator_at_the_end,
    ],
    ids=lambda body: body.__name__,
)  # fmt: skip
def test_async_generators_are_unwound_in_the_run_that_they_belong_to(body: Body):
    assert evicted(body) == [("closed", 1)]


async def catches_all_of_sleep(dying: Dying) -> None:
    while True:
        with contextlib.suppress(BaseException):
            await sleep(3600)


async def catches_all_of_a_task(dying: Dying) -> None:
    with contextlib.suppress(BaseException):
        await sleep(3600)
    while True:
        with contextlib.suppress(BaseException):
            await asyncio.create_task(dying.release())


async def catches_all_in_a_generator(dying: Dying) -> None:
    async def stream() -> AsyncIterator[int]:
        while True:
            try:
                await sleep(3600)
            except BaseException:
                yield 1

    async for _ in stream():
        pass


async def catches_all_of_asyncio(dying: Dying) -> None:
    while True:
        with contextlib.suppress(BaseException):
            await asyncio.sleep(3600)


@pytest.mark.parametrize(
    "body",
    [catches_all_of_sleep, catches_all_of_a_task, catches_all_in_a_generator, catches_all_of_asyncio],
    ids=lambda body: body.__name__,
)
def test_a_frame_that_never_ends_is_left_with_a_warning(body: Body, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING, "fanfold"):
        assert evicted(body) == []
    assert "again and again" in caplog.text
    assert f"{__file__}:" in caplog.text


STUBBORN = """
import asyncio
from fanfold import App, sleep
from fanfold.testing import TestApp
app = App("stubborn")

@app.workflow
async def stubborn(n: int) -> None:
    while True:
        try:
            await sleep(3600)
        except BaseException:
            pass

async def main() -> None:
    async with TestApp(app) as test:
        await test.start(stubborn, 0)
        await test.advance(60)

asyncio.run(main())
print("over")
"""


def test_a_frame_that_never_ends_keeps_no_process_from_ending():
    ran = subprocess.run([sys.executable, "-c", STUBBORN], capture_output=True, text=True, timeout=20, check=True)
    assert ran.stdout == "over\n"
    assert len(ran.stderr.splitlines()) == 1, ran.stderr
