"""Both bundles in the simulated world: rounds over a suite, intervals, drawings. No episode is played here."""

import re
from pathlib import Path

import numpy as np
import pytest

from robot_stack.build import load_robot
from robot_stack.config.gate import GateSettings
from robot_stack.errors import ConfigError
from robot_stack.replay.crew import Setup
from robot_stack.replay.gate import drawings
from robot_stack.replay.gate.evidence import Paired, whole
from robot_stack.replay.gate.probes import Worst
from robot_stack.replay.gate.simulation import Known, Sides, as_changed, rounds
from robot_stack.replay.lockstep import Outcome
from robot_stack.replay.protections import Trial, difference, players
from robot_stack.replay.resim.suites import suite
from robot_stack.types import Mode

SETUP = Setup(load_robot("sim_arm"))
SIDES = Sides(Trial(SETUP, Path("new")), Trial(SETUP, Path("old")), suite("noise"))
SETTINGS = GateSettings(processes=1, pairs=90, least=10)


def outcome(seed: int, success: bool) -> Outcome:
    return Outcome(seed, "nominal", success, 0.1, 0.1, 5.0, Mode.POLICY, 0.1, 0.0, None, None)


def known(fails: dict[str, int]) -> Known:
    """Thirty seeds of every condition; with the new bundle the first so many of a condition fail."""
    return {
        (bundle, condition.name, seed): outcome(seed, bundle == "old" or i >= fails.get(condition.name, 0))
        for bundle in ("new", "old")
        for condition in SIDES.suite
        for i, seed in enumerate(range(SETTINGS.seed, SETTINGS.seed + 30))
    }


def test_every_round_has_as_many_pairs_of_each_condition_and_it_ends_when_success_is_shown_to_be_as_good() -> None:
    played = list(rounds(SIDES, SETTINGS, known({})))
    assert [[len(pair.candidate) for pair in trials] for trials in played] == [[4] * 3, [8] * 3, [12] * 3, [16] * 3]


def test_it_ends_sooner_when_one_condition_is_lost() -> None:
    played = list(rounds(SIDES, SETTINGS, known({"joints 5 mrad": 30})))
    assert len(played) == 2 and [sum(pair.flags("success")[0]) for pair in played[-1]] == [8, 8, 0]


def test_no_more_pairs_are_played_than_allowed() -> None:
    some = known({condition.name: 1 for condition in SIDES.suite})
    assert len(list(rounds(SIDES, GateSettings(processes=1, pairs=15, least=10), some))[-1][0].candidate) == 5


def test_a_changed_setting_reaches_the_robot_that_is_re_simulated_and_a_misspelt_one_is_said() -> None:
    assert as_changed(SETUP, "safety.keep_out_margin=0.07").safety.keep_out_margin == 0.07
    with pytest.raises(ConfigError, match="keepout"):
        as_changed(SETUP, "safety.keepout=0.07")


def test_jobs_are_played_in_this_process_when_there_is_to_be_one() -> None:
    with players(1) as play:
        assert list(play([])) == []


def test_the_interval_of_a_paired_difference_holds_it_in_nearly_all_experiments() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(500):
        hard = rng.random(60)
        low, high = difference(list(hard < 0.85), list(hard * 0.7 + 0.3 * rng.random(60) < 0.75))
        inside += low <= 0.85 - TRUE_RATE <= high
    assert 0.92 <= inside / 500


TRUE_RATE = float(np.mean(0.7 * np.linspace(0, 1, 2001)[:, None] + 0.3 * np.linspace(0, 1, 2001) < 0.75))


def test_equal_outcomes_differ_by_nothing_and_the_interval_shrinks_with_pairs() -> None:
    widths = [np.diff(difference([True] * n, [True] * n))[0] for n in (5, 50, 500)]
    assert widths[0] > widths[1] > widths[2] > 0.0


def test_drawings_say_how_many_pairs_there_are_and_stay_on_the_paper() -> None:
    pair = Paired("nominal", tuple(outcome(s, s % 4 > 0) for s in range(37)), tuple(outcome(s, True) for s in range(37)))
    worst = Worst("a", 1.0, 0.1, 0.1, "elbow", ((0.0, 0.1), (0.2, 0.3), (-0.1, float(np.pi))), 0.05)
    for svg in (drawings.race(pair), drawings.gap(pair, 0.1), drawings.chunk(worst)):
        places = [float(y) for points in re.findall(r'points="([^"]+)"', svg) for y in re.findall(r",(-?[0-9.]+)", points)]
        assert places and min(places) >= 0.0 and max(places) <= 130.0
    assert ">37 pairs<" in drawings.race(pair)


def test_a_suite_is_shown_as_one_race() -> None:
    (*_, trials) = rounds(SIDES, SETTINGS, known({}))
    assert whole(trials).condition == "3 conditions" and len(whole(trials).candidate) == 48
