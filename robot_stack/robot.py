"""What a robot is made of: joints, links, cameras, limits. Read from `config/robots/*.yaml`, never changed at run time."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from robot_stack.camera_device import CameraDevice
from robot_stack.device import Controller, Servo, ServoBus, UrLink
from robot_stack.errors import ConfigError
from robot_stack.types import Array

Vector3 = tuple[float, float, float]


@dataclass(frozen=True)
class Joint:
    """One joint: its frame sits at `origin` (m) of `parent`'s frame (-1: the world), turned alike at q = 0; `axis`: what it moves
    about (rad) or, prismatic, along (m). `tau_max` N m (N): the largest measured effort that is normal; left out: any.
    `servo`: what drives it, where the driver of the robot is a servo bus."""

    name: str
    parent: int
    origin: Vector3
    axis: Vector3
    q_min: float
    q_max: float
    qd_max: float
    qdd_max: float
    kind: Literal["revolute", "prismatic"] = "revolute"
    tau_max: float = math.inf
    servo: Servo = Servo()


@dataclass(frozen=True)
class Capsule:
    """A link's shape for distance checks: segment `a`-`b` (m, frame of joint `joint`), `radius` (m)."""

    name: str
    joint: int
    a: Vector3
    b: Vector3
    radius: float


@dataclass(frozen=True)
class CameraSpec:
    """A pinhole camera on `joint` (-1: the world) at `origin` (m), looking at `target` (m), both in that frame; `fovy` rad.

    `device`: where its pictures come from; left out: the simulated world.
    """

    name: str
    joint: int
    origin: Vector3
    target: Vector3
    fovy: float
    width: int
    height: int
    rate_hz: float
    up: Vector3 = (0.0, 0.0, 1.0)
    device: CameraDevice = CameraDevice()


@dataclass(frozen=True)
class RobotSpec:
    """A robot and its cell. `tip` is the tool point in the frame of `tip_joint`; each `workspace` row (nx, ny, nz, d) keeps
    n . p >= d for every link end. `may_touch`: pairs of capsules, besides neighbours, that need not be kept apart.
    `bus`, `controller`, `ur`: how its `driver` reaches it."""

    name: str
    driver: str
    control_rate_hz: float
    joints: tuple[Joint, ...]
    capsules: tuple[Capsule, ...]
    cameras: tuple[CameraSpec, ...]
    q_home: tuple[float, ...]
    tip_joint: int
    tip: Vector3
    workspace: tuple[tuple[float, float, float, float], ...]
    may_touch: tuple[tuple[str, str], ...] = ()
    bus: ServoBus = ServoBus()
    controller: Controller = Controller()
    ur: UrLink = UrLink()

    def __post_init__(self) -> None:
        if len(self.q_home) != len(self.joints):
            raise ConfigError(
                f"robot.q_home: found {len(self.q_home)} values, allowed {len(self.joints)} (rad or m, one per joint)"
            )
        for i, joint in enumerate(self.joints):
            if not -1 <= joint.parent < i:
                raise ConfigError(f"robot.joints[{i}].parent: found {joint.parent}, allowed -1..{i - 1}: parents come first")
            if not (joint.q_min < joint.q_max and joint.qd_max > 0 and joint.qdd_max > 0):
                found = f"q_min {joint.q_min}, q_max {joint.q_max}, qd_max {joint.qd_max}, qdd_max {joint.qdd_max}"
                raise ConfigError(
                    f"robot.joints[{i}] ({joint.name}): found {found}; allowed q_min < q_max, qd_max > 0, qdd_max > 0"
                )

        for pair in self.may_touch:
            if unknown := set(pair) - {c.name for c in self.capsules}:
                allowed = sorted(c.name for c in self.capsules)
                raise ConfigError(f"robot.may_touch: found {sorted(unknown)}, allowed pairs of the capsules {allowed}")

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names in the order of every (J,) array."""
        return tuple(j.name for j in self.joints)

    @property
    def dt_ns(self) -> int:
        """Period of one control tick, nanoseconds."""
        return round(1e9 / self.control_rate_hz)

    @cached_property
    def q_min(self) -> Array:
        """Lower position limits (J,) rad or m."""
        return np.array([j.q_min for j in self.joints])

    @cached_property
    def q_max(self) -> Array:
        """Upper position limits (J,) rad or m."""
        return np.array([j.q_max for j in self.joints])

    @cached_property
    def qd_max(self) -> Array:
        """Speed limits (J,) rad/s or m/s."""
        return np.array([j.qd_max for j in self.joints])

    @cached_property
    def qdd_max(self) -> Array:
        """Acceleration limits (J,) rad/s^2 or m/s^2."""
        return np.array([j.qdd_max for j in self.joints])

    @cached_property
    def tau_max(self) -> Array:
        """Limits on the measured effort (J,) N m or N; inf where there is none."""
        return np.array([j.tau_max for j in self.joints])

    def camera(self, name: str) -> CameraSpec:
        """The camera called `name`. Raises ConfigError, listing the ones there are."""
        for camera in self.cameras:
            if camera.name == name:
                return camera
        raise ConfigError(f"camera: found {name!r}, allowed {[c.name for c in self.cameras]}")
