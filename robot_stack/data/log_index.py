"""What an MCAP log or a rosbag2 folder holds, from its two ends: no message in between is read."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from mcap.reader import SeekingReader
from mcap.records import Metadata
from mcap.stream_reader import StreamReader

from robot_stack.clock import NS_PER_S
from robot_stack.data.log_metadata import MARK
from robot_stack.data.log_reader import read_log
from robot_stack.errors import DataError

TICKS = "/arm/verdict"


@dataclass(frozen=True, slots=True)
class LogFacts:
    """`messages` by topic over `seconds`. `foreign`: not written by robot_stack; `note`: what is wrong. `rows` at `rate_hz` are
    those of an imported recording, 0 in any other. `mark`: what a person said of it while it was recorded, "" nothing."""

    foreign: bool = False
    seconds: float = 0.0
    messages: Mapping[str, int] = field(default_factory=dict)
    task: str = ""
    note: str = ""
    rows: int = 0
    rate_hz: float = 0.0
    mark: str = ""

    @property
    def ticks_hz(self) -> float:
        """Control ticks a second, 1 where there are none."""
        return self.messages.get(TICKS, 0) / self.seconds or 1.0 if self.seconds else 1.0


def facts_of(folder: Path) -> LogFacts:
    """The facts of the log or bag in `folder` (or of a lone file). Never raises: what is wrong with it is its note."""
    files = sorted(folder.glob("*.mcap")) or sorted(folder.glob("*.db3")) if folder.is_dir() else [folder]
    try:
        stamp = tuple((f.stat().st_mtime_ns, f.stat().st_size) for f in files)
        return _facts(folder, tuple(files), stamp)
    except OSError as error:
        return LogFacts(note=f"{folder}: {error.strerror}")


@lru_cache(maxsize=256)
def _facts(folder: Path, files: tuple[Path, ...], stamp: Any) -> LogFacts:
    if len(files) == 1 and files[0].suffix == ".mcap":
        try:
            return _ours(files[0])
        except DataError as error:
            if not (found := _counts(files[0])) and not (folder / "metadata.yaml").is_file():
                return LogFacts(note=f"{error}; `robot-stack data repair` saves what there is")
            return LogFacts(foreign=True, seconds=found[0], messages=found[1]) if found else _bag(folder)
    return _bag(folder)


def _ours(file: Path) -> LogFacts:
    log = read_log(file)
    found = _counts(file)
    about: Any = log.metadata.settings.get("dataset", {})
    seconds, messages = found or (0.0, {})
    note = "" if found else "cut: the recorder did not close it; what is there can be read"
    if not found:
        messages = {topic: 1 for topic in log.topics}
    rows, rate_hz = about.get("rows", 0), about.get("rate_hz", 0.0)
    return LogFacts(False, seconds, messages, log.metadata.instruction, note, rows, rate_hz, _mark(file, bool(found)))


def _mark(file: Path, whole: bool) -> str:
    """The last mark in `file`, found by its index or, where it was cut, from chunk to chunk; none of them is opened."""
    label = ""
    with file.open("rb") as stream, suppress(Exception):  # the readers raise whatever they stumble over where a file was cut
        found = SeekingReader(stream).iter_metadata() if whole else StreamReader(stream, emit_chunks=True).records
        for record in found:
            if isinstance(record, Metadata) and record.name == MARK:
                label = record.metadata["label"]
    return label


def _counts(file: Path) -> tuple[float, dict[str, int]] | None:
    """Seconds and messages by topic from the summary at the end of the file; None where it has none."""
    try:
        with file.open("rb") as stream:
            summary = SeekingReader(stream).get_summary()
    except Exception:  # the reader raises whatever it stumbles over in a cut file
        return None
    if summary is None or summary.statistics is None:
        return None
    statistics = summary.statistics
    counts = statistics.channel_message_counts
    messages = {channel.topic: counts.get(number, 0) for number, channel in summary.channels.items()}
    return (statistics.message_end_time - statistics.message_start_time) / NS_PER_S, messages


def _bag(folder: Path) -> LogFacts:
    file = folder / "metadata.yaml"
    try:
        about = yaml.safe_load(file.read_text(encoding="utf-8"))["rosbag2_bagfile_information"]
        topics = {t["topic_metadata"]["name"]: t["message_count"] for t in about["topics_with_message_count"]}
        return LogFacts(True, about["duration"]["nanoseconds"] / NS_PER_S, topics)
    except (OSError, KeyError, TypeError, yaml.YAMLError) as error:
        return LogFacts(True, note=f"metadata.yaml: {error!r}; `robot-stack data repair` writes it again")
