"""Every type that the documentation names comes back as it was."""

import collections.abc
import dataclasses
import datetime as dt
import enum
import typing
import uuid
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, TypedDict, TypeVar

import attrs
import msgspec
import pydantic
import pydantic.dataclasses
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fanfold.errors import InvalidInput
from fanfold.model.codec import Signature, ValueCodec, same
from tests.model.values import FLOATS, INTS, MOMENTS, POINTS, SHAPES, TEXT, Color, Level, Point, Shape

MANY = 1 << 22
FEW = settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])  # of each of many types
T = TypeVar("T")


class Flag(enum.IntFlag):
    READ = 1
    WRITE = 2


class Mode(enum.StrEnum):
    FAST = enum.auto()
    SAFE = enum.auto()


class Rank(enum.Enum):
    FIRST = 1
    SECOND = 2


@attrs.frozen
class Part:
    name: str
    tags: frozenset[str] = frozenset()
    when: dt.datetime | None = None


@attrs.define(slots=False)
class Car:
    parts: list[Part] = attrs.field(factory=list)
    spare: Part | None = None


class Circle(msgspec.Struct, tag="circle", frozen=True):
    radius: float


class Square(msgspec.Struct, tag="square", frozen=True, rename="camel"):
    side_length: int = 1


class Drawing(msgspec.Struct):
    figures: list[Circle | Square]


class Item(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True)
    id: uuid.UUID
    price: Decimal
    at: dt.datetime | None = None


class Order(pydantic.BaseModel):
    items: list[Item]
    tags: set[str] = set()
    mode: Mode = Mode.FAST
    number: int = pydantic.Field(default=0, alias="orderNumber", ge=0)


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)
    day: dt.date
    raw: bytes = b""


class Page(pydantic.BaseModel, Generic[T]):
    rows: list[T]


class Names(pydantic.RootModel[list[str]]):
    pass


@pydantic.dataclasses.dataclass
class Checked:
    count: int


class Options(TypedDict):
    depth: int
    name: NotRequired[str]


@dataclasses.dataclass
class Box(Generic[T]):
    content: T
    others: list[T] = dataclasses.field(default_factory=list)


class Pair(NamedTuple, Generic[T]):
    left: T
    right: T


@dataclasses.dataclass(eq=False)
class Unequal:
    value: int
    _private: int = 0


@dataclasses.dataclass
class Tree:
    value: int
    branches: "list[Tree]" = dataclasses.field(default_factory=list)


UserId = typing.NewType("UserId", int)
NUMBERS = st.integers(-9, 9)
ITEMS = st.builds(Item, id=st.uuids(), price=st.decimals(-99, 99, places=2), at=st.none() | MOMENTS)
ORDERS = st.builds(
    Order, items=st.lists(ITEMS, max_size=2), tags=st.sets(TEXT, max_size=3), mode=st.sampled_from(Mode),
    orderNumber=st.integers(0, 9),
)  # fmt: skip
PARTS = st.builds(Part, TEXT, st.frozensets(TEXT, max_size=3), st.none() | MOMENTS)
CARS = st.builds(Car, st.lists(PARTS, max_size=2), st.none() | PARTS)
FIGURES = st.builds(Circle, FLOATS) | st.builds(Square, NUMBERS)
TREES = st.recursive(st.builds(Tree, NUMBERS), lambda inner: st.builds(Tree, NUMBERS, st.lists(inner, max_size=2)))

# annotation -> its values
TYPES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (None, st.none()),
    (object, st.lists(NUMBERS | TEXT, max_size=2)),
    (UserId, NUMBERS),
    (int, st.integers(-(10**40), 10**40)),
    (Any, st.integers(-(10**40), 10**40)),
    (Annotated[int, "a note"], INTS),
    (str | None, st.none() | TEXT),
    (int | str | list[int] | None, st.none() | NUMBERS | TEXT | st.lists(NUMBERS, max_size=2)),
    (Literal["a", 1] | None, st.sampled_from(["a", 1, None])),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=True)),
    (dt.timedelta, st.timedeltas()),
    (bytearray, st.binary(max_size=9).map(bytearray)),
    (Flag, st.sampled_from([Flag.READ, Flag.WRITE, Flag.READ | Flag.WRITE])),
    (Mode, st.sampled_from(Mode)),
    (Rank, st.sampled_from(Rank)),
    (Unequal, st.builds(Unequal, NUMBERS, NUMBERS)),
    (Tree, TREES),
    (Box[int], st.builds(Box, NUMBERS, st.lists(NUMBERS, max_size=2))),
    (Box[Box[Color | None]], st.builds(Box, st.builds(Box, st.none() | st.sampled_from(Color)))),
    (Pair[dt.date], st.builds(Pair, st.dates(), st.dates())),
    (Options, st.fixed_dictionaries({"depth": INTS}, optional={"name": TEXT})),
    (collections.abc.Sequence[Point], st.lists(POINTS, max_size=2)),
    (collections.abc.Mapping[str, Decimal], st.dictionaries(TEXT, st.decimals(-9, 9), max_size=2)),
    (Part, PARTS),
    (Car, CARS),
    (set[Part], st.sets(PARTS, max_size=3)),
    (Circle | Square, FIGURES),
    (Drawing, st.builds(Drawing, st.lists(FIGURES, max_size=3))),
    (Item, ITEMS),
    (Order, ORDERS),
    (Order | None, st.none() | ORDERS),
    (list[Order], st.lists(ORDERS, max_size=2)),
    (dict[str, Item], st.dictionaries(TEXT, ITEMS, max_size=2)),
    (frozenset[Item], st.frozensets(ITEMS, max_size=2)),
    (Box[Item], st.builds(Box, ITEMS, st.lists(ITEMS, max_size=2))),
    (Strict, st.builds(Strict, day=st.dates(), raw=st.just(b"x"))),
    (Page[Item], st.builds(Page[Item], rows=st.lists(ITEMS, max_size=2))),
    (Names, st.lists(TEXT, max_size=2).map(Names)),
    (Checked, st.builds(Checked, NUMBERS)),
    (dict[float, int], st.dictionaries(FLOATS, NUMBERS, max_size=3)),
    (dict[dt.date, Shape], st.dictionaries(st.dates(), SHAPES, max_size=2)),
    (dict[Decimal, int], st.dictionaries(st.decimals(-9, 9), NUMBERS, max_size=3)),
    (dict[Color, int], st.dictionaries(st.sampled_from(Color), NUMBERS)),
    (dict[Rank, int], st.dictionaries(st.sampled_from(Rank), NUMBERS)),
    (dict[Level, int], st.dictionaries(st.sampled_from(Level), NUMBERS)),
    (dict[Literal["a", "b"], int], st.dictionaries(st.sampled_from("ab"), NUMBERS)),
    (dict[bytes, int], st.dictionaries(st.binary(max_size=4), NUMBERS, max_size=3)),
]
IDS = [f"{number}-{getattr(kind, '__name__', kind)!s:.40}" for number, (kind, _) in enumerate(TYPES)]


