"""Prints digest and content key of many calls as JSON: the same in every process, and in every release.

The golden file is what this prints: `python -m tests.model.digests.calls > tests/model/digests/golden.json`. A line
that changes there means that runs which are stored already are not found again.
"""

import dataclasses
import datetime as dt
import enum
import json
import uuid
from decimal import Decimal
from typing import Any, Literal, TypedDict

import attrs
import msgspec
import pydantic

from fanfold.model.codec import Signature

WORDS = frozenset(f"word-{n}" for n in range(40))
NOON = dt.datetime(2026, 6, 1, 12, tzinfo=dt.timezone(dt.timedelta(hours=2)))
ID = uuid.UUID("12345678-1234-5678-1234-567812345678")


class Plan(enum.Enum):
    FREE = "free"
    PRO = "pro"


@attrs.frozen
class Part:
    name: str
    tags: frozenset[str] = frozenset()


@attrs.define
class Car:
    parts: set[Part]
    built: dt.datetime
    by_plan: dict[Plan, set[str]]


class Node(msgspec.Struct, tag="node", frozen=True):
    words: frozenset[str]
    below: tuple["Node", ...] = ()


class Address(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True)
    hosts: frozenset[pydantic.IPvAnyAddress]
    seen: dt.datetime


class Order(pydantic.BaseModel):
    tags: set[str]
    number: int = pydantic.Field(alias="orderNumber")
    plans: dict[Plan, set[Plan]]
    addresses: list[Address] = []
    sets: frozenset[frozenset[str]] = frozenset()
    home: Address | None = None


class Options(TypedDict, total=False):
    words: set[str]
    depth: int


@dataclasses.dataclass
class Holder:
    order: Order
    parts: frozenset[Part]
    moments: set[dt.datetime]


def attrs_classes(part: Part, car: Car): ...
def struct(node: Node, *more: Node): ...
def model(order: Order): ...
def models(orders: dict[str, Order], addresses: set[Address]): ...
def holder(value: Holder | None = None, *, keyword: Literal["a", 1] = "a"): ...
def typed_dict(options: Options, **more: Options): ...
def sets_of_sets(values: set[frozenset[str]], by_day: dict[dt.date, set[uuid.UUID]], sums: set[Decimal]): ...
def moments(values: set[dt.datetime], by_moment: dict[dt.datetime, int]): ...
def nothing(): ...
def defaults(a: int = 1, b: dict[str, set[str]] = {"x": {"b", "a"}}, *c: int, d: float = 2, **e: Plan): ...  # noqa: B006
def untyped(value, other=None): ...


ADDRESS = Address(hosts=frozenset(f"10.0.0.{n}" for n in range(20)), seen=NOON)
ORDER = Order(
    tags=set(WORDS), orderNumber=3, plans={Plan.PRO: set(Plan), Plan.FREE: set()}, addresses=[ADDRESS],
    sets=frozenset({WORDS, frozenset(list(WORDS)[:0]), frozenset({"a", "b", "c"})}), home=ADDRESS,
)  # fmt: skip
PART = Part("wheel", WORDS)
CAR = Car({PART, Part("door")}, NOON, {Plan.PRO: set(WORDS), Plan.FREE: set()})
NODE = Node(WORDS, (Node(frozenset("abc")), Node(frozenset())))
MOMENTS = {NOON + dt.timedelta(hours=n) for n in range(10)}

CALLS: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = [
    (attrs_classes, (PART, CAR), {}),
    (struct, (NODE, NODE), {}),
    (model, (ORDER,), {}),
    (models, ({"b": ORDER, "a": ORDER}, {ADDRESS}), {}),
    (holder, (Holder(ORDER, frozenset({PART, Part("door")}), MOMENTS),), {"keyword": 1}),
    (holder, (), {}),
    (typed_dict, ({"words": set(WORDS)},), {"z": {"depth": 1, "words": {"b", "a"}}, "a": {}}),
    (sets_of_sets, ({WORDS, frozenset("abc")}, {NOON.date(): {ID}}, {Decimal("1.50"), Decimal(2)}), {}),
    (moments, (MOMENTS, {NOON: 1}), {}),
    (nothing, (), {}),
    (defaults, (), {}),
    (defaults, (2, {}, 3, 4), {"d": 1, "z": Plan.PRO, "y": Plan.FREE}),
    (untyped, ({word: [word, 2**70, -0.5, None, True] for word in sorted(WORDS)},), {"other": "a\0é\u2028"}),
]


def hashes() -> dict[str, list[Any]]:
    """Return digest and content key of each call, by its number and name."""
    found: dict[str, list[Any]] = {}
    for number, (function, arguments, keywords) in enumerate(CALLS):
        signature = Signature(function, function.__name__, 1 << 22)
        found[f"{number} {function.__name__}"] = list(signature.encode_content(arguments, keywords)[1:])
    return found


if __name__ == "__main__":
    print(json.dumps(hashes(), indent=2))
