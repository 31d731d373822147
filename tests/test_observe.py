"""An observation is complete, fresh and of one time, or there is none and the reason names the input."""

import numpy as np
import pytest

from robot_stack.observe import Missing, ObserveLimits, observe
from robot_stack.types import CameraFrame, JointState

MS = 1_000_000
NOW = 1_000 * MS
LIMITS = ObserveLimits()


def _frame(name: str, age_ms: int) -> CameraFrame:
    return CameraFrame(name, NOW - age_ms * MS, np.zeros((4, 4, 3), np.uint8))


def _joints(age_ms: int) -> JointState:
    return JointState(NOW - age_ms * MS, np.zeros(2), np.zeros(2))


def _observe(ages: dict[str, int], joints_age: int | None = 5, cameras: tuple[str, ...] = ("scene", "wrist")):
    frames = {name: _frame(name, age) for name, age in ages.items()}
    joints = [] if joints_age is None else [_joints(joints_age)]
    return observe(frames, joints, cameras, NOW, LIMITS, "do it")


def test_a_complete_set_becomes_an_observation_of_its_oldest_input() -> None:
    seen, missing, why = _observe({"scene": 40, "wrist": 20, "unused": 900})
    assert missing is None and why == ""
    assert seen.t_ns == NOW - 40 * MS and set(seen.frames) == {"scene", "wrist"} and seen.instruction == "do it"


@pytest.mark.parametrize(
    ("ages", "joints_age", "missing", "named"),
    [
        ({"scene": 10}, 5, Missing.CAMERA, "wrist"),
        ({"scene": 10, "wrist": 10}, None, Missing.JOINTS, "joints"),
        ({"scene": 201, "wrist": 150}, 150, Missing.STALE, "scene"),
        ({"scene": 10, "wrist": 10}, 201, Missing.STALE, "joints"),
        ({"scene": 90, "wrist": 10}, 5, Missing.SKEW, "scene"),
    ],
)
def test_what_is_lacking_is_said_by_name(ages: dict, joints_age: int | None, missing: Missing, named: str) -> None:
    seen, found, why = _observe(ages, joints_age)
    assert seen is None and found is missing and named in why


def test_the_joints_are_those_of_when_the_newest_picture_was_taken() -> None:
    frames = {"scene": _frame("scene", 60), "wrist": _frame("wrist", 43)}
    heard = [_joints(age) for age in (70, 60, 50, 40, 30, 20, 10, 0)]
    seen, _, _ = observe(frames, heard, ("scene", "wrist"), NOW, LIMITS)
    assert seen.joints.t_ns == NOW - 40 * MS and seen.t_ns == NOW - 60 * MS


def test_limits_themselves_are_allowed() -> None:
    assert _observe({"scene": 200, "wrist": 150}, 120)[0] is not None


def test_a_robot_without_cameras_observes_its_joints() -> None:
    assert _observe({}, cameras=())[0].t_ns == NOW - 5 * MS
