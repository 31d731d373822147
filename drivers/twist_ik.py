"""Differential inverse kinematics of the tool by mink on MuJoCo: a twist in, joint speeds out.

mink solves ``min_v sum_i |W_i (J_i v dt - e_i)|^2 + mu |v dt|^2`` inside the joints' position and speed limits. Task 1 is the
pose of the tool, which the twist moves on; task 2, weak, the home pose. ``mu = damping + lm_damping |e|^2`` grows with what the
arm cannot follow, so it slows down where the pose is out of reach instead of whirling (Sugihara 2011). The pose wanted stays
within `LEASH` of the tool: what the arm cannot do is not kept for later.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from xml.etree.ElementTree import Element, SubElement, tostring

import mujoco
import numpy as np

from robot_stack.errors import DriverError
from robot_stack.kinematics import Kinematics
from robot_stack.robot import RobotSpec
from robot_stack.types import Array


@contextmanager
def _hidden(module: str) -> Iterator[None]:
    """`module` cannot be imported in this block, if it is not there already."""
    known = module in sys.modules
    if not known:
        sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if not known:
            del sys.modules[module]


with _hidden("jax"):  # mink's qpsolvers loads every solver there is; no node loads jax
    import mink

LEASH = (0.03, 0.1)
"""m and rad."""
SPEED_SHARE = 0.8
"""Of the joints' speed limits: the filter should have nothing to do."""
POSITION_COST, ORIENTATION_COST, POSTURE_COST, DAMPING, LM_DAMPING = 1.0, 0.1, 1e-3, 1e-4, 0.1


class TwistIk:
    """The joints of `robot` between the world and its tool. `moves` (J,) is True for these; the others are grippers."""

    def __init__(self, robot: RobotSpec) -> None:
        self.moves: np.ndarray = Kinematics(robot).moves[-1] > 0.0
        model = mujoco.MjModel.from_xml_string(tool_chain(robot, self.moves))
        self._q_min, self._q_max = robot.q_min[self.moves], robot.q_max[self.moves]
        self._configuration = mink.Configuration(model)
        self._tool = mink.FrameTask("tool", "site", POSITION_COST, ORIENTATION_COST, lm_damping=LM_DAMPING)
        self._posture = mink.PostureTask(model, POSTURE_COST)
        self._posture.set_target(np.array(robot.q_home)[self.moves])
        fastest = {joint.name: SPEED_SHARE * joint.qd_max for joint, moves in zip(robot.joints, self.moves, strict=True) if moves}
        self._limits = [mink.ConfigurationLimit(model), mink.VelocityLimit(model, fastest)]
        self._wanted = self._here()

    def begin(self, q: Array) -> None:
        """Go on from where the tool is at `q` (J,)."""
        self._put(q)
        self._wanted = self._here()

    def step(self, q: Array, v_W: Array, w_W: Array, dt_s: float) -> Array:
        """Speeds (J,) rad/s of the joints at `q` (J,) for `dt_s`, as the tool is to move with `v_W` (3,) m/s and turn with `w_W`
        (3,) rad/s, both in the world. Raises DriverError when there is no solution."""
        self._put(q)
        self._tool.set_target(self._moved(v_W * dt_s, w_W * dt_s))
        try:
            qd = mink.solve_ik(
                self._configuration, [self._tool, self._posture], dt_s, "daqp", damping=DAMPING, limits=self._limits
            )
        except mink.MinkError as error:
            raise DriverError(f"inverse kinematics: {error}; move the arm by its joints, press the clutch again") from error
        if qd is None or not np.isfinite(qd).all():
            raise DriverError("inverse kinematics: no solution; press the clutch again")
        full = np.zeros(len(self.moves))
        full[self.moves] = qd
        return full

    def rotation(self, q: Array) -> Array:
        """Of the tool in the world at `q` (J,): (3, 3)."""
        self._put(q)
        return np.asarray(self._here().rotation().as_matrix())

    def _put(self, q: Array) -> None:
        self._configuration.update(np.minimum(np.maximum(q[self.moves], self._q_min), self._q_max))

    def _here(self) -> mink.SE3:
        return self._configuration.get_transform_frame_to_world("tool", "site")

    def _moved(self, step: Array, turn: Array) -> mink.SE3:
        """The pose wanted, moved on and kept on its leash."""
        here = self._here()
        p = self._wanted.translation() + step
        p = here.translation() + _shortened(p - here.translation(), LEASH[0])
        R = mink.SO3.exp(turn) @ self._wanted.rotation()
        R = mink.SO3.exp(_shortened((R @ here.rotation().inverse()).log(), LEASH[1])) @ here.rotation()
        self._wanted = mink.SE3.from_rotation_and_translation(R, p)
        return self._wanted


def tool_chain(robot: RobotSpec, moves: np.ndarray) -> str:
    """MJCF of the joints of `robot` that move its tool, frames as in `Kinematics`; masses mean nothing here."""
    root = Element("mujoco", model=robot.name)
    SubElement(root, "compiler", angle="radian", autolimits="true")
    body = SubElement(root, "worldbody")
    for joint, moved in zip(robot.joints, moves, strict=True):
        if not moved:
            continue
        body = SubElement(body, "body", name=joint.name, pos=_numbers(joint.origin))
        SubElement(body, "inertial", pos="0 0 0", mass="1", diaginertia="1 1 1")
        kind = "hinge" if joint.kind == "revolute" else "slide"
        reach = f"{joint.q_min} {joint.q_max}"
        SubElement(body, "joint", name=joint.name, type=kind, axis=_numbers(joint.axis), range=reach)
    SubElement(body, "site", name="tool", pos=_numbers(robot.tip))
    return tostring(root, encoding="unicode")


def _shortened(vector: Array, most: float) -> Array:
    length = float(np.linalg.norm(vector))
    return vector if length <= most else vector * (most / length)


def _numbers(values: object) -> str:
    return " ".join(f"{v:.12g}" for v in np.asarray(values, dtype=float).ravel())
