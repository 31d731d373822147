"""Demonstrations in lock-step: the scripted human, the filter and the log of the robot, on a virtual clock.

A share of the demonstrations is clumsy (the tempting decoy instead of the cube): recorded data are like that, and the
selector has to live with it. In other shares the obstacle moves into the path, or comes at the hand and leaves again: there the
filter pushes the arm off its way, and the human shows how to go on from wherever that was.
"""

import multiprocessing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from drivers.scenario import SCENARIOS
from robot_stack.config.schema import DemoSettings
from robot_stack.replay.crew import Setup, recording, teleoperated
from robot_stack.replay.lockstep import Episode, Outcome

FIRST_SEED = 10_000
"""Seeds of demonstrations start here, those of evaluations at 0: no evaluation starts where a demonstration did."""

EPISODE_S = 11.0


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One demonstration to record as an episode log at `path`."""

    setup: Setup
    path: Path
    seed: int
    scenario: str
    clumsy: bool


def plan(setup: Setup, settings: DemoSettings, folder: Path) -> list[Demonstration]:
    """Which demonstrations to record: exact shares of clumsy and obstructed ones, spread by a seeded shuffle.

    A clumsy one starts exactly where a good one does: what is seen must not tell which of the two it will be.
    """
    n = settings.demonstrations
    rng = np.random.default_rng(settings.seed)
    clumsy = rng.permutation(np.arange(n) < round(settings.clumsy_share * n))
    layout = np.cumsum(~clumsy) - 1
    layout[clumsy] = rng.choice(layout[~clumsy], clumsy.sum(), replace=False)
    shares = {"obstacle": settings.obstacle_share, "intruder": settings.intruder_share}
    visits = [name for name, share in shares.items() for _ in range(round(share * n))]
    scenarios = rng.permutation([*visits, *["nominal"] * (n - len(visits))])
    return [
        Demonstration(
            setup=setup,
            path=folder / f"episode_{i:04d}",
            seed=FIRST_SEED + settings.seed * 1_000 + int(layout[i]),
            scenario=str(scenarios[i]),
            clumsy=bool(clumsy[i]),
        )
        for i in range(n)
    ]


def close_calls(setup: Setup, settings: DemoSettings, folder: Path) -> list[Demonstration]:
    """Episodes in which the obstacle goes for the hand and no filter keeps it away: what danger looks like."""
    unfiltered = replace(setup, safety=replace(setup.safety, use_filter=False))
    first = FIRST_SEED + settings.seed * 1_000 + 500
    return [
        Demonstration(unfiltered, folder / f"episode_{i:04d}", first + i, "chase", clumsy=False)
        for i in range(settings.close_calls)
    ]


def record(demonstration: Demonstration) -> Outcome:
    """Record one demonstration; it ends when the cube is in place, or with the hand's last motion."""
    d = demonstration
    crew = teleoperated(d.setup, d.seed, d.clumsy)
    with recording(d.path, d.setup, d.scenario, {"seed": d.seed, "clumsy": d.clumsy}) as sink:
        return Episode(crew, SCENARIOS[d.scenario], d.seed, sink).run(EPISODE_S)


def collect(demonstrations: list[Demonstration], processes: int) -> list[Outcome]:
    """Record all, in `processes` processes, with a progress bar."""
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        return list(tqdm(pool.imap(record, demonstrations), total=len(demonstrations), desc="demonstrations", unit="episode"))
