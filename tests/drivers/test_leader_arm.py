"""A leader arm on simulated servos: read and never powered, followed without a jump, its handle by its calibrated range."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from drivers.calibration import load
from drivers.hand import Hand
from drivers.leader_arm import LeaderMover, open_leader
from drivers.reopened import Reopened
from robot_stack.config.robot_file import load_robot
from robot_stack.errors import ConfigError, DriverError
from tests.drivers import teleop_rig as rig

HAND = Hand(True, False, np.zeros(6), 0.0)
FOLLOWER = load_robot("so101")
HOME = np.array(FOLLOWER.q_home)
DT_S = 0.02


@pytest.fixture
def far(tmp_path: Path) -> Iterator[object]:
    with ExitStack() as ends:
        yield rig.LeaderRig(tmp_path, ends, pedal=False)


@pytest.fixture
def mover(far) -> Iterator[LeaderMover]:
    made = opened(far)
    yield made
    made.close()


def opened(far, robot=FOLLOWER, **changes: object) -> LeaderMover:
    calibration = load(far.spec)
    leader = Reopened(lambda: open_leader(far.spec, calibration), 0.01)
    return LeaderMover(robot, replace(far.settings, **changes), leader, far.spec, calibration)


def turned(far, joint: int, ticks: int) -> None:
    with far.servos.lock:
        far.servos.servos[joint].encoder += ticks


def settled(mover: LeaderMover, index: int, value: float, q: np.ndarray) -> np.ndarray:
    """The wish once it is at `value` for joint `index`."""
    end = time.monotonic() + 20.0
    while time.monotonic() < end:
        found, _ = mover.move(HAND, q, DT_S, time.monotonic_ns())
        if abs(found[index] - value) < 0.01:
            return found
    raise AssertionError(f"joint {index}: {found[index]}, wanted {value}")


def test_a_leader_left_powered_is_let_go_and_never_powered_again(far) -> None:
    torque = far.servos.table.torque
    for servo in far.servos.servos.values():
        servo.put(torque, 1)
    mover = opened(far)
    mover.begin(HOME, 0)
    for _ in range(20):
        mover.move(HAND, HOME, DT_S, time.monotonic_ns())
    mover.close()
    assert not any(servo.get(torque) for servo in far.servos.servos.values())


def test_however_the_leader_stands_the_follower_stays_at_the_clutch(mover: LeaderMover) -> None:
    mover.begin(HOME, 0)
    q, qd = mover.move(HAND, HOME, 0.0, time.monotonic_ns())
    np.testing.assert_allclose(q, HOME, atol=1e-12)
    assert not qd.any()


def test_both_come_to_the_same_pose_at_the_speed_that_was_allowed(mover: LeaderMover) -> None:
    mover.begin(HOME, 0)
    q = before = HOME
    for _ in range(300):
        q, _ = mover.move(HAND, q, DT_S, time.monotonic_ns())
        assert np.abs(q - before).max() <= 0.3 * DT_S + 1e-9
        before = q
    leader = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.5 * (FOLLOWER.q_min[5] + FOLLOWER.q_max[5])])
    np.testing.assert_allclose(q, leader, atol=0.002)


@pytest.mark.parametrize(("settings", "share"), [({"align_speed": 0.0}, 1.0), ({"leader_scale": 0.5}, 0.5)])
def test_the_follower_turns_as_far_as_the_leader_or_by_a_share_of_it_and_keeps_the_difference(
    far, settings: dict[str, float], share: float
) -> None:
    mover = opened(far, **settings)
    mover.begin(HOME, 0)
    turned(far, 1, 400)
    q = settled(mover, 0, HOME[0] + share * 400 * 2 * np.pi / 4096, HOME)
    np.testing.assert_allclose(q[1:], HOME[1:], atol=1e-9)
    mover.close()


def test_the_handles_calibrated_range_is_the_grippers(far) -> None:
    mover = opened(far, align_speed=1e6)
    mover.begin(HOME, 0)
    low, high = rig.servo_rig().RANGE
    for ticks, end in ((high - 2047, FOLLOWER.q_max), (low - high, FOLLOWER.q_min)):
        turned(far, 6, ticks)
        q = settled(mover, 5, end[5], HOME)
        assert FOLLOWER.q_min[5] - 1e-9 <= q[5] <= FOLLOWER.q_max[5] + 1e-9, "never beyond it"
    mover.close()


def test_joints_may_be_led_by_others_turned_round_or_not_at_all(far) -> None:
    robot = load_robot("sim_arm")
    names = ["-shoulder_pan", "shoulder_lift", "elbow_flex", "", "wrist_flex", "wrist_roll", "-gripper"]
    mover = opened(far, robot, leader_joints=names, align_speed=0.0)
    home = np.array(robot.q_home)
    mover.begin(home, 0)
    turned(far, 1, 400)
    q = settled(mover, 0, home[0] - 400 * 2 * np.pi / 4096, home)
    assert q[3] == home[3]
    turned(far, 6, 400)
    end = time.monotonic() + 20.0
    while (q := mover.move(HAND, home, DT_S, time.monotonic_ns())[0])[6] > home[6] - 0.002 and time.monotonic() < end:
        pass
    assert q[6] < home[6] - 0.002, "the other way round"
    mover.close()


@pytest.mark.parametrize("names", [["gripper"], ["a", "b", "c", "d", "e", "f"]])
def test_joints_that_the_leader_lacks_are_named(far, names: list[str]) -> None:
    with pytest.raises(ConfigError, match="teleop.leader_joints: found .* allowed .*shoulder_pan"):
        opened(far, leader_joints=names)


def test_a_leader_without_a_pedal_leads_as_long_as_it_answers(far) -> None:
    follower = rig.Follower(FOLLOWER, far.settings)
    assert follower.chunk().q.shape == (16, 6)
    far.unplug()
    end = time.monotonic() + 20.0
    with pytest.raises(DriverError, match="teleoperator lost: "):
        while time.monotonic() < end:
            follower.device.act(time.monotonic_ns())
    far.plug()
    follower.chunk("the leader again")
    follower.device.close()


def test_a_leader_that_is_not_there_is_an_error_with_a_next_step(far) -> None:
    far.unplug()
    with pytest.raises(DriverError, match="start again"):
        rig.Follower(FOLLOWER, far.settings)
