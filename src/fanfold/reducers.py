"""Ready steps for `fold(step, initial)`: count, sum, min, max, top, bottom, sample, histogram.

Each function here returns a step, a plain function of accumulator and value; what it starts from is given to `fold`:

    total = await measure.map(paths).fold(reducers.sum(key=lambda report: report.bytes), 0)
    worst = await measure.map(paths).fold(reducers.top(10, key=lambda report: report.bytes, of=Report), [])

A fold may be stored after any value and gone on with by another process, so an accumulator is all that a step knows of
what came before, and a step leaves the one that it is given as it is. No step reads a clock or rolls dice.
"""

from __future__ import annotations

import operator
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Generic, Protocol, TypeVar, overload

import msgspec

from fanfold.errors import InvalidInput

__all__ = ["Sample", "bottom", "count", "histogram", "max", "min", "sample", "sum", "top"]


class _Added(Protocol):
    def __add__(self, other: Any, /) -> Any: ...


V = TypeVar("V")  # a value: what one member returned
N = TypeVar("N", bound=_Added)  # what is added up


class Sample(msgspec.Struct, Generic[V], frozen=True):
    """What `sample` accumulates: some of the values, and how many there were to choose from."""

    values: list[V] = []
    seen: int = 0


@overload
def count() -> Callable[[int, object], int]: ...
@overload
def count(where: Callable[[V], object]) -> Callable[[int, V], int]: ...
def count(where: Callable[[Any], object] | None = None) -> Callable[[int, Any], int]:
    """Count the values, or those that `where(value)` is true of: `fold(reducers.count(), 0)`.

    ```python
    from functools import reduce  # which calls a step as `fold` does
    from fanfold import reducers

    sizes = [5, 120, 7, 3000]
    assert reduce(reducers.count(lambda size: size > 100), sizes, 0) == 2
    assert reduce(reducers.sum(), sizes, 0) == 3132
    assert reduce(reducers.max(), sizes, None) == 3000
    assert reduce(reducers.top(2), sizes, []) == [3000, 120]
    assert reduce(reducers.histogram([10, 100, 1000]), sizes, []) == [2, 0, 1, 1]
    assert reduce(reducers.sample(3), sizes, reducers.Sample()).seen == 4
    ```
    """

    def step(counted: int, value: Any) -> int:
        return counted + (1 if where is None or where(value) else 0)

    return _step("count", step, int)


@overload
def sum(*, of: type[N] | None = None) -> Callable[[N, N], N]: ...
@overload
def sum(key: Callable[[V], N], *, of: type[N] | None = None) -> Callable[[N, V], N]: ...
def sum(key: Callable[[Any], Any] | None = None, *, of: Any = None) -> Callable[[Any, Any], Any]:
    """Add up the values, or what `key` takes of each: `fold(reducers.sum(), 0)`.

    Numbers are ints and floats; `of=` names another type that can be added, and then `initial` is of that type:
    `fold(reducers.sum(of=Decimal), Decimal(0))`. The last digits of a sum of floats depend on the order of completion.
    """

    def step(total: Any, value: Any) -> Any:
        return total + (value if key is None else key(value))

    return _step("sum", step, int | float if of is None else of)


def min(key: Callable[[V], Any] | None = None, *, of: type[V] | None = None) -> Callable[[V | None, V], V | None]:
    """Keep the value that is least, or whose `key` is; the first of equals: `fold(reducers.min(), None)`.

    None is nothing yet, so a value None is passed over. `of=` is what `top` says of it.
    """
    return _step("min", _best(key, operator.lt), _type(of) | None)


def max(key: Callable[[V], Any] | None = None, *, of: type[V] | None = None) -> Callable[[V | None, V], V | None]:
    """Keep the value that is greatest, or whose `key` is; the first of equals: `fold(reducers.max(), None)`.

    None is nothing yet, so a value None is passed over. `of=` is what `top` says of it.
    """
    return _step("max", _best(key, operator.gt), _type(of) | None)


def top(k: int, key: Callable[[V], Any] | None = None, *, of: type[V] | None = None) -> Callable[[list[V], V], list[V]]:
    """Keep the `k` greatest values, or those whose `key` is, the greatest first: `fold(reducers.top(10), [])`.

    Of equals the one that completed first stands first, and stays. Values of types that plain JSON does not have
    (dataclasses, datetimes) need `of=`, their type: `top(10, key=lambda report: report.bytes, of=Report)`.
    """
    return _step("top", _ranked(_size("top", k), key, operator.gt), list[_type(of)])


