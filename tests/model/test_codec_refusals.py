"""What is wrong with a payload is said where it goes in: what, in which field, why, and what to do."""

import datetime as dt
import enum
import tracemalloc
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypedDict

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.errors import InvalidInput, PayloadTooLarge
from fanfold.model.codec import Signature, ValueCodec
from tests.model.values import Color, Line, Point

MANY = 4 << 20
NAN = float("nan")


class Mute:
    """Cannot even be shown."""

    def __repr__(self) -> str:
        raise RuntimeError


@dataclass
class Plain:
    name: str
    raw: bytes = b""
    inner: "list[Plain]" = field(default_factory=list)


@dataclass
class More(Plain):
    extra: int = 1


@dataclass
class Anything:
    value: Any


@dataclass(eq=False)
class Unequal:
    name: str


class Open(TypedDict):
    depth: int


class Tagged(msgspec.Struct, tag=True):
    x: int = 0


@attrs.define
class Part:
    tags: list[str]


class Order(pydantic.BaseModel):
    number: int
    ratio: float | None = None
    note: str = pydantic.Field(default="", exclude=True)
    secret: pydantic.SecretStr | None = None


class Hidden(pydantic.BaseModel):
    _at: int = pydantic.PrivateAttr(default=0)


class Angry(pydantic.BaseModel):
    number: int

    @pydantic.model_serializer
    def angry(self) -> int:
        raise KeyError("no")


@dataclass
class Touchy:
    number: int

    def __post_init__(self) -> None:
        if self.number > 1:
            raise KeyError("too many")


class Level(enum.IntEnum):
    LOW = 1


def cycle() -> list[Any]:
    value: list[Any] = [1]
    value.append({"again": value})
    return value


def touchy() -> Touchy:
    value = Touchy(1)
    value.number = 2
    return value


def hidden() -> Hidden:
    value = Hidden()
    value._at = 5
    return value


