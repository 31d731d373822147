"""colcon calls this file. All but the Python version is in pyproject.toml, where colcon could not read that."""

from setuptools import setup

setup(python_requires=">=3.11")
