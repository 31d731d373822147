"""The records of an MCAP file in their order, none larger than `robot_stack.size_limits` allows, however it is compressed."""

from collections.abc import Iterator
from dataclasses import replace
from typing import IO, Any

import zstandard
from mcap.records import Chunk
from mcap.stream_reader import StreamReader, breakup_chunk

from robot_stack.errors import ContractError
from robot_stack.size_limits import LOG_CHUNK_BYTES, LOG_RECORD_BYTES, at_most


def records(stream: IO[bytes], most: int = LOG_CHUNK_BYTES) -> Iterator[Any]:
    """Schemas, channels, messages, metadata, ... of the file `stream`, its checksums verified.

    Raises ContractError for a chunk of more than `most` bytes, before it is decompressed, and whatever the parser stumbles over.
    """
    reader = StreamReader(stream, emit_chunks=True, validate_crcs=True, record_size_limit=LOG_RECORD_BYTES)
    for record in reader.records:
        if isinstance(record, Chunk):
            yield from breakup_chunk(opened(record, most), validate_crc=True)
        else:
            yield record


def opened(chunk: Chunk, most: int = LOG_CHUNK_BYTES) -> Chunk:
    """`chunk` decompressed. Raises ContractError where it says, or would come to, more than `most` bytes."""
    at_most("log chunk: bytes", chunk.uncompressed_size, most)
    if chunk.compression == "zstd":
        return replace(chunk, compression="", data=_zstd(chunk.data, chunk.uncompressed_size, most))
    if chunk.compression == "lz4":
        return replace(chunk, compression="", data=_lz4(chunk.data, most))
    return chunk


def _zstd(data: bytes, size: int, most: int) -> bytes:
    """The size in the header of the data is what the decompressor believes, not the one beside it."""
    at_most("log chunk: bytes", max(0, zstandard.frame_content_size(data)), most)
    return bytes(zstandard.ZstdDecompressor().decompress(data, max_output_size=max(1, size)))


def _lz4(data: bytes, most: int) -> bytes:
    from lz4.frame import LZ4FrameDecompressor

    found = bytes(LZ4FrameDecompressor().decompress(data, max_length=most + 1))
    if len(found) > most:
        raise ContractError(f"log chunk: found more than {most} bytes, allowed at most that")
    return found
