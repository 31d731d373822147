"""What every Arm does. A new one joins `OPEN`: a function from the test's `Bench` to the connected arm."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from drivers.shared_world import SharedArm
from robot_stack.errors import DriverError
from robot_stack.interfaces import Arm
from robot_stack.types import JointCommand, SafeCommand
from tests.drivers.teleop_rig import servo_rig

DRIVERS = Path(__file__).parents[1] / "drivers"


@dataclass
class Bench:
    """What the far end of an arm needs: fixtures by name, and a stack that ends what was started for the test."""

    fixture: Callable[[str], object]
    ends: ExitStack


def servo_arm(kind: str, bench: Bench) -> Arm:
    """Six servos on a simulated bus."""
    rig = servo_rig()
    servos = rig.ServoSimulator(kind)
    bench.ends.callback(servos.close)
    arm: Arm = rig.connect(servos, rig.so101(kind, servos.path))
    return arm


def ros2_arm(kind: str, bench: Bench) -> Arm:
    """The controllers of ros2_control in another process."""
    from drivers.ros2_control import Ros2ControlArm
    from robot_stack.config.robot_file import load_robot
    from robot_stack.device import Controller

    domain = bench.fixture("controllers")
    settings = Controller("arm_controller", kind, wait_s=60.0, lost_s=2.0)  # type: ignore[arg-type]
    robot = replace(load_robot("so101"), controller=settings)
    return Ros2ControlArm(robot, domain)  # type: ignore[arg-type]


def ur_arm(bench: Bench) -> Arm:
    """A UR controller in another process, through the real `ur_rtde`."""
    pytest.importorskip("rtde_control", reason="needs the extra `ur`: pip install 'robot_stack[ur]'")
    from drivers.ur import UrArm
    from robot_stack.config.robot_file import load_robot
    from robot_stack.device import UrLink

    host = f"127.{os.getpid() % 250 + 1}.{os.getpid() // 250 % 250}.8"
    command = [sys.executable, str(DRIVERS / "ur_controller.py"), host]
    far_end = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    bench.ends.callback(far_end.wait, timeout=30)
    bench.ends.callback(far_end.kill)
    assert far_end.stdout is not None and far_end.stdout.readline() == "ready\n"
    return UrArm(replace(load_robot("so101"), ur=UrLink(host=host)))


def absent_port() -> Arm:
    servo_rig()
    from drivers.serial_port import SerialPort

    return SerialPort("/dev/no-such-port", 1_000_000, 0.004)  # type: ignore[return-value]


def absent_controllers() -> Arm:
    pytest.importorskip("rclpy", reason="needs ROS 2: `make setup` installs its wheels, or source a system's")
    from drivers.ros2_control import Ros2ControlArm
    from robot_stack.config.robot_file import load_robot
    from robot_stack.device import Controller

    return Ros2ControlArm(replace(load_robot("so101"), controller=Controller(states="/nobody", wait_s=0.2)))


OPEN: dict[str, Callable[[Bench], Arm]] = {
    "shared": lambda bench: SharedArm(str(bench.fixture("world_name"))),
    "feetech": lambda bench: servo_arm("feetech", bench),
    "dynamixel": lambda bench: servo_arm("dynamixel", bench),
    "joint_trajectory": lambda bench: ros2_arm("joint_trajectory", bench),
    "forward_command": lambda bench: ros2_arm("forward_command", bench),
    "ur": ur_arm,
}
ABSENT: dict[str, Callable[[], Arm]] = {
    "no_world": lambda: SharedArm("nobody.runs.this"),
    "no_port": absent_port,
    "no_controllers": absent_controllers,
}


SLOW = ("joint_trajectory", "forward_command", "ur")
"""DDS takes up to 3 s to find its peers, `ur_rtde` to let go, for each test anew. The quick part: tests/drivers/test_NAME.py."""


@pytest.fixture(params=[pytest.param(kind, marks=pytest.mark.slow if kind in SLOW else ()) for kind in OPEN])
def arm(request: pytest.FixtureRequest) -> Iterator[Arm]:
    with ExitStack() as ends:
        device = OPEN[request.param](Bench(request.getfixturevalue, ends))
        ends.callback(device.close)
        yield device


def _command(q: np.ndarray, qd: np.ndarray | None = None) -> SafeCommand:
    return SafeCommand(JointCommand(time.monotonic_ns(), q, qd))


def test_it_is_an_arm(arm: Arm) -> None:
    assert isinstance(arm, Arm)


def test_the_state_has_one_finite_value_a_joint_and_a_stamp_of_now(arm: Arm) -> None:
    state = arm.read()
    assert state.q.shape == state.qd.shape == (len(arm.joint_names),)
    assert np.isfinite(state.q).all()
    assert np.isfinite(state.qd).all()
    assert 0 <= time.monotonic_ns() - state.t_ns < 1_000_000_000


def test_stamps_never_run_backwards(arm: Arm) -> None:
    stamps = [arm.read().t_ns for _ in range(500)]
    assert stamps == sorted(stamps)


def test_it_goes_where_it_is_sent(arm: Arm) -> None:
    start = arm.read().q
    target = start + np.where(np.arange(start.size) == 0, 0.05, 0.0)
    until = time.monotonic() + 30
    while np.abs(arm.read().q - target).max() > 0.005 and time.monotonic() < until:
        arm.send(_command(target))
        time.sleep(0.01)
    np.testing.assert_allclose(arm.read().q, target, atol=0.006)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_command_that_is_not_finite_is_refused(arm: Arm, bad: float) -> None:
    q = arm.read().q.copy()
    q[2] = bad
    with pytest.raises(DriverError, match="finite"):
        arm.send(_command(q))


def test_a_velocity_that_is_not_finite_is_refused(arm: Arm) -> None:
    q = arm.read().q
    with pytest.raises(DriverError, match="finite"):
        arm.send(_command(q, np.full_like(q, np.nan)))


@pytest.mark.parametrize("change", [-1, 1])
def test_a_command_of_the_wrong_length_is_refused(arm: Arm, change: int) -> None:
    with pytest.raises(DriverError, match="joints"):
        arm.send(_command(np.zeros(len(arm.joint_names) + change)))


def test_closing_twice_is_allowed(arm: Arm) -> None:
    arm.close()
    arm.close()
    with pytest.raises(DriverError):
        arm.read()


def test_a_closed_arm_neither_reads_nor_moves(arm: Arm) -> None:
    q = arm.read().q
    arm.close()
    with pytest.raises(DriverError):
        arm.read()
    with pytest.raises(DriverError):
        arm.send(_command(q))


@pytest.mark.parametrize("kind", ABSENT)
def test_connecting_to_an_arm_that_is_not_there_is_an_error_with_a_next_step(kind: str) -> None:
    with pytest.raises(DriverError, match="start"):
        ABSENT[kind]()