def bottom(
    k: int, key: Callable[[V], Any] | None = None, *, of: type[V] | None = None
) -> Callable[[list[V], V], list[V]]:
    """Keep the `k` least values, or those whose `key` is, the least first; otherwise as `top`."""
    return _step("bottom", _ranked(_size("bottom", k), key, operator.lt), list[_type(of)])


def sample(k: int, *, seed: int = 0, of: type[V] | None = None) -> Callable[[Sample[V], V], Sample[V]]:
    """Keep `k` of the values, each with the same chance: `fold(reducers.sample(100), reducers.Sample())`.

    Chance is a hash of `seed` and the number of values so far: the same values in the same order make the same sample.
    Their order in it means nothing. `of=` is what `top` says of it.

    Source: J. S. Vitter, Random Sampling with a Reservoir (1985), algorithm R.
    """
    _size("sample", k)

    def step(acc: Sample[V], value: V) -> Sample[V]:
        seen = acc.seen + 1
        if seen <= k:
            return Sample([*acc.values, value], seen)
        place = _hash(seed, seen) % seen
        if place >= k:
            return Sample(acc.values, seen)
        return Sample([*acc.values[:place], value, *acc.values[place + 1 :]], seen)

    return _step("sample", step, Sample[_type(of)])


@overload
def histogram(edges: Sequence[float]) -> Callable[[list[int], float], list[int]]: ...
@overload
def histogram(edges: Sequence[N], key: Callable[[V], N]) -> Callable[[list[int], V], list[int]]: ...
def histogram(edges: Sequence[Any], key: Callable[[Any], Any] | None = None) -> Callable[[list[int], Any], list[int]]:
    """Count the values, or what `key` takes of each, between ascending edges: `fold(reducers.histogram([1, 10]), [])`.

    Shape: one count more than there are edges. The first is of what is less than the first edge, the i-th (from 0) of
    `edges[i - 1] <= value < edges[i]`, the last of the last edge and what is greater. Without any value it stays `[]`.
    """
    bounds = list(edges)
    if not bounds or not all(low < high for low, high in pairwise(bounds)):
        raise InvalidInput(f"reducers.histogram(edges=) takes ascending numbers, at least one, not {bounds!r}")

    def step(counts: list[int], value: Any) -> list[int]:
        counted = list(counts) or [0] * (len(bounds) + 1)
        if len(counted) != len(bounds) + 1:
            raise InvalidInput(
                f"reducers.histogram: {len(bounds)} edges make {len(bounds) + 1} counts, and the fold has "
                f"{len(counted)}. Begin with [], and do not change the edges while a fold is under way"
            )
        counted[bisect_right(bounds, value if key is None else key(value))] += 1
        return counted

    return _step("histogram", step, list[int])


def _step(name: str, step: Any, accumulator: Any) -> Any:
    """Return the step under the name that users know it by, with the type of its accumulator for `fold` to check."""
    step.__name__ = step.__qualname__ = name
    step.__annotations__ = {"return": accumulator}
    return step


def _type(of: Any) -> Any:
    return V if of is None else of  # a variable stands for what a task returns, and else for whatever JSON can say


def _size(name: str, k: int) -> int:
    if type(k) is not int or k < 1:
        raise InvalidInput(f"reducers.{name}(k) keeps a whole number of values from 1 on, not {k!r}")
    return k


def _best(key: Callable[[Any], Any] | None, is_before: Callable[[Any, Any], bool]) -> Callable[[Any, Any], Any]:
    def step(best: Any, value: Any) -> Any:
        if best is None or value is None:
            return value if best is None else best
        if key is None:
            return value if is_before(value, best) else best
        return value if is_before(key(value), key(best)) else best

    return step


def _ranked(
    k: int, key: Callable[[Any], Any] | None, is_before: Callable[[Any, Any], bool]
) -> Callable[[list[Any], Any], list[Any]]:
    def step(kept: list[Any], value: Any) -> list[Any]:
        rank = value if key is None else key(value)
        low, high = 0, len(kept)
        while low < high:  # behind its equals
            middle = (low + high) // 2
            if is_before(rank, kept[middle] if key is None else key(kept[middle])):
                high = middle
            else:
                low = middle + 1
        return kept if low >= k else [*kept[:low], value, *kept[low : k - 1]]

    return step


def _hash(seed: int, number: int) -> int:
    """Return 64 bits that look like chance (splitmix64, by S. Vigna, in the public domain)."""
    bits = (seed * 0xD1342543DE82EF95 + number * 0x9E3779B97F4A7C15) % 2**64
    bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    bits = (bits ^ bits >> 27) * 0x94D049BB133111EB % 2**64
    return bits ^ bits >> 31
