"""Decoded pictures in mapped files: made once, shared by all processes that train on them, paged in as they are read.

Whoever holds the lock on the part file makes it; others wait and find it made. The part is renamed when it is whole and on the
disk, so a process killed while it decodes leaves no entry, and its part is written over by the next.
"""

import fcntl
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from robot_stack.errors import DataError
from robot_stack.types import Image


def kept(file: Path, make: Callable[[], Image]) -> Image:
    """The pictures (n, H, W, 3) uint8 in `file`, read-only, made by `make` where it is missing.

    Raises DataError on a full disk.
    """
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".partial")
        with part.open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not file.is_file():
                _write(part, file, make())
            elif part.is_file() and os.path.samestat(os.fstat(lock.fileno()), part.stat()):
                part.unlink()
    images: Image = np.load(file, mmap_mode="r", allow_pickle=False)
    return images


def digest_of(images: Image) -> str:
    """A name for `images` (n, H, W, 3) by their size and pixels."""
    digest = hashlib.sha256(repr(images.shape).encode())
    digest.update(np.ascontiguousarray(images).data)
    return digest.hexdigest()[:32]


def _write(part: Path, file: Path, images: Image) -> None:
    try:
        with part.open("r+b") as stream:
            stream.truncate(0)
            np.save(stream, images)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        os.truncate(part, 0)
        raise DataError(f"{file}: {error.strerror} while decoded pictures were kept; free some space and start again") from error
    part.replace(file)
