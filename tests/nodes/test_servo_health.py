"""What arm_node says on /diagnostics about an SO-101 on the simulated servo bus."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: `make setup` installs its wheels, or source a system's")
for _package in ("serial", "scservo_sdk", "dynamixel_sdk"):
    pytest.importorskip(_package, reason="needs the extra `servos`: pip install 'robot_stack[servos]'")

from robot_stack.diagnostics import Level, Reading  # noqa: E402
from robot_stack.nodes.arm_node import servo_readings  # noqa: E402
from tests.drivers import servo_rig as rig  # noqa: E402

PATIENCE_S = 60.0


@pytest.fixture
def servos() -> Iterator[Any]:
    simulator = rig.ServoSimulator("feetech")
    yield simulator
    simulator.close()


def until(reading: Callable[[], Reading], condition: Callable[[Reading], bool]) -> Reading:
    deadline = time.monotonic() + PATIENCE_S
    while not condition(found := reading()):
        assert time.monotonic() < deadline, found
        time.sleep(0.01)
    return found


def test_a_warm_servo_is_a_warning_and_a_hot_or_a_lost_one_an_error_that_names_it(servos: Any) -> None:
    robot = rig.so101("feetech", servos.path, lost_s=1.0)
    arm = rig.connect(servos, robot)

    def reading() -> Reading:
        (found,) = servo_readings(arm, robot.bus)
        return found

    try:
        well = until(reading, lambda found: found.level is Level.OK)
        assert set(well.values) == {f"{joint}.{what}" for joint in robot.joint_names for what in ("temperature_degC", "missed")}
        for degrees, level in ((58, Level.WARN), (80, Level.ERROR)):
            servos.servos[2].put(servos.table.temperature, degrees)
            assert "shoulder_lift" in until(reading, lambda found, level=level: found.level is level).message
        servos.servos[2].put(servos.table.temperature, 40)
        servos.servos[3].dropped = True
        lost = until(reading, lambda found: "elbow_flex: silent for" in found.message)
        assert lost.level is Level.ERROR and int(lost.values["elbow_flex.missed"]) > 0
    finally:
        arm.close()


def test_an_arm_that_knows_nothing_of_servos_says_nothing_of_them() -> None:
    assert list(servo_readings(object(), rig.so101("feetech", "/dev/null").bus)) == []
