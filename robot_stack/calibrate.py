"""`robot-stack calibrate`: a person moves the arm, its servos say where that is: middle, range and direction of each joint.

The middle of each range is put to the middle of the encoder's turn, so that no joint crosses its wrap; offset and range are
stored in the servos too, which then keep the range by themselves. Maths: `drivers/calibration.py`.
"""

import math
import select
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from drivers.arms import open_wire
from drivers.calibration import SLACK, Calibration, JointCalibration, default_path, save
from drivers.servo_arm import check
from drivers.servo_bus import MIDDLE, TURN, Homing, Reading, ServoWire, model_of
from robot_stack.build import load_robot
from robot_stack.config.commands import CalibrateCommand
from robot_stack.errors import ConfigError, DriverError
from robot_stack.robot import RobotSpec

CLEAR_TICKS = 60
"""5 degrees: a smaller turn says nothing of a direction."""
_READ_S = 0.5


class Person(Protocol):
    """Who moves the arm."""

    def ask(self, text: str) -> None:
        """Say `text` and wait until it is done."""
        ...

    def done(self, text: str) -> bool:
        """Show `text` in place of the last one; True once the person says that it is enough."""
        ...


class Console:
    """A person at a terminal: ENTER is the answer."""

    def ask(self, text: str) -> None:
        """Print `text`, wait for ENTER. Raises ConfigError when nobody is there."""
        try:
            input(f"{text}  [ENTER] ")
        except EOFError as error:
            raise ConfigError("calibrate: found no terminal, allowed a person at one: the arm is moved by hand") from error

    def done(self, text: str) -> bool:
        """`text` on the line it was on before; True once ENTER was pressed."""
        print(f"\r{text}", end="", flush=True)
        ready, _, _ = select.select([sys.stdin], [], [], 0.05)
        if ready:
            sys.stdin.readline()
        return bool(ready)


def main(command: CalibrateCommand) -> int:
    """The command: calibrate, say where it was saved."""
    print(f"calibration: {calibrate(command)}")
    return 0


def calibrate(command: CalibrateCommand, person: Person | None = None) -> Path:
    """Calibrate the servo arm `command.robot` with `person` (None: at the terminal); the file it was saved to.

    Raises ConfigError on a robot without servos, DriverError when one does not answer.
    """
    robot = load_robot(command.robot)
    if command.port:
        robot = replace(robot, bus=replace(robot.bus, port=command.port))
    person = person or Console()
    wire = open_wire(robot.driver, robot.bus.port, robot.bus.baud, robot.bus.reply_s)
    try:
        calibration = _measure(robot, wire, person, command.directions)
        path = default_path(robot)
        save(calibration, path)
        check(robot, wire, calibration)
    finally:
        wire.port.close()
    return path


def _measure(robot: RobotSpec, wire: ServoWire, person: Person, directions: bool) -> Calibration:
    models = _models(robot, wire)
    person.ask("Support the arm: its motors let go.")
    for servo in models:
        wire.torque(servo, False)
        wire.prepare(servo, robot.bus.p_gain)
    person.ask("Move every joint to the middle of its range.")
    offsets = {servo: _to_middle(wire, servo, reading) for servo, reading in _read(robot, wire).items()}
    ranges = _ranges(robot, wire, person)
    signs = {joint.servo.id: int(joint.servo.sign) for joint in robot.joints}
    if directions:
        signs |= {j.servo.id: _direction(robot, wire, person, i) for i, j in enumerate(robot.joints)}
    joints = {}
    for joint in robot.joints:
        servo = joint.servo.id
        joints[joint.name] = JointCalibration(servo, models[servo], offsets[servo], *ranges[servo], signs[servo])
        wire.set_homing(servo, joints[joint.name].homing)
    return Calibration(robot.name, robot.driver, joints)


