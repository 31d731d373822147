"""Values <-> standard ROS 2 messages: one pure pair of functions for every topic, for rclpy and rosbags alike.

`make(typename, **fields)` builds a message of either library, so nothing here imports one. Stamps are CLOCK_MONOTONIC.
Every float array of a message is filled: an empty one is padded differently by different encoders.
"""

import hashlib
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from robot_stack.clock import NS_PER_S
from robot_stack.data.wire_scalars import (
    JOINT_STATE,
    ChoiceNote,
    Make,
    hazards_message,
    hazards_value,
    header,
    meaning,
    note_message,
    note_of,
    note_value,
    score_message,
    score_value,
    stamp_ns,
)
from robot_stack.data.wire_step import step_message, step_value
from robot_stack.errors import ContractError
from robot_stack.size_limits import CHUNK_ROWS, IMAGE_BYTES, JOINTS, at_most
from robot_stack.types import ActionChunk, Array, CameraFrame, Choice, FailureScore, Hazards, JointCommand, JointState, Step

__all__ = [
    "ChoiceNote",
    "JointNamesError",
    "chunk_key",
    "chunk_value",
    "command_value",
    "frame_value",
    "from_message",
    "hazards_value",
    "header",
    "note_of",
    "note_value",
    "observed_ns",
    "score_value",
    "stamp_ns",
    "state_value",
    "to_message",
    "type_of",
]

Names = tuple[str, ...]
ChunkOf = Callable[[str], ActionChunk]
"""Finds the chunk that `chunk_key` names; raises DataError when there is none."""

IMAGE = "sensor_msgs/msg/Image"
TRAJECTORY = "trajectory_msgs/msg/JointTrajectory"
DIAGNOSTICS = "diagnostic_msgs/msg/DiagnosticArray"

COLUMN = "/column/"
"""Topics of imported datasets: one row of a column a message, as named scalars."""


class JointNamesError(ContractError):
    """A message speaks of other joints, or of the same in another order, than the robot config."""


def type_of(topic: str) -> str:
    """The message type of `topic`. Raises ContractError for a topic that is none of ours."""
    if topic.endswith("/image"):
        return IMAGE
    if topic in ("/policy/chunk", "/teleop/chunk"):
        return TRAJECTORY
    if topic == "/arm/verdict":
        return DIAGNOSTICS
    if topic in ("/joint_states", "/arm/command", "/fallback/command", "/policy/choice", "/monitor/score", "/monitor/hazards"):
        return JOINT_STATE
    if topic.startswith(COLUMN):
        return JOINT_STATE
    raise ContractError(f"topic: found {topic!r}, allowed /<camera>/image, the arm, policy, teleop, fallback and monitor topics")


def to_message(value: object, make: Make, joint_names: Names = ()) -> Any:
    """The message of any value that flows. `joint_names` (J,) name the joints of states, commands and chunks.

    Raises ContractError for a value that has no topic, or whose number of joints is not that of `joint_names`.
    """
    match value:
        case CameraFrame():
            return _image_message(value, make)
        case JointState() | JointCommand():
            return _joints_message(value, make, joint_names)
        case ActionChunk():
            return _chunk_message(value, make, joint_names)
        case Step():
            return step_message(value, make, header(make, value.t_ns), chunk_key)
        case FailureScore():
            return score_message(value, make)
        case Hazards():
            return hazards_message(value, make)
        case ChoiceNote():
            return note_message(value, make)
        case (Choice() as choice, float() as latency_s):
            chunk = choice.chunk
            return note_message(ChoiceNote(chunk.t_obs_ns, chunk.source, choice.winner, latency_s, choice.counts), make)
    raise ContractError(f"to_message: found {type(value).__name__}, allowed the values of robot_stack.types that have a topic")


