"""The file of a log that is being written: unbuffered, synced, and with room held back so that a full disk can close it."""

import os
import tempfile
import threading
from pathlib import Path
from typing import IO

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
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except OSError as error:
            raise DataError(f"log {path}: {error.strerror}; name a folder that can be written to") from error
        try:
            self._reserve = tempfile.TemporaryFile(dir=path.parent, buffering=0)  # has no name: it is gone with the process
            os.posix_fallocate(self._reserve.fileno(), 0, RESERVED)
            _sync_folder(path.parent)
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
            rest = rest[count:]
        return len(data)

    def tell(self) -> int:
        """Bytes written."""
        return self._written

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


def _sync_folder(folder: Path) -> None:
    """A file whose name is not on the disk is not found after a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