def _models(robot: RobotSpec, wire: ServoWire) -> dict[int, int]:
    """The model number of each servo. Raises ConfigError on ids that cannot be, DriverError naming those that do not answer."""
    ids = [joint.servo.id for joint in robot.joints]
    if len(set(ids)) < len(ids) or not all(0 <= i <= 252 for i in ids):
        raise ConfigError(
            f"robot.joints[].servo.id: found {ids}, allowed different ids, 0 to 252; robot-stack find-arms lists them"
        )
    found = {servo: model for servo in ids if (model := model_of(wire, servo)) is not None}
    if missing := [f"{j.servo.id} ({j.name})" for j in robot.joints if j.servo.id not in found]:
        raise DriverError(
            f"{wire.port.path}: no answer from servos {', '.join(missing)}; check power, cables and ids, start again"
        )
    return found


def _to_middle(wire: ServoWire, servo: int, reading: Reading) -> int:
    offset = wire.offset_to_middle(wire.homing(servo), reading.ticks)
    wire.set_homing(servo, Homing(offset, 0, TURN - 1))
    return offset


def _ranges(robot: RobotSpec, wire: ServoWire, person: Person) -> dict[int, tuple[int, int]]:
    """How far each servo was moved, ticks; asked again until each joint was moved through what the robot's file allows.

    The arm is in the middle now: a servo that counts turns and is not near `MIDDLE` has counted some.
    """
    turns = {servo: round((MIDDLE - reading.ticks) / TURN) * TURN for servo, reading in _read(robot, wire).items()}
    ranges: dict[int, tuple[int, int]] = {}
    while True:
        person.ask("Then move each joint slowly through its whole range, from stop to stop, and press ENTER once more.")
        while True:
            for servo, reading in _read(robot, wire).items():
                ticks = reading.ticks + turns[servo]
                low, high = ranges.get(servo, (ticks, ticks))
                ranges[servo] = max(0, min(low, ticks)), min(TURN - 1, max(high, ticks))
            if person.done(_shown(robot, ranges)):
                break
        if not (short := _unmoved(robot, ranges)):
            return ranges
        person.ask(f"Not moved far enough (or narrow q_min and q_max there): {'; '.join(short)}.")


def _unmoved(robot: RobotSpec, ranges: Mapping[int, tuple[int, int]]) -> list[str]:
    """Joints whose range falls short of what the robot's file allows, with both."""
    short = []
    for joint in robot.joints:
        low, high = ranges[joint.servo.id]
        reach = (high - low) * math.pi / TURN / joint.servo.gear
        middle = joint.servo.q_middle
        if joint.q_min < middle - reach - SLACK or joint.q_max > middle + reach + SLACK:
            found = f"{middle - reach:.2f}..{middle + reach:.2f}"
            short.append(f"{joint.name} {found}, allowed by the robot's file {joint.q_min:.2f}..{joint.q_max:.2f}")
    return short


def _shown(robot: RobotSpec, ranges: Mapping[int, tuple[int, int]]) -> str:
    return "  ".join(f"{joint.name} {low}..{high}" for joint in robot.joints for low, high in [ranges[joint.servo.id]])


def _direction(robot: RobotSpec, wire: ServoWire, person: Person, index: int) -> int:
    """+1 when the ticks of joint `index` grow with its angle; the sign of the robot's file where the joint was not moved."""
    joint = robot.joints[index]
    before = _read(robot, wire)[joint.servo.id].ticks
    person.ask(f"Turn {joint.name} a little in its positive direction (axis {joint.axis}; not turned: sign {joint.servo.sign}).")
    turned = _read(robot, wire)[joint.servo.id].ticks - before
    return joint.servo.sign if abs(turned) < CLEAR_TICKS else 1 if turned > 0 else -1


def _read(robot: RobotSpec, wire: ServoWire) -> dict[int, Reading]:
    """A reading of every servo. Raises DriverError naming those that do not answer."""
    ids = [joint.servo.id for joint in robot.joints]
    found = wire.read_all(ids, time.monotonic_ns() + round(_READ_S * 1e9))
    if missing := [f"{j.servo.id} ({j.name})" for j in robot.joints if j.servo.id not in found]:
        raise DriverError(f"{wire.port.path}: no answer from servos {', '.join(missing)}; check power and cables, start again")
    return found
