"""One rosbag2 recording (MCAP or sqlite3) of any program as a `Recording`: joints, commands and pictures on one even grid.

The measured joints are the first JointState topic, /joint_states if there is one; what was commanded is the first topic of
joint commands (JointState, JointTrajectory, Float64MultiArray); every image topic with colours is a camera. A row holds the
newest of each at or before its time, by the stamps in the messages, or by when they were recorded where those are zero.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.highlevel import AnyReader

from robot_stack.clock import NS_PER_S
from robot_stack.data.recording import ACTION, ROW_NS, STATE, TIMESTAMP, Pictures, Recording
from robot_stack.data.rosbags_messages import typestore
from robot_stack.data.video import decode_picture
from robot_stack.errors import DataError
from robot_stack.types import Array, Image

JOINTS, TRAJECTORY, NUMBERS = (
    "sensor_msgs/msg/JointState",
    "trajectory_msgs/msg/JointTrajectory",
    "std_msgs/msg/Float64MultiArray",
)
PICTURES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
COLOURS = {
    "rgb8": None,
    "bgr8": cv2.COLOR_BGR2RGB,
    "rgba8": cv2.COLOR_RGBA2RGB,
    "bgra8": cv2.COLOR_BGRA2RGB,
    "mono8": cv2.COLOR_GRAY2RGB,
}
"""Encodings of sensor_msgs/Image that are taken -> how they become RGB."""


@dataclass(frozen=True, slots=True)
class _Series:
    """m stamps (ns) and values (m, width), components named."""

    times: Any
    values: Array
    names: tuple[str, ...]


def bag_recording(folder: Path, rate_hz: float) -> Recording:
    """The recording in `folder`, rows at `rate_hz` (0: a row for each message of the joints).

    Raises DataError when it cannot be opened, has no joints, or its joints change their number.
    """
    with _reader(folder) as reader:
        topics = {name: info.msgtype for name, info in sorted(reader.topics.items()) if info.msgtype and info.msgcount}
        states = _series(reader, folder, _choose(topics, folder))
        command = next((t for t, kind in topics.items() if _commands(t, kind)), None)
        commands = _series(reader, folder, command) if command else None
        firsts = {t: _first_ns(reader, t) for t, kind in topics.items() if kind in PICTURES}
    cameras = {topic: first for topic, first in firsts.items() if first is not None}
    start = max([int(states.times[0]), *cameras.values()] + ([int(commands.times[0])] if commands else []))
    times = _grid(states.times, start, rate_hz, folder)
    rate = rate_hz or round(NS_PER_S / float(np.median(np.diff(states.times))), 1)
    columns: dict[str, Any] = {STATE: _at(states, times)}
    if commands:
        columns[ACTION] = _at(commands, times)
    columns |= {TIMESTAMP: (np.arange(len(times)) / rate).astype(np.float32), ROW_NS: times}
    return Recording(
        name=folder.stem,
        rate_hz=rate,
        columns=columns,
        names={STATE: states.names} | ({ACTION: _names(commands, states)} if commands else {}),
        cameras={_camera(t): Pictures(partial(_pictures, folder, t, times), range(len(times))) for t in cameras},
    )


@contextmanager
def _reader(folder: Path) -> Iterator[AnyReader]:
    try:
        with AnyReader([folder], default_typestore=typestore()) as reader:
            yield reader
    except DataError:
        raise
    except Exception as error:  # rosbags, sqlite3 and the decompressors raise whatever they stumble over
        raise DataError(f"bag {folder}: cannot be read ({error}); `robot-stack data repair` saves what there is") from error


def _choose(topics: dict[str, str], folder: Path) -> str:
    joints = [name for name, kind in topics.items() if kind == JOINTS and not _commands(name, kind)]
    if not joints:
        raise DataError(
            f"bag {folder}: found no JointState topic among {list(topics)}, allowed at least one: the measured joints"
        )
    return next((name for name in joints if name.endswith("joint_states")), joints[0])


def _commands(topic: str, kind: str) -> bool:
    return kind in (TRAJECTORY, NUMBERS) or (
        kind == JOINTS and any(word in topic for word in ("command", "cmd", "action", "target"))
    )


def _series(reader: AnyReader, folder: Path, topic: str) -> _Series:
    stamps: list[int] = []
    rows: list[Array] = []
    names: tuple[str, ...] = ()
    for connection, recorded_ns, raw in reader.messages([c for c in reader.connections if c.topic == topic]):
        message: Any = reader.deserialize(raw, connection.msgtype)
        row, words = _row(message, connection.msgtype)
        names = names or words
        if words != names and sorted(words) == sorted(names):
            row = row[[words.index(name) for name in names]]
        elif words != names or row.size != len(names):
            found = f"{list(words)} after {list(names)}"
            raise DataError(
                f"bag {folder}: {topic} names other joints at {recorded_ns} ns: {found}; allowed the same in each message"
            )
        stamps.append(_stamp(message, recorded_ns))
        rows.append(row)
    order = np.argsort(np.array(stamps), kind="stable")
    return _Series(np.array(stamps)[order], np.array(rows)[order], names)


def _row(message: Any, kind: str) -> tuple[Array, tuple[str, ...]]:
    if kind == NUMBERS:
        return np.array(message.data, dtype=np.float64), tuple(f"{ACTION}_{i}" for i in range(len(message.data)))
    if kind == TRAJECTORY:
        return np.array(message.points[0].positions if message.points else [], dtype=np.float64), tuple(message.joint_names)
    return np.array(message.position, dtype=np.float64), tuple(message.name)


def _stamp(message: Any, recorded_ns: int) -> int:
    stamp = getattr(getattr(message, "header", None), "stamp", None)
    return (stamp.sec * NS_PER_S + stamp.nanosec if stamp else 0) or recorded_ns


def _names(commands: _Series, states: _Series) -> tuple[str, ...]:
    """Numbers without names are those of the joints when they are as many."""
    made_up = commands.names[0] == f"{ACTION}_0"
    return states.names if made_up and len(commands.names) == len(states.names) else commands.names


def _grid(stamps: Any, start: int, rate_hz: float, folder: Path) -> Any:
    if stamps[-1] < start:
        raise DataError(f"bag {folder}: the joints end before the first command or picture; allowed an overlap")
    if not rate_hz:
        return stamps[stamps >= start].astype(np.int64)
    count = int((stamps[-1] - start) * rate_hz // NS_PER_S) + 1
    return start + np.round(np.arange(count) * (NS_PER_S / rate_hz)).astype(np.int64)


def _at(series: _Series, times: Any) -> Array:
    found: Array = series.values[np.searchsorted(series.times, times, side="right") - 1]
    return found


def _camera(topic: str) -> str:
    return (
        topic.strip("/").removesuffix("/compressed").removesuffix("/image_raw").removesuffix("/image").replace("/", "_")
        or "camera"
    )


def _first_ns(reader: AnyReader, topic: str) -> int | None:
    """When the first picture is of; None where its encoding holds no colours we can take (depth, for one)."""
    for connection, recorded_ns, raw in reader.messages([c for c in reader.connections if c.topic == topic]):
        message: Any = reader.deserialize(raw, connection.msgtype)
        taken = not hasattr(message, "encoding") or message.encoding in COLOURS
        return _stamp(message, recorded_ns) if taken else None
    return None


def _pictures(folder: Path, topic: str, times: Any) -> Iterator[Image]:
    """At each of `times` the newest picture at or before it."""
    with _reader(folder) as reader:
        found = reader.messages([c for c in reader.connections if c.topic == topic])
        coming = _picture(reader, next(found, None), folder)
        assert coming is not None, "it had a first picture"
        newest = coming
        for t_ns in times:
            while coming is not None and coming[0] <= t_ns:
                newest, coming = coming, _picture(reader, next(found, None), folder)
            yield newest[1]


def _picture(reader: AnyReader, found: Any, folder: Path) -> tuple[int, Image] | None:
    if found is None:
        return None
    connection, recorded_ns, raw = found
    message: Any = reader.deserialize(raw, connection.msgtype)
    t_ns = _stamp(message, recorded_ns)
    if not hasattr(message, "encoding"):
        return t_ns, decode_picture(bytes(message.data), f"bag {folder}: picture at {t_ns} ns on {connection.topic}")
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
    channels = 1 if message.encoding == "mono8" else 4 if "a8" in message.encoding else 3
    pixels = rows[:, : message.width * channels].reshape(message.height, message.width, channels)
    code = COLOURS[message.encoding]
    return t_ns, np.ascontiguousarray(pixels if code is None else cv2.cvtColor(pixels, code))
