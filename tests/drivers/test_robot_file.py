"""Robot files: what ships loads, what is wrong is named."""

import pytest

from drivers.robot_file import read_robot, robot_from
from robot_stack.errors import ConfigError


def test_the_shipped_arm_has_six_joints_and_a_gripper_and_two_cameras() -> None:
    spec = read_robot("sim_arm")
    assert len(spec.joints) == 7
    assert [joint.kind for joint in spec.joints] == ["revolute"] * 6 + ["prismatic"]
    assert [camera.name for camera in spec.cameras] == ["scene", "wrist"]


def test_an_unknown_robot_names_the_shipped_ones() -> None:
    with pytest.raises(ConfigError, match="sim_arm"):
        read_robot("r2d2")


def test_an_unknown_key_is_named_with_the_allowed_ones() -> None:
    with pytest.raises(ConfigError, match=r"joints\[0\].*'colour'.*qd_max"):
        robot_from({"joints": [{"colour": "red"}]}, "here")


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match="q_home"):
        robot_from({"name": "x"}, "here")
