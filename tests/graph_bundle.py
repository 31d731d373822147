"""Export the bundle the graph is tested with, a small policy with random weights. `python graph_bundle.py FOLDER`, with torch."""

import shutil
import sys
from pathlib import Path

import numpy as np
import torch

from policies.checkpoint import Card, save_checkpoint
from policies.chunk_policy import ChunkPolicy
from policies.export import export_bundle
from policies.frames import shape_of
from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import PolicySettings, TaskSettings, TrainSettings
from robot_stack.data.episode import Episode

SETTINGS = PolicySettings(rows=16, image_height=32, image_width=32, width=32, depth=1, steps=2, candidates=4, keypoints=8)


def export(out: Path, reach: float = 0.15) -> None:
    """Write the bundle to `out`; the chunks of its policy go about `reach` rad far."""
    torch.manual_seed(0)
    episode = still_episode()
    shape = shape_of([episode])
    policy = ChunkPolicy(shape, SETTINGS)
    policy.mode_std.fill_(reach)
    policy.joint_std.fill_(1.0)
    card = Card(SETTINGS, TrainSettings(), episode.joint_names, shape.cameras, episode.instruction, "0" * 64, len(episode))
    checkpoint = save_checkpoint(out.with_name(out.name + ".checkpoint"), policy, card)
    export_bundle(checkpoint, out, None, [episode])
    shutil.rmtree(checkpoint)


def still_episode() -> Episode:
    """A resting arm before cameras that see noise."""
    robot = load_robot("sim_arm")
    rng = np.random.default_rng(0)
    q = np.tile(np.array(robot.q_home), (20, 1)) + 0.01 * rng.standard_normal((20, len(robot.joints)))
    images = {c.name: rng.integers(0, 255, (20, c.height, c.width, 3), dtype=np.uint8) for c in robot.cameras}
    return Episode("still", 20.0, robot.joint_names, q, q, images, TaskSettings().instruction)


if __name__ == "__main__":
    export(Path(sys.argv[1]))
