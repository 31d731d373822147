"""Calibration of a servo arm: which ticks are which angles. One JSON file a robot, checked against the servos at each start.

``q = q_middle + sign (ticks - middle) 2 pi / 4096 / gear``, `middle`: of the range of motion that was measured.
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from drivers.servo_bus import TURN, Homing
from robot_stack.errors import ConfigError
from robot_stack.robot import RobotSpec
from robot_stack.size_limits import parse_json, read_text
from robot_stack.types import Array

VERSION = 1
SLACK = 0.1
"""rad (m): the limits of the robot's file may reach this far beyond the range that was measured; links and stops give way."""


@dataclass(frozen=True, slots=True)
class JointCalibration:
    """One joint: its servo `id` and `model` number, what is stored in the servo (`offset`, range in ticks), and its direction."""

    id: int
    model: int
    offset: int
    range_min: int
    range_max: int
    sign: int

    @property
    def homing(self) -> Homing:
        """What must be stored in the servo."""
        return Homing(self.offset, self.range_min, self.range_max)


@dataclass(frozen=True)
class Calibration:
    """All joints of `robot`, by name; `driver` is the kind of bus."""

    robot: str
    driver: str
    joints: Mapping[str, JointCalibration]


class Angles:
    """Ticks to joint angles and back for `robot`, its joints all in `calibration`. Raises ConfigError where they do not fit."""

    def __init__(self, robot: RobotSpec, calibration: Calibration) -> None:
        found = [calibration.joints[joint.name] for joint in robot.joints]
        self.middle = np.array([0.5 * (c.range_min + c.range_max) for c in found])
        gear = np.array([joint.servo.gear for joint in robot.joints])
        self._q_middle = np.array([joint.servo.q_middle for joint in robot.joints])
        self._per_tick = np.array([c.sign for c in found]) * 2.0 * math.pi / TURN / gear
        half = np.array([0.5 * (c.range_max - c.range_min) for c in found]) * np.abs(self._per_tick)
        for joint, q, reach in zip(robot.joints, self._q_middle, half, strict=True):
            if joint.q_min < q - reach - SLACK or joint.q_max > q + reach + SLACK:
                raise ConfigError(
                    f"joint {joint.name}: calibrated from {q - reach:.2f} to {q + reach:.2f}, but the robot allows "
                    f"{joint.q_min:.2f} to {joint.q_max:.2f}; narrow q_min and q_max, or calibrate again through the whole range"
                )

    def positions(self, ticks: Array) -> Array:
        """Joint positions (J,) rad of `ticks` (J,)."""
        return np.asarray(self._q_middle + (ticks - self.middle) * self._per_tick)

    def speeds(self, ticks_per_s: Array) -> Array:
        """Joint speeds (J,) rad/s."""
        return np.asarray(ticks_per_s * self._per_tick)

    def ticks(self, q: Array) -> Array:
        """The nearest ticks (J,) of joint positions `q` (J,) rad."""
        return np.asarray(np.rint(self.middle + (q - self._q_middle) / self._per_tick))


def default_path(robot: RobotSpec) -> Path:
    """Where the calibration of `robot` is kept: `bus.calibration`, else by name in the user's config folder."""
    if robot.bus.calibration:
        return Path(robot.bus.calibration).expanduser()
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return home / "robot_stack" / "calibration" / f"{robot.name}.json"


def save(calibration: Calibration, path: Path) -> None:
    """Write `calibration` whole or not at all; one that is there already is kept beside it as ``<name>.json.old``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file():
        path.with_name(path.name + ".old").write_bytes(path.read_bytes())
    fresh = path.with_name(path.name + ".new")
    with fresh.open("w", encoding="utf-8") as file:
        json.dump({"version": VERSION, **asdict(calibration)}, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def load(robot: RobotSpec) -> Calibration:
    """The calibration of `robot`. Raises ConfigError when there is none, it is damaged, or it is of another arm."""
    path = default_path(robot)
    again = "next: robot-stack calibrate robot=..."
    if not path.is_file():
        raise ConfigError(f"calibration: found no {path}, allowed the file of robot {robot.name!r}; {again}")
    try:
        calibration = _from_json(parse_json(read_text(path)))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"calibration {path}: cannot be read ({error!r}); {again}") from error
    wanted = {joint.name: joint.servo.id for joint in robot.joints}
    found = {name: joint.id for name, joint in calibration.joints.items()}
    if (calibration.robot, calibration.driver, found) != (robot.name, robot.driver, wanted):
        raise ConfigError(
            f"calibration {path}: found robot {calibration.robot!r}, {calibration.driver} servos {found}; "
            f"allowed {robot.name!r}, {robot.driver} servos {wanted}; {again}"
        )
    return calibration


def _from_json(values: Any) -> Calibration:
    if values["version"] != VERSION:
        raise ValueError(f"version {values['version']}, allowed {VERSION}")
    joints = {str(name): JointCalibration(**fields) for name, fields in values["joints"].items()}
    for name, joint in joints.items():
        numbers = asdict(joint).values()
        if not all(type(n) is int for n in numbers) or not joint.range_min < joint.range_max or joint.sign not in (-1, 1):
            raise ValueError(f"joint {name}: {joint}")
    return Calibration(str(values["robot"]), str(values["driver"]), joints)
