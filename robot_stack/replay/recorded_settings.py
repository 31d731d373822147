"""How a robot was set up when a log was recorded, and the same with a few settings changed."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import yaml

from robot_stack.config.plain import build
from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import DetectorSettings, MonitorSettings, SafetySettings, TaskSettings
from robot_stack.data.log_reader import EpisodeLog
from robot_stack.errors import ConfigError, DataError
from robot_stack.robot import RobotSpec

GROUPS: dict[str, type] = {
    "safety": SafetySettings,
    "monitor": MonitorSettings,
    "detector": DetectorSettings,
    "task": TaskSettings,
}


@dataclass(frozen=True)
class RecordedSettings:
    """The robot and what protected it. `monitor` None: the log does not say, or nobody watched."""

    robot: str
    safety: SafetySettings
    monitor: MonitorSettings | None = None
    detector: DetectorSettings = field(default_factory=DetectorSettings)
    task: TaskSettings = field(default_factory=TaskSettings)

    @property
    def spec(self) -> RobotSpec:
        """The robot's description. Raises ConfigError when its file is gone."""
        return load_robot(self.robot)


def recorded_settings(log: EpisodeLog) -> RecordedSettings:
    """What the metadata of `log` says. Raises DataError when it does not, or is of another version."""
    said = log.metadata.settings
    if not isinstance(said.get("safety"), Mapping):
        raise DataError(f"log {log.path}: no settings of `safety` in its metadata, allowed a log of robot-stack run or record")
    try:
        found: dict[str, Any] = {
            name: build(kind, said[name], f"{name}.") for name, kind in GROUPS.items() if isinstance(said.get(name), Mapping)
        }
    except ConfigError as error:
        raise DataError(f"log {log.path}: its settings are of another version ({error}); record it anew") from error
    return RecordedSettings(log.metadata.robot, **found)


def changed(settings: RecordedSettings, overrides: str) -> RecordedSettings:
    """`settings` with `overrides` ("safety.keep_out_margin=0.05, monitor.frozen_frames=4") applied.

    Raises ConfigError naming the key, what was found and what is allowed.
    """
    for override in filter(None, (part.strip() for part in overrides.split(","))):
        name, equals, value = override.partition("=")
        group, _, key = name.partition(".")
        if not equals or group not in GROUPS or not key:
            raise ConfigError(f"config: found {override!r}, allowed group.key=value with a group of {', '.join(GROUPS)}")
        settings = _with(settings, group, key, yaml.safe_load(value))
    return settings


def _with(settings: RecordedSettings, group: str, key: str, value: Any) -> RecordedSettings:
    now = getattr(settings, group)
    plain = {} if now is None else asdict(now)
    return replace(settings, **{group: build(GROUPS[group], plain | {key: value}, f"{group}.")})
