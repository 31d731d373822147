"""What a loop and a node count for /diagnostics while they work."""

import threading
import time
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: `make setup` installs its wheels, or source a system's")

from robot_stack.diagnostics import Level, Reading
from robot_stack.graph import JOINTS, STOP_ALL
from robot_stack.nodes.health import Ear, readings_of, status_array
from robot_stack.nodes.messages import make
from robot_stack.nodes.periodic import Periodic
from robot_stack.nodes.sayer import Sayer

MS = 1_000_000
WAIT_S = 60.0


class Sink:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def warning(self, text: str) -> None:
        self.lines.append(text)


def test_a_step_longer_than_its_period_is_counted_as_missed_deadlines() -> None:
    called = threading.Event()

    def step(_: int) -> None:
        if not called.is_set():
            begin = time.monotonic_ns()
            while time.monotonic_ns() < begin + 35 * MS:
                pass
        else:
            again.set()
        called.set()

    again = threading.Event()
    loop = Periodic("test", 10 * MS, step, lambda error: None)
    loop.start()
    assert again.wait(WAIT_S)
    loop.stop()
    spell = loop.spell()
    assert spell.calls >= 1 and spell.missed >= 3 and spell.busy_ns >= 35 * MS
    told = loop.spell()
    assert (told.missed, told.busy_ns) == (0, 0) and told.calls <= 1, "asked again it begins anew"


def test_a_core_that_is_not_there_is_said() -> None:
    loop = Periodic("test", MS, lambda _: None, lambda error: None, cpu=4096)
    loop.start()
    loop.stop()
    assert "run.cpu: found 4096, allowed [" in loop.said


def test_an_ear_counts_what_it_hands_on_and_how_old_it_was() -> None:
    heard: list[Any] = []
    ear = Ear(JOINTS, heard.append)
    now_ns = time.monotonic_ns()
    stamp = make("builtin_interfaces/msg/Time", sec=(now_ns - 5 * MS) // 10**9, nanosec=(now_ns - 5 * MS) % 10**9)
    message = make(JOINTS.type, header=make("std_msgs/msg/Header", stamp=stamp, frame_id=""))
    ear(message)
    (reading,) = ear.check(time.monotonic_ns(), 1000 * MS)
    assert heard == [message] and float(reading.values["age_max_ms"]) >= 5.0 and reading.values["rate_hz"] == 1.0


def test_an_ear_hands_on_a_message_without_a_stamp() -> None:
    heard: list[Any] = []
    Ear(STOP_ALL, heard.append)(make(STOP_ALL.type))
    assert len(heard) == 1


def test_what_is_left_to_say_waits_for_the_main_loop_and_is_counted() -> None:
    sink = Sink()
    sayer = Sayer(sink)
    sayer.leave("arm", "unplugged")
    assert not sink.lines
    sayer.flush()
    assert sink.lines == ["unplugged"]
    reading = sayer.reading()
    assert (reading.level, reading.message, reading.values["count"]) == (Level.WARN, "unplugged", 1)
    assert sayer.reading().level is Level.OK


def test_a_costly_sentence_is_made_only_when_it_is_said() -> None:
    made: list[str] = []

    def sentence() -> str:
        made.append("once")
        return "refused"

    sayer = Sayer(Sink())
    for _ in range(5):
        sayer.say("door", sentence)
    assert made == ["once"] and sayer.reading().values["count"] == 5


def test_readings_survive_the_wire() -> None:
    said = [Reading("control", Level.WARN, "late", {"missed": 3}), Reading("servos", Level.STALE, "silent")]
    found = readings_of(status_array("left/arm_node", said, 5))
    assert list(found) == ["left/arm_node: control", "left/arm_node: servos"]
    control = found["left/arm_node: control"]
    assert (control.part, control.level, control.message, control.values) == ("control", Level.WARN, "late", {"missed": "3"})
