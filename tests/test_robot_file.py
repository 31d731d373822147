"""Robot files: what ships loads, what is wrong is named."""

from pathlib import Path

import pytest

from robot_stack.config.plain import build
from robot_stack.config.robot_file import FOLDER, load_robot
from robot_stack.errors import ConfigError
from robot_stack.robot import RobotSpec


def test_the_shipped_arm_has_six_joints_and_a_gripper_and_two_cameras() -> None:
    spec = load_robot("sim_arm")
    assert len(spec.joints) == 7
    assert [joint.kind for joint in spec.joints] == ["revolute"] * 6 + ["prismatic"]
    assert [camera.name for camera in spec.cameras] == ["scene", "wrist"]


def test_an_unknown_robot_names_the_shipped_ones() -> None:
    with pytest.raises(ConfigError, match="sim_arm"):
        load_robot("r2d2")


def test_an_unknown_key_is_named_with_the_allowed_ones() -> None:
    with pytest.raises(ConfigError, match=r"joints\[0\].colour: unknown key.*qd_max"):
        build(RobotSpec, {"joints": [{"colour": "red"}]})


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match="q_home"):
        build(RobotSpec, {"name": "x"})


def test_a_value_of_another_type_or_kind_is_named(tmp_path: Path) -> None:
    text = (FOLDER / "sim_arm.yaml").read_text(encoding="utf-8")
    for old, new, named in (
        ("fovy: 0.80", "fovy: wide", r"cameras\[0\].fovy: found 'wide'"),
        ("prismatic", "ball", "found 'ball'"),
    ):
        (tmp_path / "mine.yaml").write_text(text.replace(old, new, 1), encoding="utf-8")
        with pytest.raises(ConfigError, match=f"mine.yaml: .*{named}"):
            load_robot(str(tmp_path / "mine.yaml"))


def test_the_so101_has_two_usb_cameras() -> None:
    assert [(camera.name, camera.device.kind) for camera in load_robot("so101").cameras] == [("scene", "v4l2"), ("wrist", "v4l2")]
