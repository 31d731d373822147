"""What is drawn over a picture is where it is in the picture."""

import numpy as np
import pytest

from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import TaskSettings
from robot_stack.console.overlay import lens, overlay, rows_to_come
from robot_stack.kinematics import Kinematics
from robot_stack.types import ActionChunk, Array, Hazards

ROBOT = load_robot("sim_arm")
KINEMATICS = Kinematics(ROBOT)
HOME = np.array(ROBOT.q_home)
POSES = [HOME, HOME + 0.3, np.array([1.0, 0.4, -0.5, 0.7, 0.9, -1.2, 0.01])]
MS = 1_000_000


def chunk(q: Array, t0_ns: int = 0, dt_ns: int = 50 * MS) -> ActionChunk:
    return ActionChunk(t0_ns, t0_ns, dt_ns, q, "policy")


@pytest.mark.parametrize("camera", ROBOT.cameras, ids=lambda camera: camera.name)
@pytest.mark.parametrize("q", POSES)
def test_what_a_camera_is_aimed_at_is_in_the_middle_of_its_picture_wherever_the_arm_is(camera, q: Array) -> None:
    R_W, p_W, _ = KINEMATICS.frames(q)
    target = np.array(camera.target)
    seen = R_W[camera.joint] @ target + p_W[camera.joint] if camera.joint >= 0 else target
    share, depth = lens(camera, KINEMATICS, q).see(seen[None])
    assert share[0] == pytest.approx([0.5, 0.5], abs=1e-9)
    assert depth[0] == pytest.approx(np.linalg.norm(target - camera.origin))


def test_what_lies_behind_the_camera_or_far_outside_its_picture_is_not_drawn() -> None:
    scene = ROBOT.camera("scene")
    behind = np.array(scene.origin) + (np.array(scene.origin) - scene.target)
    beside = np.array(scene.origin) + (0.0, 5.0, 0.0)
    share, _ = lens(scene, KINEMATICS, HOME).see(np.array([behind, beside, scene.origin]))
    assert np.isnan(share).all()


def test_the_obstacle_is_drawn_where_the_simulated_camera_sees_it() -> None:
    pytest.importorskip("mujoco", reason="needs the extra `sim`")
    from drivers.sim_world import SimWorld

    world = SimWorld(ROBOT, TaskSettings(pixel_noise=0.0))
    try:
        p = np.array([0.35, 0.20, 0.14])
        world.place_obstacle(p)
        world.advance(20 * MS)
        rgb = world.render("scene").rgb.astype(int)
        radius = world.task.obstacle_radius
    finally:
        world.close()
    red = np.argwhere((rgb[..., 0] > 80) & (rgb[..., 0] > 2 * rgb[..., 1]) & (rgb[..., 0] > 2 * rgb[..., 2]))
    one = np.array([0.0])
    hazards = Hazards(0, p[None], one + radius, one, one)
    (x, y, r) = overlay(ROBOT.camera("scene"), KINEMATICS, HOME, None, hazards, 0)["hazards"][0]
    middle = red.mean(axis=0) + 0.5
    assert [x * 128, y * 128] == pytest.approx([middle[1], middle[0]], abs=1.5)
    assert r * 128 == pytest.approx(np.sqrt(len(red) / np.pi), rel=0.15)


def test_the_path_begins_at_the_tool_and_goes_through_the_rows_to_come() -> None:
    rows = HOME + np.linspace(0.0, 0.2, 5)[:, None]
    scene = ROBOT.camera("scene")
    path = overlay(scene, KINEMATICS, HOME, chunk(rows), None, 75 * MS)["path"]
    assert [point[2] for point in path] == pytest.approx([0.0, 0.025, 0.075, 0.125])
    tool = KINEMATICS.positions(np.vstack([HOME[None], rows[2:]]))[:, -1]
    assert np.array(path)[:, :2] == pytest.approx(lens(scene, KINEMATICS, HOME).see(tool)[0], abs=1e-4)


@pytest.mark.parametrize(("t_ns", "first", "num"), [(-20 * MS, 0, 4), (0, 0, 4), (1, 1, 3), (50 * MS, 1, 3), (151 * MS, 4, 0)])
def test_rows_that_are_over_are_not_to_come(t_ns: int, first: int, num: int) -> None:
    rows = np.arange(4.0)[:, None]
    times, q = rows_to_come(chunk(rows), t_ns)
    assert len(times) == num
    assert np.array_equal(q, rows[first:])
    assert times == pytest.approx((np.arange(first, 4) * 50 * MS - t_ns) / 1e9)


def test_a_chunk_is_shown_up_to_its_first_row_that_is_not_finite() -> None:
    rows = np.arange(4.0)[:, None].copy()
    rows[2] = np.nan
    times, q = rows_to_come(chunk(rows), 0)
    assert times.tolist() == [0.0, 0.05] and q.ravel().tolist() == [0.0, 1.0]
