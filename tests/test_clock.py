"""Seconds for people, nanoseconds inside."""

from robot_stack.clock import nanoseconds, seconds


def test_seconds_and_nanoseconds_undo_each_other() -> None:
    assert nanoseconds(seconds(123_456_789)) == 123_456_789
    assert nanoseconds(0.1) == 100_000_000
