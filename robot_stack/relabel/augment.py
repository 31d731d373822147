"""The labeller of `transforms`: for each episode of a known robot, copies turned and moved, and states as a policy strays.

What the hand handled is told by the gripper: it takes an object where it first closes and leaves it where it next opens. That
place stays; a copy is kept where it still brings the hand to its object and the object to its place, `augment.place` m at most
beside it. Pictures are not changed: copies are for policies that see joints. Columns, for copy i:
`augment_<i>_state` and `augment_<i>_action` (n, J), NaN where fewer copies were kept; `augment_noise_state` (n, J). Once:
`augment_kept`.
"""

from functools import partial
from typing import Any

import numpy as np

from robot_stack.config.labellers import AugmentSettings
from robot_stack.config.robot_file import load_robot
from robot_stack.data.labels import Labels
from robot_stack.data.recording import STATE, Recording
from robot_stack.errors import DataError
from robot_stack.kinematics import Kinematics
from robot_stack.relabel.labeller import Labeller, random_of
from robot_stack.relabel.motion import motion_of
from robot_stack.relabel.transforms import Scene, Transform, approach, error_covariance, guided, moved, strayed, turned
from robot_stack.robot import RobotSpec
from robot_stack.types import Array

SHUT = 0.5
"""The gripper is shut below this share of how far it was open at first."""


def handled(q: Array, action: Array, spec: RobotSpec) -> Scene | None:
    """The episode `q`, `action` (n, J) as a scene with the places (n, 3) of `tip`, `object` and `goal`; None: nothing handled."""
    grip = [i for i, joint in enumerate(spec.joints) if joint.kind == "prismatic"]
    if not grip:
        return None
    shut = action[:, grip[0]] < SHUT * action[0, grip[0]]
    taken = int(np.argmax(shut))
    left = taken + int(np.argmax(~shut[taken:]))
    if not shut.any() or left == taken:
        return None
    tip = Kinematics(spec).positions(q)[:, -1]
    thing = np.where(np.arange(len(q))[:, None] < taken, tip[taken], tip)
    thing[left:] = tip[left]
    return Scene(q, action, {"tip": tip, "object": thing, "goal": np.tile(tip[left], (len(q), 1))})


def draw(spec: RobotSpec, settings: AugmentSettings, rng: np.random.Generator) -> Transform:
    """A random turn, then a random move; the goal stays."""
    angle, by = rng.uniform(-1.0, 1.0) * settings.turn, rng.uniform(-1.0, 1.0, 2) * settings.move

    def transform(scene: Scene) -> Scene | None:
        made = turned(scene, angle, spec, fixed=("goal",))
        return None if made is None else moved(made, (float(by[0]), float(by[1])), spec, fixed=("goal",))

    return transform


def progress(scene: Scene, place: float) -> float:
    """How much nearer (m) the object comes to its goal; below zero where it ends more than `place` m beside it."""
    beside = float(np.linalg.norm(scene.places["object"][-1] - scene.places["goal"][-1]))
    return approach("object", "goal")(scene) if beside <= place else -1.0


def label(episode: Recording, settings: AugmentSettings, gathered: Any) -> Labels:
    """Copies and noisy states. Raises DataError where the episode is not of a robot that is known."""
    spec = load_robot(settings.robot or episode.robot)
    motion = motion_of(episode)
    if episode.names.get(STATE) != spec.joint_names or not motion.follows:
        raise DataError(f"augment: episode {episode.name} has not the joints of {spec.name}; name its robot with augment.robot=")
    rng = random_of(episode, settings.seed)
    scene = handled(motion.q, motion.action, spec)
    rule = partial(progress, place=settings.place)
    copies = [] if scene is None else guided(scene, partial(draw, spec, settings), rule, settings.copies, rng)
    labels: dict[str, Any] = {"augment_kept": len(copies)}
    nothing = np.full_like(motion.q, np.nan)
    for i in range(settings.copies):
        labels[f"augment_{i}_state"] = copies[i].q if i < len(copies) else nothing
        labels[f"augment_{i}_action"] = copies[i].action if i < len(copies) else nothing
    spread = error_covariance(motion.q, np.tile(motion.q.mean(axis=0), (len(motion), 1)))
    labels["augment_noise_state"] = strayed(motion.q, np.diag(np.diag(spread)), settings.noise, rng)
    return labels


LABELLER = Labeller("augment", 1, label)
