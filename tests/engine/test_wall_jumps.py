"""A wall clock that jumps: what is durable follows it forward, what a process measures for itself does not."""

from collections.abc import Callable

import pytest

from fanfold.engine.sweeper import EVERY_MS
from fanfold.model.clock import SystemClock, wall_ms
from tests.simulation.loop import SimClock, SimLoop, SimTime

HOUR_MS = 3_600_000


class Place:
    """A loop of virtual time with an engine clock, on which things ring."""

    def __init__(self) -> None:
        self.time = SimTime()
        self.clock = SimClock(self.time)
        self.loop = SimLoop(self.time, lambda context: None)
        self.rung: list[tuple[str, float]] = []

    def ring(self, name: str) -> Callable[[], None]:
        return lambda: self.rung.append((name, self.time.now_s))

    def jump(self, at_s: float, skew_ms: int) -> None:
        """Set the wall by so much, beside the true time."""
        self.loop.call_at(at_s, setattr, self.time, "skew_ms", skew_ms)

    def run(self, setup: Callable[[], object]) -> dict[str, float]:
        """Run until nothing is left; return when what rang."""
        self.loop.call_soon(setup)
        assert self.loop.run(lambda: False, 10 * HOUR_MS / 1000, 10_000) == "idle"
        return dict(self.rung)


@pytest.mark.parametrize("skew_ms", [HOUR_MS, -HOUR_MS, 0])
def test_what_a_process_measures_for_itself_takes_its_time_wherever_the_wall_jumps(skew_ms: int):
    place = Place()
    place.jump(10, skew_ms)
    rung = place.run(lambda: place.clock.call_after(60_000, place.ring("timeout")))
    assert rung == {"timeout": 60}


def test_steady_time_goes_on_as_if_the_wall_had_not_jumped(monkeypatch: pytest.MonkeyPatch):
    clock, wall = SystemClock(), wall_ms()
    engine, steady = clock.now_ms(), clock.steady_ms()
    monkeypatch.setattr("fanfold.model.clock.wall_ms", lambda: wall + HOUR_MS)
    assert clock.now_ms() - engine >= HOUR_MS - 1000
    assert 0 <= clock.steady_ms() - steady < HOUR_MS


def test_a_durable_timer_that_came_due_while_a_laptop_slept_rings_when_it_wakes():
    place = Place()
    place.jump(10, HOUR_MS)
    due = place.clock.now_ms() + HOUR_MS // 2
    rung = place.run(lambda: place.clock.call_at(due, place.ring("timer")))
    assert 10 <= rung["timer"] <= 40  # it looks at the wall every 30 s


def test_a_durable_timer_is_not_early_when_the_wall_is_set_back():
    place = Place()
    place.jump(10, -HOUR_MS)
    due = place.clock.now_ms() + HOUR_MS // 2
    rung = place.run(lambda: place.clock.call_at(due, place.ring("timer")))
    assert rung["timer"] >= HOUR_MS / 2 / 1000


def test_what_is_cancelled_does_not_ring():
    place = Place()
    assert place.run(lambda: place.clock.call_after(EVERY_MS, place.ring("sweep")).cancel()) == {}
