"""Far ends for the contracts of devices: a world process, and a ROS domain that is nobody else's."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers import shared_world
from robot_stack.config.robot_file import load_robot
from tests.ros_domain import own_domain


@pytest.fixture(scope="module")
def world_name(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a running world, which a busy computer may put aside for a while."""
    name = f"contract.{os.getpid()}.{request.module.__name__.rsplit('.', 1)[-1]}"
    process = subprocess.Popen([sys.executable, "-m", "drivers.world_process", "--name", name])
    shared_world.WorldDirector(name, wait_s=60.0).close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared_world, "DEAD_S", shared_world.DIRECTOR_DEAD_S)
        yield name
    process.terminate()
    process.wait(timeout=30)


@pytest.fixture(scope="module")
def controllers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The ROS domain, nobody else's, in which the controllers of an SO-101 run; skips where there is no ROS 2."""
    pytest.importorskip("rclpy", reason="needs ROS 2: `make setup` installs its wheels, or source a system's")
    program = Path(__file__).parents[1] / "drivers" / "controller_node.py"
    with own_domain(tmp_path_factory.mktemp("dds")) as (domain, env):
        process = subprocess.Popen([sys.executable, program, *load_robot("so101").joint_names], env=env)
        yield domain
        process.kill()
        process.wait(timeout=30)


@pytest.fixture(scope="module")
def ros_domain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A ROS domain of this computer that is nobody else's; skips where there is no ROS 2."""
    pytest.importorskip("rclpy", reason="needs ROS 2: `make setup` installs its wheels, or source a system's")
    with own_domain(tmp_path_factory.mktemp("dds")) as (domain, _):
        yield domain
