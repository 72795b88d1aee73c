"""Types and values as users have them, for the tests of the codec."""

import datetime as dt
import enum
import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from hypothesis import strategies as st


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Point(NamedTuple):
    x: int
    y: float = 0.0


@dataclass
class Line:
    start: Point
    end: Point
    tags: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Shape:
    name: str
    lines: list[Line]
    color: Color | None = None
    inner: "Shape | None" = None


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
INTS = st.integers(-(2**63), 2**64 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
# A day off the ends of the calendar, so that every moment is one in UTC as well.
FIRST, LAST = dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30)  # noqa: DTZ001 - moments without a zone are values too
MOMENTS = st.datetimes(FIRST, LAST, timezones=st.none() | OFFSETS)
POINTS = st.builds(Point, INTS, FLOATS)
LINES = st.builds(Line, POINTS, POINTS, st.sets(TEXT, max_size=3))
SHAPES = st.recursive(
    st.builds(Shape, TEXT, st.lists(LINES, max_size=2), st.sampled_from(Color)),
    lambda inner: st.builds(Shape, TEXT, st.just([]), st.none(), inner),
    max_leaves=4,
)
# What JSON itself can say, and therefore what an unannotated argument may be.
PLAIN = st.recursive(
    st.none() | st.booleans() | INTS | FLOATS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)

# annotation -> its values
VALUES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, INTS),
    (float, FLOATS),
    (float | None, FLOATS | st.none()),
    (str, TEXT),
    (bytes, st.binary(max_size=20)),
    (bool, st.booleans()),
    (dt.datetime, MOMENTS),
    (dt.date, st.dates()),
    (dt.time, st.times()),
    (dt.timedelta, st.timedeltas(dt.timedelta(days=-9999), dt.timedelta(days=9999))),
    (uuid.UUID, st.uuids()),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    (Color, st.sampled_from(Color)),
    (Level, st.sampled_from(Level)),
    (Point, POINTS),
    (Line, LINES),
    (Shape, SHAPES),
    (tuple[int, str], st.tuples(INTS, TEXT)),
    (tuple[Point, ...], st.lists(POINTS, max_size=3).map(tuple)),
    (set[int], st.sets(INTS, max_size=4)),
    (frozenset[Color], st.frozensets(st.sampled_from(Color))),
    (dict[str, list[Decimal]], st.dictionaries(TEXT, st.lists(st.decimals(-9, 9), max_size=2), max_size=3)),
    (dict[int, set[str]], st.dictionaries(st.integers(-9, 9), st.sets(TEXT, max_size=3), max_size=3)),
    (dict[uuid.UUID, Shape], st.dictionaries(st.uuids(), SHAPES, max_size=2)),
    (list[Any], st.lists(PLAIN, max_size=3)),
    (Any, PLAIN),
]
