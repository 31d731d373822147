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
from typing import Any, TypeAlias

from mcap.records import Channel, Chunk, Message, Metadata, Schema
from mcap.stream_reader import StreamReader, breakup_chunk
from mcap.writer import CompressionType, Writer

from robot_stack.data.bag_metadata import write_metadata
from robot_stack.data.rosbags_messages import definition
from robot_stack.errors import DataError

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
            types, span = _copy(files, Writer(stream, chunk_size=CHUNK_BYTES, compression=CompressionType.ZSTD), found)
        if not found.messages:
            raise DataError(f"repair {path}: found no whole message; {'; '.join(found.lost)}")
        write_metadata(out, f"{out.name}_0.mcap", span, {topic: (types[topic], n) for topic, n in found.messages.items()})
    except (OSError, DataError) as error:
        for file in out.glob("*"):
            file.unlink()
        out.rmdir()
        raise (
            error if isinstance(error, DataError) else DataError(f"repair {out}: {error.strerror}; {path} is as it was")
        ) from error
    return found


def _copy(files: list[Path], writer: Writer, found: Repair) -> tuple[dict[str, str], list[int]]:
    writer.start(profile="ros2", library="robot_stack")
    types, span = {}, [2**63 - 1, 0]
    schemas: dict[Any, int] = {}
    channels: dict[str, int] = {}
    for file in files:
        ours: dict[int, Any] = {}
        for record in _records(file):
            if isinstance(record, str):
                found.lost.append(f"{file.name}: {record}")
            elif isinstance(record, Metadata):
                writer.add_metadata(record.name, record.metadata)
            elif isinstance(record, Schema):
                ours[-record.id] = record
            elif isinstance(record, Channel):
                ours[record.id] = record
                schema = ours.get(-record.schema_id)
                types[record.topic] = schema.name if schema else "unknown"
            elif record.channel_id in ours:
                channel, schema = ours[record.channel_id], ours.get(-ours[record.channel_id].schema_id)
                if channel.topic not in channels:
                    known = schemas.get(types[channel.topic])
                    if known is None and schema is not None:
                        known = schemas[schema.name] = writer.register_schema(schema.name, schema.encoding, schema.data)
                    encoding, about = channel.message_encoding, channel.metadata
                    channels[channel.topic] = writer.register_channel(channel.topic, encoding, known or 0, about)
                times = {"log_time": record.log_time, "publish_time": record.publish_time, "sequence": record.sequence}
                writer.add_message(channels[channel.topic], data=record.data, **times)
                found.messages[channel.topic] += 1
                span = [min(span[0], record.log_time), max(span[1], record.log_time)]
    writer.finish()  # type: ignore[no-untyped-call]
    return types, span


def _records(file: Path) -> Records:
    return _mcap(file) if file.suffix == ".mcap" else _sqlite(file)


def _mcap(file: Path) -> Records:
    with file.open("rb") as stream:
        records = iter(StreamReader(stream, emit_chunks=True, validate_crcs=False).records)
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
                    for inner in breakup_chunk(record, validate_crc=True):
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