@pytest.mark.parametrize(("annotation", "values"), TYPES, ids=IDS)
def test_a_value_of_every_type_comes_back_as_it_was(annotation: Any, values: st.SearchStrategy[Any]):
    codec = ValueCodec(annotation, "the result of f", MANY)

    def function(first, *rest, named, **others): ...

    function.__annotations__ = dict.fromkeys(("first", "rest", "named", "others", "return"), annotation)
    signature = Signature(function, "f", MANY)

    @FEW
    @given(values, values)
    def comes_back(one: Any, two: Any) -> None:
        text, told = codec.encode(one)
        assert same(told, one)
        assert same(codec.decode(text), one)
        assert same(codec.encode(told)[1], one)
        text, hashed = signature.encode((one, two), {"named": two, "other": one})
        arguments, keywords = signature.decode(text)
        assert same(arguments, (one, two))
        assert same(keywords, {"named": two, "other": one})
        assert signature.encode(arguments, keywords)[1] == hashed

    comes_back()


@pytest.mark.parametrize(
    ("annotation", "given_", "back"),
    [
        (Point, (1, 2), Point(1, 2.0)),
        (Point, [1], Point(1)),
        (set[int], [2, 1], {1, 2}),
        (tuple[int, ...], [1, 2], (1, 2)),
        (float, 1, 1.0),
        (Part, {"name": "x"}, Part("x")),
        (Square, {"sideLength": 2, "type": "square"}, Square(2)),
        (Names, ["a"], Names(["a"])),
        (Order, {"items": [], "orderNumber": 3}, Order(items=[], orderNumber=3)),
        (dt.date, "2026-01-02", dt.date(2026, 1, 2)),
        (Color, "red", Color.RED),
        (dict[int, str], {"1": "x"}, {1: "x"}),
        (Decimal, 2, Decimal(2)),
        (list[dt.date] | None, ["2026-01-02"], [dt.date(2026, 1, 2)]),
    ],
    ids=str,
)
def test_plain_json_stands_for_what_the_annotation_reads_from_it(annotation: Any, given_: Any, back: Any):
    codec = ValueCodec(annotation, "the result of f", MANY)
    text, told = codec.encode(given_)
    assert same(told, back)
    assert same(codec.decode(text), back)

    def function(value): ...

    function.__annotations__ = {"value": annotation}
    signature = Signature(function, "f", MANY)
    assert signature.encode((given_,), {})[1] == signature.encode((back,), {})[1]


def sums(first: int, /, second: "int" = 2, *rest: int, factor: float = 1.0, names: list[str] = ["x"], **more: int): ...  # noqa: B006


@pytest.mark.parametrize(
    ("arguments", "keywords", "body"),
    [
        ((1,), {}, ((1, 2), {"factor": 1.0, "names": ["x"]})),
        ((1, 3, 4, 5), {"factor": 2}, ((1, 3, 4, 5), {"factor": 2.0, "names": ["x"]})),
        ((1,), {"second": 5, "other": 6}, ((1, 5), {"factor": 1.0, "names": ["x"], "other": 6})),
        ((1,), {"first": 7}, ((1, 2), {"factor": 1.0, "names": ["x"], "first": 7})),
    ],
)
def test_a_body_is_called_as_its_caller_wrote(arguments: Any, keywords: Any, body: Any):
    signature = Signature(sums, "sums", MANY)
    assert signature.decode(signature.encode(arguments, keywords)[0]) == body


def test_arguments_may_be_unpacked_from_types():
    def function(*pair: *tuple[int, str], **options: typing.Unpack[Options]): ...

    signature = Signature(function, "f", MANY)
    assert signature.decode(signature.encode((1, "x"), {"depth": 2})[0]) == ((1, "x"), {"depth": 2})
    with pytest.raises(InvalidInput, match="argument `options`"):
        signature.encode((1, "x"), {"name": "y"})


def test_a_function_that_never_returns_is_a_task():
    def function() -> typing.NoReturn: ...

    assert Signature(function, "f", MANY).result.encode(None)[0] == "null"
