"""What groups are typed as: awaited, iterated over, folded, with each policy."""

from collections.abc import AsyncIterator
from typing import Any, assert_type

from fanfold import App, Group, Handle, Outcome, open_group, reducers

app = App()


@app.task
async def square(n: int) -> int:
    return n * n


@app.task
def label(n: int, prefix: str = "") -> str:
    return f"{prefix}{n}"


def add(total: int, value: int) -> int:
    return total + value


def mean(total: tuple[int, float], value: int) -> tuple[int, float]:
    return total[0] + 1, total[1] + value


@app.workflow
async def mapped() -> None:
    assert_type(square.map(range(3)), Group[list[int], int])
    assert_type(await square.map([1, 2], concurrency=2, key=str), list[int])
    assert_type(await label.starmap([(1, "a"), (2,)]), list[str])
    assert_type(await square.options(queue="slow").map(iter([1])), list[int])
    assert_type(await square.map([1], failures="collect", max_failures="1%"), list[Outcome[int]])
    assert_type(square.map([1]).cancel(), bool)


@app.workflow
async def iterated() -> None:
    assert_type(aiter(square.map([1])), AsyncIterator[Outcome[int]])
    async for outcome in label.map([1], failures="collect", max_failures=3):
        assert_type(outcome, Outcome[str])
        assert_type(outcome.value, str | None)
        assert_type(outcome.index, int | None)
        assert_type(outcome.key, str | None)


@app.workflow
async def folded() -> None:
    group = square.map(range(3), keep_results=False)
    assert_type(group.fold(add, 0), Handle[int])
    assert_type(await group.fold(mean, (0, 0.0)), tuple[int, float])
    assert_type(await group.fold(reducers.count(), 0), int)
    assert_type(str(group.summary), str)
    assert_type(group.summary.failed, int)


@app.workflow
async def opened() -> None:
    async with open_group(concurrency=3) as group:
        group.spawn(square, 1)
        group.spawn(square.options(key="a"), n=1)
        group.spawn(label, 1, prefix="no. ")
        assert_type(await group, list[Any])
    collected = open_group(failures="collect", max_failures=1, keep_results=False)
    assert_type(await collected, list[Outcome[Any]])
