"""One robot, one lock-step world and one world process for all driver tests."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from drivers.shared_world import WorldDirector
from drivers.sim_world import SimWorld
from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import TaskSettings
from robot_stack.robot import RobotSpec


@pytest.fixture(scope="session")
def spec() -> RobotSpec:
    return load_robot("sim_arm")


@pytest.fixture(scope="session")
def the_world(spec: RobotSpec) -> Iterator[SimWorld]:
    world = SimWorld(spec, TaskSettings())
    yield world
    world.close()


@pytest.fixture
def world(the_world: SimWorld) -> SimWorld:
    the_world.reset(0)
    return the_world


@pytest.fixture
def start_process() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a world process of a name, with more arguments if given; whatever still runs at the end is killed and waited for."""
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str, *arguments: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-m", "drivers.world_process", "--name", name, *arguments])
        started.append(process)
        WorldDirector(name, wait_s=60.0).close()
        return process

    yield start
    for process in started:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A world's name that no other test or run uses."""
    return f"test.{os.getpid()}.{abs(hash(request.node.name))}"
