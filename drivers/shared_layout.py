"""How the values of a world lie in shared memory: little-endian, int64 nanoseconds first, then float64."""

import json
from typing import Any

import numpy as np

from drivers.sim_world import Truth
from robot_stack.robot import RobotSpec
from robot_stack.types import Array, CameraFrame, JointCommand, JointState

JSON_BYTES = 2048
_TRUTH_VALUES = 18


def sizes(spec: RobotSpec) -> dict[str, int]:
    """Bytes of each block of a world with the robot `spec`."""
    num_joints = len(spec.joints)
    frames = {f"camera.{c.name}": 8 + c.height * c.width * 3 for c in spec.cameras}
    small = {"joints": 8 + 24 * num_joints, "command": 8 + 16 * num_joints, "truth": 8 + 8 * _TRUTH_VALUES}
    return small | frames | {"request": JSON_BYTES, "reply": JSON_BYTES}


def pack(t_ns: int, *values: Array) -> bytes:
    """Time and float64 arrays as bytes."""
    return t_ns.to_bytes(8, "little", signed=True) + b"".join(np.asarray(v, dtype="<f8").tobytes() for v in values)


def _unpack(payload: bytes) -> tuple[int, Array]:
    return int.from_bytes(payload[:8], "little", signed=True), np.frombuffer(payload, dtype="<f8", offset=8)


def pack_joints(joints: JointState) -> bytes:
    """A JointState; no torque is zeros."""
    return pack(joints.t_ns, joints.q, joints.qd, np.zeros_like(joints.q) if joints.tau is None else joints.tau)


def unpack_joints(payload: bytes) -> JointState:
    """The inverse of `pack_joints`."""
    t_ns, values = _unpack(payload)
    return JointState(t_ns, *values.reshape(3, -1))


def pack_command(command: JointCommand) -> bytes:
    """A JointCommand; no velocity is NaN."""
    return pack(command.t_ns, command.q, np.full_like(command.q, np.nan) if command.qd is None else command.qd)


def unpack_command(payload: bytes) -> JointCommand:
    """The inverse of `pack_command`."""
    t_ns, values = _unpack(payload)
    q, qd = values.reshape(2, -1)
    return JointCommand(t_ns, q, None if np.isnan(qd).all() else qd)


def pack_frame(frame: CameraFrame) -> bytes:
    """A CameraFrame, its name left out."""
    return frame.t_ns.to_bytes(8, "little", signed=True) + frame.rgb.tobytes()


def unpack_frame(payload: bytes, camera: str, height: int, width: int) -> CameraFrame:
    """The inverse of `pack_frame`, without a copy."""
    rgb = np.frombuffer(payload, dtype=np.uint8, offset=8).reshape(height, width, 3)
    return CameraFrame(camera, int.from_bytes(payload[:8], "little", signed=True), rgb)


def pack_truth(truth: Truth) -> bytes:
    """A Truth."""
    places = (truth.cube_p, truth.decoy_p, truth.goal_p, truth.obstacle_p, truth.tip_p)
    return pack(truth.t_ns, *places, np.array([truth.obstacle_radius, truth.clearance, float(truth.success)]))


def unpack_truth(payload: bytes) -> Truth:
    """The inverse of `pack_truth`."""
    t_ns, values = _unpack(payload)
    cube, decoy, goal, obstacle, tip = values[:15].reshape(5, 3)
    radius, clearance, success = values[15:].tolist()
    return Truth(t_ns, cube, decoy, goal, obstacle, radius, clearance, bool(success), tip)


def pack_json(values: dict[str, Any]) -> bytes:
    """A small dictionary."""
    return json.dumps(values).encode()


def unpack_json(payload: bytes) -> dict[str, Any]:
    """The inverse of `pack_json`."""
    values: dict[str, Any] = json.loads(payload.rstrip(b"\0"))
    return values
