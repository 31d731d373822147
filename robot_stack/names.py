"""Are `policies`, `safety` and `drivers` ours? PyPI has a `safety` too, and Python does not say which one it took."""

import importlib
from pathlib import Path

from robot_stack.errors import ConfigError

NAMES = ("policies", "safety", "drivers")
OWNER = "robot_stack"


def check_names() -> None:
    """Raises ConfigError unless each of the three packages is this robot_stack's. Called before an arm moves."""
    home = Path(__file__).resolve().parent.parent
    for name in NAMES:
        module = importlib.import_module(name)
        found = Path(str(module.__file__)).resolve().parent.parent if module.__file__ else None
        if getattr(module, "PROJECT", "") != OWNER or found != home:
            raise ConfigError(
                f"package {name}: found another project's at {module.__file__}, allowed the one beside {home / OWNER}; "
                f"next: pip uninstall {name}, then install robot_stack again (the two overwrite each other's files)"
            )