# annotation, value, what the message says after the name of the argument or result; {} is the path of the value
BAD: list[tuple[Any, Any, str]] = [
    # wrong types
    (int, "1", "Expected `int`, got `str`"),
    (int, 1.0, "Expected `int`, got `float`"),
    (int, True, "Expected `int`, got `bool`"),
    (int, None, "Expected `int`, got `null`"),
    (str, b"abc", r"b'abc' would come back as 'YWJj'.*; annotate the type"),
    (bytes, "YWJj", r"'YWJj' would come back as b'abc'"),
    (str, dt.date(2026, 1, 1), r"datetime.date\(2026, 1, 1\) would come back as '2026-01-01'"),
    (str, Color.RED, r"<Color.RED: 'red'> would come back as 'red'"),
    (str, Decimal(1), r"Decimal\('1'\) would come back as '1'"),
    (list[str], {"a"}, r"\{'a'\} would come back as \['a'\]"),
    (list[list[str]], [[], {"a"}], r"\{'a'\} would come back as \['a'\] - at `{}\[1\]`"),
    (dict[str, int], {1: 1}, r"1 would come back as '1' - at `{}\[1\], a key`"),
    (dict[str, int], {1: 1, "1": 2}, r"{}\[1\] would be lost"),
    (dict[str, int], Counter(a=1) | {2: 2}, r"2 would come back as '2' - at `{}\[2\], a key`"),
    (dict[int, list[Point]], {1: [Point(1), Point("x")]}, r"Expected `int`, got `str` - at `{}\[...\]\[1\]\[0\]`"),
    (float, 2**53 + 1, r"9007199254740993 would come back as 9007199254740992\.0"),
    (Plain, More("x"), r"More\(.* would come back as Plain\("),
    (Plain, Plain("x", inner=[Plain("y"), More("z")]), r"More\(.* - at `{}\.inner\[1\]`"),
    (Plain, Plain("x", raw="YWJj"), r"'YWJj' would come back as b'abc' - at `{}\.raw`"),
    (Plain, Unequal("x"), r"Unequal.* would come back as Plain"),
    (Plain, {"name": "x", "colour": 1}, r"{}\['colour'\] would be lost"),
    (Unequal, Plain("x"), r"Plain\(.* would come back as .*Unequal"),
    (Open, {"depth": 1, "width": 2}, r"{}\['width'\] would be lost"),
    (Tagged, {"type": "Tagged", "y": 1}, r"{}\['y'\] would be lost"),
    (Part, Part(["a", 1]), r"Expected `str`, got `int` - at `{}\.tags\[1\]`"),
    (Part, Part({"a"}), r"\{'a'\} would come back as \['a'\] - at `{}\.tags`"),
    (Order, {"number": "x"}, "Order: `number`: Input should be a valid integer"),
    (list[Order], [Order(number=1, note="kept")], r"'kept' would come back as '' - at `{}\[0\]\.note`"),
    (Order, Order(number=1, secret="x"), r"- at `{}\.secret`"),
    (Order, Order.model_construct(number="x"), "Order: `number`: Input should be a valid integer"),
    (Hidden, hidden(), r"private attributes"),
    (Angry, Angry(number=1), "'no'|KeyError"),
    (Touchy, touchy(), "KeyError: 'too many'"),
    # what JSON does not have
    (float, NAN, r"nan.*: JSON has neither NaN nor infinity: pass None or a text"),
    (float | None, NAN, r"nan would come back as None.*; JSON has neither NaN"),
    (list[float], [1.0, -float("inf")], r"-inf - at `{}\[1\]`: JSON has neither NaN nor infinity"),
    (dict[str, list[Point]], {"a": [Point(1, NAN)]}, r"nan - at `{}\['a'\]\[0\]\[1\]`: JSON has neither NaN"),
    (Order, Order(number=1, ratio=NAN), r"nan would come back as None - at `{}\.ratio`; JSON has neither NaN"),
    (Any, {"a": [1, NAN]}, r"nan would come back as None - at `{}\['a'\]\[1\]`; JSON has neither NaN"),
    (Any, cycle(), r"{}\[1\]\['again'\] contains itself; JSON is a tree: pass ids"),
    (Any, [len], r"- at `{}\[0\]`: .* cannot be stored; make it a dataclass"),
    (Any, [Mute()], r"<Mute instance at .*> - at `{}\[0\]`: .*Mute cannot be stored"),
    (Any, {"a": (n for n in ())}, r"- at `{}\['a'\]`: generator cannot be stored; make a list of it"),
    (Any, {(1, 2): 3}, r"the key \(1, 2\).*: keys of a dict are texts in JSON"),
    (Any, {"a": {None: 3}}, r"the key None - at `{}\['a'\]`: keys of a dict are texts in JSON"),
    (Any, ["fine", {"a": "\ud800"}], r"- at `{}\[1\]\['a'\]`: half of a surrogate pair cannot be stored; pass bytes"),
    (Any, {"a\udc80": 1}, r"the key 'a\\udc80'.*: half of a surrogate pair"),
    (list[str], ["x", "\udfff"], r"- at `{}\[1\]`: half of a surrogate pair"),
    (Plain, Plain("x", inner=[Plain("\ud800")]), r"- at `{}\.inner\[0\]\.name`: half of a surrogate pair"),
    (Any, [10**5000], r"- at `{}\[0\]`: Exceeds the limit \(4300"),
    # what would come back different where no type says what it was
    (Any, [(1, 2)], r"\(1, 2\) would come back as \[1, 2\] - at `{}\[0\]`; annotate the type, so that it is tuple"),
    (Any, {"a": {1: 2}}, r"1 would come back as '1' - at `{}\['a'\]\[1\], a key`"),
    (Any, Level.LOW, r"<Level.LOW: 1> would come back as 1"),
    (Any, {"a": {1, 2}}, r"\{1, 2\} would come back as \[1, 2\] - at `{}\['a'\]`"),
    (Any, Counter("a"), r"Counter\(\{'a': 1\}\) would come back as \{'a': 1\}"),
    (Any, Order(number=1), r"Order\(.* would come back as \{"),
    (Anything, Anything([Level.LOW]), r"<Level.LOW: 1> would come back as 1 - at `{}\.value\[0\]`"),
    (dict[str, Any], {"a": Plain("x")}, r"Plain\(.* would come back as \{.* - at `{}\['a'\]`"),
]  # fmt: skip


@pytest.mark.parametrize(("annotation", "value", "message"), BAD, ids=range(len(BAD)))
def test_a_bad_value_is_refused_with_its_path_and_what_to_do(annotation: Any, value: Any, message: str):
    with pytest.raises(InvalidInput, match=r"^the result of f: .*" + message.replace("{}", r"\$")) as raised:
        ValueCodec(annotation, "the result of f", MANY).encode(value)
    assert len(str(raised.value)) < 2000
    assert str(raised.value).encode()

    def function(fine: int, odd: annotation): ...

    with pytest.raises(InvalidInput, match=r"^f: argument `odd`: .*" + message.replace("{}", r"\$\.odd")):
        Signature(function, "f", MANY).encode((1, value), {})

    def gather(*odd: annotation, **others: annotation): ...

    with pytest.raises(InvalidInput, match=r"^f: argument `odd`: "):
        Signature(gather, "f", MANY).encode((value,), {})
    with pytest.raises(InvalidInput, match=r"^f: argument `others`: "):
        Signature(gather, "f", MANY).encode((), {"one": value})


def typed(count: int, when: dt.datetime | None = None, *, ratio: float = 0.5): ...


@pytest.mark.parametrize(
    ("arguments", "keywords", "message"),
    [
        ((), {}, r"missing a required argument: 'count'"),
        ((1, None, 3), {}, "too many positional arguments"),
        ((1,), {"other": 2}, "unexpected keyword argument 'other'"),
        ((1,), {"count": 2}, "multiple values for argument 'count'"),
    ],
)
def test_arguments_that_do_not_bind_are_refused_by_name(arguments: Any, keywords: Any, message: str):
    with pytest.raises(InvalidInput, match=rf"^f\(count: int.*{message}"):
        Signature(typed, "f", MANY).encode(arguments, keywords)


