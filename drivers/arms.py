"""The arms that ship: which driver a robot's file means. Imports inside the branches: only its robot needs a vendor's package."""

from typing import TYPE_CHECKING

from robot_stack.errors import ConfigError, DriverError
from robot_stack.interfaces import Arm
from robot_stack.robot import RobotSpec

if TYPE_CHECKING:
    from drivers.servo_bus import ServoWire

SERVOS = ("feetech", "dynamixel")
DRIVERS = (*SERVOS, "ros2_control", "ur")


def open_arm(robot: RobotSpec) -> Arm:
    """The arm of `robot`, connected. Raises DriverError when it or its package is not there, ConfigError without calibration."""
    try:
        match robot.driver:
            case "feetech" | "dynamixel":
                from drivers.calibration import load
                from drivers.servo_arm import ServoArm

                calibration = load(robot)
                return ServoArm(robot, open_wire(robot.driver, robot.bus.port, robot.bus.baud, robot.bus.reply_s), calibration)
            case "ros2_control":
                from drivers.ros2_control import Ros2ControlArm

                return Ros2ControlArm(robot)
            case "ur":
                from drivers.ur import UrArm

                return UrArm(robot)
    except ModuleNotFoundError as error:
        raise _not_installed(robot.driver, error) from error
    raise ConfigError(f"robot.driver: found {robot.driver!r}, allowed sim, {', '.join(DRIVERS)}")


def open_wire(kind: str, path: str, baud: int, reply_s: float) -> "ServoWire":
    """The servos of `kind` on the serial port at `path`. Raises DriverError, and ConfigError on another kind."""
    try:
        match kind:
            case "feetech":
                from drivers.feetech import FeetechWire
                from drivers.serial_port import SerialPort

                return FeetechWire(SerialPort(path, baud, reply_s))
            case "dynamixel":
                from drivers.dynamixel import DynamixelWire
                from drivers.serial_port import SerialPort

                return DynamixelWire(SerialPort(path, baud, reply_s))
    except ModuleNotFoundError as error:
        raise _not_installed(kind, error) from error
    raise ConfigError(f"robot.driver: found {kind!r}, allowed {', '.join(SERVOS)}: only servos on a bus are calibrated")


def _not_installed(driver: str, error: ModuleNotFoundError) -> DriverError:
    steps = {"ur": "pip install 'robot_stack[ur]'", "ros2_control": "source the setup file of a ROS 2, or `make setup`"}
    step = steps.get(driver, "pip install 'robot_stack[servos]'")
    return DriverError(f"driver {driver}: {error.name} is not installed; next: {step}, then start again")
