"""How the filter brings a velocity to its limits: speeds, the box of the next tick, and what of both it names as broken."""

from collections.abc import Sequence

import numpy as np
import pytest

from robot_stack.config.schema import SafetySettings
from robot_stack.types import Array, JointCommand, Reason
from safety.filter import Filter, Motion
from safety.limits import Box
from tests.safety.gantry import NOW, REST, X, Z, gantry

FREE = Filter(gantry(), SafetySettings())
Q = np.array([0.25, -0.5, 0.125])


def _near(*violations: tuple[Reason, float, int]) -> list[tuple[Reason, object, int]]:
    return [(reason, pytest.approx(amount, abs=1e-6), index) for reason, amount, index in violations]


@pytest.mark.parametrize(
    ("u", "pace", "end", "over"),
    [
        ([1.0, 0.5, 0.25], 1.0, [1.0, 0.5, 0.25], []),
        ([4.0, 1.0, 0.25], 1.0, [2.0, 0.5, 0.25], [(2.0, 0)]),  # as a whole
        ([-3.0, 0.25, 0.0], 1.0, [-2.0, 0.5 / 3, 0.0], [(1.0, 0)]),
        ([0.5, -1.5, 0.0], 1.0, [1.0 / 3, -1.0, 0.0], [(0.5, 1)]),
        ([0.5, 0.5, 0.75], 1.0, [0.5, 0.5, 0.5], [(0.25, 2)]),  # the gripper alone
        ([0.5, 0.5, -0.75], 1.0, [0.5, 0.5, -0.5], [(0.25, 2)]),
        ([2.0, 0.5, 0.75], 1.0, [2.0, 0.5, 0.5], [(0.25, 2)]),  # the arm at its limit exactly
        ([3.0, 0.5, 0.5], 1.0, [2.0, 1.0 / 3, 0.5], [(1.0, 0)]),  # the gripper at its limit exactly
        ([4.0, 1.0, 0.75], 1.0, [2.0, 0.5, 0.5], [(2.0, 0), (0.25, 2)]),
        ([4.0, 1.5, 0.75], 1.0, [2.0, 0.75, 0.5], [(2.0, 0), (0.25, 2)]),  # all of them
        ([4.0, 1.0, 0.25], 0.25, [1.0, 0.25, 0.25], []),  # the pace is the arm's
        ([4.0, 1.0, 0.25], 0.75, [2.0, 0.5, 0.25], [(1.0, 0)]),
    ],
)
def test_speeds_are_brought_to_their_limits_the_arm_as_a_whole(u, pace: float, end, over) -> None:
    limit = FREE._limits.qd_max
    exactly = np.where(np.abs(u) == [2.0, 1.0, 0.5], np.sign(u) * limit, u)
    found, violations = FREE._speed(exactly, pace)
    np.testing.assert_allclose(found, end, atol=1e-8)
    assert (np.abs(found) <= limit).all()
    assert [(v.reason, v.amount, v.index) for v in violations] == _near(*((Reason.VELOCITY, a, i) for a, i in over))


def _box(lower: Sequence[float], upper: Sequence[float], stop: float = 9.0) -> Box:
    return Box(np.array(lower), np.array(upper), np.full(3, -stop), np.full(3, stop))


EIGHTH = _box([-0.125] * 3, [0.125] * 3)


