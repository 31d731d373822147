"""colcon calls this file. All but the Python version is in pyproject.toml, where colcon stumbles over that.

`colcon build --symlink-install` calls it in a folder of links to what it knows of a package, which pyproject.toml is not.
"""

from pathlib import Path

from setuptools import setup

for name in ("pyproject.toml", "README.md", "LICENSE"):
    if not Path(name).exists():
        Path(name).symlink_to(Path(__file__).resolve().parent / name)

setup(python_requires=">=3.11")
