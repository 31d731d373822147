"""Dataclasses <-> plain dictionaries (YAML), every key and type checked. Without Hydra: run files and robot files are read so."""

import difflib
import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import yaml

from robot_stack.errors import ConfigError
from robot_stack.size_limits import parse_yaml, read_text

Settings = TypeVar("Settings")


def write(settings: Any, path: Path) -> None:
    """Write a settings dataclass as YAML; `read` gives back an equal one."""
    path.write_text(yaml.safe_dump(_listed(asdict(settings)), sort_keys=False, allow_unicode=True), encoding="utf-8")


def read(kind: type[Settings], path: Path) -> Settings:
    """The `kind` that `write` wrote to `path`. Raises ConfigError naming the file, the key, what was found, what is allowed."""
    try:
        values = parse_yaml(read_text(path))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {error}") from error
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path}: found {type(values).__name__}, allowed a mapping with the keys of {kind.__name__}")
    try:
        return build(kind, values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def build(kind: type[Settings], values: Mapping[str, Any], prefix: str = "") -> Settings:
    """The dataclass `kind` from `values`; a key left out keeps its default. ConfigError on an unknown key or wrong type."""
    hints = get_type_hints(kind)
    for key in values:
        if key not in hints:
            raise ConfigError(f"{prefix}{key}: unknown key{meant(str(key), list(hints))} Allowed: {', '.join(hints)}")
    filled = {key: _typed(hints[key], value, prefix + key) for key, value in values.items()}
    try:
        return kind(**filled)
    except TypeError as error:
        raise ConfigError(f"{prefix or kind.__name__}: {error}; allowed keys {', '.join(hints)}") from error


def keys_of(kind: type, prefix: str = "") -> dict[str, Any]:
    """Every key a settings class has, dotted, with its type; a group of settings comes as a key too."""
    found: dict[str, Any] = {}
    for name, hint in get_type_hints(kind).items():
        found[prefix + name] = hint
        if is_settings(hint):
            found |= keys_of(hint, f"{prefix}{name}.")
    return found


def is_settings(hint: Any) -> bool:
    """True for a dataclass type."""
    return isinstance(hint, type) and is_dataclass(hint)


def meant(key: str, keys: list[str]) -> str:
    """`; did you mean ...?` with up to three of `keys` that look or end like `key`, else a full stop's worth of nothing."""
    last = key.rpartition(".")[2]
    close = [k for k in keys if k.rpartition(".")[2] == last]
    close += [k for k in difflib.get_close_matches(key, keys, n=3, cutoff=0.6) if k not in close]
    return f"; did you mean {' or '.join(close[:3])}?" if close else "."


def type_name(hint: Any) -> str:
    """How a type is written in a message: `float`, `list[str]`."""
    return hint.__name__ if isinstance(hint, type) and get_origin(hint) is None else str(hint).removeprefix("typing.")


def _typed(hint: Any, value: Any, key: str) -> Any:
    if is_settings(hint) and isinstance(value, Mapping):
        return build(hint, value, f"{key}.")
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is list and isinstance(value, list | tuple):
        return [_typed(arguments[0], v, f"{key}[{i}]") for i, v in enumerate(value)]
    if origin is tuple and isinstance(value, list | tuple):
        kinds = (arguments[0],) * len(value) if arguments[-1] is ... else arguments
        if len(kinds) == len(value):
            return tuple(_typed(k, v, f"{key}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))
    if hint is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if origin is Literal and value in arguments:
        return value
    if isinstance(hint, type) and hint is not float and type(value) is hint:
        return value
    finite = "a finite " if hint is float else ""
    raise ConfigError(f"{key}: found {value!r}, allowed {finite}{type_name(hint)}")


def _listed(value: Any) -> Any:
    """`value` with tuples as lists: YAML has no other."""
    if isinstance(value, Mapping):
        return {key: _listed(v) for key, v in value.items()}
    return [_listed(v) for v in value] if isinstance(value, list | tuple) else value