@pytest.mark.parametrize(
    ("u", "box", "end"),
    [
        ([0.0625, -0.0625, 0.125], EIGHTH, [0.0625, -0.0625, 0.125]),
        ([0.5, 0.25, 0.0], EIGHTH, [0.125, 0.0625, 0.0]),  # shorter, on its path
        ([-0.5, 0.25, 0.0], EIGHTH, [-0.125, 0.0625, 0.0]),
        ([0.5, 0.25, -0.5], EIGHTH, [0.125, 0.0625, -0.125]),  # the gripper as far as it gets
        ([0.25, -0.5, 0.0], EIGHTH, [0.0625, -0.125, 0.0]),
        ([0.0625, 0.03125, 0.5], EIGHTH, [0.0625, 0.03125, 0.125]),  # the gripper alone
        ([0.0625, 0.03125, -0.5], EIGHTH, [0.0625, 0.03125, -0.125]),
        ([0.125, 0.0625, 0.0], _box([0.25, -9.0, -9.0], [9.0] * 3), [0.25, 0.125, 0.0]),  # longer, on its path
        ([-0.125, 0.0625, 0.0], _box([-9.0] * 3, [-0.25, 9.0, 9.0]), [-0.25, 0.125, 0.0]),
        ([0.125, 0.0625, 0.0], _box([0.25, 0.25, -9.0], [9.0] * 3), [0.5, 0.25, 0.0]),
        ([0.5, 0.25, 0.0], _box([-9.0] * 3, [0.125, 0.125, 9.0]), [0.125, 0.0625, 0.0]),
        ([0.5, 0.25, 0.0], _box([-9.0, 0.125, -9.0], [0.125, 9.0, 9.0]), [0.125, 0.25, 0.0]),  # no share suits both
        ([0.5, -0.25, 0.0], _box([-9.0, -9.0, -9.0], [0.125, -0.125, 9.0]), [0.125, -0.25, 0.0]),
        ([0.5, 0.25, 0.0], _box([-0.125] * 3, [0.0, 0.125, 0.125]), [0.0, 0.125, 0.0]),  # one at its limit, not the other
        ([0.5, 0.25, 0.0], _box([-0.25, -0.125, -9.0], [-0.125, 0.125, 9.0]), [-0.125, 0.125, 0.0]),  # one has to go back
        ([0.5, 0.25, 0.0], _box([-9.0] * 3, [0.125, 0.125, 9.0], stop=0.125), [0.125, 0.125, 0.0]),  # both stop speeds
        ([-0.5, -0.25, 0.0], _box([-0.125, -0.125, -9.0], [9.0] * 3, stop=0.125), [-0.125, -0.125, 0.0]),
        ([1e-9, 0.25, 0.0], _box([-9.0] * 3, [5e-10, 0.1875, 9.0]), [5e-10, 0.1875, 0.0]),  # a nanometre has no way to keep
        ([1.5e-9, 0.25, 0.0], _box([-9.0] * 3, [0.75e-9, 0.1875, 9.0]), [0.75e-9, 0.125, 0.0]),
    ],
)
def test_a_velocity_is_brought_into_the_box_on_its_path_where_that_can_be(u, box: Box, end) -> None:
    np.testing.assert_allclose(FREE._reach(np.array(u), box), end, rtol=1e-12, atol=1e-15)


def _motion(v: Array, stop_upper: Array, stop_lower: Array) -> Motion:
    return Motion(Q, v, Box(v - 0.1, v + 0.1, stop_lower, stop_upper), v)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize(
    ("goal", "u", "found"),
    [
        ([0.0, 0.0, 0.0], [0.2, 0.0, 0.0], []),
        ([1.0, 1.0, 1.0], [0.25, 0.0, 0.0], []),  # the limits themselves, and the stop speed itself
        ([1.25, 0.0, 0.0], [0.25, 0.0, 0.0], [(Reason.POSITION, 0.25, 0)]),
        ([0.0, 0.0, 1.5], [0.25, 0.0, 0.0], [(Reason.POSITION, 0.5, 2)]),
        ([0.0, 0.0, 0.0], [0.28, 0.0, 0.0], [(Reason.POSITION, 0.0003, 0)]),  # 0.03 m/s too fast to stop, for 10 ms
        ([1.25, 0.0, 0.0], [0.28, 0.0, 0.0], [(Reason.POSITION, 0.25, 0)]),
        ([0.0, 0.0, 0.0], [0.25, 0.15, 0.0], [(Reason.ACCELERATION, 5.0, 1)]),
        ([1.25, 0.0, 0.0], [0.25, 0.0, 0.15], [(Reason.POSITION, 0.25, 0), (Reason.ACCELERATION, 5.0, 2)]),
        ([0.0, 0.0, 0.0], [0.05, 0.0, 0.0], [(Reason.ACCELERATION, 5.0, 0)]),
        ([0.0, 0.0, 0.0], [0.05, 0.15, 0.15], [(Reason.ACCELERATION, 5.0, i) for i in range(3)]),
        ([1.25, 1.25, 1.25], [0.2, 0.0, 0.0], [(Reason.POSITION, 0.25, i) for i in range(3)]),
    ],
)
def test_bounds_are_broken_by_so_many_metres_or_metres_a_second_squared(sign: float, goal, u, found) -> None:
    stop = (np.array([0.25, 9.0, 9.0]), np.full(3, -9.0))
    motion = _motion(0.2 * X, *stop) if sign > 0 else _motion(-0.2 * X, -stop[1], -stop[0])
    violations = FREE._bounds(JointCommand(NOW, sign * np.array(goal)), sign * np.array(u), motion)
    assert [(v.reason, v.amount, v.index) for v in violations] == _near(*found)


def test_rounding_is_no_acceleration() -> None:
    motion = _motion(REST, np.full(3, 9.0), np.full(3, -9.0))
    for beyond, named in ((0.5e-12, 0), (1.5e-12, 1)):
        u = (FREE._limits.change + beyond) * X
        assert len(FREE._bounds(JointCommand(NOW, REST), u, motion)) == named
        assert len(FREE._bounds(JointCommand(NOW, 1.5 * Z), u, motion)) == 1 + named
