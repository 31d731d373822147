"""A robot's YAML file as a RobotSpec: every key checked, no defaults invented."""

from collections.abc import Mapping
from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from robot_stack.errors import ConfigError
from robot_stack.robot import CameraSpec, Capsule, Joint, RobotSpec

_PARTS: dict[str, type] = {"joints": Joint, "capsules": Capsule, "cameras": CameraSpec}


def read_robot(name: str) -> RobotSpec:
    """The robot of a shipped `name` (`config/robot/<name>.yaml`) or of a YAML file at path `name`. Raises ConfigError."""
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        path = Path(str(resources.files("robot_stack.config"))) / "robot" / f"{name}.yaml"
    if not path.is_file():
        shipped = sorted(p.stem for p in path.parent.glob("*.yaml"))
        raise ConfigError(f"robot: found no file {path}; allowed a path to a .yaml or one of {shipped}")
    return robot_from(yaml.safe_load(path.read_text(encoding="utf-8")), str(path))


def robot_from(values: Mapping[str, Any], where: str) -> RobotSpec:
    """A RobotSpec from plain `values`. Raises ConfigError naming `where`, the key, and the keys allowed."""
    filled = dict(values)
    for key, kind in _PARTS.items():
        rows = values.get(key, ())
        filled[key] = tuple(_fill(kind, row, f"{where}: {key}[{i}]") for i, row in enumerate(rows))
    robot: RobotSpec = _fill(RobotSpec, filled, where)
    return robot


def _fill(kind: type, values: Mapping[str, Any], where: str) -> Any:
    allowed = [f.name for f in fields(kind)]
    if unknown := sorted(set(values) - set(allowed)):
        raise ConfigError(f"{where}: found unknown key {unknown[0]!r}, allowed {allowed}")
    try:
        return kind(**{key: _tuples(value) for key, value in values.items()})
    except TypeError as error:
        raise ConfigError(f"{where}: {error}; allowed keys {allowed}") from error


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
