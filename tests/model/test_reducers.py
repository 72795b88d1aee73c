"""The ready reducers: each does what plain Python does of the whole list, also when it is stored after every value."""

import copy
import inspect
import re
import statistics
import typing
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import reduce
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold import reducers
from fanfold.errors import InvalidInput
from fanfold.model.codec import ValueCodec


@dataclass
class Report:
    name: str
    bytes: int
    took: timedelta = timedelta()


INTEGERS = st.lists(st.integers(-20, 20))
REPORTS = st.lists(st.builds(Report, st.text(max_size=3), st.integers(-5, 5), st.timedeltas()))
SIZES = st.integers(1, 6)


def codec_of(step: Callable[..., Any]) -> ValueCodec:
    return ValueCodec(typing.get_type_hints(step)["return"], "the accumulator", 1 << 20)


def resumed(step: Callable[..., Any], values: list[Any], initial: Any) -> Any:
    """Fold as one does that is stored, and read again by another process, before the first and after every value."""
    codec = codec_of(step)
    acc = codec.decode(codec.encode(initial)[0])
    for value in values:
        before = copy.deepcopy(acc)
        result = step(acc, value)
        assert acc == before, "a step changes the accumulator that it is given"
        acc = codec.decode(codec.encode(result)[0])
    assert acc == reduce(step, values, initial)
    return acc


def size_of(report: Report) -> int:
    return report.bytes


# Each is what plain Python does ---------------------------------------------------------------------------------------


@given(REPORTS)
def test_count_counts_what_it_is_asked_for(reports):
    assert resumed(reducers.count(), reports, 0) == len(reports)
    assert resumed(reducers.count(lambda one: one.bytes > 1), reports, 0) == len([r for r in reports if r.bytes > 1])


@given(st.lists(st.integers() | st.floats(-1e9, 1e9)), REPORTS)
def test_sum_adds_numbers_or_what_is_taken_of_the_values(numbers, reports):
    assert resumed(reducers.sum(), numbers, 0) == reduce(lambda a, b: a + b, numbers, 0)
    assert resumed(reducers.sum(size_of), reports, 10) == 10 + sum(map(size_of, reports))


@given(st.lists(st.decimals(-100, 100, places=2)), st.lists(st.timedeltas(timedelta(-9), timedelta(9))))
def test_sum_adds_other_types_that_are_named(decimals, durations):
    assert resumed(reducers.sum(of=Decimal), decimals, Decimal(0)) == sum(decimals, Decimal(0))
    reports = [Report("", 0, took) for took in durations]
    total = resumed(reducers.sum(lambda one: one.took, of=timedelta), reports, timedelta())
    assert total == sum(durations, timedelta())


@given(INTEGERS, REPORTS)
def test_min_and_max_keep_one_value(numbers, reports):
    assert resumed(reducers.min(), numbers, None) == min(numbers, default=None)
    assert resumed(reducers.max(), numbers, None) == max(numbers, default=None)
    assert resumed(reducers.min(size_of, of=Report), reports, None) == min(reports, key=size_of, default=None)
    assert resumed(reducers.max(size_of, of=Report), reports, None) == max(reports, key=size_of, default=None)


@given(st.lists(st.none() | st.integers(-20, 20)))
def test_min_and_max_pass_over_none(values):
    numbers = [value for value in values if value is not None]
    assert resumed(reducers.min(), values, None) == min(numbers, default=None)
    assert resumed(reducers.max(), values, None) == max(numbers, default=None)


@given(SIZES, INTEGERS, REPORTS)
def test_top_and_bottom_keep_the_first_of_the_sorted_values(k, numbers, reports):
    assert resumed(reducers.top(k), numbers, []) == sorted(numbers, reverse=True)[:k]
    assert resumed(reducers.bottom(k), numbers, []) == sorted(numbers)[:k]
    by_size = sorted(reports, key=size_of, reverse=True)  # equals stay in their order, reversed or not
    assert resumed(reducers.top(k, size_of, of=Report), reports, []) == by_size[:k]
    assert resumed(reducers.bottom(k, size_of, of=Report), reports, []) == sorted(reports, key=size_of)[:k]


@given(SIZES, SIZES, INTEGERS, INTEGERS)
def test_a_top_of_another_size_goes_on_from_what_was_kept(k, more, early, late):
    kept = reduce(reducers.top(k + more), early, [])
    assert reduce(reducers.top(k), late, kept)[:k] == sorted(early + late, reverse=True)[:k]


