"""Calls inside a workflow that must not pass: wrong, missing, misnamed arguments; wrong uses of what comes back."""

import asyncio

from fanfold import App, current, sleep

app = App()


@app.task
async def square(n: int) -> int:
    return n * n


@app.task
def label(n: int, prefix: str = "") -> str:
    return f"{prefix}{n}"


@app.task
def longest(words: list[str], limits: dict[str, int]) -> str:
    return max(words)[: len(limits)]


@app.workflow
async def arguments() -> None:
    await square("3")  # error: reportArgumentType
    await square()  # error: reportCallIssue
    await square(3, 4)  # error: reportCallIssue
    await square(m=3)  # error: reportCallIssue
    await label(3, prefix=4)  # error: reportArgumentType
    await label(3, suffix="a")  # error: reportCallIssue
    await longest([1, 2], {})  # error: reportArgumentType
    await longest(["a"], {"a": "b"})  # error: reportArgumentType
    await longest("ab", {})  # error: reportArgumentType
    await asyncio.gather(*(square(str(i)) for i in range(9)))  # error: reportArgumentType


@app.workflow
async def options() -> None:
    await square.options(key=3)(3)  # error: reportArgumentType
    await square.options(retries=3)(3)  # error: reportCallIssue
    await square.options("k")(3)  # error: reportCallIssue
    await square.options(key="k")("3")  # error: reportArgumentType
    await square.options(tags={"n": 1})(3)  # error: reportArgumentType
    await square.options(delay="1 h")(3)  # error: reportArgumentType


@app.workflow
async def results() -> None:
    text: str = await square(3)  # error: reportAssignmentType
    texts: list[str] = await asyncio.gather(*(square(i) for i in range(3)))  # error: reportAssignmentType
    pair: tuple[str, int] = await asyncio.gather(square(1), label(2))  # error: reportAssignmentType
    print(text, texts, pair)
    three: int = square(3)  # error: reportAssignmentType
    len(await square(three))  # error: reportArgumentType
    sorted(await square(3) for _ in range(3))  # error: reportArgumentType
    number: int = await asyncio.wait_for(label(1), timeout=1)  # error: reportAssignmentType
    for earliest in asyncio.as_completed([label(1)]):
        number = await earliest  # error: reportAssignmentType
    print(number, await sleep("1 h"))  # error: reportArgumentType
    await current()  # error: reportGeneralTypeIssues
    async with asyncio.TaskGroup() as group:
        group.create_task(square(3))  # error: reportArgumentType


async def plain_functions() -> None:
    text: str = await square.fn(3)  # error: reportAssignmentType
    await label.fn(3)  # error: reportGeneralTypeIssues
    square.fn(3)  # error: reportUnusedCoroutine
    print(label.fn("3"), text)  # error: reportArgumentType
