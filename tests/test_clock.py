"""Two clocks of one shape."""

import pytest

from robot_stack.clock import MonotonicClock, VirtualClock, nanoseconds, seconds


def test_the_monotonic_clock_never_runs_backwards() -> None:
    clock = MonotonicClock()
    times = [clock.now_ns() for _ in range(100)]
    assert times == sorted(times)


def test_the_virtual_clock_moves_only_when_told_to() -> None:
    clock = VirtualClock(5)
    assert clock.now_ns() == clock.now_ns() == 5
    clock.advance(7)
    assert clock.now_ns() == 12
    with pytest.raises(ValueError, match="allowed >= 0"):
        clock.advance(-1)


def test_seconds_and_nanoseconds_undo_each_other() -> None:
    assert nanoseconds(seconds(123_456_789)) == 123_456_789
    assert nanoseconds(0.1) == 100_000_000
