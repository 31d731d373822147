"""The file of a log being written: unbuffered, synced, hashed, and with room held back so that a full disk can close it."""

import hashlib
import os
import tempfile
import threading
from pathlib import Path
from typing import IO

from robot_stack.data.whole_file import sync
from robot_stack.errors import DataError

RESERVED = 8 * 1024 * 1024
"""Bytes held back on the disk: more than the chunk being written, the index and metadata.yaml together."""


def new_file(folder: Path) -> Path:
    """The .mcap file of the log `folder`, which is made. Raises DataError unless it is new or empty."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise DataError(f"log {folder}: found files in it, allowed a new or empty folder: logs are never overwritten")
    except OSError as error:
        raise DataError(f"log {folder}: {error.strerror}; name a folder that can be made") from error
    return folder / f"{folder.name}_0.mcap"


def sum_file(file: Path) -> Path:
    """Where the sha256 of a log's `file` stands once it is closed, as `sha256sum -c` reads it."""
    return file.with_name(file.name + ".sha256")


def check_sum(file: Path) -> str:
    """The sha256 of a log's `file`. Raises DataError unless it is the one its recorder wrote beside it."""
    beside = sum_file(file)
    if not beside.is_file():
        raise DataError(
            f"log {file}: found no {beside.name}, allowed beside a closed log; it was cut, or is an older or imported one"
        )
    wanted = beside.read_bytes()[:256].decode(errors="replace").split(" ")[0]
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != wanted:
        raise DataError(
            f"log {file}: found sha256 {found[:12]}..., allowed {wanted[:12]}...: it was changed after it was recorded"
        )
    return found


class LogFile:
    """An unbuffered file: after a refused write nothing is left behind that would be tried again.

    `refused`: what the disk said when it was full for the first time. That write was completed with the room held back, and so
    are the next ones, as far as it reaches: then OSError. Raises DataError where the file cannot be made, or that room had.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.refused: OSError | None = None
        self._failed: OSError | None = None
        self._reserve: IO[bytes] | None = None
        self._wanted, self._closing = threading.Event(), False
        self._syncing: threading.Thread | None = None
        self._written = 0
        self._digest = hashlib.sha256()
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except OSError as error:
            raise DataError(f"log {path}: {error.strerror}; name a folder that can be written to") from error
        try:
            self._reserve = tempfile.TemporaryFile(dir=path.parent, buffering=0)  # has no name: it is gone with the process
            os.posix_fallocate(self._reserve.fileno(), 0, RESERVED)
            sync(path.parent)
        except OSError as error:
            self.close()
            path.unlink()
            needed = f"at least {RESERVED >> 20} MiB"
            raise DataError(f"log {path}: {error.strerror}; free some space, {needed}, and record again") from error

    def write(self, data: bytes) -> int:
        """All of `data`; raises OSError where the disk takes no more."""
        rest = memoryview(data)
        while rest:
            try:
                count = os.write(self._descriptor, rest)
            except OSError as error:
                if self.refused is not None:
                    raise
                self.refused = error
                if self._reserve is not None:
                    self._reserve.close()
                continue
            self._written += count
            self._digest.update(rest[:count])
            rest = rest[count:]
        return len(data)

    def tell(self) -> int:
        """Bytes written."""
        return self._written

    def write_sum(self, folder: Path) -> None:
        """Write the sha256 of what was written into `folder`, beside the file. Raises OSError."""
        file = folder / self.name
        sum_file(file).write_text(f"{self._digest.hexdigest()}  {file.name}\n", encoding="ascii")

    def flush(self) -> None:
        """A chunk was closed: have it brought to the disk, by a thread of its own. Raises OSError where that failed before."""
        if self._failed is not None:
            raise self._failed
        if self._syncing is None:
            self._syncing = threading.Thread(target=self._sync, name="log-sync", daemon=True)
            self._syncing.start()
        self._wanted.set()

    def sync(self) -> None:
        """Returns once all of the file is on the disk."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Give back the room that was held."""
        self._closing = True
        self._wanted.set()
        if self._syncing is not None:
            self._syncing.join()
        os.close(self._descriptor)
        if self._reserve is not None:
            self._reserve.close()

    def _sync(self) -> None:
        while self._wanted.wait() and not self._closing:
            self._wanted.clear()
            try:
                os.fdatasync(self._descriptor)
            except OSError as error:
                self._failed = error
