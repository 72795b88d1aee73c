"""A caller gets decode(encode(x)), and that is x; what would come back different is refused, by name."""

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fanfold.errors import InvalidInput, PayloadTooLarge
from fanfold.model.codec import Signature, ValueCodec, same
from tests.model.values import PLAIN, VALUES, Color, Level, Line, Point

MANY = 1 << 22
MOMENT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
FEW = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])  # of each of many types


@pytest.mark.parametrize(
    ("annotation", "values"), VALUES, ids=lambda value: getattr(value, "__name__", str(value)[:40])
)
def test_a_value_comes_back_as_it_was(annotation: Any, values: st.SearchStrategy[Any]):
    codec = ValueCodec(annotation, "the result of f", MANY)

    @FEW
    @given(values)
    def comes_back(value: Any) -> None:
        text, told = codec.encode(value)
        assert same(told, value)
        assert same(codec.decode(text), value)
        # What came back goes in again: a result may be another task's input.
        assert same(codec.encode(told)[1], value)

    comes_back()


@pytest.mark.parametrize(
    ("annotation", "values"), VALUES, ids=lambda value: getattr(value, "__name__", str(value)[:40])
)
def test_an_argument_comes_back_as_it_was(annotation: Any, values: st.SearchStrategy[Any]):
    def function(first, second=None, /, *rest, flag=None, **named): ...

    function.__annotations__ = dict.fromkeys(("first", "rest", "named"), annotation)
    signature = Signature(function, "f", MANY)

    @FEW
    @given(values, values, values)
    def comes_back(one: Any, two: Any, three: Any) -> None:
        text, _ = signature.encode((one, 1, two), {"flag": [1], "other": three})
        arguments, keywords = signature.decode(text)
        assert same(arguments, (one, 1, two))
        assert same(keywords, {"flag": [1], "other": three})

    comes_back()


def plain(value): ...


def typed(count: int, when: dt.datetime | None = None, *, ratio: float = 0.5, points: tuple[Point, ...] = ()): ...


class Strange:
    """What no codec knows."""


def cycle() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@dataclass
class Loose:
    anything: Any


@pytest.mark.parametrize(
    "value",
    [
        float("nan"), float("inf"), -float("inf"), [1, [float("nan")]], {"a": float("inf")}, {1: 2}, {"a": {2.5: 1}},
        "\ud800", ["a\udfff"], {"\ud800": 1}, Strange(), [Strange()], 1j, (1, 2), {1, 2}, b"x", Decimal(1), Color.RED,
        Level.LOW, MOMENT, dt.timedelta(1), Point(1, 2), Line(Point(1), Point(2)), Loose((1,)),
        object, len, range(3), cycle(),
    ],
    ids=lambda value: f"{type(value).__name__}-{id(value) % 97}",
)  # fmt: skip
def test_what_would_come_back_different_is_refused_with_the_name_of_the_field(value: Any):
    with pytest.raises(InvalidInput, match=r"^f: argument `value`: "):
        Signature(plain, "f", MANY).encode((value,), {})
    with pytest.raises(InvalidInput, match=r"^the result of f: "):
        ValueCodec(Any, "the result of f", MANY).encode(value)


@pytest.mark.parametrize(
    ("arguments", "keywords", "field"),
    [
        (("1",), {}, r"\$\.count"),
        ((1.5,), {}, r"\$\.count"),
        ((True,), {}, r"\$\.count"),
        ((None,), {}, r"\$\.count"),
        ((1, "yesterday"), {}, r"\$\.when"),
        ((1,), {"ratio": float("nan")}, r"\$\.ratio"),
        ((1,), {"ratio": "0.5"}, r"\$\.ratio"),
        ((1,), {"points": [(1, 2), ("x", 2)]}, r"\$\.points\[1\]\[0\]"),
        ((1,), {"points": [Strange()]}, "argument `points`"),
        ((1,), {"ratio": Strange()}, "argument `ratio`"),
        (("\ud800",), {}, "argument `count`"),
    ],
)
def test_what_does_not_fit_the_annotation_is_refused_with_its_path(arguments, keywords, field: str):
    with pytest.raises(InvalidInput, match=field):
        Signature(typed, "f", MANY).encode(arguments, keywords)


