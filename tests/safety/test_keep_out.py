"""Distances and rows: links to spheres, links to links, link ends to walls."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import SafetySettings
from robot_stack.errors import ConfigError
from robot_stack.kinematics import Kinematics
from robot_stack.robot import Capsule, Joint, RobotSpec
from robot_stack.types import Hazards, Reason
from safety.keep_out import FEW, Gaps, Links, Workspace, coming, coming_one, pairs

SPEC = load_robot("sim_arm")
SETTINGS = SafetySettings()
KINEMATICS = Kinematics(SPEC)
LINKS = Links(SPEC, KINEMATICS, SETTINGS)
HOME = np.array(SPEC.q_home)
OWN = len(pairs(SPEC))
NONE = Hazards(0, np.zeros((0, 3)), np.zeros(0), np.zeros(0), np.zeros(0))


def _hazards(p_W, speed: float = 0.0, sigma: float = 0.0, radius: float = 0.05) -> Hazards:
    p_W = np.atleast_2d(np.asarray(p_W, dtype=float))
    ones = np.ones(len(p_W))
    return Hazards(0, p_W, ones * radius, ones * sigma, ones * speed)


def _found(q: np.ndarray, hazards: Hazards, age_s: float = 0.0, links: Links = LINKS) -> tuple[Gaps, float, int]:
    return links.gaps(KINEMATICS.places(KINEMATICS.poses(q[None])), hazards, age_s)


def _rows(q: np.ndarray, gaps: Gaps) -> np.ndarray:
    return gaps.wrench @ KINEMATICS.screws(KINEMATICS.poses(q[None])) * gaps.moves


def _segments(q: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    points, _ = KINEMATICS.points(q)
    return list(zip(points[0:-1:2], points[1:-1:2], strict=True))


def _clearance(q: np.ndarray, p: np.ndarray, radius: float) -> np.ndarray:
    """Distance of each link's surface to a sphere, by sampling its segment."""
    along = np.linspace(0.0, 1.0, 20_001)[:, None]
    links = zip(_segments(q), SPEC.capsules, strict=True)
    return np.array([np.linalg.norm(a + along * (b - a) - p, axis=1).min() - c.radius - radius for (a, b), c in links])


def test_h_is_the_distance_of_surfaces_less_the_margin() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        q, p = rng.uniform(SPEC.q_min, SPEC.q_max), rng.uniform([-0.2, -0.4, 0.0], [0.6, 0.4, 0.6])
        gaps, margin, nearest = _found(q, _hazards(p))
        expected = _clearance(q, p, 0.05) - SETTINGS.keep_out_margin
        np.testing.assert_allclose(gaps.h[OWN:, 0], expected, atol=1e-6)
        np.testing.assert_allclose(gaps.b[OWN:], -SETTINGS.keep_out_gain * expected, atol=1e-6)
        assert margin == pytest.approx(expected.min(), abs=1e-6) and nearest == 0


def test_h_of_two_links_is_the_distance_of_their_surfaces_less_the_margin() -> None:
    rng, along = np.random.default_rng(3), np.linspace(0.0, 1.0, 801)[:, None]
    for _ in range(15):
        q = rng.uniform(SPEC.q_min, SPEC.q_max)
        links = [a + along * (b - a) for a, b in _segments(q)]
        for (i, k), h in zip(pairs(SPEC), _found(q, NONE)[0].h[:, 0], strict=True):
            between = np.linalg.norm(links[i][:, None] - links[k][None], axis=2).min()
            radii = SPEC.capsules[i].radius + SPEC.capsules[k].radius
            assert h == pytest.approx(between - radii - SETTINGS.self_collision_margin, abs=3e-4)


def test_rows_are_the_slope_of_the_distance() -> None:
    rng, step = np.random.default_rng(1), 1e-6
    for _ in range(20):
        q, p = rng.uniform(SPEC.q_min, SPEC.q_max), rng.uniform([0.1, -0.4, 0.0], [0.6, 0.4, 0.6])
        A = _rows(q, _found(q, _hazards(p))[0])
        for j in range(7):
            up, down = (_found(q + s * step * np.eye(7)[j], _hazards(p))[0].h[:, 0] for s in (1, -1))
            np.testing.assert_allclose(A[:, j], (up - down) / (2 * step), atol=1e-5)


