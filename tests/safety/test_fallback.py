"""The fallback controller on a joint-level arm that follows it, or does not."""

from dataclasses import replace

import numpy as np

from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import SafetySettings
from robot_stack.types import JointState
from safety.fallback import BrakeAndRetreat

SPEC = load_robot("sim_arm")
SETTINGS = SafetySettings()
HOME = np.array(SPEC.q_home)
DT_NS = SPEC.dt_ns


def _drive(controller: BrakeAndRetreat, way: np.ndarray, qd: np.ndarray, now: int = 0) -> int:
    """Somebody else moves the arm along `way`; the controller only looks on."""
    for q in way:
        now += DT_NS
        controller.command(JointState(now, q, qd), now)
    return now


def test_an_arm_at_rest_is_held_where_it_is() -> None:
    controller = BrakeAndRetreat(SPEC, SETTINGS)
    for i in range(100):
        command = controller.command(JointState(i * DT_NS, HOME, np.zeros(7)), i * DT_NS)
    np.testing.assert_array_equal(command.q, HOME)


def test_a_moving_arm_is_told_to_stop_where_braking_ends() -> None:
    qd = np.zeros(7)
    qd[0] = 1.0
    command = BrakeAndRetreat(SPEC, SETTINGS).command(JointState(0, HOME, qd), 0)
    assert 0.04 < command.q[0] - HOME[0] < 0.06
    np.testing.assert_array_equal(command.q[1:], HOME[1:])


def test_sag_and_noise_do_not_make_the_hold_creep() -> None:
    controller, rng = BrakeAndRetreat(SPEC, SETTINGS), np.random.default_rng(0)
    first = controller.command(JointState(0, HOME, np.zeros(7)), 0).q
    for i in range(1, 500):
        q = HOME - 0.002 + rng.normal(size=7) * 1e-4
        held = controller.command(JointState(i * DT_NS, q, np.zeros(7)), i * DT_NS)
    np.testing.assert_array_equal(held.q, first)


def test_it_goes_back_the_way_the_arm_came_when_asked_to() -> None:
    controller = BrakeAndRetreat(SPEC, replace(SETTINGS, fallback_retreat_speed=0.2))
    way = HOME + np.linspace(0.0, 0.5, 50)[:, None] * np.eye(7)[0]
    now, q = _drive(controller, way, np.eye(7)[0]), way[-1]
    stopped = controller.command(JointState(now + DT_NS, q, np.zeros(7)), now + DT_NS).q
    for i in range(2, 300):
        q = controller.command(JointState(now + i * DT_NS, q, np.zeros(7)), now + i * DT_NS).q
    assert HOME[0] <= q[0] < stopped[0] - 0.2
    np.testing.assert_allclose(q[1:], HOME[1:], atol=1e-9)


def test_a_retreat_nobody_follows_does_not_run_away() -> None:
    controller = BrakeAndRetreat(SPEC, replace(SETTINGS, fallback_retreat_speed=0.2))
    way = HOME + np.linspace(0.0, 0.5, 50)[:, None] * np.eye(7)[0]
    now = _drive(controller, way, np.eye(7)[0])
    for i in range(500):
        command = controller.command(JointState(now + i * DT_NS, way[-1], np.zeros(7)), now + i * DT_NS)
        assert np.abs(command.q - way[-1]).max() < 0.1


def test_joints_that_are_not_finite_keep_the_last_hold() -> None:
    controller = BrakeAndRetreat(SPEC, SETTINGS)
    controller.command(JointState(0, HOME, np.zeros(7)), 0)
    np.testing.assert_array_equal(controller.command(JointState(1, np.full(7, np.nan), np.zeros(7)), 1).q, HOME)
    assert np.isnan(BrakeAndRetreat(SPEC, SETTINGS).command(JointState(1, np.full(7, np.nan), np.zeros(7)), 1).q).all()
