"""What a call inside a workflow returns, and what asyncio's own functions make of handles."""

import asyncio
from datetime import timedelta
from random import Random
from typing import assert_type
from uuid import UUID

from fanfold import App, Handle, TaskCancelled, TaskFailed, current, sleep

app = App()


@app.task
async def square(n: int) -> int:
    return n * n


@app.task
def label(n: int, prefix: str = "") -> str:
    return f"{prefix}{n}"


@app.workflow
async def child(day: timedelta) -> list[str]:
    return [str(day)]


@app.workflow
async def awaited() -> None:
    assert_type(square(3), Handle[int])
    assert_type(await square(n=3), int)
    assert_type(await label(3, prefix="no. "), str)
    assert_type(await child(timedelta(1)), list[str])
    assert_type(square(3).id, int)
    assert_type(square(3).cancel(), bool)


@app.workflow
async def gathered() -> None:
    assert_type(await asyncio.gather(*(square(i) for i in range(9))), list[int])
    assert_type(await asyncio.gather(*[label(i) for i in range(9)]), list[str])
    assert_type(await asyncio.gather(square(1), label(2), child(timedelta(1))), tuple[int, str, list[str]])
    assert_type(
        await asyncio.gather(square(1), label(2), return_exceptions=True),
        tuple[int | BaseException, str | BaseException],
    )


@app.workflow
async def waited() -> None:
    handles = {square(i) for i in range(3)}
    done, left = await asyncio.wait(handles, return_when=asyncio.FIRST_COMPLETED)
    assert_type(done, set[Handle[int]])
    assert_type(left, set[Handle[int]])
    for earliest in asyncio.as_completed([label(1), label(2)]):
        assert_type(await earliest, str)
    assert_type(await asyncio.wait_for(square(1), timeout=5), int)
    assert_type(await asyncio.shield(label(1)), str)
    async with asyncio.timeout(5):
        assert_type(await square(1), int)
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(answer())
    assert_type(asking.result(), str)


async def answer() -> str:
    try:
        return await label(42)
    except TaskCancelled:
        return "cancelled"
    except TaskFailed as error:
        assert_type(error.run_id, int)
        return error.error_type if error.caused_by(ValueError) else error.message


@app.workflow
async def configured() -> None:
    assert_type(square.options(key="k")(3), Handle[int])
    assert_type(await label.options(delay=timedelta(hours=1), tags={"of": "day"})(1, prefix="a"), str)
    assert_type(await child.options(queue="slow", priority=2, delay=1.5)(timedelta(1)), list[str])


@app.workflow
async def in_time() -> None:
    assert_type(sleep(3), Handle[None])
    assert_type(await sleep(timedelta(days=30)), None)
    await asyncio.gather(sleep(1), square(2))
    assert_type(current().now(), float)
    assert_type(current().random(), Random)
    assert_type(current().uuid(), UUID)
    assert_type(current().idempotency_key, str)
    assert_type(current().parent_id, int | None)
    assert_type(current().tags, dict[str, str])