@pytest.mark.parametrize(
    ("arguments", "keywords"), [((), {}), ((1, None, 3), {}), ((1,), {"other": 2}), ((1,), {"count": 2})]
)
def test_arguments_that_do_not_bind_are_refused_with_the_signature(arguments, keywords):
    with pytest.raises(InvalidInput, match=r"f\(count: int"):
        Signature(typed, "f", MANY).encode(arguments, keywords)


def test_a_bad_argument_is_also_a_type_error():
    with pytest.raises(TypeError):
        Signature(typed, "f", MANY).encode((), {})


@pytest.mark.parametrize("offset", [dt.timedelta(seconds=19 * 60 + 32), dt.timedelta(hours=2, seconds=1)])
def test_a_moment_whose_offset_the_text_cannot_hold_is_refused(offset: dt.timedelta):
    value = dt.datetime(1930, 1, 1, tzinfo=dt.timezone(offset))
    with pytest.raises(InvalidInput, match="would come back as"):
        ValueCodec(dt.datetime, "f", MANY).encode(value)
    with pytest.raises(InvalidInput, match="`when`"):
        Signature(at, "f", MANY).encode((value,), {})


def at(when: dt.datetime) -> None:
    """Take a moment."""


@pytest.mark.parametrize("depth", [100, 1_000, 20_000])
def test_a_value_that_is_nested_too_deep_is_refused_and_not_a_crash(depth: int):
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    try:
        ValueCodec(Any, "f", MANY).encode(value)
        Signature(plain, "f", MANY).encode((value,), {})
    except InvalidInput:
        assert depth > 100


def test_a_text_of_another_type_is_refused_when_it_is_read():
    codec = ValueCodec(int, "the result of f", MANY)
    for text in ('"1"', "", "[1", "nonsense", "null", "[" * 100_000):
        with pytest.raises(InvalidInput, match="the result of f"):
            codec.decode(text)
    with pytest.raises(InvalidInput, match=r"^f: "):
        Signature(typed, "f", MANY).decode('{"count":"one"}')


@pytest.mark.parametrize("size", [1000, 1001])
def test_the_size_limit_holds_to_the_byte_and_says_its_number(size: int):
    value = "é" * ((size - 2) // 2) + "x" * (size % 2)
    codec = ValueCodec(str, "the result of f", 1000)
    if size == 1000:
        assert codec.encode(value)[1] == value
    else:
        with pytest.raises(PayloadTooLarge, match=r"the result of f takes 1,001 bytes, the limit is 1,000"):
            codec.encode(value)


def test_the_size_of_an_input_is_that_of_all_arguments():
    signature = Signature(plain, "f", 100)
    assert signature.encode(("x" * (100 - len('{"value":""}')),), {})
    with pytest.raises(PayloadTooLarge, match="the input of f takes 101 bytes"):
        signature.encode(("x" * (101 - len('{"value":""}')),), {})


def test_a_default_that_is_changed_by_its_caller_is_as_good_as_new_the_next_time():
    default = {"list": [1]}

    def function(value: dict[str, list[int]] = default): ...

    signature = Signature(function, "f", MANY)
    text, _ = signature.encode((), {})
    ((first,), _) = signature.decode("{}")
    first["list"].append(2)
    assert signature.decode("{}") == signature.decode(text) == (({"list": [1]},), {})


@given(PLAIN, PLAIN)
def test_values_are_the_same_only_with_equal_types_all_the_way_down(left: Any, right: Any):
    assert same(left, left)
    assert (
        same(left, right) == (repr(left) == repr(right)) or {str(left), str(right)} & {"0.0", "-0.0"} or left == right
    )


@pytest.mark.parametrize(("left", "right"), [(1, 1.0), (1, True), ([1], (1,)), ({"a": 1}, {"a": True}), ("1", 1)])
def test_equal_values_of_unequal_types_are_not_the_same(left: Any, right: Any):
    assert not same(left, right)
