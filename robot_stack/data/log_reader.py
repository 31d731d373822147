"""Read an episode log, also one that was cut in the middle: message by message, in the order they were recorded."""

from collections import OrderedDict, defaultdict, deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from mcap.data_stream import ReadDataStream
from mcap.records import Channel, Message, Metadata, Schema
from mcap.stream_reader import MAGIC_SIZE, read_magic

from robot_stack.clock import NS_PER_S
from robot_stack.data.log_metadata import BEGIN, END, LogMetadata, LogSummary, metadata_value, summary_value
from robot_stack.data.mcap_records import records
from robot_stack.data.picture_stream import STREAMED, StreamDecoder
from robot_stack.data.rosbags_messages import deserialize_cdr
from robot_stack.data.wire import IMAGE, chunk_key, from_message, observed_ns
from robot_stack.errors import ContractError, DataError
from robot_stack.types import ActionChunk, Step

CHUNK_TOPICS = frozenset({"/policy/chunk", "/teleop/chunk"})
VERDICT_TOPIC = "/arm/verdict"
CHUNKS_KEPT, WAIT_NS = 256, 10 * NS_PER_S
"""A tick took one of the last so many chunks of its log, or one that was recorded at most so much later."""


@dataclass(frozen=True, slots=True)
class RawMessage:
    """One message of a log: `data` is CDR, `t_ns` when it was recorded."""

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
        """The messages of `topics` (None: all) as they were sent: a piece of a video is decoded, or left out where pieces before
        it are lost. A cut log ends early. Raises DataError where a whole one is damaged."""
        streams: defaultdict[str, StreamDecoder] = defaultdict(StreamDecoder)
        for raw in self.stored(topics):
            if raw.typename != STREAMED:
                yield raw
            elif (image := streams[raw.topic].decode(raw.data)) is not None:
                yield replace(raw, typename=IMAGE, data=image)

    def stored(self, topics: Collection[str] | None = None) -> Iterator[RawMessage]:
        """The messages of `topics` (None: all) as they lie in the log. Raises DataError as `messages`."""
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

        Steps come with their chunk, also when that was recorded after them: messages wait for it, in order. Memory does not
        grow with the log. Raises DataError where a tick refers to a chunk that is not in the log; the ticks at the end of a cut
        log whose chunk was lost with it are left out.
        """
        ticks = topics is None or VERDICT_TOPIC in topics
        read = topics if topics is None or not ticks else {*topics, *CHUNK_TOPICS}
        waiting, chunks = deque[RawMessage](), _LastChunks()
        for raw in self.messages(read):
            if ticks and raw.topic in CHUNK_TOPICS:
                chunks.add(self._read(raw, chunks))
            if topics is None or raw.topic in topics:
                waiting.append(raw)
            try:
                yield from self._ready(waiting, chunks, raw.t_ns - WAIT_NS)
            except _ChunkLost:
                return
        try:
            yield from self._ready(waiting, chunks, None)
        except _ChunkLost:
            return

    def _ready(
        self, waiting: "deque[RawMessage]", chunks: "_LastChunks", before_ns: int | None
    ) -> Iterator[tuple[str, int, Any]]:
        """What need not wait any more. A tick recorded before `before_ns` (None: any) has waited long enough for its chunk."""
        while waiting:
            try:
                value = self._read(waiting[0], chunks)
            except _NotYet as missing:
                if before_ns is not None and waiting[0].t_ns >= before_ns:
                    return
                self._give_up(str(missing), chunks)
            raw = waiting.popleft()
            yield raw.topic, raw.t_ns, value

    def _give_up(self, key: str, chunks: "_LastChunks") -> NoReturn:
        if not self.complete and not chunks.newer_than(key):
            raise _ChunkLost(key)
        raise DataError(f"log {self.path}: a tick took chunk {key}, which is not in the log; were the chunk topics recorded?")

    def steps(self) -> Iterator[Step]:
        """The control ticks, in order, each with its chunk. Raises DataError where one cannot be read."""
        for _, t_ns, value in self.iterate({VERDICT_TOPIC}):
            if isinstance(value, Refused):
                raise DataError(f"log {self.path}: tick recorded at {t_ns} ns: {value.why}")
            yield value

    @cached_property
    def topics(self) -> tuple[str, ...]:
        """The topics that were recorded, in the order in which they first spoke."""
        return tuple(dict.fromkeys(r.topic for r in self._records() if isinstance(r, Channel)))

    @cached_property
    def summary(self) -> LogSummary:
        """What the recorder counted: messages and drops by topic; empty when the log was cut."""
        ends = [r for r in self._records() if isinstance(r, Metadata) and r.name == END]
        return summary_value(ends[-1].metadata) if ends else LogSummary()

    def _read(self, raw: RawMessage, chunks: "_LastChunks") -> Any:
        """The value in `raw`, or why it is none. Raises _NotYet when it is a tick whose chunk has not been read."""
        try:
            return from_message(raw.topic, deserialize_cdr(raw.data, raw.typename), self.metadata.joint_names, chunks.find)
        except ContractError as error:
            return Refused(str(error))

    def _records(self) -> Iterator[Any]:
        with self.path.open("rb") as file:
            found = records(file)
            while True:
                try:
                    record = next(found)
                except StopIteration:
                    return
                except Exception as error:  # whatever the decompressor or the parser stumbles over
                    if self.complete:
                        raise DataError(
                            f"log {self.path}: damaged near byte {file.tell()} ({error}); restore it from a copy"
                        ) from error
                    return
                yield record


class _LastChunks:
    """The chunks read last, by `wire.chunk_key`: as many as a tick may still refer to, not all of an hour."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, ActionChunk] = OrderedDict()
        self._newest_ns: dict[str, int] = {}

    def add(self, chunk: ActionChunk | Refused) -> None:
        """Remember one chunk, forget the oldest of too many."""
        if isinstance(chunk, Refused):
            return
        self._kept[chunk_key(chunk)] = chunk
        self._newest_ns[chunk.source] = max(chunk.t_obs_ns, self._newest_ns.get(chunk.source, chunk.t_obs_ns))
        if len(self._kept) > CHUNKS_KEPT:
            self._kept.popitem(last=False)

    def find(self, key: str) -> ActionChunk:
        """The chunk `key` names. Raises _NotYet when it is not among them."""
        if key not in self._kept:
            raise _NotYet(key)
        return self._kept[key]

    def newer_than(self, key: str) -> bool:
        """True when a chunk of the same source with a later observation was read."""
        return self._newest_ns.get(key.rpartition("@")[0], observed_ns(key)) > observed_ns(key)


class _NotYet(Exception):
    """A tick refers to a chunk that was not read, or not yet."""


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
