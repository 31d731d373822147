"""A world process for the contracts of the devices in it."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from drivers.shared_world import WorldDirector


@pytest.fixture(scope="module")
def world_name(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a running world."""
    name = f"contract.{os.getpid()}.{request.module.__name__.rsplit('.', 1)[-1]}"
    process = subprocess.Popen([sys.executable, "-m", "drivers.world_process", "--name", name])
    WorldDirector(name, wait_s=60.0).close()
    yield name
    process.terminate()
    process.wait(timeout=30)
