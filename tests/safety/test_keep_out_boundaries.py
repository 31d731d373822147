"""Distances and rows by hand: two links that slide freely through space, and spheres beside them."""

from math import nextafter

import numpy as np
import pytest

from robot_stack.config.schema import SafetySettings
from robot_stack.kinematics import Kinematics
from robot_stack.robot import Capsule, RobotSpec
from robot_stack.types import Hazards, Reason
from safety.keep_out import Gaps, Links, _towards, coming, coming_one
from tests.safety.gantry import Point, robot, slide

SETTINGS = SafetySettings()
NONE = Hazards(0, np.zeros((0, 3)), np.zeros(0), np.zeros(0), np.zeros(0))
Segment = tuple[Point, Point]
ALONG_X: Segment = ((0.0, 0.0, 0.0), (2.0, 0.0, 0.0))


def _robot(*segments: Segment) -> RobotSpec:
    """Link i is `segments[i]` with a radius of (i + 1) / 8 on a joint of its own that slides it along z."""
    joints = tuple(slide(str(i), -1, (0.0, 0.0, 1.0)) for i in range(len(segments)))
    return robot(joints, tuple(Capsule(str(i), i, a, b, (i + 1) / 8) for i, (a, b) in enumerate(segments)))


def _found(spec: RobotSpec, hazards: Hazards = NONE, age_s: float = 0.0) -> tuple[Gaps, float, int]:
    kinematics = Kinematics(spec)
    p_W = kinematics.places(kinematics.poses(np.zeros((1, len(spec.joints)))))
    return Links(spec, kinematics, SETTINGS).gaps(p_W, hazards, age_s)


@pytest.mark.parametrize(
    ("other", "c1", "c2"),
    [
        (((1.0, -1.0, 1.0), (1.0, 1.0, 1.0)), (1.0, 0.0, 0.0), (1.0, 0.0, 1.0)),  # crossing
        (((0.5, -1.0, 1.0), (1.5, 3.0, 1.0)), (0.75, 0.0, 0.0), (0.75, 0.0, 1.0)),  # crossing, not at right angles
        (((3.0, -1.0, 1.0), (3.0, 1.0, 1.0)), (2.0, 0.0, 0.0), (3.0, 0.0, 1.0)),  # beyond its far end
        (((-1.0, -1.0, 1.0), (-1.0, 1.0, 1.0)), (0.0, 0.0, 0.0), (-1.0, 0.0, 1.0)),  # before its near end
        (((1.5, 1.0, 0.0), (1.5, 3.0, 0.0)), (1.5, 0.0, 0.0), (1.5, 1.0, 0.0)),  # the other's near end
        (((0.5, -3.0, 0.0), (0.5, -1.0, 0.0)), (0.5, 0.0, 0.0), (0.5, -1.0, 0.0)),  # the other's far end
        (((3.0, 2.0, 0.0), (4.0, 3.0, 0.0)), (2.0, 0.0, 0.0), (3.0, 2.0, 0.0)),  # end to end
        (((1.0, 1.0, 0.0), (3.0, 0.5, 0.0)), (2.0, 0.0, 0.0), (2.0 + 3 / 17, 12 / 17, 0.0)),  # end to somewhere on the other
        (((0.5, 1.0, 0.0), (1.5, 3.0, 0.0)), (0.5, 0.0, 0.0), (0.5, 1.0, 0.0)),  # where the lines would meet is on neither
        (((2.0, 1.0, 0.0), (4.0, 1.0, 0.0)), (2.0, 0.0, 0.0), (2.0, 1.0, 0.0)),  # parallel
        (((1.5, 0.0, 2.0), (1.5, 0.0, 2.0)), (1.5, 0.0, 0.0), (1.5, 0.0, 2.0)),  # a sphere
    ],
)
def test_the_gap_of_two_links_is_that_of_their_nearest_points(other: Segment, c1: Point, c2: Point) -> None:
    between, gap = np.subtract(c1, c2), float(np.linalg.norm(np.subtract(c1, c2)))
    n = between / gap
    for segments, nearest, normal in (((ALONG_X, other), c1, n), ((other, ALONG_X), c2, -n)):
        gaps, margin, whose = _found(_robot(*segments))
        h = gap - 0.375 - SETTINGS.self_collision_margin
        np.testing.assert_allclose(gaps.h, [[h]], atol=1e-12)
        np.testing.assert_allclose(gaps.b, [-SETTINGS.self_collision_gain * h])
        np.testing.assert_allclose(gaps.wrench, [[*normal, *np.cross(nearest, normal)]], atol=1e-12)
        np.testing.assert_array_equal(gaps.moves, [[1.0, -1.0]])
        assert (margin, whose) == (np.inf, -1)


BALL: Segment = ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))


def _spheres(*x: float, speed: float = 0.0) -> Hazards:
    ones = np.ones(len(x))
    return Hazards(0, [[at, 0.0, 0.0] for at in x], 0.0625 * ones, 0.03125 * ones, speed * ones)