def test_many_states_at_once_are_the_same_as_one_by_one() -> None:
    rng, hazards = np.random.default_rng(4), _hazards([(0.4, 0.0, 0.3), (0.1, 0.3, 0.2)])
    q = rng.uniform(SPEC.q_min, SPEC.q_max, (5, 7))
    together = LINKS.gaps(KINEMATICS.places(KINEMATICS.poses(q)), hazards, 0.0)[0].h
    np.testing.assert_allclose(together.T, [_found(row, hazards)[0].h[:, 0] for row in q], atol=1e-12)


def test_old_and_uncertain_pictures_make_a_sphere_grow_up_to_the_horizon() -> None:
    p = (0.6, 0.3, 0.2)
    still = _found(HOME, _hazards(p))[1]
    assert _found(HOME, _hazards(p, sigma=0.01))[1] == pytest.approx(still - 0.02)
    assert _found(HOME, _hazards(p, speed=0.3), 0.1)[1] == pytest.approx(still - 0.03)
    assert _found(HOME, _hazards(p, speed=0.3), 9.0)[1] == pytest.approx(still - 0.3 * SETTINGS.hazard_horizon_s)
    assert _found(HOME, _hazards(p, speed=0.3), -9.0)[1] == pytest.approx(still)


def test_at_the_boundary_a_link_must_retreat_as_fast_as_the_sphere_may_come() -> None:
    links = Links(SPEC, KINEMATICS, replace(SETTINGS, keep_out_margin=0.0))
    distance = _found(HOME, _hazards((0.45, 0.0, 0.3)), links=links)[1]
    gaps, margin, _ = _found(HOME, _hazards((0.45, 0.0, 0.3), speed=0.3, radius=0.05 + distance), links=links)
    assert margin == pytest.approx(0.0, abs=1e-12)
    assert gaps.b[OWN:].max() == pytest.approx(0.3)


def test_a_fast_sphere_far_away_asks_for_nothing_more_than_a_still_one() -> None:
    still, fast = (_found(HOME, _hazards((0.65, 0.5, 0.2), speed=s))[0].b for s in (0.0, 0.5))
    np.testing.assert_array_equal(still, fast)


def test_the_centre_on_a_links_axis_still_gives_finite_rows() -> None:
    gaps, margin, _ = _found(HOME, _hazards(KINEMATICS.points(HOME)[0][2]))
    assert np.isfinite(_rows(HOME, gaps)).all() and margin < 0
    assert np.abs(gaps.wrench[:, :3]).max(axis=1).min() > 0.5


def test_no_sphere_means_no_row_and_no_margin() -> None:
    gaps, margin, nearest = _found(HOME, NONE)
    assert (gaps.b.size, margin, nearest) == (OWN, np.inf, -1)


