"""Durations, as users give them: seconds or a timedelta."""

from __future__ import annotations

import math
from datetime import timedelta

from fanfold.errors import InvalidInput

Duration = float | timedelta
MAX_DELAY_S = 100 * 365.25 * 24 * 3600.0  # a hundred years: due times stay far from what a column holds


def seconds(duration: object, what: str) -> float:
    """Return a duration in seconds; InvalidInput if it is none."""
    if isinstance(duration, timedelta):
        return duration.total_seconds()
    if isinstance(duration, bool) or not isinstance(duration, int | float) or duration != duration:  # noqa: PLR0124
        raise InvalidInput(f"{what} must be seconds or a timedelta, not {duration!r}")
    try:
        return float(duration)
    except OverflowError:  # an int that no float holds
        return math.inf if duration > 0 else -math.inf
