"""Read an episode log, also one that was cut in the middle: message by message, in the order they were recorded."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mcap.data_stream import ReadDataStream
from mcap.records import Channel, Message, Metadata, Schema
from mcap.stream_reader import MAGIC_SIZE, StreamReader, read_magic

from robot_stack.data.log_metadata import BEGIN, END, LogMetadata, LogSummary, metadata_value, summary_value
from robot_stack.data.rosbags_messages import deserialize_cdr
from robot_stack.data.wire import chunk_key, from_message, observed_ns
from robot_stack.errors import ContractError, DataError
from robot_stack.types import ActionChunk, Step

CHUNK_TOPICS = frozenset({"/policy/chunk", "/teleop/chunk"})
VERDICT_TOPIC = "/arm/verdict"


@dataclass(frozen=True, slots=True)
class RawMessage:
    """One message as it lies in the log: `data` is CDR, `t_ns` when it was recorded."""

    topic: str
    typename: str
    t_ns: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """A recorded message that is no value of its topic (a chunk with other joints, for one), and why."""

    why: str


@dataclass(frozen=True)
class EpisodeLog:
    """One recorded episode: the MCAP file, its metadata, and whether the recorder closed it (`complete`)."""

    path: Path
    metadata: LogMetadata
    complete: bool

    @property
    def name(self) -> str:
        """The name of the log's folder."""
        return self.path.parent.name

    def messages(self, topics: Collection[str] | None = None) -> Iterator[RawMessage]:
        """The raw messages of `topics` (None: all); a cut log ends early. Raises DataError where a whole one is damaged."""
        schemas: dict[int, str] = {}
        channels: dict[int, Channel] = {}
        for record in self._records():
            if isinstance(record, Schema):
                schemas[record.id] = record.name
            elif isinstance(record, Channel):
                channels[record.id] = record
            elif isinstance(record, Message):
                channel = channels[record.channel_id]
                if topics is None or channel.topic in topics:
                    yield RawMessage(channel.topic, schemas[channel.schema_id], record.log_time, record.data)

    def iterate(self, topics: Collection[str] | None = None) -> Iterator[tuple[str, int, Any]]:
        """(topic, t_ns when recorded, value) of each message of `topics`; a message that is no such value comes as `Refused`.

        Steps come with their chunk. Raises DataError where a tick refers to a chunk that is not in the log; the ticks at
        the end of a cut log whose chunk was lost with it are left out.
        """
        for raw in self.messages(topics):
            try:
                yield raw.topic, raw.t_ns, self._value(raw)
            except ContractError as error:
                yield raw.topic, raw.t_ns, Refused(str(error))
            except _ChunkLost:
                return

    def steps(self) -> Iterator[Step]:
        """The control ticks, in order, each with its chunk. Raises DataError where one cannot be read."""
        for _, t_ns, value in self.iterate({VERDICT_TOPIC}):
            if isinstance(value, Refused):
                raise DataError(f"log {self.path}: tick recorded at {t_ns} ns: {value.why}")
            yield value

    @cached_property
    def chunks(self) -> dict[str, ActionChunk]:
        """All chunks by `wire.chunk_key`. A tick may be recorded before the chunk it took, so they are read first."""
        found: dict[str, ActionChunk] = {}
        for raw in self.messages(CHUNK_TOPICS):
            try:
                chunk = self._value(raw)
            except ContractError:
                continue
            found[chunk_key(chunk)] = chunk
        return found

    @cached_property
    def topics(self) -> tuple[str, ...]:
        """The topics that were recorded, in the order in which they first spoke."""
        return tuple(dict.fromkeys(r.topic for r in self._records() if isinstance(r, Channel)))

    @cached_property
    def summary(self) -> LogSummary:
        """What the recorder counted: messages and drops by topic; empty when the log was cut."""
        ends = [r for r in self._records() if isinstance(r, Metadata) and r.name == END]
        return summary_value(ends[-1].metadata) if ends else LogSummary()

    def _value(self, raw: RawMessage) -> Any:
        message = deserialize_cdr(raw.data, raw.typename)
        return from_message(raw.topic, message, self.metadata.joint_names, self._chunk_of)

    def _chunk_of(self, key: str) -> ActionChunk:
        if key in self.chunks:
            return self.chunks[key]
        newer = any(c.source == key.rpartition("@")[0] and c.t_obs_ns > observed_ns(key) for c in self.chunks.values())
        if not self.complete and not newer:
            raise _ChunkLost(key)
        raise DataError(f"log {self.path}: a tick took chunk {key}, which is not in the log; were the chunk topics recorded?")

    def _records(self) -> Iterator[Any]:
        with self.path.open("rb") as file:
            records = iter(StreamReader(file, validate_crcs=True).records)
            while True:
                try:
                    record = next(records)
                except StopIteration:
                    return
                except Exception as error:  # whatever the decompressor or the parser stumbles over
                    if self.complete:
                        raise DataError(
                            f"log {self.path}: damaged near byte {file.tell()} ({error}); restore it from a copy"
                        ) from error
                    return
                yield record


class _ChunkLost(Exception):
    """A cut log: the tick is there, its chunk is not."""


def read_log(path: Path) -> EpisodeLog:
    """Open the log in the folder `path` (or the .mcap file itself). Reads only its metadata.

    Raises DataError when there is no log, or so little of one that even the metadata is missing.
    """
    file = _mcap_file(Path(path))
    complete = _ends_well(file)
    probe = EpisodeLog(file, LogMetadata("", ()), complete)
    for record in probe._records():
        if isinstance(record, Metadata) and record.name == BEGIN:
            return EpisodeLog(file, metadata_value(record.metadata), complete)
        if isinstance(record, Message):
            break
    size = file.stat().st_size
    raise DataError(
        f"log {file}: found {size} bytes without robot_stack's metadata at the start; no log of recorder_node, or cut too early"
    )


def _mcap_file(path: Path) -> Path:
    if path.is_file():
        return path
    files = sorted(path.glob("*.mcap")) if path.is_dir() else []
    if len(files) != 1:
        found = f"{len(files)} .mcap files" if path.is_dir() else "no such folder"
        raise DataError(f"log {path}: found {found}, allowed a folder with one .mcap file, or the file")
    return files[0]


def _ends_well(file: Path) -> bool:
    """True when the file was closed: an MCAP begins and ends with the same eight bytes."""
    if file.stat().st_size < 2 * MAGIC_SIZE:
        return False
    with file.open("rb") as stream:
        stream.seek(-MAGIC_SIZE, 2)
        try:
            return bool(read_magic(ReadDataStream(stream)))
        except Exception:  # InvalidMagic is no common ancestor of what short reads raise
            return False
