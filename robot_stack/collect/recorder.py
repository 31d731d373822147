"""What recorder_node does, without ROS: one log at a time, started, stopped, marked or discarded by whoever asks."""

import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from robot_stack.collect.dataset import discard
from robot_stack.collect.tape import Tape
from robot_stack.config.collect import CollectSettings
from robot_stack.data.log import LogMetadata, LogSummary, LogWriter
from robot_stack.errors import DataError

MARKS = ("success", "failure")


class Recorder:
    """Hears all the time (`put`); between `start` and `stop` it goes to a log. All but `put` from one thread.

    `say` gets what goes wrong meanwhile, as a sentence; `fail` an exception nobody expected.
    """

    def __init__(self, settings: CollectSettings, say: Callable[[str], object], fail: Callable[[BaseException], object]) -> None:
        self._settings = settings
        self._tape = Tape(settings, say, fail)
        self._writer: LogWriter | None = None
        self._last: Path | None = None
        self._mark, self._began = "", 0.0

    def put(self, topic: str, t_ns: int, data: bytes) -> None:
        """One serialized message that arrived at `t_ns`. Never waits, from any thread."""
        self._tape.put(topic, t_ns, data)

    def start(self, path: Path, metadata: LogMetadata) -> str:
        """Begin the log `path`. Raises DataError when one is open, exists already, or the disk is nearly full."""
        if self._writer is not None:
            raise DataError(f"{self._writer.path} is being written; stop it first")
        _require_room(path, self._settings.free_mib)
        self._writer = LogWriter(path, metadata)
        self._mark, self._began = "", time.monotonic()
        self._tape.begin(self._writer)
        return str(path)

    def stop(self) -> str:
        """Close the log; its messages and drops. Raises DataError when none is open, or the disk refused some of it."""
        writer = self._open()
        self._writer, self._last = None, writer.path
        try:
            self._tape.end()
        finally:
            summary = writer.close()
        return _sentence(writer.path, summary)

    def discard(self) -> str:
        """Close the log that is open, if one is, and move the last one to the trash beside it."""
        told = ""
        if self._writer is not None:
            try:
                self.stop()
            except DataError as error:
                told = f" ({error})"
        if self._last is None:
            raise DataError("no log was written, or it was discarded already; nothing to discard")
        where, self._last = discard(self._last), None
        return f"discarded to {where}{told}"

    def mark(self, label: str) -> str:
        """Note `label` in the log that is open; the last one counts. Raises DataError when none is open."""
        if label not in MARKS:
            raise DataError(f"mark: found {label!r}, allowed {', '.join(MARKS)}")
        self._open().mark(label, time.monotonic_ns())
        self._mark = label
        return f"marked {label}"

    def status(self) -> dict[str, Any]:
        """As JSON can hold it: `path` of the log being written ("" none), its `seconds`, `mark`, `messages`, `drops` and
        `fault`, why it takes no more; the `last` one closed; and `free_bytes` on its disk."""
        writer = self._writer
        where = writer.path if writer is not None else self._last
        summary = writer.summary if writer is not None else LogSummary()
        return {
            "path": str(writer.path) if writer is not None else "",
            "seconds": round(time.monotonic() - self._began, 3) if writer is not None else 0.0,
            "mark": self._mark,
            "fault": self._tape.fault,
            "messages": dict(summary.messages),
            "drops": dict(self._tape.drops + Counter(summary.drops)) if writer is not None else {},
            "last": str(self._last or ""),
            "free_bytes": free_bytes(where) if where is not None else -1,
        }

    def close(self) -> str:
        """Close the log that is open, and end; what it says."""
        try:
            return self.stop() if self._writer is not None else ""
        finally:
            self._tape.close()

    def _open(self) -> LogWriter:
        if self._writer is None:
            raise DataError("no log is being written; start one first")
        return self._writer


def free_bytes(path: Path) -> int:
    """Left on the disk of `path`, or of the nearest folder above it that exists."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def _require_room(path: Path, least_mib: float) -> None:
    left = free_bytes(path.resolve()) / 2**20
    if left < least_mib:
        raise DataError(
            f"log {path}: found {left:.0f} MiB free, allowed {least_mib:g} or more (collect.free_mib); free some space"
        )


def _sentence(path: Path, summary: LogSummary) -> str:
    drops = {topic: count for topic, count in summary.drops.items() if count}
    return f"{path}: {sum(summary.messages.values())} messages, {f'dropped {drops}' if drops else 'no drops'}"
