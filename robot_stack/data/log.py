"""The episode log: a rosbag2 folder with one MCAP file of raw CDR messages. Written here; `read_log` reads it.

The caller never waits for the disk: messages go into a bounded buffer, a thread compresses and writes them. A chunk is
closed at least every half second, so that a process killed by -9 loses no more than the last one.
"""

import os
import threading
import time
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any

from mcap.writer import CompressionType, Writer

from robot_stack.data.bag_metadata import write_metadata
from robot_stack.data.log_metadata import BEGIN, END, LogMetadata, LogSummary, begin_record, end_record
from robot_stack.data.log_reader import EpisodeLog, read_log
from robot_stack.data.rosbags_messages import definition, make, serialize_cdr, type_hash
from robot_stack.data.wire import to_message, type_of
from robot_stack.errors import DataError

__all__ = ["EpisodeLog", "LogMetadata", "LogSummary", "LogWriter", "read_log"]

CHUNK_BYTES = 2 * 1024 * 1024
CHUNK_S = 0.5
BUFFER_BYTES = 64 * 1024 * 1024
_PAUSE_S = 0.02


class LogWriter:
    """Writes the log folder `path` (made here; it must not exist or be empty). Safe to call from any thread.

    `patient`: for writers that are in no hurry. `write` waits for room instead of dropping, and chunks are closed by their size
    alone: the same messages make the same file.
    Raises DataError where the folder cannot be made, from `write` once the disk has refused a write, and from `close`.
    """

    def __init__(self, path: Path, metadata: LogMetadata, buffer_bytes: int = BUFFER_BYTES, patient: bool = False) -> None:
        self.path = Path(path)
        self._joint_names = metadata.joint_names
        self._room, self._buffer_bytes = buffer_bytes, buffer_bytes
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._waiting: list[tuple[str, int, bytes]] = []
        self._counts: Counter[str] = Counter()
        self._drops: Counter[str] = Counter()
        self._span = [2**63 - 1, 0]
        self._channels: dict[str, int] = {}
        self._schemas: dict[str, int] = {}
        self._error: DataError | None = None
        self._closed, self._patient = False, patient
        self._file = _File(_new_file(self.path))
        self._writer = Writer(self._file, chunk_size=CHUNK_BYTES, compression=CompressionType.ZSTD)  # type: ignore[arg-type]
        self._guarded(self._begin, metadata)
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def write(self, topic: str, t_ns: int, data: bytes) -> None:
        """Take one serialized message of `topic` that arrived at `t_ns`. When the buffer is full it is dropped and counted."""
        if self._error is not None:
            raise self._error
        if topic not in self._channels:
            type_of(topic)
        while self._patient and len(data) > self._room and self._error is None and len(data) < self._buffer_bytes:
            time.sleep(_PAUSE_S)
        with self._lock:
            if self._closed or len(data) > self._room:
                self._drops[topic] += 1
                return
            self._room -= len(data)
            self._waiting.append((topic, t_ns, data))

    def write_value(self, topic: str, t_ns: int, value: object) -> None:
        """Take one value, serialized here: what lock-step runs call instead of publishing."""
        self.write(topic, t_ns, serialize_cdr(to_message(value, make, self._joint_names)))

    @property
    def summary(self) -> LogSummary:
        """What was written and what was lost so far."""
        with self._lock:
            return LogSummary(dict(self._counts), dict(self._drops))

    def close(self) -> LogSummary:
        """Write out what waits, the index and metadata.yaml; twice is allowed. Raises DataError if the disk refused any of it."""
        with self._lock:
            was_closed, self._closed = self._closed, True
        self._stop.set()
        self._thread.join()
        if not was_closed:
            self._guarded(self._finish)
            self._file.close()
        if self._error is not None:
            raise self._error
        return self.summary

    def __enter__(self) -> "LogWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _run(self) -> None:
        flushed = time.monotonic()
        while not self._stop.is_set() and self._error is None:
            self._stop.wait(_PAUSE_S)
            self._guarded(self._drain)
            if not self._patient and time.monotonic() - flushed >= CHUNK_S:
                self._guarded(self._writer.flush)
                flushed = time.monotonic()

    def _guarded(self, action: Any, *arguments: Any) -> None:
        """Run `action`; what the disk refuses is kept for the next `write` or `close` to raise."""
        if self._error is not None:
            return
        try:
            action(*arguments)
        except OSError as error:
            lost = sum(self._counts.values())
            self._error = DataError(
                f"log {self.path}: {error.strerror} after {self._file.tell()} bytes, {lost} messages taken; "
                "what is on disk up to there can be read; free some space and record again"
            )

    def _begin(self, metadata: LogMetadata) -> None:
        self._writer.start(profile="ros2", library="robot_stack")
        self._writer.add_metadata(BEGIN, begin_record(metadata))

    def _drain(self) -> None:
        with self._lock:
            batch, self._waiting = self._waiting, []
            self._room = self._buffer_bytes
        for topic, t_ns, data in batch:
            channel = self._channels.get(topic) or self._add_channel(topic)
            self._writer.add_message(channel, log_time=t_ns, publish_time=t_ns, data=data, sequence=self._counts[topic])
            self._counts[topic] += 1
            self._span = [min(self._span[0], t_ns), max(self._span[1], t_ns)]

    def _add_channel(self, topic: str) -> int:
        typename = type_of(topic)
        if typename not in self._schemas:
            self._schemas[typename] = self._writer.register_schema(typename, "ros2msg", definition(typename))
        about = {"offered_qos_profiles": "", "topic_type_hash": type_hash(typename)}
        self._channels[topic] = self._writer.register_channel(topic, "cdr", self._schemas[typename], about)
        return self._channels[topic]

    def _finish(self) -> None:
        self._drain()
        self._writer.add_metadata(END, end_record(self.summary))
        self._writer.finish()  # type: ignore[no-untyped-call]
        self._file.sync()
        write_metadata(self.path, self._file.name, self._span, {t: (type_of(t), self._counts[t]) for t in self._channels})


def _new_file(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise DataError(f"log {path}: found files in it, allowed a new or empty folder: logs are never overwritten")
    except OSError as error:
        raise DataError(f"log {path}: {error.strerror}; name a folder that can be made") from error
    return path / f"{path.name}_0.mcap"


class _File:
    """An unbuffered file: after a refused write nothing is left behind that would be tried again."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except OSError as error:
            raise DataError(f"log {path}: {error.strerror}; name a folder that can be written to") from error
        self._written = 0

    def write(self, data: bytes) -> int:
        """All of `data`; raises OSError where the disk takes no more."""
        rest = memoryview(data)
        while rest:
            count = os.write(self._descriptor, rest)
            self._written += count
            rest = rest[count:]
        return len(data)

    def tell(self) -> int:
        return self._written

    def flush(self) -> None:
        """Nothing waits here."""

    def sync(self) -> None:
        os.fsync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)
