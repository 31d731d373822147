"""Perturbation suites: named, drawn from the seed alone, told to the world and not to the robot."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from drivers.dynamics import Part
from drivers.faults import FaultKind
from drivers.scenario import SCENARIOS
from robot_stack.build import load_robot
from robot_stack.errors import ConfigError
from robot_stack.replay.crew import Setup, teleoperated
from robot_stack.replay.lockstep import Episode
from robot_stack.replay.resim.perturb import UNPERTURBED, Perturbation, perturbed
from robot_stack.replay.resim.suites import SUITES, suite

SETUP = Setup(load_robot("sim_arm"), monitor=None)
NOMINAL = SCENARIOS["nominal"]


@pytest.mark.parametrize("condition", SUITES["all"], ids=lambda c: c.name)
def test_a_condition_is_drawn_from_the_seed_alone(condition) -> None:
    draws = [perturbed(condition.perturbation, SETUP, NOMINAL, seed) for seed in (3, 3, 4)]
    assert draws[0] == draws[1]
    assert pickle.loads(pickle.dumps(draws[0])) == draws[0], "it goes to other processes"


def test_other_seeds_are_other_worlds_where_there_is_something_to_draw() -> None:
    for name in ("light", "texture", "cameras", "dynamics"):
        p = suite(name)[0].perturbation
        assert perturbed(p, SETUP, NOMINAL, 3) != perturbed(p, SETUP, NOMINAL, 4)


def test_without_perturbation_nothing_is_changed() -> None:
    assert perturbed(UNPERTURBED, SETUP, NOMINAL, 3) == (SETUP, NOMINAL)


def test_the_robot_keeps_its_calibration_when_the_cameras_have_moved() -> None:
    setup, _ = perturbed(Perturbation(camera_m=0.02), SETUP, NOMINAL, 3)
    assert setup.spec == SETUP.spec
    assert setup.world is not None and setup.world.joints == SETUP.spec.joints
    moved = [np.subtract(a.origin, b.origin) for a, b in zip(setup.world.cameras, SETUP.spec.cameras, strict=True)]
    assert all(0.0 < np.linalg.norm(d) < 0.1 for d in moved)


def test_each_strength_reaches_the_world_it_is_for() -> None:
    p = Perturbation(areas=2.0, light_min=0.5, joint_noise=0.01, frame_latency_s=0.1, late_share=0.3, late_s=1.0, delay_s=0.05)
    setup, scenario = perturbed(p, SETUP, NOMINAL, 3)
    x_min, x_max = setup.task.cube_area[:2]
    assert (x_min + x_max, x_max - x_min) == pytest.approx((0.62, 0.2))
    assert {fault.kind for _, fault in scenario.faults} == {FaultKind.DIM, FaultKind.LATENCY, FaultKind.JOINT_NOISE}
    assert np.mean([s > 1.0 for s in setup.rates.policy_latency_s]) == pytest.approx(0.3)
    assert 0.0 < setup.changes[-1].amount < 0.05


def test_the_dynamics_suite_delays_the_drives_and_not_the_decisions() -> None:
    for condition in suite("dynamics"):
        setup, _ = perturbed(condition.perturbation, SETUP, NOMINAL, 3)
        assert condition.decisions_late_s == 0.0 and setup.rates == SETUP.rates
        assert [change.part for change in setup.changes].count(Part.DELAY) == 1


def test_a_perturbed_episode_is_the_same_again_and_another_than_the_nominal_one() -> None:
    p = suite("dynamics")[1].perturbation

    def run(perturbation: Perturbation) -> float:
        setup, scenario = perturbed(perturbation, SETUP, NOMINAL, 3)
        crew = teleoperated(setup, 3)
        Episode(replace(crew, rates=replace(crew.rates, camera_hz=5.0)), scenario, 3).run(0.6)
        return float(crew.world.joints().q.sum())

    assert run(p) == run(p) != run(UNPERTURBED)


@pytest.mark.slow
@pytest.mark.parametrize("condition", suite("small"), ids=lambda c: c.name)
def test_what_the_suite_asks_can_be_done(condition) -> None:
    setup, scenario = perturbed(condition.perturbation, SETUP, SCENARIOS[condition.scenario], 5_001)
    assert Episode(teleoperated(setup, 5_001), scenario, 5_001).run(11.0).success


def test_an_unknown_suite_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="found 'weather', allowed a suite .*dynamics.* or a scenario .*intruder"):
        suite("weather")


def test_light_cannot_grow() -> None:
    with pytest.raises(ConfigError, match="light_min 1.5"):
        Perturbation(light_min=1.5)
