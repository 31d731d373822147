"""colcon calls this file; everything it needs to know is in pyproject.toml."""

from setuptools import setup

setup()