@pytest.mark.parametrize("count", [1, FEW - 1, FEW, FEW + 3])
def test_any_number_of_spheres_is_looked_at_and_the_nearest_is_named(count: int) -> None:
    p = np.array([(0.6 + 0.05 * i, 0.4, 0.1) for i in range(count)])
    p[count - 1] = (0.4, 0.0, 0.3)
    gaps, margin, nearest = _found(HOME, _hazards(p))
    assert nearest == count - 1 and len(gaps.b) == OWN + count * len(SPEC.capsules)
    assert margin == pytest.approx(_clearance(HOME, p[-1], 0.05).min() - SETTINGS.keep_out_margin, abs=1e-6)
    named = [LINKS.what(i, count) for i in range(len(gaps.b))]
    assert named[:OWN] == [(Reason.SELF_COLLISION, k) for _, k in pairs(SPEC)]
    assert named[OWN:] == [(Reason.KEEP_OUT, i // count) for i in range(count * len(SPEC.capsules))]


def test_workspace_rows_are_height_over_each_plane_and_its_slope() -> None:
    rng = np.random.default_rng(2)
    workspace, q, step = Workspace(SPEC, KINEMATICS, SETTINGS), rng.uniform(SPEC.q_min, SPEC.q_max), 1e-6

    def found(q: np.ndarray) -> Gaps:
        return workspace.gaps(KINEMATICS.places(KINEMATICS.poses(q[None])))

    gaps, points, planes = found(q), KINEMATICS.points(q)[0], np.array(SPEC.workspace)
    np.testing.assert_allclose(gaps.h.reshape(len(points), -1), points @ planes[:, :3].T - planes[:, 3])
    np.testing.assert_allclose(gaps.b, -SETTINGS.workspace_gain * gaps.h[:, 0])
    for j in range(7):
        up, down = (found(q + s * step * np.eye(7)[j]).h[:, 0] for s in (1, -1))
        np.testing.assert_allclose(_rows(q, gaps)[:, j], (up - down) / (2 * step), atol=1e-5)


def test_a_cell_without_walls_has_no_rows() -> None:
    gaps = Workspace(replace(SPEC, workspace=()), KINEMATICS, SETTINGS).gaps(KINEMATICS.places(KINEMATICS.poses(HOME[None])))
    assert gaps.h.shape == (0, 1) and gaps.wrench.shape == (0, 6) and gaps.b.size == 0


def test_links_that_meet_in_a_joint_or_may_touch_are_not_kept_apart() -> None:
    names = [(SPEC.capsules[i].name, SPEC.capsules[k].name) for i, k in pairs(SPEC)]
    assert names == [("column", "forearm"), ("column", "hand"), ("upper_arm", "hand")]
    tolerant = replace(SPEC, may_touch=(("hand", "column"),))
    assert pairs(tolerant) == [(0, 2), (1, 3)]
    with pytest.raises(ConfigError, match="found \\['elbow'\\], allowed pairs of the capsules"):
        replace(SPEC, may_touch=(("hand", "elbow"),))


def _tree() -> RobotSpec:
    """A base that carries no shape, with two arms of one joint each; the first arm has two shapes on its joint."""
    joints = tuple(
        Joint(name, parent, (0.0, y, 0.0), (0.0, 0.0, 1.0), -2.0, 2.0, 1.0, 5.0)
        for name, parent, y in (("base", -1, 0.0), ("left", 0, 0.3), ("right", 0, -0.3))
    )
    shapes = (("left", 1, 0.0), ("finger", 1, 0.1), ("right", 2, 0.0))
    capsules = tuple(Capsule(name, joint, (0.0, 0.0, z), (0.2, 0.0, z), 0.03) for name, joint, z in shapes)
    return replace(SPEC, joints=joints, capsules=capsules, q_home=(0.0,) * 3, tip_joint=2, cameras=())


def test_two_arms_of_one_body_are_kept_apart_and_shapes_of_one_link_are_not() -> None:
    assert pairs(_tree()) == [(0, 2), (1, 2)]


def test_two_parallel_arms_have_the_distance_between_them_and_are_moved_by_both() -> None:
    spec = _tree()
    kinematics = Kinematics(spec)
    X = kinematics.poses(np.zeros((1, 3)))
    gaps, _, _ = Links(spec, kinematics, SETTINGS).gaps(kinematics.places(X), NONE, 0.0)
    assert gaps.h[0, 0] == pytest.approx(0.6 - 0.06 - SETTINGS.self_collision_margin)
    A = gaps.wrench @ kinematics.screws(X) * gaps.moves
    assert A[0, 0] == 0.0, "the base carries both: turning it moves neither away from the other"
    np.testing.assert_array_equal(gaps.moves[0], [0.0, 1.0, -1.0])


@given(h=st.floats(-1.0, 2.0), speed=st.floats(0.0, 1.0), horizon_s=st.floats(0.01, 2.0))
def test_one_barrier_comes_as_fast_as_many_to_the_last_bit(h: float, speed: float, horizon_s: float) -> None:
    assert coming_one(h, speed, horizon_s) == coming(np.array([h]), np.array([speed]), horizon_s)[0]
