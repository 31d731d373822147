"""A running graph to measure on: the real processes, a policy of the shipped size that hardly moves the arm."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from policies.export import export_bundle
from policies.train import train_policy
from robot_stack.config.commands import RunCommand
from robot_stack.config.load import load
from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import PolicySettings, TaskSettings, TrainSettings
from robot_stack.data.episode import Episode
from robot_stack.supervisor import Graph

ARM_S = 30.0


@contextmanager
def live_graph(bundle: Path, *overrides: str) -> Iterator[Graph]:
    """The graph with the policy in `bundle`, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        command = load(RunCommand, [f"bundle={bundle}", *overrides])
        with Graph.start(command, Path(folder) / "graph") as graph:
            yield graph


def still_bundle(folder: Path) -> Path:
    """A policy of the shipped size, trained for three steps on a resting arm: good for its speed alone."""
    robot = load_robot("sim_arm")
    rng = np.random.default_rng(0)
    pictures = {c.name: rng.integers(0, 255, (40, c.height, c.width, 3), np.uint8) for c in robot.cameras}
    rest = np.array(robot.q_home) + 1e-3 * rng.standard_normal((40, len(robot.joints)))
    episode = Episode("rest", 20.0, robot.joint_names, rest, rest, pictures, TaskSettings().instruction)
    checkpoint = train_policy([episode], PolicySettings(), TrainSettings(steps=3, batch=8, holdout=0), folder / "checkpoint")
    return export_bundle(checkpoint, folder / "bundle", None, [episode])


@contextmanager
def bundle_or_still(given: str | None) -> Iterator[Path]:
    """The bundle `given`, or a made one."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(given) if given else still_bundle(Path(folder))
