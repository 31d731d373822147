"""Where a human wants the joints: begins where the arm is, stays near it, comes to rest by itself. And devices that come back."""

import numpy as np
import pytest

from drivers.reopened import Reopened
from drivers.wish import COAST_S, Wish
from robot_stack.config.robot_file import load_robot
from robot_stack.errors import DriverError
from robot_stack.types import JointState

ROBOT = load_robot("sim_arm")
HOME = np.array(ROBOT.q_home)


def at(q: np.ndarray) -> JointState:
    return JointState(0, q, np.zeros_like(q))


@pytest.fixture
def wish() -> Wish:
    made = Wish(ROBOT, lead=0.1)
    made.begin(at(HOME), None)
    return made


def test_a_wish_begins_at_the_last_command_if_the_arm_is_near_it(wish: Wish) -> None:
    squeezing = HOME.copy()
    squeezing[6] -= 0.02
    wish.begin(at(HOME), squeezing)
    np.testing.assert_array_equal(wish.q, squeezing)


def test_a_wish_begins_where_the_arm_is_if_it_was_sent_elsewhere(wish: Wish) -> None:
    elsewhere = HOME.copy()
    elsewhere[0] += 0.5
    wish.begin(at(HOME), elsewhere)
    np.testing.assert_array_equal(wish.q, HOME)


def test_a_wish_never_leads_an_arm_that_is_held_back_by_more_than_its_lead(wish: Wish) -> None:
    for step in range(100):
        wish.move(HOME + 0.01 * step, np.ones(7), at(HOME))
    assert np.abs(wish.q - HOME).max() <= 0.1 + 1e-12
    assert (wish.chunk(5, "teleop").q[-1][:6] <= HOME[:6] + 0.1 + COAST_S).all()


def test_a_joint_that_may_not_go_on_is_wanted_standing(wish: Wish) -> None:
    wish.move(ROBOT.q_max + 1.0, np.ones(7), at(ROBOT.q_max))
    rows = wish.chunk(5, "teleop").q
    np.testing.assert_array_equal(rows, np.tile(ROBOT.q_max, (len(rows), 1)))


def test_an_arm_outside_its_limits_may_stay_there_and_come_back_but_not_go_on(wish: Wish) -> None:
    outside = HOME.copy()
    outside[0] = ROBOT.q_max[0] + 0.05
    wish.begin(at(outside), None)
    assert wish.chunk(5, "teleop").q[0, 0] == outside[0]
    wish.move(outside + 0.05, np.ones(7), at(outside))
    assert wish.q[0] == outside[0]
    wish.move(outside - 0.05, -np.ones(7), at(outside))
    assert wish.q[0] == pytest.approx(ROBOT.q_max[0])


def test_without_another_word_the_wish_comes_to_rest_one_coast_ahead(wish: Wish) -> None:
    wish.move(HOME + 0.01, np.full(7, 0.02), at(HOME))
    rows = wish.chunk(5, "teleop").q
    assert rows[-1, 0] - rows[0, 0] == pytest.approx(0.02 * COAST_S, rel=0.01)
    assert np.diff(rows[:, 0])[-1] < 0.01 * np.diff(rows[:, 0])[0]


class Wire:
    """A device that answers `left` times, then is gone; `opened` counts how often."""

    opened = 0
    there = True

    def __init__(self) -> None:
        if not Wire.there:
            raise DriverError("not there")
        Wire.opened += 1

    def read(self) -> int:
        if not Wire.there:
            raise DriverError("gone")
        return 7

    def close(self) -> None:
        """Nothing is open."""


def test_a_lost_device_is_tried_again_with_growing_waits_and_said_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Wire, "opened", 0)
    device = Reopened(Wire, retry_s=1.0)
    assert device.read(0) == 7
    monkeypatch.setattr(Wire, "there", False)
    tried = []
    for tenth in range(200):
        before = device._retry.failures
        with pytest.raises(DriverError, match="teleoperator lost: "):
            device.read(tenth * 100_000_000)
        if device._retry.failures != before:
            tried.append(tenth / 10)
    assert tried == [0.0, 1.0, 3.0, 7.0, 15.0]
    monkeypatch.setattr(Wire, "there", True)
    assert device.read(40_000_000_000) == 7 and Wire.opened == 2
    device.close()
    device.close()
