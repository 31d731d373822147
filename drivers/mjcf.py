"""The MuJoCo model of a robot and its cell, generated from RobotSpec: the simulator's kinematics are the spec's by construction.

Each joint becomes a body at its `origin` with the parent's orientation. Links are drawn from the spec's capsules
and weigh their volume times `_DENSITY`; gravity on them is compensated, as in a real drive. Every joint has a stiff
position servo and a velocity servo (the feed-forward): ``tau = kp (q* - q) + kv (qd* - qd)``. A prismatic joint is a
gripper: one finger along -z of its frame, pads meeting at q = 0, and its mirror image coupled to it.
"""

import math
from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np

from robot_stack.config.schema import TaskSettings
from robot_stack.kinematics import camera_pose
from robot_stack.robot import CameraSpec, Capsule, Joint, RobotSpec

TIMESTEP_NS = 2_000_000
"""Physics step, ns."""

YELLOW, VIOLET, GREEN, RED = "1 .88 0 1", ".6 .2 .9 1", ".05 .75 .15 1", ".9 .03 .05 1"
TABLE_RGB = (0.42, 0.50, 0.60)
_WALL, _LINK, _FINGER = ".20 .22 .28 1", ".88 .88 .90 1", ".10 .14 .55 1"
_DENSITY = 350.0
_SERVO = {"revolute": (1500.0, 60.0, 0.1, 150.0), "prismatic": (1500.0, 60.0, 0.2, 15.0)}
_GHOST: dict[str, str] = {"contype": "0", "conaffinity": "0"}
_PAD_HALF = (0.014, 0.005, 0.03)
_PAD_MIDDLE_Z = -0.05


def build_mjcf(spec: RobotSpec, task: TaskSettings) -> str:
    """The MJCF text of `spec` on a table with the cubes, goal and obstacle of `task`. SI units, angles in radians."""
    root = Element("mujoco", model=spec.name)
    _add(root, "compiler", angle="radian", autolimits="true")
    _add(root, "option", timestep=f"{TIMESTEP_NS / 1e9}", integrator="implicitfast", cone="elliptic", impratio="10")
    _looks(root, spec)
    world = _add(root, "worldbody")
    _cell(world, task)
    _arm(world, spec)
    for camera in spec.cameras:
        if camera.joint < 0:
            _camera(world, camera)
    _couple_and_drive(root, spec)
    return tostring(root, encoding="unicode")


def _looks(root: Element, spec: RobotSpec) -> None:
    visual = _add(root, "visual")
    _add(visual, "headlight", ambient=".55 .55 .55", diffuse=".35 .35 .35", specular="0 0 0")
    _add(visual, "map", znear="0.02")
    width = max((c.width for c in spec.cameras), default=128)
    height = max((c.height for c in spec.cameras), default=128)
    _add(visual, "global", offwidth=str(width), offheight=str(height))
    _add(visual, "quality", shadowsize="0", offsamples="0")


def _cell(world: Element, task: TaskSettings) -> None:
    _add(world, "light", pos="0.3 0 2", dir="0 0 -1", diffuse=".3 .3 .3", specular="0 0 0", castshadow="false")
    _add(world, "geom", name="floor", type="plane", pos="0 0 -.4", size="3 3 .1", rgba=_WALL, **_GHOST)
    _add(
        world,
        "geom",
        name="table",
        type="box",
        pos=".25 0 -.02",
        size=".5 .5 .02",
        rgba=_numbers([*TABLE_RGB, 1.0]),
        friction=".6 .005 .0001",
    )
    half = _numbers([task.cube_size / 2] * 3)
    for name, rgba in (("cube", YELLOW), ("decoy", VIOLET)):
        body = _add(world, "body", name=name, pos=f".3 .1 {task.cube_size / 2}")
        _add(body, "freejoint", name=name)
        _add(body, "geom", type="box", size=half, mass=str(task.cube_mass), rgba=rgba, condim="4", friction="1 .01 .0001")
    goal = _add(world, "body", name="goal", mocap="true")
    _add(goal, "geom", type="cylinder", size=f"{task.goal_radius} .001", rgba=GREEN, **_GHOST)
    obstacle = _add(world, "body", name="obstacle", mocap="true")
    _add(obstacle, "geom", type="sphere", size=f"{task.obstacle_radius}", rgba=RED, **_GHOST)
    post = f"0 0 0 0 0 {-task.obstacle_height}"
    _add(obstacle, "geom", type="capsule", fromto=post, size=".006", rgba=RED, **_GHOST)


