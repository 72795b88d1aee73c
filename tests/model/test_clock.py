"""The engine clock: never back, never standing still, slow while it is ahead of the wall."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.model.clock import EngineTime, SystemClock, VirtualClock

START = 1_700_000_000_000
# (how far the wall jumps against the monotonic clock, how much time passes)
STEPS = st.lists(st.tuples(st.integers(-100_000, 100_000), st.integers(0, 5_000)), max_size=40)


@given(STEPS)
def test_the_clock_never_goes_back_and_is_never_behind_the_wall(steps):
    wall, monotonic = START, 0
    clock = EngineTime(wall, monotonic)
    last = START
    for jump, elapsed in steps:
        wall, monotonic = wall + jump + elapsed, monotonic + elapsed
        now = clock.advance(wall, monotonic)
        assert now >= last
        assert now >= wall
        last = now


@given(STEPS)
def test_the_clock_never_stands_still(steps):
    wall, monotonic = START, 0
    clock = EngineTime(wall, monotonic)
    first, passed = START, 0
    for jump, elapsed in steps:
        wall, monotonic, passed = wall + jump + elapsed, monotonic + elapsed, passed + elapsed
        # Half speed at the least, but for one odd millisecond that is kept for the next reading.
        assert clock.advance(wall, monotonic) - first >= passed // 2


@given(st.integers(0, 50_000), st.integers(1, 2_000), st.integers(1, 40))
def test_ahead_of_the_wall_the_clock_runs_at_half_speed_however_often_it_is_read(ahead, elapsed, reads):
    clock = EngineTime(START, 0)
    clock.catch_up(START + 100_000 + ahead)
    readings = [clock.advance(START + elapsed * n, elapsed * n) for n in range(1, reads + 1)]
    assert readings[-1] == max(START + 100_000 + ahead + elapsed * reads // 2, START + elapsed * reads)


def test_a_clock_that_is_right_runs_with_the_wall():
    clock = EngineTime(START, 50)
    assert [clock.advance(START + ms, 50 + ms) for ms in (0, 1, 2, 1000)] == [START, START + 1, START + 2, START + 1000]


def test_the_clock_jumps_forward_with_the_wall():
    clock = EngineTime(START, 0)
    assert clock.advance(START + 3_600_000, 10) == START + 3_600_000


def test_a_wall_that_is_set_back_slows_the_clock_until_it_has_caught_up():
    clock = EngineTime(START, 0)
    assert clock.advance(START - 1000, 0) == START
    assert clock.advance(START, 1000) == START + 500
    assert clock.advance(START + 1000, 2000) == START + 1000
    assert clock.advance(START + 1500, 2500) == START + 1500


def test_a_monotonic_clock_that_goes_back_counts_as_standing():
    clock = EngineTime(START, 1000)
    assert clock.advance(START, 500) == START
    assert clock.advance(START + 7, 1007) == START + 7


def test_catching_up_never_goes_back():
    clock = EngineTime(START, 0)
    clock.catch_up(START - 5)
    assert clock.advance(START, 0) == START
    clock.catch_up(START + 5)
    assert clock.advance(START, 0) == START + 5


def test_the_systems_clock_reads_both_clocks_and_takes_what_was_written_down():
    clock = SystemClock()
    first = clock.now_ms()
    clock.catch_up(first + 30_000)
    readings = [clock.now_ms() for _ in range(1000)]
    assert readings == sorted(readings)
    assert first + 30_000 <= readings[0] < first + 31_000


@pytest.fixture
def virtual() -> VirtualClock:
    return VirtualClock(START)


def test_a_virtual_clock_moves_only_when_told_and_never_back(virtual: VirtualClock):
    assert [virtual.now_ms(), virtual.now_ms()] == [START, START]
    virtual.move_to(START + 10)
    virtual.move_to(START + 5)
    virtual.catch_up(START + 7)
    assert virtual.now_ms() == START + 10


def test_alarms_ring_in_the_order_of_their_times_and_then_of_their_making(virtual: VirtualClock):
    rung: list[str] = []
    for name, delay in (("late", 9), ("first", 3), ("second", 3), ("never", 99)):
        virtual.call_at(START + delay, lambda name=name: rung.append(name))
    virtual.move_to(START + 2)
    assert rung == []
    virtual.move_to(START + 9)
    assert rung == ["first", "second", "late"]
    assert virtual.next_alarm_ms() == START + 99


def test_a_cancelled_alarm_does_not_ring(virtual: VirtualClock):
    rung: list[int] = []
    alarm = virtual.call_at(START + 1, lambda: rung.append(1))
    virtual.call_at(START + 2, lambda: rung.append(2))
    alarm.cancel()
    assert virtual.next_alarm_ms() == START + 2
    virtual.move_to(START + 5)
    assert (rung, virtual.next_alarm_ms()) == ([2], None)


def test_an_alarm_that_sets_another_one_that_is_due_rings_both(virtual: VirtualClock):
    rung: list[str] = []
    virtual.call_at(START + 1, lambda: (rung.append("a"), virtual.call_at(START + 1, lambda: rung.append("b"))))
    virtual.move_to(START + 1)
    assert rung == ["a", "b"]


def test_catching_up_rings_nothing(virtual: VirtualClock):
    rung: list[int] = []
    virtual.call_at(START + 1, lambda: rung.append(1))
    virtual.catch_up(START + 10)
    assert rung == []
    virtual.move_to(START)
    assert rung == [1]
