"""How long an attempt runs is measured by steady time: no jump of the wall times a body out."""

import pytest

from fanfold.worker.limits import TimeLimit
from tests.simulation.loop import SimClock, SimLoop, SimTime

HOUR_MS = 3_600_000


class Place:
    """A limit of a minute on a loop of virtual time."""

    def __init__(self) -> None:
        self.time = SimTime()
        self.loop = SimLoop(self.time, lambda context: None)
        self.rung: list[float] = []
        self.limit = TimeLimit(SimClock(self.time), 60_000, lambda: self.rung.append(self.time.now_s))

    def run(self) -> list[float]:
        """Run until nothing is left; return when the time was over."""
        assert self.loop.run(lambda: False, HOUR_MS, 10_000) == "idle"
        return self.rung


@pytest.mark.parametrize("skew_ms", [HOUR_MS, -HOUR_MS, 0])
def test_a_wall_that_jumps_times_no_body_out(skew_ms: int):
    place = Place()
    place.loop.call_soon(place.limit.go)
    place.loop.call_at(10, setattr, place.time, "skew_ms", skew_ms)
    assert place.run() == [60]


@pytest.mark.parametrize("skew_ms", [HOUR_MS, -HOUR_MS, 0])
def test_time_in_which_a_body_waits_for_its_children_does_not_count(skew_ms: int):
    place = Place()
    place.loop.call_soon(place.limit.go)
    place.loop.call_at(10, setattr, place.time, "skew_ms", skew_ms)
    place.loop.call_at(20, place.limit.pause)
    place.loop.call_at(500, place.limit.go)
    assert place.run() == [540]
