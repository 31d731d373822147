"""The real graph for tests: a small policy with random weights, exported once, kept by the hash of its code, and a starter."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import policies
from robot_stack.build import load_robot
from robot_stack.config.commands import RecordCommand, RunCommand
from robot_stack.config.load import load
from robot_stack.config.schema import PolicySettings, TaskSettings, TrainSettings
from robot_stack.data.episode import Episode

if TYPE_CHECKING:
    from robot_stack.supervisor import Graph

SETTINGS = PolicySettings(rows=16, image_height=32, image_width=32, width=32, depth=1, steps=2, candidates=4, keypoints=8)
PATIENT = (
    "run.start_s=120",
    "safety.joints_stale_s=0.4",
    "safety.policy_silent_s=3",
    "safety.monitor_silent_s=3",
    "safety.hazards_stale_s=3",
    "safety.fallback_silent_s=2",
    "monitor.frame_age_s=2",
)
REACH = 0.15
"""rad: how far the chunks of the random policy go, about."""


@pytest.fixture(scope="session")
def bundle(pytestconfig: pytest.Config) -> Path:
    """The folder of an exported bundle for sim_arm."""
    if given := os.environ.get("ROBOT_STACK_TEST_BUNDLE"):
        return Path(given)
    kept = Path(str(pytestconfig.cache.mkdir("graph_bundle"))) / _code_hash()
    if not kept.is_dir():
        pytest.importorskip("torch", reason="the test bundle is exported with torch; run this once where torch is")
        _export(kept)
    return kept


@pytest.fixture(scope="session")
def start_graph(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., "Graph"]:
    """Starts the graph with the test policy; arguments are overrides as `robot-stack run` takes them.

    What no test measures gets seconds of patience, because processes of a busy test machine may be late by that much.
    """

    def start(*overrides: str, human: bool = False) -> "Graph":
        from robot_stack.supervisor import Graph

        asked = [*PATIENT, *overrides]
        command = load(RecordCommand, asked) if human else load(RunCommand, [f"bundle={bundle}", *asked])
        return Graph.start(command, tmp_path_factory.mktemp("graph"))

    return start


def _code_hash() -> str:
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted(Path(str(policies.__file__)).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _export(out: Path) -> None:
    import torch

    from policies.checkpoint import Card, save_checkpoint
    from policies.export import export_bundle
    from policies.flow import FlowPolicy
    from policies.frames import shape_of

    torch.manual_seed(0)
    episode = _episode()
    shape = shape_of([episode])
    policy = FlowPolicy(shape, SETTINGS)
    policy.mode_std.fill_(REACH)
    policy.joint_std.fill_(1.0)
    card = Card(SETTINGS, TrainSettings(), episode.joint_names, shape.cameras, episode.instruction, "0" * 64, len(episode))
    checkpoint = save_checkpoint(out.with_name(out.name + ".checkpoint"), policy, card)
    export_bundle(checkpoint, out, None, [episode])
    shutil.rmtree(checkpoint)


def _episode() -> Episode:
    robot = load_robot("sim_arm")
    rng = np.random.default_rng(0)
    q = np.tile(np.array(robot.q_home), (20, 1)) + 0.01 * rng.standard_normal((20, len(robot.joints)))
    images = {c.name: rng.integers(0, 255, (20, c.height, c.width, 3), dtype=np.uint8) for c in robot.cameras}
    return Episode("still", 20.0, robot.joint_names, q, q, images, TaskSettings().instruction)