@given(st.sets(st.integers(-20, 20), min_size=1).map(sorted), INTEGERS, REPORTS)
def test_histogram_counts_between_its_edges(edges, numbers, reports):
    def counts(values: list[int]) -> list[int]:
        bounds = [float("-inf"), *edges, float("inf")]
        found = [sum(low <= one < high for one in values) for low, high in pairwise(bounds)]
        return found if values else []

    assert resumed(reducers.histogram(edges), numbers, []) == counts(numbers)
    assert resumed(reducers.histogram(edges, size_of), reports, []) == counts([one.bytes for one in reports])


# The sample -----------------------------------------------------------------------------------------------------------


@given(SIZES, INTEGERS, st.integers())
def test_a_sample_is_of_the_values_and_all_of_them_if_they_are_few(k, numbers, seed):
    values = [[place, number] for place, number in enumerate(numbers)]
    found = resumed(reducers.sample(k, seed=seed), values, reducers.Sample())
    assert found.seen == len(values)
    assert len(found.values) == min(k, len(values))
    assert len({place for place, _ in found.values}) == len(found.values)
    assert all(value in values for value in found.values)
    if len(values) <= k:
        assert found.values == values


def test_a_sample_of_dataclasses_comes_back_as_what_it_was():
    reports = [Report(str(n), n) for n in range(20)]
    found = resumed(reducers.sample(3, of=Report), reports, reducers.Sample())
    assert all(isinstance(one, Report) for one in found.values)


def test_the_same_values_make_the_same_sample_and_another_seed_another_one():
    def sampled(seed: int) -> list[int]:
        return reduce(reducers.sample(10, seed=seed), range(1000), reducers.Sample()).values

    assert sampled(0) == sampled(0)
    assert len({tuple(sampled(seed)) for seed in range(20)}) == 20


def test_each_value_has_the_same_chance_to_be_in_a_sample():
    seeds, k, n = 2_000, 5, 40
    hits = [0] * n
    for seed in range(seeds):
        for value in reduce(reducers.sample(k, seed=seed), range(n), reducers.Sample()).values:
            hits[value] += 1
    expected = seeds * k / n
    chi_square = sum((one - expected) ** 2 for one in hits) / expected
    assert chi_square < 73  # 39 degrees of freedom: one in a thousand, and the seeds are fixed
    assert statistics.mean(hits) == expected


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [reducers.top, reducers.bottom, reducers.sample])
@pytest.mark.parametrize("k", [0, -1, 1.5, True, "3", None])
def test_a_size_that_keeps_nothing_is_refused(make, k):
    with pytest.raises(InvalidInput, match="a whole number of values from 1 on, not "):
        make(k)


@pytest.mark.parametrize("edges", [[], [1, 1], [2, 1], [1, 3, 2], [float("nan"), 1.0]])
def test_edges_that_do_not_ascend_are_refused(edges):
    with pytest.raises(InvalidInput, match=r"reducers.histogram\(edges=\) takes ascending numbers"):
        reducers.histogram(edges)


def test_counts_of_other_edges_are_refused():
    with pytest.raises(InvalidInput, match="2 edges make 3 counts, and the fold has 2"):
        reducers.histogram([1, 2])([0, 1], 1)


def test_a_value_that_needs_its_type_named_is_refused_and_not_changed():
    step = reducers.top(3, size_of)
    with pytest.raises(InvalidInput, match="annotate the type"):
        codec_of(step).encode(step([], Report("a", 1)))


# How a fold sees them -------------------------------------------------------------------------------------------------

ALL = {
    "count": reducers.count(), "sum": reducers.sum(), "min": reducers.min(), "max": reducers.max(),
    "top": reducers.top(1), "bottom": reducers.bottom(1), "sample": reducers.sample(1),
    "histogram": reducers.histogram([1]),
}  # fmt: skip


def test_every_reducer_is_a_plain_function_under_its_own_name_and_knows_its_accumulator():
    assert {*ALL, "Sample"} == set(reducers.__all__)
    for name, step in ALL.items():
        assert inspect.isfunction(step)
        assert step.__name__ == name
        codec_of(step)


@pytest.mark.parametrize("name", ["min", "max", "top", "bottom", "sample"])
def test_what_a_task_returns_can_be_put_in_for_the_type_that_was_not_named(name: str):
    annotation = typing.get_type_hints(ALL[name])["return"][Report]
    assert annotation == {
        "min": Report | None, "max": Report | None, "top": list[Report], "bottom": list[Report],
        "sample": reducers.Sample[Report],
    }[name]  # fmt: skip


def test_every_reducer_is_documented_and_the_example_runs():
    documented = [getattr(reducers, name).__doc__ for name in reducers.__all__]
    assert all(documented)
    (example,) = re.findall(r"```python\n(.*?)```", inspect.cleandoc("\n".join(documented)), re.DOTALL)
    exec(compile(inspect.cleandoc(example), "reducers", "exec"), {})
