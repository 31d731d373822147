"""A robot's YAML file as a RobotSpec: every key and type checked, no defaults invented."""

from pathlib import Path

from robot_stack.config import plain
from robot_stack.errors import ConfigError
from robot_stack.robot import RobotSpec

FOLDER = Path(__file__).resolve().parent / "robots"
"""The robots that ship. Not `robot`: Hydra would take the key `robot=NAME` for the choice of a group of that name."""


def load_robot(name: str) -> RobotSpec:
    """The robot called `name` (`config/robots/<name>.yaml`) or described by the YAML file at path `name`.

    Raises ConfigError naming the file, the key, what was found and what is allowed.
    """
    path = Path(name) if Path(name).suffix in (".yaml", ".yml") else FOLDER / f"{name}.yaml"
    if not path.is_file():
        shipped = ", ".join(sorted(p.stem for p in FOLDER.glob("*.yaml")))
        raise ConfigError(f"robot: found no file {path}, allowed the path of a .yaml file, or one of {shipped}")
    return plain.read(RobotSpec, path)
