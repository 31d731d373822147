"""What can be read of a cut or damaged MCAP file or sqlite3 bag, written as a whole log: index, metadata.yaml and all.

MCAP: chunk by chunk from the start. A chunk that is damaged is skipped, a file that ends in the middle of a record ends there.
sqlite3: row by row until the database refuses. Messages are copied as they are; none is decoded.
"""

import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

from mcap.records import Channel, Chunk, Message, Metadata, Schema
from mcap.stream_reader import StreamReader, breakup_chunk
from mcap.writer import CompressionType, Writer

from robot_stack.data.bag_metadata import write_metadata
from robot_stack.data.mcap_records import opened
from robot_stack.data.rosbags_messages import definition
from robot_stack.errors import DataError
from robot_stack.size_limits import LOG_RECORD_BYTES

CHUNK_BYTES = 2 * 1024 * 1024

Records: TypeAlias = Iterator[Schema | Channel | Message | Metadata | str]
"""Records in the order of the file; a text says what was lost at that place."""


@dataclass
class Repair:
    """What was saved to `out`: messages by topic; `lost` says what was not, as far as that can be known."""

    out: Path
    messages: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        counts = ", ".join(f"{topic} {count}" for topic, count in sorted(self.messages.items()))
        return "\n".join([f"{self.out}: {sum(self.messages.values())} messages saved ({counts})", *self.lost])


def repair(path: Path, out: Path) -> Repair:
    """Save the log or bag at `path`, a file or a folder of them, to the new folder `out`. The source is only read.

    Raises DataError when `out` exists, there is nothing to repair, or not one message can be read.
    """
    files = [path] if path.is_file() else sorted([*path.glob("*.mcap"), *path.glob("*.db3")])
    if not files:
        raise DataError(f"repair {path}: found no .mcap or .db3 file, allowed one, or a folder with some")
    if out.exists():
        raise DataError(f"repair {out}: exists, allowed a new folder")
    found = Repair(out)
    try:
        out.mkdir(parents=True)
        with (out / f"{out.name}_0.mcap").open("wb") as stream:
            writer = Writer(stream, chunk_size=CHUNK_BYTES, compression=CompressionType.ZSTD)
            writer.start(profile="ros2", library="robot_stack")
            copy = _Copy(writer, found)
            for file in files:
                copy.take(file)
            writer.finish()  # type: ignore[no-untyped-call]
        if not found.messages:
            raise DataError(f"repair {path}: found no whole message; {'; '.join(found.lost)}")
        counted = {topic: (copy.types[topic], count) for topic, count in found.messages.items()}
        write_metadata(out, f"{out.name}_0.mcap", copy.span, counted)
    except (OSError, DataError) as error:
        for file in out.glob("*"):
            file.unlink()
        out.rmdir()
        if isinstance(error, DataError):
            raise
        raise DataError(f"repair {out}: {error.strerror}; {path} is as it was") from error
    return found


class _Copy:
    """Takes records of several files into one; each file numbers its schemas and channels by itself."""

    def __init__(self, writer: Writer, found: Repair) -> None:
        self._writer, self._found = writer, found
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}
        self.types: dict[str, str] = {}
        self.span = [2**63 - 1, 0]

    def take(self, file: Path) -> None:
        """All records of `file` that can be read."""
        schemas: dict[int, Schema] = {}
        channels: dict[int, Channel] = {}
        for record in _records(file):
            match record:
                case str():
                    self._found.lost.append(f"{file.name}: {record}")
                case Metadata():
                    self._writer.add_metadata(record.name, record.metadata)
                case Schema():
                    schemas[record.id] = record
                case Channel():
                    channels[record.id] = record
                case Message() if record.channel_id in channels:
                    channel = channels[record.channel_id]
                    self._add(record, channel, schemas.get(channel.schema_id))

    def _add(self, message: Message, channel: Channel, schema: Schema | None) -> None:
        topic = channel.topic
        if topic not in self._channels:
            self.types[topic] = schema.name if schema else "unknown"
            if schema and schema.name not in self._schemas:
                self._schemas[schema.name] = self._writer.register_schema(schema.name, schema.encoding, schema.data)
            number = self._schemas[schema.name] if schema else 0
            self._channels[topic] = self._writer.register_channel(topic, channel.message_encoding, number, channel.metadata)
        times = {"log_time": message.log_time, "publish_time": message.publish_time, "sequence": message.sequence}
        self._writer.add_message(self._channels[topic], data=message.data, **times)
        self._found.messages[topic] += 1
        self.span = [min(self.span[0], message.log_time), max(self.span[1], message.log_time)]


def _records(file: Path) -> Records:
    return _mcap(file) if file.suffix == ".mcap" else _sqlite(file)


def _mcap(file: Path) -> Records:
    with file.open("rb") as stream:
        records = iter(StreamReader(stream, emit_chunks=True, record_size_limit=LOG_RECORD_BYTES).records)
        while True:
            begin = stream.tell()
            try:
                record = next(records)
            except StopIteration:
                return
            except Exception as error:  # whatever the parser stumbles over in a cut record
                yield f"ends near byte {begin} of {file.stat().st_size} ({error or type(error).__name__})"
                return
            if isinstance(record, Chunk):
                try:
                    for inner in breakup_chunk(opened(record), validate_crc=True):
                        if isinstance(inner, Schema | Channel | Message):
                            yield inner
                except Exception as error:  # and the decompressors, in a damaged one
                    yield f"a chunk of {len(record.data)} bytes near byte {begin} is damaged ({error or type(error).__name__})"
            elif isinstance(record, Schema | Channel | Message | Metadata):
                yield record


def _as_long_as_it_says(file: Path, folder: Path) -> Path:
    """A copy of a cut database with zeros in the place of what is gone: sqlite reads none shorter than its header says."""
    copy = folder / file.name
    shutil.copyfile(file, copy)
    with copy.open("r+b") as stream:
        head = stream.read(32)
        page = int.from_bytes(head[16:18], "big")
        stream.truncate(max((page if page > 1 else 65536) * int.from_bytes(head[28:32], "big"), copy.stat().st_size))
    return copy


def _sqlite(file: Path) -> Records:
    with TemporaryDirectory() as folder, closing(sqlite3.connect(_as_long_as_it_says(file, Path(folder)))) as database:
        try:
            topics = database.execute("SELECT id, name, type FROM topics").fetchall()
            for number, name, kind in topics:
                with suppress(KeyError):
                    yield Schema(number, definition(kind), "ros2msg", kind)
                yield Channel(number, name, "cdr", {}, number)
            for topic, t_ns, data in database.execute("SELECT topic_id, timestamp, data FROM messages ORDER BY id"):
                yield Message(topic, t_ns, data, t_ns, 0)
        except sqlite3.Error as error:
            yield f"the database ends: {error}"
