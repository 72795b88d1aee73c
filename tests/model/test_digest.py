"""Equal inputs have equal digests: in every process and release, however a set or a dict happens to be ordered."""

import datetime as dt
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanfold.model.codec import Signature, digest
from tests.model.digest_program import WORDS, digests
from tests.model.values import INTS, TEXT, Color, Point

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).with_name("digests.json")


def of(function: Any, *arguments: Any, **keywords: Any) -> int:
    return Signature(function, "f", 1 << 22).encode(arguments, keywords)[1]


def golden() -> dict[str, int]:
    return json.loads(GOLDEN.read_text())


def test_digests_are_what_they_were_when_runs_were_stored_under_them():
    assert digests() == golden()


@pytest.mark.parametrize("seed", ["0", "1", "2", "4711", "random"])
def test_digests_do_not_depend_on_the_hash_seed(seed: str):
    command = [sys.executable, "-m", "tests.model.digest_program"]
    environment = os.environ | {"PYTHONHASHSEED": seed}
    printed = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout
    assert json.loads(printed) == golden()


def shuffled(values: list[Any]) -> list[Any]:
    return random.Random(len(values)).sample(values, len(values))


@settings(max_examples=50)
@given(st.lists(TEXT, unique=True, max_size=12), st.lists(INTS, unique=True, max_size=12))
def test_the_order_in_which_a_set_or_a_dict_was_filled_does_not_matter(texts: list[str], numbers: list[int]):
    def function(
        a: set[str], b: dict[str, int], c: dict[int, set[int]], d: frozenset[tuple[int, str]], e: set[Color], f=None
    ): ...

    def call(texts: list[str], numbers: list[int], colors: list[Color]) -> int:
        pairs = frozenset(zip(sorted(numbers), sorted(texts), strict=False))
        by_number = {number: set(numbers) for number in numbers}
        return of(
            function, set(texts), dict.fromkeys(texts, 1), by_number, pairs, set(colors), {text: [1] for text in texts}
        )

    assert call(texts, numbers, list(Color)) == call(shuffled(texts), shuffled(numbers), list(Color)[::-1])


def test_sets_that_iterate_differently_are_equal():
    def function(values: set[int]): ...

    one, two = {8, 0}, {0, 8}
    assert list(one) != list(two)
    assert of(function, one) == of(function, two)


def test_defaults_are_bound():
    def function(a: int, b: int = 2, *rest: int, c: str = "x", **named: int): ...

    assert of(function, 1) == of(function, 1, 2) == of(function, a=1, b=2, c="x") == of(function, b=2, a=1)
    assert of(function, 1, 3) != of(function, 1)


def test_a_default_that_can_change_is_bound_as_well():
    def function(a: dict[str, int] = {"x": 1}, b: list[int] = [2]): ...  # noqa: B006 - users do

    assert of(function) == of(function, {"x": 1}, [2])


def test_another_name_or_another_input_is_another_digest():
    def function(a: int): ...

    assert digest(b"f", b"1") != digest(b"f1", b"") != digest(b"g", b"1")
    assert len({of(function, n) for n in range(1000)}) == 1000


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_a_digest_fits_into_a_signed_column(name: bytes, data: bytes):
    assert 0 <= digest(name, data) < 1 << 63


@pytest.mark.parametrize("as_named", [True, False])
def test_a_point_is_the_same_as_a_named_tuple_or_a_tuple(as_named: bool):  # noqa: FBT001 - a parameter
    def function(values: set[Point]): ...

    values = [(n % 3, float(n)) for n in range(9)]
    assert of(function, {Point(*value) if as_named else value for value in values}) == of(
        function, {*map(Point._make, values)}
    )


def test_the_same_moment_in_two_zones_is_one_input():
    def function(when: dt.datetime, anything=None): ...

    moment = dt.datetime(2026, 6, 1, 12, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    assert of(function, moment) == of(function, moment.astimezone(dt.UTC))


def test_a_whole_number_for_a_float_is_one_input():
    def function(ratio: float): ...

    assert of(function, 1) == of(function, 1.0)


def test_long_sets_are_in_order_too():
    def function(values: set[str]): ...

    assert of(function, set(WORDS)) == of(function, {*WORDS[::-1]})
