"""A result that cannot be stored fails its own run, by field; a hundred good results beside it are not harmed."""

import asyncio
import datetime as dt
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import attrs
import pydantic
import pytest

from fanfold import App
from tests.payloads.batch import run_with

MANY = 4 << 20
NAN = float("nan")


@dataclass
class Point:
    x: int
    y: float = 0.0


@dataclass
class Place(Point):
    name: str = "here"


@attrs.define
class Part:
    names: list[str]


class Order(pydantic.BaseModel):
    number: int
    note: str = pydantic.Field(default="", exclude=True)


class Mute:
    def __repr__(self) -> str:
        raise RuntimeError


def cycle() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["again"] = value
    return value


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


async def coroutine() -> None: ...


# annotation of the result, the result, class of the error, what it says
BAD: list[tuple[Any, Any, str, str]] = [
    (int, "1", "InvalidInput", "Expected `int`, got `str`"),
    (list[Point], [Point(1), Point("x")], "InvalidInput", r"Expected `int`, got `str` - at `\$\[1\]\.x`"),
    (str, b"x", "InvalidInput", "b'x' would come back as 'eA=='"),
    (str, dt.date(2026, 1, 1), "InvalidInput", "would come back as '2026-01-01'"),
    (Point, Place(1), "InvalidInput", r"Place\(.*\) would come back as Point\("),
    (Point, None, "InvalidInput", "Expected `object`, got `null`"),
    (None, 1, "InvalidInput", "Expected `null`, got `int`"),
    (Part, Part({"a"}), "InvalidInput", r"at `\$\.names`"),
    (list[Order], [Order(number=1, note="x")], "InvalidInput", r"'x' would come back as '' - at `\$\[0\]\.note`"),
    (Any, Order(number=1), "InvalidInput", r"would come back as \{'number': 1\}"),
    (Any, Counter("a"), "InvalidInput", "would come back as"),
    (Any, {"a": (1, 2)}, "InvalidInput", r"\(1, 2\) would come back as \[1, 2\] - at `\$\['a'\]`"),
    (Any, [{1: 2}], "InvalidInput", r"1 would come back as '1'"),
    (float, NAN, "InvalidInput", "JSON has neither NaN nor infinity"),
    (dict[str, list[float]], {"a": [float("inf")]}, "InvalidInput", r"inf - at `\$\['a'\]\[0\]`"),
    (Any, [NAN], "InvalidInput", r"nan would come back as None - at `\$\[0\]`"),
    (Any, cycle(), "InvalidInput", r"\$\['again'\] contains itself"),
    (Any, nested(129), "InvalidInput", r"nested more than 128 deep; .* - at `\$\[0\]\[0\]"),
    (dict[str, int], {"a": 1, "b": "x"}, "InvalidInput", r"Expected `int`, got `str` - at `\$\['b'\]`"),
    (Any, nested(30_000), "InvalidInput", "nested more than 128 deep"),
    (Any, [Mute()], "InvalidInput", r"at `\$\[0\]`: Mute cannot be stored"),
    (Any, {"a": open}, "InvalidInput", r"at `\$\['a'\]`: builtin_function_or_method cannot be stored"),
    (Any, (n for n in range(3)), "InvalidInput", "make a list of it"),
    (Any, coroutine, "InvalidInput", "function cannot be stored"),
    (Any, "\ud800", "InvalidInput", "half of a surrogate pair"),
    (str, "x" * (MANY - 1), "PayloadTooLarge", "takes 4,194,305 bytes, the limit is 4,194,304 .*Pass a path"),
]


@pytest.mark.parametrize(("annotation", "result", "kind", "message"), BAD, ids=range(len(BAD)))
@pytest.mark.parametrize("is_async", [True, False], ids=["async", "sync"])
def test_a_bad_result_fails_its_own_run_and_no_other(
    annotation: Any, result: Any, kind: str, message: str, is_async: bool  # noqa: FBT001 - a parameter
):  # fmt: skip
    def make(app: App) -> Any:
        async def lie() -> annotation:
            return result

        def lie_in_sync() -> annotation:
            return result

        return app.task(name="lie")(lie if is_async else lie_in_sync)

    came = asyncio.run(run_with(make))
    assert came[0] == "TaskFailed"
    assert re.search(rf"^lie \(run \d+\) failed: {kind}: the result of lie.*{message}", came[1])


def test_a_result_of_exactly_4_mib_is_stored():
    def make(app: App) -> Any:
        @app.task
        async def much() -> str:
            return "x" * (MANY - 2)

        async def measure() -> int:
            return len(await handle)

        def call() -> Any:
            nonlocal handle
            handle = much()
            return measure()

        handle: Any = None
        return call

    assert asyncio.run(run_with(make)) == ("value", str(MANY - 2))


@dataclass
class Report:
    by_day: dict[dt.date, frozenset[str]]
    parts: list[Part]
    order: Order | None = None


def test_a_typed_result_is_of_its_type_live_and_replayed():
    report = Report({dt.date(2026, 1, 1): frozenset("ab")}, [Part(["x"])], Order(number=3))
    seen: list[Any] = []

    def make(app: App) -> Any:
        @app.task
        async def give(report: Report) -> Report:
            return report

        async def see() -> bool:
            seen.append(await handle)
            return True

        def call() -> Any:
            nonlocal handle
            handle = give(report)
            return see()

        handle: Any = None
        return call

    for crash_at in ((), (2, 3)):
        assert asyncio.run(run_with(make, crash_at=crash_at))[0] == "value"
    assert seen
    assert all(one == report and one is not report for one in seen)
    assert all(type(one.order) is Order and type(one.parts[0]) is Part for one in seen)
