"""The values that random programs are about, and what leaves make of them."""

from collections.abc import Iterable

KNOWN = 5  # the value of what depends on who is first
FAILED = -1
CONFLICT = 100
ATTEMPTS = 3  # of tasks that fail at first


class Fails(Exception):
    """The program raises."""


def work_value(x: int) -> int:
    """Return what the task `work` returns."""
    return (x * 31 + 7) % 1009


def is_refused(x: int) -> bool:
    """Tell whether the task `picky` fails with this."""
    return x % 9 == 0


def combine(values: Iterable[int]) -> int:
    """Return a number that depends on the values and their order."""
    total = 1
    for value in values:
        total = (total * 33 + value) % 1_000_003
    return total
