"""Calibration files: what was measured comes back, and one that does not fit the robot is refused with the next step."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("serial", reason="needs the extra `servos`: pip install 'robot_stack[servos]'")

from drivers.calibration import Angles, Calibration, JointCalibration, default_path, load, save
from robot_stack.config.robot_file import load_robot
from robot_stack.errors import ConfigError
from robot_stack.kinematics import Kinematics
from robot_stack.robot import RobotSpec


@pytest.fixture
def robot(tmp_path: Path) -> RobotSpec:
    spec = load_robot("so101")
    return replace(spec, bus=replace(spec.bus, calibration=str(tmp_path / "deep" / "so101.json")))


@pytest.fixture
def calibration(robot: RobotSpec) -> Calibration:
    joints = {j.name: JointCalibration(j.servo.id, 777, -12, 200, 3900, 1) for j in robot.joints}
    return Calibration(robot.name, robot.driver, joints)


def test_what_was_saved_is_loaded(robot, calibration) -> None:
    save(calibration, default_path(robot))
    assert load(robot) == calibration


def test_the_file_before_is_kept_and_no_half_written_one_is_left(robot, calibration) -> None:
    path = default_path(robot)
    save(calibration, path)
    first = path.read_text()
    save(replace(calibration, robot="other"), path)
    assert path.with_name("so101.json.old").read_text() == first
    assert sorted(p.name for p in path.parent.iterdir()) == ["so101.json", "so101.json.old"]


def test_without_a_file_the_user_is_told_to_calibrate(robot) -> None:
    with pytest.raises(ConfigError, match="robot-stack calibrate"):
        load(robot)


def test_the_default_place_is_the_users_config_folder(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert default_path(load_robot("so101")) == tmp_path / "robot_stack" / "calibration" / "so101.json"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("version", 2),
        ("joints", {}),
        ("driver", "dynamixel"),
        ("robot", "left"),
        ("joints", {"gripper": {"id": 6}}),
        ("joints", 3),
    ],
)
def test_a_file_that_is_not_this_arms_is_refused(robot, calibration, key: str, value: object) -> None:
    path = default_path(robot)
    save(calibration, path)
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(ConfigError, match="robot-stack calibrate"):
        load(robot)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"version": 1}'])
def test_a_damaged_file_is_refused(robot, text: str) -> None:
    path = default_path(robot)
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(ConfigError, match="robot-stack calibrate"):
        load(robot)


def test_angles_and_ticks_are_inverse(robot, calibration) -> None:
    angles = Angles(robot, calibration)
    q = np.array([0.3, -0.4, 0.5, -0.6, 0.7, 0.8])
    np.testing.assert_allclose(angles.positions(angles.ticks(q)), q, atol=math.pi / 4096)


def test_the_middle_of_the_grippers_range_is_half_open(robot, calibration) -> None:
    assert Angles(robot, calibration).positions(np.full(6, 2050.0))[5] == pytest.approx(0.785)


def test_limits_beyond_the_measured_range_are_refused_by_name(robot, calibration) -> None:
    short = replace(calibration.joints["elbow_flex"], range_min=1800, range_max=2200)
    with pytest.raises(ConfigError, match=r"elbow_flex.*q_min"):
        Angles(robot, replace(calibration, joints={**calibration.joints, "elbow_flex": short}))


@pytest.mark.parametrize(
    ("q", "p_W"),
    [
        ([0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0204, -0.3756, 0.25895]),
        ([0.3, -0.5, 0.7, 0.2, 0.4, 0.0], [-0.06469, -0.28774, 0.17096]),
        ([-1.0, 0.4, -0.6, 0.9, -1.2, 0.0], [0.32000, -0.20675, 0.16884]),
    ],
)
def test_the_so101_file_puts_the_tip_where_its_urdf_does(q: list[float], p_W: list[float]) -> None:
    """Origins and axes of so101_new_calib.urdf, multiplied out once: `gripperframe` in `base`."""
    np.testing.assert_allclose(Kinematics(load_robot("so101")).tip(np.array(q))[0], p_W, atol=2e-4)
