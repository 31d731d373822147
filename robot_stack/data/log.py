"""The episode log: a rosbag2 folder with one MCAP file of raw CDR messages. Written here; `read_log` reads it.

The caller never waits for the disk: messages go into a bounded buffer, a thread compresses and writes them.

What is safe when: a chunk is closed at least every half second and then brought to the disk (fdatasync) by a thread of its own,
which no writing waits for; the folder's entry is, before the first message. A process killed by -9 loses no more than the chunk
not yet closed, a computer without power what came after the last sync as well. A disk that is full ends the log, whole: the room
that its end needs is held back from the start.
"""

import threading
import time
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any

from mcap.writer import CompressionType, Writer

from robot_stack.data.bag_metadata import write_metadata
from robot_stack.data.log_file import LogFile, new_file
from robot_stack.data.log_metadata import BEGIN, END, MARK, LogMetadata, LogSummary, begin_record, end_record, mark_record
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

    `patient`: for writers that are in no hurry. `write` always waits for room, and chunks are closed by their size alone and
    synced at the end: the same messages make the same file.
    Raises DataError where the folder cannot be made, from `write` once the disk has refused a write, and from `close`.
    """

    def __init__(self, path: Path, metadata: LogMetadata, buffer_bytes: int = BUFFER_BYTES, patient: bool = False) -> None:
        self.path = Path(path)
        self._joint_names = metadata.joint_names
        self._room, self._buffer_bytes = buffer_bytes, buffer_bytes
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._waiting: list[tuple[str, str, int, bytes]] = []
        self._marks: list[dict[str, str]] = []
        self._counts: Counter[str] = Counter()
        self._drops: Counter[str] = Counter()
        self._span = [2**63 - 1, 0]
        self._channels: dict[tuple[str, str], int] = {}
        self._schemas: dict[str, int] = {}
        self._error: DataError | None = None
        self._closed, self._finished, self._patient = False, False, patient
        self._file = LogFile(new_file(self.path))
        self._writer = Writer(self._file, chunk_size=CHUNK_BYTES, compression=CompressionType.ZSTD)  # type: ignore[arg-type]
        self._guarded(self._begin, metadata)
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def write(self, topic: str, t_ns: int, data: bytes, kind: str = "", wait: bool = False) -> None:
        """Take one serialized message of `topic` that arrived at `t_ns`. When the buffer is full it is dropped and counted, or
        one may `wait` for room. `kind`: its type, where that is not the topic's own."""
        if self._error is not None:
            raise self._error
        kind = kind or type_of(topic)
        while (wait or self._patient) and self._room < len(data) < self._buffer_bytes and self._error is None:
            time.sleep(_PAUSE_S)
        with self._lock:
            if self._closed or len(data) > self._room:
                self._drops[topic] += 1
                return
            self._room -= len(data)
            self._waiting.append((topic, kind, t_ns, data))

    def write_value(self, topic: str, t_ns: int, value: object) -> None:
        """Take one value, serialized here: what lock-step runs call instead of publishing."""
        self.write(topic, t_ns, serialize_cdr(to_message(value, make, self._joint_names)))

    def mark(self, label: str, t_ns: int) -> None:
        """Note in the log what a person said of it: "success", "failure". Raises DataError once it is closed."""
        with self._lock:
            if self._closed or self._error is not None:
                raise DataError(f"log {self.path}: is closed, allowed marks while it is recorded; `data` labels it from now on")
            self._marks.append(mark_record(label, t_ns))

    def lost(self, topic: str, count: int) -> None:
        """`count` messages of `topic` were dropped on the way here."""
        with self._lock:
            self._drops[topic] += count

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
            if self._file.refused is not None:
                self._guarded(self._finish)

    def _guarded(self, action: Any, *arguments: Any) -> None:
        """Run `action`; what the disk refuses is kept for the next `write` or `close` to raise."""
        if self._error is not None:
            return
        try:
            action(*arguments)
        except OSError as error:
            self._end(error, "what is on disk up to there can be read")
        else:
            if self._finished and self._file.refused is not None:
                self._end(self._file.refused, "it is closed, and whole up to there")

    def _end(self, error: OSError, state: str) -> None:
        self._error = DataError(
            f"log {self.path}: {error.strerror} after {self._file.tell()} bytes, {sum(self._counts.values())} messages taken; "
            f"{state}; free some space and record again"
        )

    def _begin(self, metadata: LogMetadata) -> None:
        self._writer.start(profile="ros2", library="robot_stack")
        self._writer.add_metadata(BEGIN, begin_record(metadata))

    def _drain(self) -> None:
        with self._lock:
            batch, self._waiting = self._waiting, []
            marks, self._marks = self._marks, []
            self._room = self._buffer_bytes
        for mark in marks:
            self._writer.add_metadata(MARK, mark)
        for topic, kind, t_ns, data in batch:
            if self._file.refused is not None:
                self._drops[topic] += 1
                continue
            channel = self._channels.get((topic, kind)) or self._add_channel(topic, kind)
            self._writer.add_message(channel, log_time=t_ns, publish_time=t_ns, data=data, sequence=self._counts[topic])
            self._counts[topic] += 1
            self._span = [min(self._span[0], t_ns), max(self._span[1], t_ns)]

    def _add_channel(self, topic: str, kind: str) -> int:
        if kind not in self._schemas:
            self._schemas[kind] = self._writer.register_schema(kind, "ros2msg", definition(kind))
        about = {"offered_qos_profiles": "", "topic_type_hash": type_hash(kind)}
        self._channels[topic, kind] = self._writer.register_channel(topic, "cdr", self._schemas[kind], about)
        return self._channels[topic, kind]

    def _finish(self) -> None:
        """Once: the rest, the index, metadata.yaml, the sha256."""
        if self._finished:
            return
        self._drain()
        self._writer.add_metadata(END, end_record(self.summary))
        self._writer.finish()  # type: ignore[no-untyped-call]
        self._file.sync()
        write_metadata(self.path, self._file.name, self._span, {t: (kind, self._counts[t]) for t, kind in self._channels})
        self._file.write_sum(self.path)
        self._finished = True
