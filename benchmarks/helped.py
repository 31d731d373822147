"""Episodes of a policy in lock-step: watched for which cube it goes for, or helped by a scripted expert, one round of
human-in-the-loop collection.

The expert sees the truth. It takes the arm when the hand goes down for the wrong cube, or when too much time has passed, and does
the rest of the task itself. Both drive through the same mode machine, filter and log as on the robot.
"""

from pathlib import Path

import numpy as np

from drivers.scenario import SCENARIOS, Scenario
from drivers.scripted import ScriptedTeleoperator
from drivers.sim_world import Truth
from robot_stack.clock import NS_PER_S
from robot_stack.replay.crew import Setup, autonomous, recording
from robot_stack.replay.lockstep import Crew, Episode, Outcome, Sink
from robot_stack.robot import RobotSpec
from robot_stack.types import ActionChunk, Mode, Request

LATE_S, NEAR, LOW = 6.0, 0.05, 0.10
"""The expert waits so long (s); a hand so near (m) a cube, and so low (m), is about to take it."""


class Watched(Episode):
    """An episode, and how near (m) the tool came to each cube."""

    def __init__(self, crew: Crew, scenario: Scenario, seed: int) -> None:
        super().__init__(crew, scenario, seed)
        self.nearest = {"cube": float("inf"), "decoy": float("inf")}

    def _over(self) -> bool:
        truth = self._crew.world.truth()
        for name, p in (("cube", truth.cube_p), ("decoy", truth.decoy_p)):
            self.nearest[name] = min(self.nearest[name], float(np.linalg.norm(truth.tip_p - p)))
        return super()._over()


def evaluate(setup: Setup, bundle: Path, seed: int, candidates: int = 1) -> tuple[bool, bool]:
    """Success, and whether the tool came nearer to the right cube than to the wrong one, of one episode of the policy alone."""
    episode = Watched(autonomous(setup, bundle, candidates, noise_seed=seed), SCENARIOS["nominal"], seed)
    success = episode.run().success
    return success, success or episode.nearest["cube"] < episode.nearest["decoy"]


class Helped(Episode):
    """An episode of the policy in `crew`, until the expert takes over; it does not give the arm back."""

    def __init__(self, crew: Crew, scenario: Scenario, seed: int, sink: Sink, spec: RobotSpec) -> None:
        super().__init__(crew, scenario, seed, sink)
        self._expert = ScriptedTeleoperator(spec, crew.world.truth, crew.world.joints, seed, clumsy=False)
        self._since_ns: int | None = None
        self.helped_s: float | None = None

    def _tick(self, request: Request | None) -> None:
        now = self._crew.world.t_ns
        self._since_ns = now if self._since_ns is None else self._since_ns
        elapsed_s = (now - self._since_ns) / NS_PER_S
        if self._state.mode is Mode.POLICY and wrong(self._crew.world.truth(), elapsed_s):
            self.helped_s, request = elapsed_s, Request.ARM_TELEOP
        super()._tick(request)

    def _chunk(self, now: int) -> ActionChunk | None:
        return super()._chunk(now) if self.helped_s is None else self._teleop(now, self._expert)

    def _over(self) -> bool:
        over = super()._over()
        return self._expert.done if self.helped_s is not None else over


def wrong(truth: Truth, elapsed_s: float) -> bool:
    """It is time for the expert to take over."""
    decoy = float(np.linalg.norm((truth.tip_p - truth.decoy_p)[:2]))
    cube = float(np.linalg.norm((truth.tip_p - truth.cube_p)[:2]))
    return elapsed_s > LATE_S or (truth.tip_p[2] < LOW and decoy < NEAR and decoy < cube)


def help_out(setup: Setup, bundle: Path, seed: int, log: Path) -> tuple[Outcome, float | None]:
    """One such episode, recorded in the new folder `log`; its outcome, and when the expert took over (s; None: never)."""
    crew = autonomous(setup, bundle, candidates=1, noise_seed=seed)
    with recording(log, setup, "nominal", {"seed": seed}) as sink:
        episode = Helped(crew, SCENARIOS["nominal"], seed, sink, setup.spec)
        return episode.run(14.0), episode.helped_s