def test_a_signature_that_cannot_be_shown_is_no_reason_to_say_nothing():
    def function(first, last=Color.RED): ...

    function.__annotations__ = {"last": Color}
    signature = Signature(function, "f", MANY)
    signature._signature = Mute()  # stands for a default whose repr raises
    with pytest.raises(InvalidInput, match=r"f\(\.\.\.\): Missing required argument 'first'"):
        signature.encode((), {})


def plain(value): ...
def nested(value: Plain): ...
def text(value: str): ...


@pytest.mark.parametrize("size", [MANY, MANY + 1])
@pytest.mark.parametrize("annotation", [str, Any, list[str]])
def test_a_result_of_4_mib_is_stored_and_one_byte_more_is_refused_with_both_numbers(annotation: Any, size: int):
    codec = ValueCodec(annotation, "the result of f", MANY)
    value: Any = "x" * (size - 2) if annotation != list[str] else ["x" * (size - 4)]
    if size == MANY:
        assert codec.encode(value)[1] == value
    else:
        message = r"^the result of f takes 4,194,305 bytes, the limit is 4,194,304 .*Pass a path, a key or a range"
        with pytest.raises(PayloadTooLarge, match=message):
            codec.encode(value)


@pytest.mark.parametrize("size", [MANY, MANY + 1])
@pytest.mark.parametrize("function", [text, plain])
def test_an_input_of_4_mib_is_stored_and_one_byte_more_is_refused_with_both_numbers(function: Any, size: int):
    signature = Signature(function, "f", MANY)
    value = "x" * (size - len('{"value":""}'))
    if size == MANY:
        assert len(signature.encode((value,), {})[0]) == MANY
    else:
        message = r"^the input of f takes 4,194,305 bytes, the limit is 4,194,304 .*Pass a path, a key or a range"
        with pytest.raises(PayloadTooLarge, match=message):
            signature.encode((value,), {})


def lists(depth: int) -> Any:
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


def dicts(depth: int) -> Any:
    value: Any = {}
    for _ in range(depth - 1):
        value = {"a]": value}
    return value


def mixed(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = [1, value, '"\\'] if level % 2 else {'"[': value, "b": [] if level else 0}
    return value


def records(depth: int) -> Plain:
    """Nest records: each takes two levels, its own and the list in it; the innermost has an empty one."""
    value = Plain("x")
    for _ in range(depth // 2 - 1):
        value = Plain("]", inner=[value])
    return value


@pytest.mark.parametrize("make", [lists, dicts, mixed, records])
def test_128_levels_are_stored_and_129_are_refused(make: Any):
    annotation: Any = Plain if make is records else Any
    signature = Signature(nested if make is records else plain, "f", MANY)
    codec = ValueCodec(annotation, "the result of f", MANY)
    deepest, too_deep = make(128), make(130 if make is records else 129)
    assert codec.encode(deepest)[1] == deepest
    assert signature.encode((deepest,), {})
    with pytest.raises(InvalidInput, match=r"^the result of f is nested more than 128 deep; flatten it"):
        codec.encode(too_deep)
    with pytest.raises(InvalidInput, match=r"^the input of f is nested more than 128 deep; flatten it"):
        signature.encode((too_deep,), {})


@pytest.mark.parametrize("make", [lists, dicts])
def test_a_value_that_is_far_too_deep_says_so(make: Any):
    with pytest.raises(InvalidInput, match="nested more than 128 deep"):
        ValueCodec(Any, "the result of f", MANY).encode(make(20_000))


def test_brackets_in_texts_are_no_levels():
    value = ["[" * 500, '"{[' * 100, "\\" * 5 + "[" * 200]
    assert ValueCodec(Any, "f", MANY).encode(value)[1] == value


@given(st.text(st.characters(categories=["Cc", "Zs", "Zl"], include_characters='\0"\\[]{}'), max_size=400))
def test_nul_and_all_that_has_to_be_escaped_comes_back(value: str):
    assert ValueCodec(Any, "f", MANY).encode([value, {value: 1}])[1] == [value, {value: 1}]
    assert "\0" not in ValueCodec(str, "f", MANY).encode(value)[0]


def test_a_refusal_of_megabytes_is_a_short_one():
    value = ["x" * (1 << 20), {"y" * (1 << 20): (1, 2)}]
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput) as raised:
            ValueCodec(Any, "f", MANY).encode(value)
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()
    assert len(str(raised.value)) < 2000


def test_lines_are_compared_field_by_field():
    line = Line(Point(1), Point(2), {"a"})
    assert ValueCodec(Line, "f", MANY).encode(line)[1] == line
