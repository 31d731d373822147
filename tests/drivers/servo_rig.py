"""An SO-101 on simulated servos, for the tests of whatever drives servos."""

from dataclasses import replace

from drivers.calibration import Calibration, JointCalibration
from drivers.dynamixel import DynamixelWire
from drivers.feetech import FeetechWire
from drivers.serial_port import SerialPort
from drivers.servo_arm import ServoArm
from robot_stack.config.robot_file import load_robot
from robot_stack.robot import RobotSpec
from tests.drivers.servo_simulator import ServoSimulator

WIRES = {"feetech": FeetechWire, "dynamixel": DynamixelWire}
RANGE = (148, 3946)


def so101(kind: str, path: str, **bus: object) -> RobotSpec:
    """The SO-101 with servos of `kind` on the port at `path`; patient, as a computer that runs tests may pause for long."""
    robot = load_robot("so101")
    settings = {"reply_s": 0.05, "lost_s": 3.0, "watchdog_s": 2.5, "silent_s": 3.0} | bus
    return replace(robot, driver=kind, control_rate_hz=5.0, bus=replace(robot.bus, port=path, p_gain=0, **settings))


def calibrated(servos: ServoSimulator, robot: RobotSpec, sign: int = 1) -> Calibration:
    """A calibration of `robot` that its simulated servos hold too."""
    found = {}
    for joint in robot.joints:
        servo = servos.servos[joint.servo.id]
        for at, value in zip(servo.table.limits, RANGE, strict=True):
            servo.put(at, value)
        found[joint.name] = JointCalibration(joint.servo.id, servo.table.model, 0, *RANGE, sign)
    return Calibration(robot.name, robot.driver, found)


def connect(servos: ServoSimulator, robot: RobotSpec, calibration: Calibration | None = None) -> ServoArm:
    """The arm, connected."""
    wire = WIRES[robot.driver](SerialPort(robot.bus.port, robot.bus.baud, robot.bus.reply_s))
    return ServoArm(robot, wire, calibration or calibrated(servos, robot))
