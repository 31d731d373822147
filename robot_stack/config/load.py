"""Overrides of the command line -> one typed, frozen settings object.

Hydra composes the YAML groups beside this file over the dataclasses of `commands.py`; a key that no dataclass has, or a
value of another type, is a ConfigError before anything runs.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_origin

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from robot_stack.config.plain import build, is_settings, keys_of, meant, type_name
from robot_stack.errors import ConfigError

FOLDER = Path(__file__).resolve().parent
Settings = TypeVar("Settings")


def load(command: type[Settings], overrides: Sequence[str] = ()) -> Settings:
    """The settings of `command` (a class of `commands.py`) with `overrides` ("key=value", "group=option") applied.

    Raises ConfigError naming the key, what was found, what is allowed and, for a misspelt key, the closest ones there are.
    """
    name = command_name(command)
    file = name.replace(" ", "_")
    asked = [_checked(command, override) for override in overrides]
    group = "schema" if (FOLDER / f"{file}.yaml").is_file() else None  # a command of plain keys needs no list of groups
    ConfigStore.instance().store(group=group, name=file, node=_schema(command), package="_global_")
    try:
        with initialize_config_dir(str(FOLDER), version_base="1.3", job_name=file):
            composed = compose(file, asked)
        missing = sorted(str(key) for key in OmegaConf.missing_keys(composed))
        plain: Any = OmegaConf.to_container(composed, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_explain(command, overrides, error)) from error
    if missing:
        raise ConfigError(f"{missing[0]}: missing; next: robot-stack {name} {' '.join(f'{key}=...' for key in missing)}")
    return build(command, plain)


def command_name(command: type) -> str:
    """`TrainCommand` is `train`, `FindCamerasCommand` `find-cameras`, `DataLsCommand` `data ls`: as on the command line."""
    words = re.findall("[A-Z][a-z]*", command.__name__.removesuffix("Command"))
    return "-".join(words).lower().replace("data-", "data ")


def options_of(group: str) -> list[str]:
    """The options of a group: the YAML files in its folder."""
    return sorted(path.stem for path in (FOLDER / group).glob("*.yaml"))


def _checked(command: type, override: str) -> str:
    """`override` in Hydra's grammar. Raises ConfigError unless its key exists and, for a group, its option does."""
    key, equals, value = override.partition("=")
    keys = keys_of(command)
    if not equals:
        raise ConfigError(f"{override}: found no '=', allowed key=value with a key of {', '.join(_inside('', keys))}")
    if key not in keys:
        where = f"robot-stack {command_name(command)}"
        allowed = ", ".join(_inside(key.rpartition(".")[0], keys))
        raise ConfigError(f"{key}: unknown key of `{where}`{meant(key, list(keys))} Allowed: {allowed}")
    if is_settings(keys[key]) and value not in options_of(key):
        raise ConfigError(f"{key}: found {value!r}, allowed {', '.join(options_of(key))}; one value is set as {key}.name=value")
    return f"{key}={_quoted(value)}" if keys[key] is str else override


def _inside(group: str, keys: dict[str, Any]) -> list[str]:
    """The keys directly in `group`, or at the top where there is no such group."""
    group = group if group in keys else ""
    return [key for key in keys if key.rpartition(".")[0] == group]


def _quoted(value: str) -> str:
    """A text value as Hydra reads it literally: spaces, '=' and commas need no care from the user."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        return value
    return "'" + value.replace("\\'", "\\\\'").replace("'", "\\'") + "'"


def _explain(command: type, overrides: Sequence[str], error: Exception) -> str:
    """One line about what Hydra or OmegaConf refused: the key, what was found, the type allowed."""
    cause: Any = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip() and not line.startswith("See http")]
    name = next((line.removeprefix("full_key: ") for line in lines if line.startswith("full_key: ")), "")
    hint = keys_of(command).get(name)
    reason = " ".join(line for line in lines if not line.startswith(("full_key:", "reference_type=", "object_type=")))
    if hint is None:
        return f"{' '.join(overrides)}: {reason}"
    return f"{name}: {reason}; allowed {type_name(hint)}{', written [a,b]' if get_origin(hint) in (list, tuple) else ''}"


def _schema(command: type) -> DictConfig:
    """`command` as a Hydra node. Frozen classes make read-only nodes, which composing could not fill."""
    node: DictConfig = OmegaConf.structured(command)
    _unlock(node)
    return node


def _unlock(node: DictConfig) -> None:
    OmegaConf.set_readonly(node, False)
    for key in node:
        if not OmegaConf.is_missing(node, key) and isinstance(node[key], DictConfig):
            _unlock(node[key])
