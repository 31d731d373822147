"""Values shared between processes: one file in /dev/shm, one writer a block, no lock taken by anybody.

Each block has two slots, ``sequence (u64) | crc32 (u32) | payload``, written in turn; an odd sequence is one that is being
written. A reader takes the newest whole slot, so a writer that is put aside in the middle of a write, or dies there, costs him
nothing but the newest value. Overtaken while he copies, he tries again; the checksum catches what a weakly ordered processor
could still let through.
The owner of the file holds an flock on it for as long as it lives, `kill -9` included: that is how others know.
"""

import fcntl
import json
import mmap
import os
import struct
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robot_stack.errors import DriverError

FOLDER = Path("/dev/shm")
_HEAD = struct.Struct("<QI4x")
_TRIES = 200
_ALIGN = 64
_SLOTS = 2
_YOUNG_S = 60.0


class Block:
    """`size` bytes of payload, in two slots from `offset` of `memory` on."""

    def __init__(self, memory: mmap.mmap, offset: int, size: int) -> None:
        self._memory, self._size = memory, size
        self._slots = tuple(offset + i * _stride(size) for i in range(_SLOTS))

    def write(self, payload: bytes) -> None:
        """Publish `payload`, padded with zeros. Raises DriverError when it is too long."""
        if len(payload) > self._size:
            raise DriverError(f"shared block: found {len(payload)} bytes, allowed {self._size}")
        payload = payload.ljust(self._size, b"\0")
        sequence = self.sequence | 1
        slot = self._slots[sequence // 2 % _SLOTS]
        at = slot + _HEAD.size
        _HEAD.pack_into(self._memory, slot, sequence, 0)
        self._memory[at : at + self._size] = payload
        _HEAD.pack_into(self._memory, slot, sequence, zlib.crc32(payload))
        struct.pack_into("<Q", self._memory, slot, sequence + 1)

    @property
    def sequence(self) -> int:
        """Twice the number of writes so far, odd during one. 0: never written."""
        return max(self._sequence_of(slot) for slot in self._slots)

    def read(self, seen: int = 0) -> tuple[int, bytes] | None:
        """The newest payload that is whole and its sequence, or None: not newer than `seen`."""
        for _ in range(_TRIES):
            heads = [(*_HEAD.unpack_from(self._memory, slot), slot) for slot in self._slots]
            if not (whole := [head for head in heads if not head[0] & 1]):
                continue
            sequence, checksum, slot = max(whole)
            if sequence <= seen:
                return None
            at = slot + _HEAD.size
            payload = bytes(self._memory[at : at + self._size])
            if self._sequence_of(slot) == sequence and zlib.crc32(payload) == checksum:
                return sequence, payload
        return None

    def _sequence_of(self, slot: int) -> int:
        return int(struct.unpack_from("<Q", self._memory, slot)[0])


def _stride(size: int) -> int:
    """Bytes from slot to slot of `size` bytes of payload."""
    return -(-(size + _HEAD.size) // _ALIGN) * _ALIGN


@dataclass(slots=True)
class SharedFile:
    """A header any JSON can say and named blocks. Made by `create` (the owner) or `connect`."""

    path: Path
    header: dict[str, Any]
    _memory: mmap.mmap
    _descriptor: int
    _owner: bool

    @classmethod
    def create(cls, name: str, header: dict[str, Any], sizes: dict[str, int]) -> "SharedFile":
        """A fresh file that appears, complete, with `publish`. A stale one is replaced; DriverError if `name` is alive."""
        path = FOLDER / f"robot_stack.{name}"
        if path.exists() and not _is_free(path):
            raise DriverError(f"world {name}: already running; choose another name or stop it first")
        _sweep()
        blocks, end = {}, 1 << 16
        for block, size in sizes.items():
            blocks[block] = [end, size]
            end += _SLOTS * _stride(size)
        text = json.dumps(header | {"blocks": blocks}).encode()
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.truncate(descriptor, end)
        memory = mmap.mmap(descriptor, end)
        memory[: 4 + len(text)] = struct.pack("<I", len(text)) + text
        return cls(path, header | {"blocks": blocks}, memory, descriptor, True)

    def publish(self) -> None:
        """Let others find the file."""
        self.path.with_name(f"{self.path.name}.{os.getpid()}").replace(self.path)

    @classmethod
    def connect(cls, name: str) -> "SharedFile":
        """The file of a living owner. Raises DriverError when there is none."""
        path = FOLDER / f"robot_stack.{name}"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            raise DriverError(f"world {name}: not running; start `python -m drivers.world_process --name {name}`") from None
        memory = mmap.mmap(descriptor, 0)
        (length,) = struct.unpack_from("<I", memory)
        shared = cls(path, json.loads(memory[4 : 4 + length]), memory, descriptor, False)
        if not shared.alive():
            shared.close()
            raise DriverError(f"world {name}: its process is dead; start `python -m drivers.world_process --name {name}`")
        return shared

    def block(self, name: str) -> Block:
        """The block called `name`. Raises DriverError, listing the ones there are."""
        blocks = self.header["blocks"]
        if name not in blocks:
            raise DriverError(f"{self.path.name}: found no {name!r}, allowed {sorted(blocks)}")
        return Block(self._memory, *blocks[name])

    def alive(self) -> bool:
        """The owner's process still runs."""
        return self._descriptor >= 0 and (self._owner or not _try_lock(self._descriptor))

    def close(self) -> None:
        """Let go of it; the owner also removes the file. Closing twice is allowed."""
        if self._descriptor < 0:
            return
        if self._owner:
            _remove_own(self.path, self._descriptor)
            _remove_own(self.path.with_name(f"{self.path.name}.{os.getpid()}"), self._descriptor)
        self._memory.close()
        os.close(self._descriptor)
        self._descriptor = -1


def _try_lock(descriptor: int) -> bool:
    """True when nobody holds the file exclusively."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return True


def _sweep() -> None:
    """Remove what killed owners left behind. Young files stay: their owner may be about to lock them."""
    for path in FOLDER.glob("robot_stack.*"):
        try:
            if time.time() - path.stat().st_mtime > _YOUNG_S and _is_free(path):
                path.unlink()
        except OSError:
            continue


def _is_free(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        return _try_lock(descriptor)
    finally:
        os.close(descriptor)


def _remove_own(path: Path, descriptor: int) -> None:
    try:
        if os.stat(path).st_ino == os.fstat(descriptor).st_ino:
            path.unlink()
    except FileNotFoundError:
        pass
