"""A leader arm: a person moves it, another arm follows. Its servos are read and never powered.

Joint angle to joint angle by name, or as `teleop.leader_joints` says; the handle moves the gripper, range to range, its own as
calibration found it. At the clutch the follower stays where it is, however the leader stands: the difference is kept and then
taken back with `teleop.align_speed`, so that both come to the same pose without a jump.
"""

import numpy as np

from drivers.arms import open_wire
from drivers.calibration import Angles, Calibration
from drivers.hand import Hand
from drivers.reopened import Reopened
from drivers.servo_arm import ServoArm
from robot_stack.config.teleop import TeleopSettings
from robot_stack.errors import ConfigError
from robot_stack.kinematics import Kinematics
from robot_stack.robot import RobotSpec
from robot_stack.types import Array, JointState


class LeaderMover:
    """The joints of `robot` follow `leader`, described by `spec` and `calibration`. Raises ConfigError on joints it lacks."""

    def __init__(
        self,
        robot: RobotSpec,
        settings: TeleopSettings,
        leader: Reopened[JointState],
        spec: RobotSpec,
        calibration: Calibration,
    ) -> None:
        self._leader = leader
        self._align = settings.align_speed if settings.leader_scale == 1.0 else 0.0
        self._sources, self._scale, self._zero = _mapping(robot, settings, spec, calibration)
        self._led = self._sources >= 0
        self._offset = np.zeros(len(robot.joints))

    def begin(self, q: Array, now_ns: int) -> None:
        """The follower at `q` (J,) stays there."""
        self._offset = q - self._pose(self._leader.read(now_ns))

    def move(self, hand: Hand, q: Array, dt_s: float, now_ns: int) -> tuple[Array, Array]:
        """Where the leader is, but for what is left of the difference at the clutch, and its speed. A joint not led stands."""
        state = self._leader.read(now_ns)
        step = np.minimum(np.maximum(-self._offset, -self._align * dt_s), self._align * dt_s)
        self._offset = np.where(self._led, self._offset + step, self._offset)
        return np.where(self._led, self._pose(state) + self._offset, q), self._scale * state.qd[self._sources]

    def close(self) -> None:
        """Release the leader."""
        self._leader.close()

    def _pose(self, state: JointState) -> Array:
        return np.asarray(self._zero + self._scale * state.q[self._sources])


def open_leader(spec: RobotSpec, calibration: Calibration) -> ServoArm:
    """The leader arm, connected and limp. Raises DriverError when it is not there."""
    wire = open_wire(spec.driver, spec.bus.port, spec.bus.baud, spec.bus.reply_s)
    try:
        for joint in spec.joints:
            wire.torque(joint.servo.id, False)
    except BaseException:
        wire.port.close()
        raise
    return ServoArm(spec, wire, calibration)


def _mapping(
    robot: RobotSpec, settings: TeleopSettings, spec: RobotSpec, calibration: Calibration
) -> tuple[np.ndarray, Array, Array]:
    """For each joint of `robot` the leader's joint (-1: none), and scale and zero of ``q = zero + scale q_leader``."""
    names = settings.leader_joints or list(robot.joint_names)
    if len(names) != len(robot.joints):
        raise ConfigError(
            f"teleop.leader_joints: found {len(names)}, allowed one of {spec.joint_names} or '' for {robot.joint_names}"
        )
    place = {name: i for i, name in enumerate(spec.joint_names)} | {"": -1}
    if strangers := [name for name in names if name.removeprefix("-") not in place]:
        raise ConfigError(f"teleop.leader_joints: found {strangers}, allowed {', '.join(spec.joint_names)}, or '' for none")
    sources = np.array([place[name.removeprefix("-")] for name in names])
    signs = np.array([0.0 if not name else -1.0 if name.startswith("-") else 1.0 for name in names])
    scale = settings.leader_scale * signs
    zero = np.zeros(len(names))
    low, high = _calibrated_range(spec, calibration)
    for i in np.flatnonzero((Kinematics(robot).moves[-1] == 0.0) & (sources >= 0)):
        first, last = (low, high) if signs[i] > 0.0 else (high, low)
        scale[i] = (robot.q_max[i] - robot.q_min[i]) / (last[sources[i]] - first[sources[i]])
        zero[i] = robot.q_min[i] - scale[i] * first[sources[i]]
    return sources, scale, zero


def _calibrated_range(spec: RobotSpec, calibration: Calibration) -> tuple[Array, Array]:
    """The ends of the measured range of each joint (J,) rad."""
    found = [calibration.joints[joint.name] for joint in spec.joints]
    angles = Angles(spec, calibration)
    ends = [angles.positions(np.array([float(getattr(c, end)) for c in found])) for end in ("range_min", "range_max")]
    return np.minimum(*ends), np.maximum(*ends)
