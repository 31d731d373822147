"""The newest frames, and the wait for fresh ones, with the camera's messages handed in by the test."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: `make setup` installs its wheels, or source a system's")

from robot_stack.data.wire import to_message
from robot_stack.graph import Topic
from robot_stack.nodes.messages import make
from robot_stack.nodes.newest import NewestFrames
from robot_stack.types import CameraFrame

LONG_S = 60.0


class Ears:
    """What a node has of `NewestFrames`: the callbacks it subscribed, by topic."""

    def __init__(self) -> None:
        self.heard: dict[str, Callable[[Any], None]] = {}
        self.sayer = None

    def subscribe(self, topic: Topic, callback: Callable[[Any], None]) -> None:
        self.heard[topic.name] = callback


def image(t_ns: int) -> Any:
    return to_message(CameraFrame("any", t_ns, np.zeros((2, 2, 3), np.uint8)), make)


def test_a_picture_that_has_just_come_is_not_waited_for() -> None:
    ears = Ears()
    frames = NewestFrames(ears, ["scene"])
    ears.heard["/scene/image"](image(7))
    assert frames.fresh(LONG_S)["scene"].t_ns == 7


def test_who_wants_fresh_pictures_waits_for_one_of_each_camera() -> None:
    ears = Ears()
    frames = NewestFrames(ears, ["scene", "wrist"])
    found: list[dict[str, CameraFrame]] = []
    waiting = threading.Thread(target=lambda: found.append(dict(frames.fresh(LONG_S))))
    waiting.start()
    ears.heard["/scene/image"](image(7))
    ears.heard["/wrist/image"](image(8))
    waiting.join(LONG_S)
    assert {name: frame.t_ns for name, frame in found[0].items()} == {"scene": 7, "wrist": 8}


def test_the_wait_ends_without_a_picture_and_a_policy_without_cameras_never_waits() -> None:
    assert NewestFrames(Ears(), ["scene"]).fresh(0.001) == {}
    assert NewestFrames(Ears(), []).fresh(LONG_S) == {}
