"""The ros2_control driver against a controller in another process, on real ROS 2 topics."""

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: `make setup` installs its wheels, or source a system's")

from drivers.ros2_control import Ros2ControlArm
from robot_stack.config.robot_file import load_robot
from robot_stack.device import Controller
from robot_stack.errors import DriverError
from robot_stack.types import JointCommand, SafeCommand
from tests.ros_domain import own_domain
from tests.waiting import PATIENCE_S, until

ROBOT = load_robot("so101")


@pytest.fixture(scope="module")
def far_end(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    program = Path(__file__).with_name("controller_node.py")
    with own_domain(tmp_path_factory.mktemp("dds")) as (domain, env):
        process = subprocess.Popen([sys.executable, program, *ROBOT.joint_names], env=env)
        yield domain, process
        process.kill()
        process.wait(timeout=30)


def connect(domain: int, **settings: object) -> Ros2ControlArm:
    asked = {"name": "arm_controller", "wait_s": PATIENCE_S, "lost_s": 3.0} | settings
    return Ros2ControlArm(replace(ROBOT, controller=Controller(**asked)), domain)


@pytest.mark.parametrize("kind", ["joint_trajectory", "forward_command"])
def test_the_controller_is_driven_and_its_states_come_in_our_order(far_end, kind: str) -> None:
    arm = connect(far_end[0], kind=kind)
    try:
        q = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]) + (0.1 if kind == "forward_command" else 0.0)

        def there() -> bool:
            arm.send(SafeCommand(JointCommand(time.monotonic_ns(), q, np.full(6, 0.1))))
            return bool(np.abs(arm.read().q - q).max() < 0.005)

        until(there)
        assert arm.read().tau is None and np.isfinite(arm.read().qd).all()
        with pytest.raises(DriverError, match="finite"):
            arm.send(SafeCommand(JointCommand(0, np.full(6, np.nan))))
    finally:
        arm.close()


def test_without_a_controller_the_topic_is_named(far_end) -> None:
    with pytest.raises(DriverError, match="/other_controller/joint_trajectory"):
        connect(far_end[0], name="other_controller", wait_s=5.0)


def test_arm_nodes_own_joint_states_are_not_taken_for_the_arms(far_end) -> None:
    from sensor_msgs.msg import JointState

    arm = connect(far_end[0])
    try:
        ours = JointState(name=list(ROBOT.joint_names), position=[9.0] * 6, velocity=[0.0] * 6)
        ours.header.frame_id = "q qd"
        ours.header.stamp.sec = 1
        arm._take(ours)
        assert np.abs(arm.read().q).max() < 5.0
    finally:
        arm.close()


def test_silent_controllers_are_gone(far_end) -> None:
    """Last: it ends the far end."""
    arm = connect(far_end[0], lost_s=1.0)
    far_end[1].kill()
    try:

        def gone() -> bool:
            try:
                arm.read()
            except DriverError as error:
                return "joint_state_broadcaster" in str(error)
            return False

        until(gone)
        with pytest.raises(DriverError, match="no state"):
            arm.send(SafeCommand(JointCommand(0, np.zeros(6))))
    finally:
        arm.close()
