"""Demonstrations in lock-step: the scripted human, the filter and the log of the robot, on a virtual clock.

A share of the demonstrations is clumsy (the tempting decoy instead of the cube): recorded data are like that, and the
selector has to live with it. In another share the obstacle moves into the path, so that the logs hold close calls.
"""

import multiprocessing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from drivers.scenario import SCENARIOS
from robot_stack.build import load_robot
from robot_stack.config.schema import DemoSettings, SafetySettings, TaskSettings
from robot_stack.replay.lockstep import Episode, Outcome, Rates, teleoperated_crew
from robot_stack.replay.lockstep_log import recording


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One demonstration to record."""

    robot: str
    task: TaskSettings
    safety: SafetySettings
    path: Path
    seed: int
    scenario: str
    clumsy: bool
    camera_hz: float


def plan(robot: str, task: TaskSettings, safety: SafetySettings, settings: DemoSettings, folder: Path) -> list[Demonstration]:
    """Which demonstrations to record: exact shares of clumsy and obstructed ones, spread by a seeded shuffle."""
    n = settings.demonstrations
    rng = np.random.default_rng(settings.seed)
    clumsy = rng.permutation(np.arange(n) < round(settings.clumsy_share * n))
    obstructed = rng.permutation(np.arange(n) < round(settings.obstacle_share * n))
    return [
        Demonstration(
            robot=robot,
            task=task,
            safety=safety,
            path=folder / f"episode_{i:04d}",
            seed=10_000 + settings.seed * 1_000 + i,
            scenario="obstacle" if obstructed[i] else "nominal",
            clumsy=bool(clumsy[i]),
            camera_hz=settings.camera_hz,
        )
        for i in range(n)
    ]


def record(demonstration: Demonstration) -> Outcome:
    """Record one demonstration as an episode log."""
    d = demonstration
    spec = load_robot(d.robot)
    crew = teleoperated_crew(spec, d.task, d.safety, seed=d.seed, clumsy=d.clumsy, rates=Rates(camera_hz=d.camera_hz))
    with recording(d.path, spec, d.safety, label={"seed": d.seed, "scenario": d.scenario, "clumsy": d.clumsy}) as sink:
        return Episode(crew, SCENARIOS[d.scenario], d.seed, sink).run()


def collect(demonstrations: list[Demonstration], processes: int) -> list[Outcome]:
    """Record all, in `processes` processes, with a progress bar."""
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        return list(tqdm(pool.imap(record, demonstrations), total=len(demonstrations), desc="demonstrations", unit="episode"))
