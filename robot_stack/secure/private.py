"""Files that only their user may read."""

import os
from pathlib import Path


def write_new(file: Path, content: bytes, mode: int = 0o600) -> None:
    """Write the new `file`, which has `mode` from its first byte on. Raises FileExistsError."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with open(descriptor, "wb") as stream:
        stream.write(content)