def _arm(world: Element, spec: RobotSpec) -> None:
    _add(world, "geom", type="cylinder", size=".07 .04", pos="0 0 .04", rgba=_FINGER, **_GHOST)
    bodies: list[Element] = []
    for index, joint in enumerate(spec.joints):
        parent = world if joint.parent < 0 else bodies[joint.parent]
        body = _joint_body(parent, joint, joint.name, 1.0)
        bodies.append(body)
        for capsule in spec.capsules:
            if capsule.joint == index:
                _link(body, capsule, hand=index == spec.tip_joint)
        for camera in spec.cameras:
            if camera.joint == index:
                _camera(body, camera)
        if joint.kind == "prismatic":
            _finger(body, 1.0)
            _finger(_joint_body(parent, joint, f"{joint.name}_mirror", -1.0), -1.0)


def _joint_body(parent: Element, joint: Joint, name: str, sign: float) -> Element:
    body = _add(parent, "body", name=name, pos=_numbers(joint.origin), gravcomp="1")
    _add(
        body,
        "joint",
        name=name,
        type="hinge" if joint.kind == "revolute" else "slide",
        axis=_numbers(sign * np.array(joint.axis)),
        range=f"{joint.q_min} {joint.q_max}",
        armature=str(_SERVO[joint.kind][2]),
    )
    if joint.kind == "revolute":
        _add(body, "geom", type="sphere", size=".03", rgba=_FINGER, mass=".2", **_GHOST)
    return body


def _link(body: Element, capsule: Capsule, hand: bool) -> None:
    """A capsule for the eye and the inertia. The hand's is a hull for distances only: it is drawn as a slim wrist and a palm."""
    radius = 0.022 if hand else capsule.radius
    end = (0.0, 0.0, -0.05) if hand else capsule.b
    ends = f"{_numbers(capsule.a)} {_numbers(end)}"
    _add(body, "geom", type="capsule", fromto=ends, size=f"{radius}", rgba=_LINK, density=f"{_DENSITY}", **_GHOST)
    if hand:
        _add(body, "geom", name="palm", type="box", pos="0 0 -.05", size=".018 .05 .01", rgba=_FINGER, mass=".1")


def _finger(body: Element, sign: float) -> None:
    x, y, z = _PAD_HALF
    _add(
        body,
        "geom",
        type="box",
        pos=f"0 {sign * y} {_PAD_MIDDLE_Z}",
        size=f"{x} {y} {z}",
        rgba=_FINGER,
        mass=".05",
        condim="4",
        friction="1.5 .02 .0001",
        priority="1",
    )


def _camera(body: Element, camera: CameraSpec) -> None:
    R, p = camera_pose(camera)
    axes = _numbers([*R[:, 0], *-R[:, 1]])
    _add(body, "camera", name=camera.name, pos=_numbers(p), xyaxes=axes, fovy=f"{math.degrees(camera.fovy)}")


def _couple_and_drive(root: Element, spec: RobotSpec) -> None:
    equality, actuator = _add(root, "equality"), _add(root, "actuator")
    for joint in spec.joints:
        kp, kv, _, force = _SERVO[joint.kind]
        limits = f"{-force} {force}"
        _add(actuator, "position", name=f"{joint.name}_q", joint=joint.name, kp=f"{kp}", forcerange=limits)
        _add(actuator, "velocity", name=f"{joint.name}_qd", joint=joint.name, kv=f"{kv}", forcerange=limits)
        if joint.kind == "prismatic":
            mirror = f"{joint.name}_mirror"
            _add(equality, "joint", joint1=mirror, joint2=joint.name, polycoef="0 1 0 0 0", solref=".004 1")


def _add(parent: Element, tag: str, **attributes: str) -> Element:
    return SubElement(parent, tag, attributes)


def _numbers(values: object) -> str:
    return " ".join(f"{v:.12g}" for v in np.asarray(values, dtype=float).ravel())
