"""A folder of episode logs, and of rosbag2 recordings of other programs, as a `Source`; and a recording written as a log.

Our own logs become rows on an even grid of their armed time (`from_log`). A recording that was imported from a dataset is a log
too: its rows are messages on /joint_states, /arm/command, /CAMERA/image and /column/NAME, and come back as they were.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from robot_stack.clock import NS_PER_S
from robot_stack.data.findings import read_findings
from robot_stack.data.from_log import sampled
from robot_stack.data.log import LogMetadata, LogWriter
from robot_stack.data.log_index import LogFacts, facts_of
from robot_stack.data.log_reader import EpisodeLog, read_log
from robot_stack.data.recording import ACTION, ROW_NS, STATE, TIMESTAMP, Entry, Pictures, Recording
from robot_stack.data.rosbags_messages import deserialize_cdr, make, serialize_cdr
from robot_stack.data.video import iterate
from robot_stack.data.wire import COLUMN, header
from robot_stack.data.wire_scalars import JOINT_STATE
from robot_stack.errors import DataError
from robot_stack.types import ARMED, CameraFrame, Image, JointCommand, JointState, Mode

DATASET = "dataset"
"""The key of `LogMetadata.settings` with what an imported recording was."""

STATES, COMMANDS = "/joint_states", "/arm/command"
EPOCH_NS = NS_PER_S
"""When a recording without a clock of its own begins."""


@dataclass(frozen=True)
class LogSource:
    """The logs and bags at or below `root`; `rate_hz` rows a second, 0: one for each tick; of logs the part in `modes`."""

    root: Path
    rate_hz: float
    modes: frozenset[Mode] = ARMED
    kind: str = "episode logs"

    def folders(self) -> Iterator[Path]:
        """Where recordings lie, in the order of their names, found as they are asked for; not in hidden folders: see `TRASH`."""
        if self.root.is_file():
            yield self.root
            return
        for folder, below, files in os.walk(self.root):
            below[:] = sorted((name for name in below if not name.startswith(".")), key=_natural)
            if any(file.endswith((".mcap", ".db3")) for file in files):
                yield Path(folder)
                below.clear()

    def entries(self) -> Iterator[Entry]:
        """All recordings by their folders; rows are what their duration says; the armed ones are fewer."""
        for folder in self.folders():
            name = str(folder.relative_to(self.root)) if folder != self.root else folder.stem
            facts = facts_of(folder)
            rate = facts.rate_hz or self.rate_hz or facts.ticks_hz
            rows = facts.rows or max(round(facts.seconds * rate), 0)
            flags = tuple(finding.sentence for finding in read_findings(folder))
            yield Entry(name, self.root, str(folder), rows, rate, facts.task, note=facts.note, mark=facts.mark, flags=flags)

    def recording(self, key: str) -> Recording:
        """The recording in the folder `key`. Raises DataError when it cannot be read, or nothing in it was armed."""
        folder, facts = Path(key), facts_of(Path(key))
        if facts.foreign:
            from robot_stack.data.rosbag_source import bag_recording

            return bag_recording(folder, self.rate_hz)
        log = read_log(folder)
        return _imported(log) if DATASET in log.metadata.settings else _sampled(log, self, facts)


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts demo_2 before demo_10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _sampled(log: EpisodeLog, source: LogSource, facts: LogFacts) -> Recording:
    cameras = [topic[1:-6] for topic, count in facts.messages.items() if topic.endswith("/image") and count]
    times, episode = sampled(log, source.rate_hz, cameras, source.modes)
    even = (np.arange(len(times)) / episode.rate_hz).astype(np.float32)
    columns: dict[str, Any] = {STATE: episode.q, ACTION: episode.action, TIMESTAMP: even, ROW_NS: times}
    columns |= {name: flat for name, v in episode.columns.items() if (flat := v.reshape(len(times), -1)).size}
    names = {STATE: episode.joint_names, ACTION: episode.joint_names, "qd": episode.joint_names}
    return Recording(
        name=log.name,
        rate_hz=episode.rate_hz,
        columns={name: v[:, 0] if name not in names and v.ndim == 2 and v.shape[1] == 1 else v for name, v in columns.items()},
        names=names,
        cameras={c: Pictures(partial(_newest, log, c, times), range(len(times))) for c in cameras},
        task=log.metadata.instruction,
        robot=log.metadata.robot,
        constants={"scenario": log.metadata.scenario, "started": log.metadata.started}
        | ({"mark": facts.mark} if facts.mark else {}),
    )


def _newest(log: EpisodeLog, camera: str, times: Any) -> Iterator[Image]:
    """At each of `times` the newest picture taken at or before it."""
    frames = (v for _, _, v in log.iterate({f"/{camera}/image"}) if isinstance(v, CameraFrame))
    frame = next(frames)
    coming = next(frames, None)
    for t_ns in times:
        while coming is not None and coming.t_ns <= t_ns:
            frame, coming = coming, next(frames, None)
        yield frame.rgb


def _imported(log: EpisodeLog) -> Recording:
    about: dict[str, Any] = dict(log.metadata.settings[DATASET])
    kept = about["columns"]
    topics = {_topic(name): name for name in kept}
    if about["commanded"]:
        topics[COMMANDS] = ACTION
    if STATE in kept:
        topics[STATES] = STATE
    rows: dict[str, list[Any]] = {name: [] for name in kept}
    for raw in log.messages(set(topics)):
        rows[topics[raw.topic]].append(np.asarray(deserialize_cdr(raw.data, raw.typename).position))
    wrong = {name: len(found) for name, found in rows.items() if len(found) != about["rows"]}
    if wrong:
        raise DataError(f"log {log.path}: found rows {wrong}, allowed {about['rows']} in each; it was cut: import it again")
    shaped = {n: np.array(rows[n]).astype(dtype).reshape(about["rows"], *shape) for n, (dtype, shape) in kept.items()}
    if about["clock"]:
        shaped[ROW_NS] = np.array([raw.t_ns for raw in log.messages({STATES if STATE in kept else next(iter(topics))})])
    return Recording(
        name=log.name,
        rate_hz=about["rate_hz"],
        columns={name: shaped[name] for name in about["order"]},
        names={name: tuple(words) for name, words in about["names"].items()},
        cameras={c: Pictures(partial(_frames, log, c), range(about["rows"])) for c in about["cameras"]},
        task=log.metadata.instruction,
        robot=log.metadata.robot,
        constants=about["constants"],
        about=about["about"],
    )


def _frames(log: EpisodeLog, camera: str) -> Iterator[Image]:
    return (v.rgb for _, _, v in log.iterate({f"/{camera}/image"}) if isinstance(v, CameraFrame))


def _topic(column: str) -> str:
    return COLUMN + column.replace(".", "/")


def write_log(found: Recording, folder: Path) -> None:
    """`found` as an episode log in the new `folder`; the same recording gives the same bytes. Velocities, which datasets do not
    have, are finite differences, and the metadata says so. Raises DataError where a number does not fit or the disk is full."""
    rows, joints = len(found), _joints(found)
    commanded = STATE in found.names and found.names.get(ACTION) == joints
    clock = ROW_NS in found.columns
    times = found.columns[ROW_NS] if clock else EPOCH_NS + np.round(found.times_s() * NS_PER_S).astype(np.int64)
    kept = {name: v for name, v in found.columns.items() if name != ROW_NS}
    about = {
        "rows": rows, "rate_hz": found.rate_hz, "commanded": commanded, "clock": clock,
        "columns": {name: [str(v.dtype), list(v.shape[1:])] for name, v in kept.items()}, "order": list(found.columns),
        "names": {name: list(words) for name, words in found.names.items()}, "cameras": list(found.cameras),
        "constants": dict(found.constants), "about": dict(found.about), "qd": "finite differences of q",
    }  # fmt: skip
    started = str(found.constants.get("started", ""))
    metadata = LogMetadata(found.robot, joints, found.task, settings={DATASET: about}, started=started)
    values = {_topic(name): _exact(found.name, name, v) for name, v in kept.items() if name != STATE}
    if commanded:
        values.pop(_topic(ACTION))
    with LogWriter(folder, metadata, patient=True) as log:
        put = _joints_put(log, found, commanded, times)
        pictures = {c: iterate(p) for c, p in found.cameras.items()}
        for i, t_ns in enumerate(times.tolist()):
            put(i, t_ns)
            for topic, rows_of in values.items():
                log.write(topic, t_ns, _scalars(t_ns, rows_of[i]))
            for camera, images in pictures.items():
                log.write_value(f"/{camera}/image", t_ns, CameraFrame(camera, t_ns, next(images)))


def _joints(found: Recording) -> tuple[str, ...]:
    """Their names, or numbers."""
    width = found.columns[STATE].shape[1] if STATE in found.columns else 0
    return found.names.get(STATE) or tuple(f"joint_{i}" for i in range(width))


def _joints_put(log: LogWriter, found: Recording, commanded: bool, times: Any) -> Callable[[int, int], None]:
    """Writes the state, and the command where it is of the same joints, of one row."""
    if STATE not in found.columns:
        return lambda i, t_ns: None
    q = found.columns[STATE].astype(np.float64)
    qd = np.gradient(q, times / NS_PER_S, axis=0) if len(q) > 1 else np.zeros_like(q)

    def put(i: int, t_ns: int) -> None:
        log.write_value(STATES, t_ns, JointState(t_ns, q[i], qd[i]))
        if commanded:
            log.write_value(COMMANDS, t_ns, JointCommand(t_ns, found.columns[ACTION][i]))

    return put


def _exact(episode: str, name: str, values: Any) -> Any:
    """(n, width) float64. Raises DataError when that changes a number."""
    wide = values.astype(np.float64).reshape(len(values), -1)
    if not np.array_equal(wide.astype(values.dtype).reshape(values.shape), values, equal_nan=values.dtype.kind == "f"):
        raise DataError(f"episode {episode}: {name} holds {values.dtype} beyond 2^53, allowed what float64 holds exactly")
    return wide


def _scalars(t_ns: int, row: Any) -> bytes:
    names, nothing = [str(i) for i in range(len(row))], np.zeros(len(row))
    head = header(make, t_ns, "q")
    return serialize_cdr(make(JOINT_STATE, header=head, name=names, position=row, velocity=nothing, effort=nothing))
