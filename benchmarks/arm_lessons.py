"""Mixed demonstrations on the simulated arm, kept as arrays: a share takes the wrong cube, from starts where others do not.

The scripted human drives through the robot's control loop and filter in lock-step, as in `robot_stack.demo.collect`. What a
policy learns from (pictures, joints, commands) is kept without a log between: that is quicker to write and to read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from drivers.scenario import SCENARIOS
from drivers.scripted import ScriptedTeleoperator
from drivers.sim_world import SimWorld
from robot_stack.data.episode import Episode
from robot_stack.demo.collect import EPISODE_S, Demonstration
from robot_stack.replay.crew import Setup, teleoperated
from robot_stack.replay.lockstep import Crew
from robot_stack.replay.lockstep import Episode as Run
from robot_stack.robot import RobotSpec
from robot_stack.types import Array, CameraFrame, Image, Mode, Step

RATE_HZ, EVERY = 10.0, 10
"""Samples a second of an episode, and ticks of the control loop from one to the next."""


@cache
def world_of(spec: RobotSpec) -> SimWorld:
    """One world for all episodes of a process: to open its cameras takes longer than to play an episode."""
    return SimWorld(spec, Setup(spec).task)


def in_shared_world(crew: Crew, spec: RobotSpec) -> Crew:
    """`crew` in that world. It is reset before each episode, so nothing of one is left in the next."""
    return replace(crew, world=world_of(spec))


class Lesson:
    """A sink of a lock-step run: keeps what is seen, measured and commanded at RATE_HZ while a human moves the arm."""

    def __init__(self) -> None:
        self._ticks, self._seen = 0, dict[str, Image]()
        self._rows: list[tuple[Array, Array, dict[str, Image]]] = []

    def __call__(self, topic: str, t_ns: int, value: object) -> None:
        """Take what is published."""
        if isinstance(value, CameraFrame):
            self._seen[value.camera] = value.rgb
        elif isinstance(value, Step) and value.verdict.mode is Mode.TELEOP and value.inputs.joints is not None:
            if self._ticks % EVERY == 0:
                self._rows.append((value.inputs.joints.q, value.verdict.command.q, dict(self._seen)))
            self._ticks += 1

    def arrays(self) -> dict[str, Array | Image]:
        """`q` and `action` (n, J), and the pictures (n, H, W, 3) of each camera by its name."""
        q, action, seen = zip(*self._rows, strict=True)
        return {"q": np.array(q), "action": np.array(action)} | {name: np.array([p[name] for p in seen]) for name in seen[0]}


def demonstrated(demonstration: Demonstration) -> dict[str, Array | Image]:
    """One demonstration: the arrays of its lesson, and `success` (1,)."""
    d = demonstration
    crew = in_shared_world(teleoperated(d.setup, d.seed, d.clumsy), d.setup.spec)
    human = ScriptedTeleoperator(d.setup.spec, crew.world.truth, crew.world.joints, d.seed, d.clumsy)
    lesson = Lesson()
    outcome = Run(replace(crew, teleoperator=human), SCENARIOS[d.scenario], d.seed, lesson).run(EPISODE_S)
    return lesson.arrays() | {"success": np.array([float(outcome.success)])}


def write_lessons(demonstrations: Sequence[Demonstration], out: Path) -> None:
    """Those of `demonstrations` that are not in the folder `out` yet, one file each."""
    for d in tqdm(demonstrations, desc="demonstrations", unit="episode"):
        file, part = (out / f"{d.path.name}.{kind}" for kind in ("npz", "part.npz"))
        if not file.is_file():
            np.savez(part, **demonstrated(d))  # type: ignore[arg-type]
            part.rename(file)


def read_lessons(setup: Setup, folder: Path) -> Iterator[Episode]:
    """What `write_lessons` wrote. Columns: `reward` (n,), 1 in the last row where the right cube ends on the disc, else 0."""
    for path in sorted(folder.glob("episode_*[0-9].npz")):
        with np.load(path) as file:
            arrays = dict(file)
        q, action, success = (arrays.pop(name) for name in ("q", "action", "success"))
        reward = np.zeros(len(q))
        reward[-1] = success[0]
        words = setup.task.instruction
        yield Episode(path.stem, RATE_HZ, setup.spec.joint_names, q, action, arrays, words, {"reward": reward})
