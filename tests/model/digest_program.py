"""Prints the digests of many inputs as JSON: run in several processes, it must always print the same."""

import datetime as dt
import enum
import json
import uuid
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from fanfold.model.codec import Signature

UTC = dt.UTC
ID = uuid.UUID("12345678-1234-5678-1234-567812345678")


class Plan(enum.Enum):
    FREE = "free"
    PRO = "pro"


class Point(NamedTuple):
    x: int
    y: int


@dataclass(frozen=True)
class Customer:
    name: str
    tags: frozenset[str]
    plans: frozenset[Plan]
    when: dt.datetime


def untyped(value, other=None): ...
def whole(count: int, name: str = "x", *, flag: bool = False): ...
def sets(values: set[str], more: frozenset[int] = frozenset()): ...
def enums(values: set[Plan]): ...
def mapping(values: dict[str, list[set[str]]]): ...
def numbered(values: dict[int, set[str]]): ...
def by_plan(values: dict[Plan, int]): ...
def customer(value: Customer, *others: Customer, **named: Customer): ...
def rich(when: dt.datetime, day: dt.date, span: dt.timedelta, id: uuid.UUID, sum: Decimal, raw: bytes): ...
def points(values: set[Point], pair: tuple[Point, str]): ...


WORDS = [f"word-{n}" for n in range(40)]
ANN = Customer("Ann", frozenset(WORDS), frozenset(Plan), dt.datetime(2026, 1, 1, tzinfo=UTC))
CALLS: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = [
    (untyped, (None,), {}),
    (untyped, ({"b": [1, 2.5, "é\n\u2028"], "a": {"d": None, "c": True}},), {"other": -1}),
    (untyped, ({word: {word: word} for word in WORDS},), {}),
    (whole, (2**63,), {"flag": True}),
    (sets, (set(WORDS), frozenset(range(-20, 20))), {}),
    (enums, (set(Plan),), {}),
    (mapping, ({word: [set(WORDS), set()] for word in WORDS},), {}),
    (numbered, ({n: set(WORDS[: n % 5]) for n in range(-12, 12)},), {}),
    (by_plan, ({Plan.PRO: 1, Plan.FREE: 2},), {}),
    (customer, (ANN, ANN), {"z": ANN, "a": ANN}),
    (
        rich,
        (
            dt.datetime(2026, 2, 3, 4, 5, 6, 7, UTC),
            dt.date(2026, 2, 3),
            dt.timedelta(1, 2, 3),
            ID,
            Decimal("1.50"),
            b"\0",
        ),
        {},
    ),
    (points, ({Point(n % 7, n) for n in range(30)}, (Point(1, 2), "x")), {}),
]


def digests() -> dict[str, int]:
    """Return the digest of each call, by its number and name."""
    return {
        f"{number} {function.__name__}": Signature(function, function.__name__, 1 << 22).encode(arguments, keywords)[1]
        for number, (function, arguments, keywords) in enumerate(CALLS)
    }


if __name__ == "__main__":
    print(json.dumps(digests(), indent=2))