def test_the_nearest_sphere_of_a_robot_of_one_link_is_found() -> None:
    reach = 0.125 + 0.0625 + SETTINGS.keep_out_margin + 0.0625
    for x, whose in (((1.0,), 0), ((1.0, 2.0), 0), ((2.0, -1.0), 1), ((1.5,) * 4 + (1.0,) + (1.5,), 4)):
        gaps, margin, nearest = _found(_robot(BALL), _spheres(*x))
        assert (margin, nearest) == (pytest.approx(1.0 - reach), whose)
        np.testing.assert_allclose(gaps.h[:, 0], np.abs(x) - reach)
        np.testing.assert_allclose(gaps.b, -SETTINGS.keep_out_gain * gaps.h[:, 0])
        np.testing.assert_array_equal(gaps.wrench, [[-np.sign(at), 0.0, 0.0, 0.0, 0.0, 0.0] for at in x])
        np.testing.assert_array_equal(gaps.moves, np.ones((len(x), 1)))


def test_pairs_of_links_come_first_and_then_each_link_with_each_sphere() -> None:
    spec = _robot(BALL, ((4.0, 0.0, 0.0), (4.0, 0.0, 0.0)), ((7.0, 0.0, 0.0), (7.0, 0.0, 0.0)))
    gaps, margin, nearest = _found(spec, _spheres(5.0, 8.0))
    axes = np.array([4.0, 7.0, 3.0, 5.0, 8.0, 1.0, 4.0, 2.0, 1.0])
    radii = np.array([0.375, 0.5, 0.625, 0.125, 0.125, 0.25, 0.25, 0.375, 0.375])
    margins = np.where(np.arange(9) < 3, SETTINGS.self_collision_margin, SETTINGS.keep_out_margin + 0.0625 + 0.0625)
    np.testing.assert_allclose(gaps.h[:, 0], axes - radii - margins)
    assert (margin, nearest) == (pytest.approx(gaps.h[8, 0]), 1)
    named = Links(spec, Kinematics(spec), SETTINGS)
    assert [named.what(row, 2)[1] for row in range(9)] == [1, 2, 2, 0, 0, 1, 1, 2, 2]
    assert [named.what(row, 2)[0] for row in range(9)] == [Reason.SELF_COLLISION] * 3 + [Reason.KEEP_OUT] * 6


@pytest.mark.parametrize(("age_s", "late_s"), [(-1.0, 0.0), (0.0, 0.0), (0.125, 0.125), (0.2, 0.2), (0.3, 0.2)])
def test_a_sphere_may_have_come_at_its_speed_for_as_long_as_it_was_not_seen(age_s: float, late_s: float) -> None:
    reach = 0.125 + 0.0625 + SETTINGS.keep_out_margin + 0.0625
    gaps, margin, _ = _found(_robot(BALL), _spheres(0.5, speed=0.5), age_s)
    h = 0.5 - reach - 0.5 * late_s
    assert margin == pytest.approx(h)
    np.testing.assert_allclose(gaps.b, [-SETTINGS.keep_out_gain * h + 0.5 * max(1.0 - h / 0.1, 0.0)], atol=1e-12)


@pytest.mark.parametrize(
    ("h", "speed", "horizon_s", "retreat"),
    [
        (0.0, 0.5, 0.2, 0.5),
        (-1.0, 0.5, 0.2, 0.5),
        (0.025, 0.5, 0.2, 0.375),
        (0.1, 0.5, 0.2, 0.0),
        (1.0, 0.5, 0.2, 0.0),
        (0.0, 0.0, 0.2, 0.0),
        (1e-9, 5e-9, 0.1, 0.0),  # a reach of half a nanometre counts as one
        (1e-9, 5e-9, 0.4, 2.5e-9),
    ],
)
def test_the_retreat_falls_from_all_of_the_speed_to_nothing_over_the_reach(h, speed, horizon_s, retreat) -> None:
    assert coming(np.array([h]), np.array([speed]), horizon_s) == pytest.approx(retreat, rel=1e-12, abs=0.0)
    assert coming_one(h, speed, horizon_s) == pytest.approx(retreat, rel=1e-12, abs=0.0)


def test_a_gap_without_a_length_points_up() -> None:
    for x, n in ((0.0, 0.0), (0.5e-9, 0.0), (nextafter(1e-9, 0.0), 0.0), (1e-9, 1.0), (1.5e-9, 1.0), (-1.5e-9, -1.0), (3.0, 1.0)):
        direction = [n, 0.0, 1.0 - abs(n)]
        for gap, units in (([[x, 0.0, 0.0]], [direction]), ([[x, 0.0, 0.0], [0.0, 0.0, 0.0]], [direction, [0.0, 0.0, 1.0]])):
            found = _towards(np.array(gap), np.linalg.norm(gap, axis=1))
            np.testing.assert_array_equal(found, units)


def test_a_sphere_at_the_centre_of_the_only_link_pushes_it_up() -> None:
    gaps, margin, nearest = _found(_robot(BALL), _spheres(0.0))
    np.testing.assert_array_equal(gaps.wrench[0], [0.0, 0.0, 1.0, 0.0, 0.0, 0.0])
    assert margin == pytest.approx(-(0.25 + SETTINGS.keep_out_margin)) and nearest == 0
