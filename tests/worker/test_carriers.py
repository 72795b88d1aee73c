"""Async bodies in their carriers: asyncio, anyio and httpx work as always, and nothing of one body reaches the next.

Each of the functions below is the body of a task that checks something itself. They run next to one another, so that
carriers are taken over, kept and left in every order.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import httpx
import pytest

from fanfold import App, current
from fanfold.testing import TestApp
from tests.engine.desk import on_a_loop

AT_ONCE = 10
LONG_S = 60


async def it_has_a_task_which_stays_the_same() -> None:
    task = asyncio.current_task()
    assert task is not None
    assert task in asyncio.all_tasks()
    for _ in range(3):
        await asyncio.sleep(0)
        assert asyncio.current_task() is task
    assert not task.done()


async def a_timeout_ends_what_takes_too_long_and_leaves_no_cancellation() -> None:
    for limit_s in (0, 0.01):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(limit_s):
                await asyncio.Event().wait()
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
    async with asyncio.timeout(LONG_S):
        await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), 0.01)


async def a_task_group_waits_for_its_tasks() -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(asyncio.sleep(0, n)) for n in range(3)]
    assert [task.result() for task in tasks] == [0, 1, 2]


async def a_task_group_whose_task_fails_ends_the_others() -> None:
    others: list[asyncio.Task[Any]] = []

    async def group_that_fails() -> None:
        async with asyncio.TaskGroup() as group:
            others.append(group.create_task(asyncio.Event().wait()))
            group.create_task(fails())
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as raised:
        await group_that_fails()
    assert raised.group_contains(LookupError)
    assert [other.cancelled() for other in others] == [True]


async def it_may_cancel_itself_and_go_on() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(0)
    assert task.uncancel() == 0
    await asyncio.sleep(0)


async def futures_gather_and_shield_work() -> None:
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_result, 3)
    assert await asyncio.gather(asyncio.shield(future), asyncio.sleep(0, 4)) == [3, 4]


async def anyio_has_its_task_groups_and_scopes() -> None:
    said: list[int] = []

    async def say(number: int) -> None:
        await anyio.lowlevel.checkpoint()
        said.append(number)

    async with anyio.create_task_group() as group:
        group.start_soon(say, 1)
        group.start_soon(say, 2)
    assert sorted(said) == [1, 2]
    with anyio.move_on_after(0.01) as scope:
        await anyio.sleep_forever()
    assert scope.cancelled_caught
    with pytest.raises(TimeoutError), anyio.fail_after(0):
        await anyio.sleep_forever()


async def anyio_cancels_a_group_from_within() -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep_forever)
        await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    await anyio.lowlevel.checkpoint()


async def anyio_has_its_threads() -> None:
    assert await anyio.to_thread.run_sync(lambda: anyio.from_thread.run(asyncio.sleep, 0, "there")) == "there"


async def httpx_asks_an_application() -> None:
    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    async with httpx.AsyncClient(transport=httpx.ASGITransport(answer), base_url="http://app") as client:
        answers = await asyncio.gather(*(client.get(f"/{n}") for n in range(3)))
    assert [each.text for each in answers] == ["/0", "/1", "/2"]


async def httpx_asks_a_server() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with httpx.AsyncClient(trust_env=False, verify=False, timeout=LONG_S) as client:
            assert (await client.get(url)).text == "hello"


BODIES = [
    it_has_a_task_which_stays_the_same,
    a_timeout_ends_what_takes_too_long_and_leaves_no_cancellation,
    a_task_group_waits_for_its_tasks,
    a_task_group_whose_task_fails_ends_the_others,
    it_may_cancel_itself_and_go_on,
    futures_gather_and_shield_work,
    anyio_has_its_task_groups_and_scopes,
    anyio_cancels_a_group_from_within,
    anyio_has_its_threads,
    httpx_asks_an_application,
    httpx_asks_a_server,
]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_in_a_body_as_everywhere(body: Callable[[], Awaitable[None]]):
    app = App("carriers", store="sqlite://")
    task: Any = app.task(body)

    @app.task
    async def at_once() -> None:
        """Never suspends."""

    @app.workflow
    async def beside_others() -> int:
        return len(await asyncio.gather(*(each() for _ in range(AT_ONCE) for each in (at_once, task, at_once))))

    assert app.run(beside_others) == 3 * AT_ONCE


# One carrier after the other ------------------------------------------------------------------------------------------


def carrier() -> asyncio.Task[Any]:
    """Return the task that the body runs in."""
    task = asyncio.current_task()
    assert task is not None
    return task


class Row:
    """Bodies that are started together, in their order, and the carrier of each."""

    def __init__(self) -> None:
        self.app = App("row")
        self.carriers: list[asyncio.Task[Any]] = []

    async def run(self, *bodies: Callable[[], Awaitable[Any]]) -> list[Any]:
        """Return what the bodies came to: their values, or what a parent gets to see of what they raised."""
        came: list[Any] = []
        tasks = [self.app.task(self._noted(body), name=f"body {number}") for number, body in enumerate(bodies)]

        @self.app.workflow
        async def parent() -> None:
            came.extend(await asyncio.gather(*(task() for task in tasks), return_exceptions=True))

        async with TestApp(self.app) as self.test:
            await self.test.run(parent)
        return came

    def _noted(self, body: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
        async def noted() -> Any:
            self.carriers.append(carrier())
            return await body()

        return noted


async def never_suspends() -> str:
    return "at once"


async def suspends() -> str:
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return "later"


async def fails() -> None:
    raise LookupError


@on_a_loop
async def test_bodies_that_never_suspend_share_one_carrier():
    row = Row()
    assert await row.run(*[never_suspends] * 50) == ["at once"] * 50
    assert len(row.carriers) == 50
    assert len(set(row.carriers)) == 1


@on_a_loop
async def test_a_body_that_fails_without_suspending_leaves_its_carrier_to_the_next():
    row = Row()
    came = await row.run(fails, never_suspends, fails, suspends)
    assert [getattr(each, "error_type", each) for each in came] == ["LookupError", "at once", "LookupError", "later"]
    assert len(set(row.carriers)) == 1


@on_a_loop
async def test_a_body_that_suspends_keeps_its_carrier_and_another_one_takes_over():
    row = Row()
    assert await row.run(suspends, suspends, never_suspends, suspends) == ["later", "later", "at once", "later"]
    first, second, *third = row.carriers
    assert len({first, second, *third}) == 3
    assert len(set(third)) == 1


async def cancels_itself_at_the_end() -> str:
    carrier().cancel()
    return "cancelled"


async def cancels_itself_twice_and_fails() -> None:
    carrier().cancel()
    carrier().cancel()
    raise LookupError


async def cancels_itself_and_takes_it_back() -> str:
    carrier().cancel()
    carrier().uncancel()
    return "taken back"


async def leaves_a_scope_that_it_has_cancelled() -> str:
    with anyio.CancelScope() as scope:  # noqa: ASYNC100 - nothing suspends, on purpose
        scope.cancel()
    return "left"


async def leaves_a_timeout_that_has_passed() -> str:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0):  # noqa: ASYNC100 - as above
            pass
    return "left in time"


@pytest.mark.parametrize(
    "one",
    [
        cancels_itself_at_the_end,
        cancels_itself_twice_and_fails,
        cancels_itself_and_takes_it_back,
        leaves_a_scope_that_it_has_cancelled,
        leaves_a_timeout_that_has_passed,
    ],
    ids=lambda one: one.__name__,
)
@pytest.mark.parametrize("next_one", [never_suspends, suspends], ids=lambda one: one.__name__)
@on_a_loop
async def test_a_cancellation_that_a_body_leaves_behind_reaches_none_of_the_next(one: Any, next_one: Any):
    row = Row()
    wanted = await next_one()
    came = await row.run(*[one, next_one] * 3, suspends)
    assert came[1::2] == [wanted] * 3
    assert came[-1] == "later"


@on_a_loop
async def test_a_cancel_of_a_run_whose_body_has_returned_reaches_none_of_the_next():
    row, ids = Row(), list[int]()

    async def returns() -> str:
        ids.append(current().id)
        return "returned"

    async def hears_of_the_cancel() -> str:
        row.test._at_work.session.worker._bodies.cancel(ids)  # before the store has heard of the other's end
        return await suspends()

    assert await row.run(returns, hears_of_the_cancel, never_suspends) == ["returned", "later", "at once"]
    assert row.carriers[0] is row.carriers[1]
