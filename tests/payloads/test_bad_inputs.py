"""A bad argument is an error at the call, by field; a hundred good calls beside it are not harmed."""

import asyncio
import re
from dataclasses import dataclass
from typing import Any

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


class Order(pydantic.BaseModel):
    number: int
    ratio: float | None = None


def cycle() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


class Strange:
    def __repr__(self) -> str:
        raise RuntimeError


def typed(count: int, *points: Point, order: Order | None = None, name: str = "x", **ratios: float) -> int:
    return count


def keyed(cells: dict[str, dict[int, list[Point]]], more: tuple[int, dict[str, int]] = (0, {})) -> int:
    return len(cells)


def untyped(value, other=None):
    return value


# function, arguments, keywords, class of the error, what it says
BAD: list[tuple[Any, tuple[Any, ...], dict[str, Any], str, str]] = [
    (typed, ("1",), {}, "InvalidInput", r"argument `count`: Expected `int`, got `str` - at `\$\.count`"),
    (typed, (1, Point("x")), {}, "InvalidInput", r"argument `points`: .* - at `\$\.points\[0\]\.x`"),
    (typed, (1,), {"order": {"number": "x"}}, "InvalidInput", r"argument `order`: Order: `number`: .* valid integer"),
    (typed, (1,), {"name": b"x"}, "InvalidInput", r"argument `name`: b'x' would come back as 'eA=='"),
    (typed, (1,), {"a": 1.0, "b c": "x", "d": "y"}, "InvalidInput",
     r"argument `ratios`: Expected `float`, got `str` - at `\$\.ratios\['b c'\]`"),
    (keyed, ({"a": {1: []}, "b": {2: [Point(1)], 3: [Point(1), Point("x")]}},), {}, "InvalidInput",
     r"argument `cells`: Expected `int`, got `str` - at `\$\.cells\['b'\]\['3'\]\[1\]\.x`"),
    (keyed, ({"a": {1: []}, "b": {"two": []}},), {}, "InvalidInput",
     r"argument `cells`: Expected `int`, got `str` - at the key 'two' of `\$\.cells\['b'\]`"),
    (keyed, ({}, (1, {str(n): n for n in range(9_999)} | {"last": None})), {}, "InvalidInput",
     r"argument `more`: Expected `int`, got `null` - at `\$\.more\[1\]\['last'\]`"),
    (typed, (), {}, "InvalidInput", r"missing a required argument: 'count'"),
    (typed, (1,), {"count": 2}, "InvalidInput", r"multiple values for argument 'count'"),
    (untyped, (), {}, "InvalidInput", r"Missing required argument 'value'"),
    (untyped, (1,), {"more": 2}, "InvalidInput", r"Unexpected keyword argument 'more'"),
    (untyped, (1, 2, 3), {}, "InvalidInput", r"Extra positional arguments"),
    (typed, (1,), {"a": NAN}, "InvalidInput", r"argument `ratios`: nan .*JSON has neither NaN"),
    (typed, (1, Point(1, float("inf"))), {}, "InvalidInput", r"inf - at `\$\.points\[0\]\.y`: JSON has neither"),
    (typed, (1,), {"order": Order(number=1, ratio=NAN)}, "InvalidInput", r"at `\$\.order\.ratio`; JSON has neither"),
    (untyped, ({"a": [1, NAN]},), {}, "InvalidInput", r"nan .* - at `\$\.value\['a'\]\[1\]`"),
    (untyped, (cycle(),), {}, "InvalidInput", r"\$\.value\[0\] contains itself"),
    (untyped, (nested(129),), {}, "InvalidInput", r"^the input of untyped is nested .* deep; .* - at `\$\.value\[0\]"),
    (untyped, (0, {"b": [1, nested(127)], "a": 1}), {}, "InvalidInput", r"deep; .* - at `\$\.other\['b'\]\[1\]\["),
    (untyped, (nested(30_000),), {}, "InvalidInput", r"nested more than 128 deep"),
    (untyped, ([1, Strange()],), {}, "InvalidInput", r"- at `\$\.value\[1\]`: Strange cannot be stored"),
    (untyped, (["\ud800"],), {}, "InvalidInput", r"'\\ud800' - at `\$\.value\[0\]`: half of a surrogate pair"),
    (untyped, ({"\udfff": 1},), {}, "InvalidInput", r"the key '\\udfff'.*: half of a surrogate pair"),
    (typed, (1,), {"\udfff": 1.0}, "InvalidInput", r"argument `ratios`: the key '\\udfff'"),
    (untyped, ((1, 2),), {}, "InvalidInput", r"\(1, 2\) would come back as \[1, 2\]"),
    (untyped, ({1: 2},), {}, "InvalidInput", r"1 would come back as '1'"),
    (untyped, (10**5000,), {}, "InvalidInput", r"Exceeds the limit \(4300"),
    (untyped, ("x" * (MANY + 1 - len('{"value":"","other":null}')),), {}, "PayloadTooLarge",
     r"the input of untyped takes 4,194,305 bytes, the limit is 4,194,304 .*Pass a path, a key or a range"),
]  # fmt: skip


@pytest.mark.parametrize(("function", "arguments", "keywords", "kind", "message"), BAD, ids=range(len(BAD)))
@pytest.mark.parametrize("crash_at", [(), (2,)], ids=["live", "replayed"])
def test_a_bad_argument_is_an_error_at_the_call_and_harms_nobody_else(
    function: Any, arguments: Any, keywords: Any, kind: str, message: str, crash_at: tuple[int, ...]
):
    def make(app: App) -> Any:
        task = app.task(function)
        return lambda: task(*arguments, **keywords)

    came = asyncio.run(run_with(make, crash_at=crash_at))
    assert came[0] == kind
    assert re.search(f"^{function.__name__}|^the input of", came[1])
    assert re.search(message, came[1])


FINE: list[tuple[str, Any]] = [
    ("nul", "a\0b"),
    ("a nul in a key", {"a\0": ["\0"]}),
    ("what SQL and JSON escape", ["'", '"', "\\", "\u2028", "\x1f", "%s", ":now", "$1", "{each:x}", "\U0001f600"]),
    ("beyond 64 bits", [2**63, 2**64, -(2**70), 10**100]),
    ("the ends of 64 bits", [2**63 - 1, -(2**63), 2**64 - 1]),
    ("floats", [0.1, 1e308, 5e-324, -0.0, 1.0]),
    ("128 levels", nested(128)),
    ("nothing", ["", [], {}, None, False, 0]),
    ("a text that looks like JSON", '{"a": [1, null]}'),
    ("4 MiB of input", "x" * (MANY - len('{"value":"","other":null}'))),
]


@pytest.mark.parametrize("value", [value for _, value in FINE], ids=[name for name, _ in FINE])
@pytest.mark.parametrize("crash_at", [(), (2,)], ids=["live", "replayed"])
def test_a_good_but_odd_value_comes_back_from_the_store_as_it_was(value: Any, crash_at: tuple[int, ...]):
    taken: list[Any] = []

    def make(app: App) -> Any:
        @app.task
        async def echo(value, other=None):
            taken.append(value)
            return value

        async def compare() -> bool:
            return repr(await handle) == repr(value)

        def call() -> Any:
            nonlocal handle
            handle = echo(value)
            return compare()

        handle: Any = None
        return call

    assert asyncio.run(run_with(make, crash_at=crash_at)) == ("value", "True")
    assert repr(taken[0]) == repr(value)
