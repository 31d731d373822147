"""What the settings check of themselves."""

from robot_stack.errors import ConfigError


def at_least(group: str, owner: object, least: float, *names: str) -> None:
    """Raises ConfigError unless every one of `names` is `least` or more (NaN is not)."""
    for name in names:
        if not (value := getattr(owner, name)) >= least:
            raise ConfigError(f"{group}.{name}: found {value}, allowed {least:g} or more")
