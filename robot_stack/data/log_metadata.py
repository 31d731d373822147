"""What a log says about itself: one MCAP metadata record at its start, one for each mark, one at its end."""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any

import robot_stack
from robot_stack.errors import DataError

BEGIN, END, MARK = "robot_stack", "robot_stack_end", "robot_stack_mark"


@dataclass(frozen=True, slots=True)
class LogMetadata:
    """Who recorded what: robot, its joints in order, how it was set up. `started` is wall time (ISO 8601), a label only.

    `settings` holds one mapping for each settings dataclass in force ("safety", "monitor", "policy", ...).
    """

    robot: str
    joint_names: tuple[str, ...]
    instruction: str = ""
    scenario: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    started: str = field(default_factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%S%z"))
    version: str = robot_stack.__version__

    @property
    def shadow(self) -> bool:
        """Nothing was sent to the arm: the commands in this log are only what would have been."""
        return bool(self.settings.get("policy", {}).get("shadow", False))


@dataclass(frozen=True, slots=True)
class LogSummary:
    """How a recording ended: `messages` written and `drops` lost, by topic; both empty when nobody closed the log."""

    messages: Mapping[str, int] = field(default_factory=dict)
    drops: Mapping[str, int] = field(default_factory=dict)


def begin_record(metadata: LogMetadata) -> dict[str, str]:
    """The fields as JSON texts; settings may be dataclasses."""
    fields = {name: getattr(metadata, name) for name in LogMetadata.__slots__}
    fields["settings"] = {
        k: asdict(v) if is_dataclass(v) and not isinstance(v, type) else v for k, v in metadata.settings.items()
    }
    return {name: json.dumps(value) for name, value in fields.items()}


def metadata_value(record: Mapping[str, str]) -> LogMetadata:
    """The metadata in a record. Raises DataError when the record is another program's."""
    try:
        fields = {name: json.loads(record[name]) for name in LogMetadata.__slots__}
    except (KeyError, ValueError) as error:
        raise DataError(
            f"log metadata: {error!r} in {sorted(record)}; allowed: the record robot_stack's LogWriter writes"
        ) from error
    return LogMetadata(**{**fields, "joint_names": tuple(fields["joint_names"])})


def mark_record(label: str, t_ns: int) -> dict[str, str]:
    """What a person said of the episode at `t_ns` while it was recorded: the last one counts."""
    return {"label": label, "t_ns": str(t_ns)}


def end_record(summary: LogSummary) -> dict[str, str]:
    """`summary` as JSON texts."""
    return {"messages": json.dumps(dict(summary.messages)), "drops": json.dumps(dict(summary.drops))}


def summary_value(record: Mapping[str, str]) -> LogSummary:
    """The summary in a record."""
    return LogSummary(json.loads(record.get("messages", "{}")), json.loads(record.get("drops", "{}")))
