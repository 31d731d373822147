"""Margins of many states agree with the kinematics of one, and with distances a reader can check by hand."""

import numpy as np
import pytest

from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import VocbfSettings
from robot_stack.errors import ContractError
from robot_stack.kinematics import Kinematics
from robot_stack.types import Array
from safety.hindsight import Transitions, place_obstacles, transitions, wander
from safety.margins import margins, obstacle_margins, workspace_margins

SPEC = load_robot("sim_arm")
KINEMATICS = Kinematics(SPEC)
HOME = np.array(SPEC.q_home)
SMALL = VocbfSettings(obstacles=4, branches=2, branch_steps=5)


def random_q(n: int) -> Array:
    return np.random.default_rng(0).uniform(SPEC.q_min, SPEC.q_max, (n, len(SPEC.joints)))


def test_distance_to_a_sphere_is_the_brute_force_minimum_over_each_link() -> None:
    points = KINEMATICS.positions(random_q(40))
    p = np.random.default_rng(1).uniform(-0.6, 0.6, (40, 3))
    along = np.linspace(0, 1, 400)[None, None, :, None]
    ends = points[:, :-1].reshape(40, -1, 2, 3)
    dense = ends[:, :, None, 0] * (1 - along) + ends[:, :, None, 1] * along
    brute = (np.linalg.norm(dense - p[:, None, None], axis=3).min(2) - KINEMATICS.radius).min(1) - 0.05
    assert np.allclose(obstacle_margins(points, p, 0.05, KINEMATICS), brute, atol=1e-4)


def test_a_sphere_touching_the_hand_has_zero_margin_and_the_margin_is_subtracted() -> None:
    hand = SPEC.capsules[-1]
    axis = KINEMATICS.positions(HOME[None])[0, -2]
    p = axis + np.array([hand.radius + 0.05, 0.0, 0.0])
    assert margins(HOME[None], p, 0.05, KINEMATICS, SPEC, workspace=False)[0] == pytest.approx(0.0, abs=1e-9)
    assert margins(HOME[None], p, 0.05, KINEMATICS, SPEC, 0.02, workspace=False)[0] == pytest.approx(-0.02, abs=1e-9)


def test_the_walls_count_only_when_asked() -> None:
    far = np.array([5.0, 5.0, 5.0])
    points = KINEMATICS.positions(HOME[None])
    wall = workspace_margins(points, SPEC)[0]
    assert wall == pytest.approx(min(float(np.dot(r[:3], p) - r[3]) for r in SPEC.workspace for p in points[0]))
    assert margins(HOME[None], far, 0.05, KINEMATICS, SPEC)[0] == pytest.approx(wall)
    assert margins(HOME[None], far, 0.05, KINEMATICS, SPEC, workspace=False)[0] > 1.0


def test_a_logged_motion_becomes_transitions_with_the_h_of_its_rows() -> None:
    q = HOME + np.linspace(0, 0.2, 6)[:, None] * np.array([1, 0, 0, 0, 0, 0, 0.0])
    p = np.array([0.5, 0.0, 0.14])
    found = transitions(q, p, 0.05, SPEC, SMALL, motion=3)
    assert found.states.shape == (5, 9) and found.actions.shape == (5, 6)
    assert np.allclose(found.actions[:, 0], 0.04 / SMALL.dt) and np.allclose(found.next_states[:-1], found.states[1:])
    h = np.minimum(margins(q, p, 0.05, KINEMATICS, SPEC, SMALL.margin, workspace=False), SMALL.h_max)
    assert np.allclose(found.h, h[:-1]) and found.done.tolist() == [False] * 4 + [True] and set(found.motion) == {3}


def test_hindsight_obstacles_make_failures_of_a_motion_that_had_none() -> None:
    motions = wander([np.repeat(HOME[None], 3, axis=0)] * 20, SPEC, SMALL, seed=0)
    found = place_obstacles(motions, (0.14, 0.14), 0.05, SPEC, SMALL, seed=0, every=20)
    assert 0.05 < np.mean(found.h < 0) < 0.8
    assert np.allclose(found.states[:, 8], 0.14) and set(found.motion) == set(range(20))


def test_wandering_keeps_position_and_speed_limits() -> None:
    motions = np.array(wander([random_q(10)], SPEC, VocbfSettings(branches=50, branch_steps=30), seed=1))
    assert (motions >= SPEC.q_min).all() and (motions <= SPEC.q_max).all()
    assert (np.abs(np.diff(motions, axis=1)) <= VocbfSettings().dt * SPEC.qd_max + 1e-12).all()


def test_columns_of_different_length_are_refused() -> None:
    two, three = np.zeros((2, 9)), np.zeros((3, 9))
    with pytest.raises(ContractError, match="lengths"):
        Transitions(two, two, three, np.zeros(2), np.array([False, True]), np.zeros(2, dtype=np.int64))