def from_message(topic: str, message: Any, joint_names: Names = (), chunk_of: ChunkOf | None = None) -> object:
    """The value in `message` of `topic`. `joint_names`: () accepts any; `chunk_of` resolves the chunk a Step refers to.

    Raises JointNamesError for other joints than `joint_names`, ContractError for anything else that is no such value.
    """
    kind = type_of(topic)
    if kind == IMAGE:
        return frame_value(message)
    if kind == TRAJECTORY:
        return chunk_value(message, joint_names)
    if kind == DIAGNOSTICS:
        return step_value(message, stamp_ns(message), chunk_of)
    if topic.startswith(COLUMN):
        return np.array(message.position, dtype=np.float64)
    readers = {"/policy/choice": note_value, "/monitor/score": score_value, "/monitor/hazards": hazards_value}
    if topic in readers:
        return readers[topic](message)
    return state_value(message, joint_names) if topic == "/joint_states" else command_value(message, joint_names)


def chunk_key(chunk: ActionChunk) -> str:
    """The name of a chunk inside a log: source, time of its observation, and a digest of its rows and times."""
    head = f"{chunk.t0_ns},{chunk.dt_ns},{chunk.q.shape}".encode()
    digest = hashlib.blake2b(head + chunk.q.tobytes(), digest_size=8).hexdigest()
    return f"{chunk.source}@{chunk.t_obs_ns}#{digest}"


def observed_ns(key: str) -> int:
    """The time of the observation in a `chunk_key`."""
    return int(key.rpartition("@")[2].partition("#")[0])


def _image_message(frame: CameraFrame, make: Make) -> Any:
    height, width, _ = frame.rgb.shape
    return make(
        IMAGE,
        header=header(make, frame.t_ns, frame.camera),
        height=height,
        width=width,
        encoding="rgb8",
        is_bigendian=0,
        step=3 * width,
        data=np.ascontiguousarray(frame.rgb).reshape(-1),
    )


def frame_value(message: Any) -> CameraFrame:
    """The picture in a sensor_msgs/Image; its camera is the frame_id. The pixels are shared with the message."""
    data = np.frombuffer(message.data, np.uint8)
    height, width, step = int(message.height), int(message.width), int(message.step)
    at_most("image: bytes", data.size, IMAGE_BYTES)
    if message.encoding != "rgb8" or not height * width or step < 3 * width or data.size != height * step:
        found = f"{message.encoding} {height}x{width}, step {step}, {data.size} bytes"
        raise ContractError(f"image of {meaning(message)}: found {found}, allowed rgb8, not empty, with height * step bytes")
    rgb = data.reshape(height, step)[:, : 3 * width].reshape(height, width, 3)
    return CameraFrame(meaning(message), stamp_ns(message), rgb)


def _joints_message(value: JointState | JointCommand, make: Make, joint_names: Names) -> Any:
    _expect_joints(len(value.q), joint_names)
    parts = {"q": value.q, "qd": value.qd, "tau": getattr(value, "tau", None)}
    missing = np.full(value.q.shape, np.nan)
    filled = {name: missing if part is None else part for name, part in parts.items()}
    return make(
        JOINT_STATE,
        header=header(make, value.t_ns, " ".join(name for name, part in parts.items() if part is not None)),
        name=list(joint_names),
        position=filled["q"],
        velocity=filled["qd"],
        effort=filled["tau"],
    )


def state_value(message: Any, joint_names: Names = ()) -> JointState:
    """The measured joints in a sensor_msgs/JointState; frame_id says which of "q qd tau" are meant."""
    q, qd, tau = _joint_arrays(message, joint_names)
    if qd is None:
        raise ContractError("joint state: found no velocities, allowed one (rad/s) for each joint")
    return JointState(stamp_ns(message), q, qd, tau)


def command_value(message: Any, joint_names: Names = ()) -> JointCommand:
    """The wish in a sensor_msgs/JointState; frame_id says whether velocities are meant."""
    q, qd, _ = _joint_arrays(message, joint_names)
    return JointCommand(stamp_ns(message), q, qd)


