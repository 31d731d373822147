"""Things one process at a time may have: an arm, a ROS domain. Held by a file lock, so a crash gives them back."""

import fcntl
import os
import tempfile
from pathlib import Path
from typing import IO


def hold(name: str, shared: bool = False) -> IO[str] | None:
    """An open lock on `name`, held until it is closed or this process ends; None when another process of this user has it.

    `shared`: with others that hold it shared, too.
    """
    file = _lock_file(name).open("a+")
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def holder(name: str) -> str:
    """The process id that last took the lock on `name`, or "unknown"."""
    path = _lock_file(name)
    return (path.read_text().strip() if path.is_file() else "") or "unknown"


def _lock_file(name: str) -> Path:
    return Path(tempfile.gettempdir()) / f"robot_stack_{os.getuid()}_{name}.lock"
