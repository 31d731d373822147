"""A robot whose every number is round: two slides, x and z, that carry a hand, and a gripper that slides along y.

100 ticks a second, each changes any speed by 0.1 m/s at most.
"""

from dataclasses import replace
from math import inf

import numpy as np

from robot_stack.config.robot_file import load_robot
from robot_stack.robot import Capsule, Joint, RobotSpec

NOW = 10_000_000_000
SIM = load_robot("sim_arm")
Point = tuple[float, float, float]
Wall = tuple[float, float, float, float]


def slide(name: str, parent: int, axis: Point, qd_max: float = 1.0, tau_max: float = inf) -> Joint:
    """A joint that slides along `axis` from -1 to 1."""
    return Joint(name, parent, (0.0, 0.0, 0.0), axis, -1.0, 1.0, qd_max, 10.0, "prismatic", tau_max)


def ball(name: str, joint: int, z: float, radius: float) -> Capsule:
    """A link without length, `z` above its joint."""
    return Capsule(name, joint, (0.0, 0.0, z), (0.0, 0.0, z), radius)


RAIL, HAND, FINGER = ball("rail", 0, -0.5, 0.0625), ball("hand", 1, 0.0, 0.0625), ball("finger", 2, 0.5, 0.03125)
X, Z, GRIP = np.eye(3)
REST = np.zeros(3)


def robot(joints: tuple[Joint, ...], links: tuple[Capsule, ...], walls: tuple[Wall, ...] = (), tip_joint: int = 0) -> RobotSpec:
    """A robot of `joints` and `links` in a cell of `walls` (nx, ny, nz, d); its tool is where `tip_joint` is."""
    given = {"joints": joints, "capsules": links, "workspace": walls, "q_home": (0.0,) * len(joints)}
    return replace(SIM, cameras=(), may_touch=(), tip_joint=tip_joint, tip=(0.0, 0.0, 0.0), **given)


def gantry(*walls: Wall, links: tuple[Capsule, ...] = (HAND,)) -> RobotSpec:
    """The gantry between `walls`; its tool is its hand."""
    x, z = slide("x", -1, (1.0, 0.0, 0.0), 2.0, 0.5), slide("z", 0, (0.0, 0.0, 1.0), 1.0, 0.5)
    return robot((x, z, slide("grip", 1, (0.0, 1.0, 0.0), 0.5)), links, walls, tip_joint=1)
