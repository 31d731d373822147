"""The rows of one state on a gantry of two slides and a gripper, where every distance and every coefficient is known by hand."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from robot_stack.config.schema import SafetySettings
from robot_stack.errors import ConfigError
from robot_stack.robot import RobotSpec
from robot_stack.types import Array, Hazards, Reason, Violation
from safety.constraints import NO_GRIP, Constraints, Scene
from safety.limits import Box
from tests.safety.gantry import FINGER, HAND, NOW, RAIL, Wall, X, Z, gantry

Q = np.array([0.125, 0.25, 0.0])
"""The hand at (0.125, 0, 0.25), the rail 0.5 below z = 0, the finger 0.5 above the hand."""


def _gantry(*walls: Wall) -> RobotSpec:
    return gantry(*walls, links=(RAIL, HAND, FINGER))


SETTINGS = replace(SafetySettings(), keep_out_margin=0.0, self_collision_margin=0.0)
FIVE_LEFT = (1.0, 0.0, 0.0, -0.5)
"""A wall 0.625 m to the left of everything at `Q`: with a gain of 8 it asks for no more than 5 m/s towards it."""


def _box(lower: float = -1e3, upper: float = 1e3) -> Box:
    return Box(np.full(3, lower), np.full(3, upper), np.full(3, -1e3), np.full(3, 1e3))


def _sphere(*x: float, speed: float = 0.0, age_ns: int = 0) -> Hazards:
    ones = np.ones(len(x))
    return Hazards(NOW - age_ns, [[at, 0.0, 0.25] for at in x], 0.0625 * ones, 0.0 * ones, speed * ones)


def _at(spec: RobotSpec, hazards: Hazards | None = None, path: Array | None = None, box: Box | None = None, **more) -> Scene:
    return Constraints(spec, replace(SETTINGS, **more)).at(Q, path, hazards, NOW, box or _box())


def test_the_arm_is_what_moves_the_tool() -> None:
    np.testing.assert_array_equal(Constraints(_gantry(), SETTINGS).arm, [0, 1])


def test_a_wall_gives_a_row_for_every_point_it_could_be_reached_by() -> None:
    rows = _at(_gantry(FIVE_LEFT), box=_box(-5.5, 1.0)).rows
    np.testing.assert_array_equal(rows.A, [[1.0, 0.0, 0.0]] * 7)
    np.testing.assert_array_equal(rows.b, np.full(7, -5.0))
    assert not rows.soft.any() and rows.what == tuple((Reason.WORKSPACE, i) for i in range(7))


def test_a_row_that_every_velocity_of_the_box_keeps_is_left_out() -> None:
    assert _at(_gantry(FIVE_LEFT), box=_box(-5.0, 1.0)).rows.b.size == 0
    assert _at(_gantry(FIVE_LEFT), box=_box(np.nextafter(-5.0, -9.0), 1.0)).rows.b.size == 7


def test_a_row_that_no_joint_of_the_arm_can_act_on_is_left_out() -> None:
    least, less = NO_GRIP, np.nextafter(NO_GRIP, 0.0)
    assert NO_GRIP == 1e-3
    for wall, points in (((least, 0.0, 0.0, 1.0), 7), ((less, 0.0, 0.0, 1.0), 0), ((0.0, 1.0, 0.0, 1.0), 0)):
        assert _at(_gantry(wall), box=_box(-5.0, 5.0)).rows.b.size == points
    rows = _at(_gantry((0.0, 0.0, 1.0, 2.0)), box=_box(-5.0, 5.0)).rows  # the rail does not go up or down
    assert [index for _, index in rows.what] == [2, 3, 4, 5, 6]


def test_links_come_after_walls_and_spheres_after_links() -> None:
    rows = _at(_gantry(FIVE_LEFT), _sphere(0.625)).rows
    assert rows.what[7:] == ((Reason.SELF_COLLISION, 2), *((Reason.KEEP_OUT, link) for link in range(3)))
    np.testing.assert_allclose(rows.A[[7, 9]], [[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]], atol=1e-15)
    np.testing.assert_allclose(rows.b[[7, 9]], [-8.0 * (1.25 - 0.09375), -4.0 * 0.375])
    assert not rows.soft.any()


@pytest.mark.parametrize(("age_ns", "margin"), [(0, 0.375), (100_000_000, 0.325), (200_000_000, 0.275), (-1, 0.375)])
def test_a_sphere_seen_some_time_ago_may_have_come_nearer(age_ns: int, margin: float) -> None:
    assert _at(_gantry(), _sphere(0.625, speed=0.5, age_ns=age_ns)).margin == pytest.approx(margin, abs=1e-12)
    assert _at(_gantry()).margin == np.inf


def test_the_first_wall_the_way_leads_through_is_named_with_how_deep() -> None:
    path = Q + np.array([0.0, 0.25, 0.75])[:, None] * -X
    scene = _at(_gantry(FIVE_LEFT), path=path)
    assert scene.room.row == 0 and scene.leads == (Violation(Reason.AHEAD, pytest.approx(0.125, abs=2e-6), 0),)
    assert scene.room.length == pytest.approx(0.0625, abs=1e-6)
    assert _at(_gantry(FIVE_LEFT), path=path[:2]).leads == _at(_gantry(FIVE_LEFT)).leads == ()
    np.testing.assert_array_equal(scene.rows.b, _at(_gantry(FIVE_LEFT)).rows.b)


def test_a_link_and_a_sphere_the_way_leads_into_are_named_by_the_link() -> None:
    path = Q + np.array([0.0, 0.4375])[:, None] * X
    for spheres in (_sphere(0.625), _sphere(0.875, 0.625)):
        scene = _at(_gantry(FIVE_LEFT), spheres, path)
        assert scene.leads == (Violation(Reason.AHEAD, pytest.approx(0.0625, abs=2e-6), 1),)
    up = Q + np.array([0.0, -1.25])[:, None] * Z
    assert _at(_gantry(FIVE_LEFT), path=up).leads == (Violation(Reason.AHEAD, pytest.approx(0.09375, abs=2e-6), 2),)


W = (0.25, -0.5, 0.75, 1.0, 0.0)
"""Slopes of a barrier that is a plane: by x, by z, by the hazard's position (1.25 long)."""


