"""Distances and rows of keep-out spheres and workspace planes."""

from dataclasses import replace

import numpy as np
import pytest

from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import SafetySettings
from robot_stack.kinematics import Kinematics
from robot_stack.types import Hazards, Reason
from safety.keep_out import Spheres, Workspace

SPEC = load_robot("sim_arm")
SETTINGS = SafetySettings()
KINEMATICS = Kinematics(SPEC)


def _hazards(p_W, speed: float = 0.0, sigma: float = 0.0, radius: float = 0.05) -> Hazards:
    p_W = np.atleast_2d(np.asarray(p_W, dtype=float))
    ones = np.ones(len(p_W))
    return Hazards(0, p_W, ones * radius, ones * sigma, ones * speed)


def _clearance(q: np.ndarray, p: np.ndarray, radius: float) -> np.ndarray:
    """Distance of each link's surface to a sphere, by sampling its segment."""
    points, _ = KINEMATICS.points(q)
    along = np.linspace(0.0, 1.0, 20_001)[:, None]
    segments = zip(points[0:-1:2], points[1:-1:2], SPEC.capsules, strict=True)
    return np.array([np.linalg.norm(a + along * (b - a) - p, axis=1).min() - c.radius - radius for a, b, c in segments])


def test_h_is_the_distance_of_surfaces_less_the_margin() -> None:
    rng = np.random.default_rng(0)
    spheres = Spheres(SPEC, SETTINGS)
    for _ in range(20):
        q, p = rng.uniform(SPEC.q_min, SPEC.q_max), rng.uniform([-0.2, -0.4, 0.0], [0.6, 0.4, 0.6])
        found = spheres.rows(*KINEMATICS.points(q), _hazards(p), 0.0)
        expected = _clearance(q, p, 0.05) - SETTINGS.keep_out_margin
        np.testing.assert_allclose(found.rows.b, -SETTINGS.keep_out_gain * expected, atol=1e-6)
        assert found.margin == pytest.approx(expected.min(), abs=1e-6)


def test_rows_are_the_slope_of_the_distance() -> None:
    rng = np.random.default_rng(1)
    spheres, step = Spheres(SPEC, SETTINGS), 1e-6
    for _ in range(20):
        q, p = rng.uniform(SPEC.q_min, SPEC.q_max), rng.uniform([0.1, -0.4, 0.0], [0.6, 0.4, 0.6])
        found = spheres.rows(*KINEMATICS.points(q), _hazards(p), 0.0).rows
        for j in range(7):
            moved = [spheres.rows(*KINEMATICS.points(q + s * step * np.eye(7)[j]), _hazards(p), 0.0).rows.b for s in (1, -1)]
            slope = (moved[1] - moved[0]) / (2 * step * SETTINGS.keep_out_gain)
            np.testing.assert_allclose(found.A[:, j], slope, atol=1e-5)


def test_old_and_uncertain_pictures_make_a_sphere_grow_up_to_the_horizon() -> None:
    spheres, at = Spheres(SPEC, SETTINGS), KINEMATICS.points(np.array(SPEC.q_home))
    p = (0.6, 0.3, 0.2)
    still = spheres.rows(*at, _hazards(p), 0.0).margin
    assert spheres.rows(*at, _hazards(p, sigma=0.01), 0.0).margin == pytest.approx(still - 0.02)
    assert spheres.rows(*at, _hazards(p, speed=0.3), 0.1).margin == pytest.approx(still - 0.03)
    assert spheres.rows(*at, _hazards(p, speed=0.3), 9.0).margin == pytest.approx(still - 0.3 * SETTINGS.hazard_horizon_s)
    assert spheres.rows(*at, _hazards(p, speed=0.3), -9.0).margin == pytest.approx(still)


def test_at_the_boundary_a_link_must_retreat_as_fast_as_the_sphere_may_come() -> None:
    at = KINEMATICS.points(np.array(SPEC.q_home))
    settings = replace(SETTINGS, keep_out_margin=0.0)
    distance = Spheres(SPEC, settings).rows(*at, _hazards((0.45, 0.0, 0.3)), 0.0).margin
    touching = Spheres(SPEC, settings).rows(*at, _hazards((0.45, 0.0, 0.3), speed=0.3, radius=0.05 + distance), 0.0)
    assert touching.margin == pytest.approx(0.0, abs=1e-12)
    assert touching.rows.b.max() == pytest.approx(0.3)


def test_a_fast_sphere_far_away_asks_for_nothing_more_than_a_still_one() -> None:
    spheres, at = Spheres(SPEC, SETTINGS), KINEMATICS.points(np.array(SPEC.q_home))
    still, fast = (spheres.rows(*at, _hazards((0.65, 0.5, 0.2), speed=s), 0.0).rows.b for s in (0.0, 0.5))
    np.testing.assert_array_equal(still, fast)


def test_the_centre_on_a_links_axis_still_gives_finite_rows() -> None:
    at = KINEMATICS.points(np.array(SPEC.q_home))
    found = Spheres(SPEC, SETTINGS).rows(*at, _hazards(at[0][2]), 0.0)
    assert np.isfinite(found.rows.A).all() and found.margin < 0


def test_no_sphere_means_no_row_and_no_margin() -> None:
    empty = Hazards(0, np.zeros((0, 3)), np.zeros(0), np.zeros(0), np.zeros(0))
    found = Spheres(SPEC, SETTINGS).rows(*KINEMATICS.points(np.array(SPEC.q_home)), empty, 0.0)
    assert (found.rows.b.size, found.margin, found.nearest) == (0, np.inf, -1)


def test_the_nearest_of_several_spheres_is_named() -> None:
    at = KINEMATICS.points(np.array(SPEC.q_home))
    found = Spheres(SPEC, SETTINGS).rows(*at, _hazards([(0.6, 0.4, 0.1), (0.4, 0.0, 0.3), (-0.5, 0.0, 0.1)]), 0.0)
    assert found.nearest == 1 and found.rows.reason == (Reason.KEEP_OUT,) * 12
    assert found.rows.where == tuple(i // 3 for i in range(12))


def test_workspace_rows_are_height_over_each_plane_and_its_slope() -> None:
    rng = np.random.default_rng(2)
    workspace, q, step = Workspace(SPEC, SETTINGS), rng.uniform(SPEC.q_min, SPEC.q_max), 1e-6
    points, J = KINEMATICS.points(q)
    rows = workspace.rows(points, J)
    planes = np.array(SPEC.workspace)
    np.testing.assert_allclose(
        rows.b.reshape(len(points), -1), -SETTINGS.workspace_gain * (points @ planes[:, :3].T - planes[:, 3])
    )
    for j in range(7):
        up, down = (workspace.rows(*KINEMATICS.points(q + s * step * np.eye(7)[j])).b for s in (1, -1))
        np.testing.assert_allclose(rows.A[:, j], (down - up) / (2 * step * SETTINGS.workspace_gain), atol=1e-5)