def _joint_arrays(message: Any, joint_names: Names) -> tuple[Array, Array | None, Array | None]:
    at_most("joint state: joints", len(message.name), JOINTS)
    _same_joints("joint state", tuple(message.name), joint_names)
    said = meaning(message).split()
    arrays = [np.array(a, dtype=np.float64) for a in (message.position, message.velocity, message.effort)]
    meant = [name in said if "q" in said else a.size > 0 for name, a in zip(("q", "qd", "tau"), arrays, strict=True)]
    sizes = [a.size for a, m in zip(arrays, (True, *meant[1:]), strict=True) if m]
    if set(sizes) != {len(message.name)}:
        raise JointNamesError(f"joint state: found arrays of {sizes} for {len(message.name)} names, allowed one number for each")
    return arrays[0], arrays[1] if meant[1] else None, arrays[2] if meant[2] else None


def _chunk_message(chunk: ActionChunk, make: Make, joint_names: Names) -> Any:
    _expect_joints(chunk.q.shape[1], joint_names)
    with np.errstate(all="ignore"):
        qd = np.gradient(chunk.q, chunk.dt_ns / NS_PER_S, axis=0)
        qdd = np.gradient(qd, chunk.dt_ns / NS_PER_S, axis=0)
    effort = np.zeros(chunk.q.shape[1])
    points = [
        make(
            "trajectory_msgs/msg/JointTrajectoryPoint",
            positions=chunk.q[i],
            velocities=qd[i],
            accelerations=qdd[i],
            effort=effort,
            time_from_start=_duration(make, i * chunk.dt_ns),
        )
        for i in range(len(chunk.q))
    ]
    frame_id = f"{chunk.source}@{chunk.t_obs_ns}"
    return make(TRAJECTORY, header=header(make, chunk.t0_ns, frame_id), joint_names=list(joint_names), points=points)


def _duration(make: Make, dt_ns: int) -> Any:
    return make("builtin_interfaces/msg/Duration", sec=dt_ns // NS_PER_S, nanosec=dt_ns % NS_PER_S)


def chunk_value(message: Any, joint_names: Names = ()) -> ActionChunk:
    """The chunk in a trajectory_msgs/JointTrajectory. Raises JointNamesError on other joints or rows of another length."""
    names = tuple(message.joint_names)
    at_most("chunk: rows", len(message.points), CHUNK_ROWS)
    at_most("chunk: joints", len(names), JOINTS)
    _same_joints("chunk", names, joint_names)
    said = meaning(message)
    source, _, t_obs = said.rpartition("@")
    if not re.fullmatch(r"-?\d+", t_obs):
        raise ContractError(f"chunk: found frame_id {said!r}, allowed '<source>@<t_obs_ns>'")
    widths = {len(p.positions) for p in message.points}
    if widths and widths != {len(names)}:
        raise JointNamesError(f"chunk: found rows of {sorted(widths)} joints, allowed {len(names)} in each")
    times = [int(p.time_from_start.sec) * NS_PER_S + int(p.time_from_start.nanosec) for p in message.points]
    if len(times) < 2 or times != [i * times[1] for i in range(len(times))]:
        raise ContractError(
            f"chunk: found {len(times)} rows, the first due after {times[:3]} ns; allowed at least 2, evenly spaced from 0"
        )
    rows = np.array([np.asarray(p.positions, dtype=np.float64) for p in message.points])
    return ActionChunk(int(t_obs), stamp_ns(message), times[1], rows, source)


def _same_joints(what: str, found: Names, allowed: Names) -> None:
    if allowed and found != allowed:
        hint = "the same in another order" if sorted(found) == sorted(allowed) else "others"
        raise JointNamesError(
            f"{what}: found joints {list(found)} ({hint}), allowed {list(allowed)}, as the robot config has them"
        )


def _expect_joints(count: int, joint_names: Names) -> None:
    if count != len(joint_names):
        raise ContractError(f"to_message: found {count} joints, allowed the {len(joint_names)} of joint_names")