def _barrier(path: Path, value: float, w: tuple[float, ...] = W, delta: float = 0.25) -> str:
    """B - delta = `value` at `Q` beside a hazard at (0.625, 0, 0.25)."""
    x = np.array([*Q[:2], 0.625, 0.0, 0.25, *np.zeros(len(w) - 5)])
    layer = {"W0": np.array(w, np.float32)[:, None], "b0": np.array([value + delta - np.dot(w, x)], np.float32)}
    scaling = {"mean": np.zeros(len(w), np.float32), "std": np.ones(len(w), np.float32)}
    save_file(layer | scaling, path, metadata={"delta": str(delta)})
    return str(path)


@pytest.mark.parametrize(
    ("value", "b"),
    [(-0.125, 0.625 + 0.25), (0.0, 0.625), (0.0625, 0.3125 - 0.125), (0.125, -0.25), (0.5, -1.0)],  # 0.5 m/s, 0.2 s, gain 2
)
def test_a_learned_barrier_rises_as_fast_as_the_hazard_may_lower_it(tmp_path: Path, value: float, b: float) -> None:
    scene = _at(_gantry(), _sphere(0.625, speed=0.5), barrier=_barrier(tmp_path / "b", value + 0.125), barrier_level=0.125)
    assert scene.barrier == pytest.approx(value, abs=1e-12)
    np.testing.assert_allclose(scene.rows.A[-1], [0.25, -0.5, 0.0])
    assert scene.rows.b[-1] == pytest.approx(b, abs=1e-12)
    assert scene.rows.soft.tolist() == [False] * 4 + [True] and scene.rows.what[-1] == (Reason.BARRIER, -1)


def test_of_several_barriers_each_has_a_row_and_the_least_is_told(tmp_path: Path) -> None:
    files = [_barrier(tmp_path / str(i), value) for i, value in enumerate((0.5, 0.25, 0.375))]
    scene = _at(_gantry(), _sphere(0.625), barrier=os.pathsep.join(files))
    assert scene.barrier == 0.25 and scene.rows.soft.sum() == 3
    np.testing.assert_allclose(scene.rows.b[-3:], [-1.0, -0.5, -0.75])


def test_a_learned_barrier_is_asked_about_the_nearest_hazard(tmp_path: Path) -> None:
    two = replace(_sphere(2.0, 0.625), speed_max=np.array([9.0, 0.5]))
    assert _at(_gantry(), two, barrier=_barrier(tmp_path / "b", 0.0)).rows.b[-1] == pytest.approx(0.625)
    assert _at(_gantry(), barrier=_barrier(tmp_path / "b", 0.0)).barrier == np.inf


def test_a_barrier_with_other_inputs_is_refused_with_both_numbers(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"found 6 inputs, allowed 5 \(the 2 joints"):
        _at(_gantry(), barrier=_barrier(tmp_path / "b", 0.0, (*W, 1.0)))
