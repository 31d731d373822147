"""Twists to joint speeds on the shipped arms."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mink", reason="needs the extra `teleop`: pip install 'robot_stack[teleop]'")
pytest.importorskip("mujoco", reason="needs the extra `teleop`: pip install 'robot_stack[teleop]'")

from drivers.cartesian import CartesianMover
from drivers.hand import Hand
from drivers.twist_ik import SPEED_SHARE, TwistIk
from robot_stack.config.robot_file import load_robot
from robot_stack.config.teleop import TeleopSettings
from robot_stack.kinematics import Kinematics
from robot_stack.robot import RobotSpec

ROOT = Path(__file__).resolve().parents[2]
DT_S = 0.02
ZERO = np.zeros(3)


@pytest.fixture(scope="module", params=["sim_arm", "so101"])
def robot(request: pytest.FixtureRequest) -> RobotSpec:
    return load_robot(request.param)


def bent(robot: RobotSpec) -> np.ndarray:
    """A pose away from limits and singularities."""
    q = np.array(robot.q_home)
    return q + np.where(np.arange(q.size) < 3, 0.15, 0.0)


def driven(robot: RobotSpec, v: np.ndarray, w: np.ndarray, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Every pose (n, J) and speed (n, J) of an arm that does as told."""
    ik, q = TwistIk(robot), bent(robot)
    ik.begin(q)
    poses, speeds = [q], []
    for _ in range(round(seconds / DT_S)):
        speeds.append(ik.step(q, v, w, DT_S))
        q = q + speeds[-1] * DT_S
        poses.append(q)
    return np.array(poses), np.array(speeds)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_tool_moves_along_the_asked_direction_as_fast_as_asked(robot: RobotSpec, axis: int) -> None:
    v = 0.05 * np.eye(3)[axis]
    poses, _ = driven(robot, v, ZERO, 1.0)
    kinematics = Kinematics(robot)
    start, end = kinematics.tip(poses[0])[0], kinematics.tip(poses[-1])[0]
    np.testing.assert_allclose(end - start, v, atol=0.008 if robot.name == "so101" else 0.002)


def test_a_push_alone_does_not_turn_the_tool_of_an_arm_with_six_joints() -> None:
    robot = load_robot("sim_arm")
    poses, _ = driven(robot, np.array([0.0, 0.0, 0.05]), ZERO, 1.0)
    kinematics = Kinematics(robot)
    turned = kinematics.tip(poses[-1])[1] @ kinematics.tip(poses[0])[1].T
    assert np.arccos(np.clip(0.5 * (np.trace(turned) - 1.0), -1.0, 1.0)) < 0.01


def test_a_twist_turns_the_tool_about_itself() -> None:
    robot = load_robot("sim_arm")
    poses, _ = driven(robot, ZERO, np.array([0.0, 0.0, 0.5]), 1.0)
    kinematics = Kinematics(robot)
    p0, R0, _ = kinematics.tip(poses[0])
    p1, R1, _ = kinematics.tip(poses[-1])
    np.testing.assert_allclose(p1, p0, atol=0.002)
    assert np.arctan2((R1 @ R0.T)[1, 0], (R1 @ R0.T)[0, 0]) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("direction", [np.array([1.0, 0, 0]), np.array([0, 0, 1.0]), np.array([0, -1.0, 0.5])])
def test_out_of_reach_the_arm_stretches_and_comes_to_rest_inside_its_limits(robot: RobotSpec, direction: np.ndarray) -> None:
    poses, speeds = driven(robot, 0.4 * direction, ZERO, 4.0)
    assert (np.abs(speeds) <= SPEED_SHARE * robot.qd_max + 1e-6).all()
    assert (poses >= robot.q_min - 1e-6).all() and (poses <= robot.q_max + 1e-6).all()
    tips = np.array([Kinematics(robot).tip(q)[0] for q in poses[-20:]])
    assert np.abs(np.diff(tips, axis=0)).max() / DT_S < 0.05, "it does not whirl at the edge of its reach"


def test_back_from_out_of_reach_the_arm_moves_within_two_tenths_of_a_second() -> None:
    robot = load_robot("sim_arm")
    ik, q = TwistIk(robot), bent(robot)
    ik.begin(q)
    for _ in range(200):
        q = q + DT_S * ik.step(q, np.array([0.4, 0.0, 0.0]), ZERO, DT_S)
    stretched = Kinematics(robot).tip(q)[0]
    for _ in range(10):
        q = q + DT_S * ik.step(q, np.array([-0.4, 0.0, 0.0]), ZERO, DT_S)
    assert (Kinematics(robot).tip(q)[0] - stretched)[0] < -0.01, "what it could not do was not kept for later"


def hand(**pushed: float) -> Hand:
    order = ("x", "y", "z", "roll", "pitch", "yaw")
    return Hand(True, False, np.array([pushed.get(name, 0.0) for name in order]), pushed.get("grip", 0.0))


def test_an_idle_hand_moves_nothing_not_even_towards_home() -> None:
    robot = load_robot("sim_arm")
    mover, q = CartesianMover(robot, TeleopSettings()), bent(robot)
    mover.begin(q, 0)
    moved, qd = mover.move(hand(), q, DT_S, 0)
    assert not qd.any() and np.array_equal(moved, q)


def test_the_gripper_moves_alone_at_its_share_of_the_greatest_speed() -> None:
    robot = load_robot("sim_arm")
    mover, q = CartesianMover(robot, TeleopSettings(grip_speed=0.5)), bent(robot)
    mover.begin(q, 0)
    _, qd = mover.move(hand(grip=-1.0), q, DT_S, 0)
    np.testing.assert_allclose(qd, [0, 0, 0, 0, 0, 0, -0.5 * robot.qd_max[6]])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (TeleopSettings(linear_speed=0.1), [1.0, 0.0, 0.0]),
        (TeleopSettings(linear_speed=0.1, yaw=np.pi / 2), [0.0, 1.0, 0.0]),
        (TeleopSettings(linear_speed=0.1, frame="tool"), None),
    ],
)
def test_directions_are_the_worlds_turned_by_yaw_or_the_tools(settings: TeleopSettings, expected: list[float] | None) -> None:
    robot = load_robot("sim_arm")
    mover, q = CartesianMover(robot, settings), bent(robot)
    kinematics = Kinematics(robot)
    p0, R0, _ = kinematics.tip(q)
    mover.begin(q, 0)
    for _ in range(10):
        q, _ = mover.move(hand(x=1.0), q, DT_S, 0)
    way = kinematics.tip(q)[0] - p0
    direction = R0[:, 0] if expected is None else np.array(expected)
    assert way @ direction / np.linalg.norm(way) > 0.99
    assert np.linalg.norm(way) == pytest.approx(0.02, rel=0.1)


def test_inverse_kinematics_loads_neither_jax_nor_torch() -> None:
    code = "import sys, drivers.twist_ik; print([m for m in ('jax', 'torch', 'hydra') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
