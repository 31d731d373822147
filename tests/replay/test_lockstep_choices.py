"""In lock-step, as in the graph, the monitor hears what the policy's selector thought of the chunk that moves the arm."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from drivers.scenario import SCENARIOS
from robot_stack.build import load_robot
from robot_stack.data.log import read_log
from robot_stack.demo.train import chosen_counts
from robot_stack.replay.behaviour import Change, behaviour, other_of
from robot_stack.replay.crew import Setup, recording, teleoperated
from robot_stack.replay.lockstep import Crew, Episode, Outcome, Rates
from robot_stack.types import ActionChunk, Choice, FailureScore, Mode, Observation

SETUP = Setup(load_robot("sim_arm"), rates=Rates(camera_hz=10.0, monitor_hz=10.0))


class Standing:
    """A policy that wants to stay where it is, with a selector whose pseudo-count is the next of `counts` at each decision."""

    joint_names = SETUP.spec.joint_names
    cameras = tuple(camera.name for camera in SETUP.spec.cameras)

    def __init__(self, counts: Sequence[float]) -> None:
        self._counts = iter(counts)

    def decide(self, observation: Observation) -> Choice:
        q = np.tile(observation.joints.q, (16, 1))
        chunk = ActionChunk(observation.t_ns, observation.joints.t_ns, 50_000_000, q, "standing")
        return Choice(chunk, 0, np.array([next(self._counts), 3.0]))


def played(path: Path, *counts: float) -> Outcome:
    crew = Crew(**(vars(teleoperated(SETUP, 0)) | {"teleoperator": None, "policy": Standing(counts)}))
    with recording(path, SETUP, "nominal", {}) as sink:
        return Episode(crew, SCENARIOS["nominal"], 0, sink).run(0.8)


def test_a_count_that_is_no_number_makes_the_arm_fall_back_and_replays_so(tmp_path: Path) -> None:
    assert played(tmp_path / "log", 2.5, 2.5, np.nan, np.nan).final_mode is Mode.FALLBACK
    log = read_log(tmp_path / "log")
    scores = [value for _, _, value in log.iterate({"/monitor/score"}) if isinstance(value, FailureScore)]
    assert {score.cause for score in scores} == {"", "unfamiliar_chunk"}
    again = behaviour(log, other_of(log, "monitor.dark_level=11"))
    assert again.count(Change.SAME) == again.ticks > 50


def test_finite_counts_are_no_alarm_without_a_level_and_are_read_from_the_log(tmp_path: Path) -> None:
    assert played(tmp_path / "log", 2.5, 1e-6, 1e-6, 1e-6).final_mode is Mode.POLICY
    assert chosen_counts(tmp_path / "log") == pytest.approx([2.5, 1e-6, 1e-6, 1e-6])
