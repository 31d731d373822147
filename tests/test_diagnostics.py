"""When a part of the graph is no longer OK."""

import math

import pytest

from robot_stack.diagnostics import (
    Hearing,
    Level,
    Reading,
    ServoState,
    Spell,
    gpu_reading,
    loop_reading,
    servo_reading,
    topic_reading,
)

S = 1_000_000_000
MS = 1_000_000


def loop(calls: int, missed: int = 0) -> Reading:
    return loop_reading("control", 10 * MS, Spell(calls, missed, 2 * MS, 3 * MS), S)


@pytest.mark.parametrize(
    ("calls", "level"),
    [(100, Level.OK), (90, Level.OK), (88, Level.WARN), (50, Level.WARN), (48, Level.ERROR), (0, Level.ERROR)],
)
def test_a_loop_is_judged_by_the_share_of_its_rate(calls: int, level: Level) -> None:
    assert loop(calls).level is level


def test_a_missed_deadline_is_a_warning_and_counted() -> None:
    reading = loop(99, missed=1)
    assert reading.level is Level.WARN and "1 deadlines missed" in reading.message
    assert (reading.values["missed"], reading.values["late_max_ms"], reading.values["step_max_ms"]) == (1, 2.0, 3.0)


def test_one_call_more_or_less_of_a_slow_loop_is_chance() -> None:
    assert loop_reading("decisions", S, Spell(calls=0), S).level is Level.OK


@pytest.mark.parametrize(
    ("silent_ms", "age_ms", "level"),
    [(10, 5, Level.OK), (199, 5, Level.OK), (201, 5, Level.STALE), (10, 101, Level.WARN), (10, 99, Level.OK)],
)
def test_a_topic_is_stale_when_silent_and_warned_of_when_old(silent_ms: int, age_ms: int, level: Level) -> None:
    heard = Hearing(100, age_ms * MS, 5 * S - silent_ms * MS)
    assert topic_reading("/joint_states", 0.2, heard, 5 * S, S).level is level


def test_a_topic_that_may_be_silent_is_never_stale_and_another_never_heard_is() -> None:
    assert topic_reading("/teleop/chunk", math.inf, Hearing(), S, S).level is Level.OK
    assert topic_reading("/teleop/chunk", math.inf, Hearing(0, 0, 1), 100 * S, S).level is Level.OK
    assert topic_reading("/joint_states", 0.2, Hearing(), S, S).level is Level.STALE


@pytest.mark.parametrize(
    ("servo", "level", "why"),
    [
        (ServoState("elbow", 0.01, 0, 40.0), Level.OK, "well"),
        (ServoState("elbow", 0.01, 0, 55.0), Level.WARN, "elbow: 55 degC of 65 allowed"),
        (ServoState("elbow", 0.01, 0, 65.0), Level.ERROR, "elbow: 65 degC"),
        (ServoState("elbow", 0.01, 0, 40.0, ("overload",)), Level.ERROR, "elbow: overload"),
        (ServoState("elbow", 0.50, 9, 40.0), Level.ERROR, "elbow: silent for 0.50 s"),
        (ServoState("elbow", 0.01, 0, None), Level.OK, "nothing heard yet"),
    ],
)
def test_the_worst_servo_is_named(servo: ServoState, level: Level, why: str) -> None:
    well = ServoState("wrist", 0.0, 0, 30.0)
    reading = servo_reading([well, servo], hot=65.0, lost_s=0.1)
    assert reading.level is level and (level is Level.OK or why in reading.message)
    assert reading.values["wrist.temperature_degC"] == 30.0


@pytest.mark.parametrize(
    ("degrees", "memory", "level"),
    [(50.0, 0.2, Level.OK), (80.0, 0.2, Level.WARN), (90.0, 0.2, Level.ERROR), (50.0, 0.96, Level.WARN)],
)
def test_a_gpu_is_judged_by_warmth_and_memory(degrees: float, memory: float, level: Level) -> None:
    assert gpu_reading("gpu 0", degrees, 0.5, memory).level is level
