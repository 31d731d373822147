"""The detector against a ray-cast sphere whose place is known exactly, and against the simulated world."""

import math

import numpy as np
import pytest

from drivers.sim_world import SimWorld
from robot_stack.clock import NS_PER_S
from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import DetectorSettings, TaskSettings
from robot_stack.errors import ConfigError
from robot_stack.kinematics import camera_matrix, camera_pose
from robot_stack.robot import CameraSpec, Capsule, Joint, RobotSpec
from robot_stack.types import Array, CameraFrame, Image, JointCommand
from safety.detector import Detector

SETTINGS = DetectorSettings()
SCENE = CameraSpec("scene", -1, (1.1, 0.0, 0.75), (0.35, 0.0, 0.1), math.radians(45), 128, 128, 30.0)


def cell(camera: CameraSpec = SCENE) -> RobotSpec:
    joint = Joint("base", -1, (0, 0, 0), (0, 0, 1), -1, 1, 1, 1)
    return RobotSpec(
        "cell", "none", 100, (joint,), (Capsule("c", 0, (0, 0, 0), (0, 0, 1), 0.1),), (camera,), (0.0,), 0, (0, 0, 1), ()
    )


def picture(p_W: Array, rng: np.random.Generator, hidden: float = 0.0, post: bool = True, light: float = 1.0) -> Image:
    """A shaded red sphere on a post, 4 x 4 samples a pixel, sparse sensor noise; the right `hidden` share of it is covered."""
    R, p_C = camera_pose(SCENE)
    K, n = camera_matrix(SCENE), 4
    v, u = np.mgrid[0 : 128 * n, 0 : 128 * n] / n + 0.5 / n
    rays = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(K).T @ R.T
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    c = p_W - p_C
    along = rays @ c
    miss2 = c @ c - along**2
    ball = miss2 < SETTINGS.radius**2
    rgb = np.full((*u.shape, 3), 150.0)
    centre_px = K @ (R.T @ c)
    centre_px /= centre_px[2]
    if post:
        rgb[(np.abs(u - centre_px[0]) < 0.8) & (v > centre_px[1]) & (v < centre_px[1] + 30)] = (190, 30, 25)
    hit = rays * (along - np.sqrt(np.maximum(SETTINGS.radius**2 - miss2, 0)))[..., None] - c
    shade = 0.45 + 0.55 * np.clip(hit[..., 2] / SETTINGS.radius, 0, 1)
    rgb[ball] = np.array([220, 30, 25]) * shade[ball][:, None]
    width = SETTINGS.radius / np.linalg.norm(c) * SCENE.height / (2 * math.tan(SCENE.fovy / 2))
    rgb[u > centre_px[0] + width * (1 - 2 * hidden) + (1e9 if hidden == 0 else 0)] = (80, 90, 200)
    small = rgb.reshape(128, n, 128, n, 3).mean(axis=(1, 3)) * light
    small += rng.integers(-2, 3, small.shape) * (rng.random(small.shape) < 0.03)
    return np.clip(np.round(small), 0, 255).astype(np.uint8)


def places(rng: np.random.Generator, count: int) -> Array:
    xy = rng.uniform((0.2, -0.25), (0.55, 0.25), (count, 2))
    return np.column_stack([xy, np.full(count, SETTINGS.height)])


def errors(hidden: float, count: int = 40, light: float = 1.0) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    detector = Detector(cell(), SETTINGS)
    found = [(p, detector.locate(picture(p, rng, hidden, light=light))) for p in places(rng, count)]
    kept = [(np.linalg.norm(f.p_W - p), f.sigma) for p, f in found if f is not None]
    assert len(kept) >= 0.9 * count
    return np.array([k[0] for k in kept]), np.array([k[1] for k in kept])


def test_a_sphere_in_full_view_is_found_within_five_millimetres() -> None:
    error, _ = errors(hidden=0.0)
    assert np.median(error) < 0.003 and error.max() < 0.005


def test_a_half_hidden_sphere_is_found_with_a_larger_sigma_that_covers_the_error() -> None:
    error, sigma = errors(hidden=0.5)
    _, sigma_full = errors(hidden=0.0)
    assert np.median(error) < 0.01 and error.max() < 0.03
    assert np.median(sigma) > 1.3 * np.median(sigma_full)
    assert np.mean(error < 3 * sigma) > 0.95


def test_dim_light_does_not_move_the_sphere() -> None:
    error, _ = errors(hidden=0.0, light=0.5)
    assert error.max() < 0.006


def test_no_sphere_is_none_and_keeps_the_track() -> None:
    rng = np.random.default_rng(1)
    detector = Detector(cell(), SETTINGS)
    blank = rng.integers(100, 160, (128, 128, 3)).astype(np.uint8)
    state, found = detector.track(detector.start(), CameraFrame("scene", 5, blank), 10)
    assert found is None and state.track == ()


def test_a_repeated_picture_under_a_new_stamp_is_not_a_new_detection() -> None:
    rng = np.random.default_rng(1)
    detector = Detector(cell(), SETTINGS)
    rgb = picture(np.array([0.4, 0.0, SETTINGS.height]), rng)
    state, first = detector.track(detector.start(), CameraFrame("scene", 5, rgb), 10)
    state, second = detector.track(state, CameraFrame("scene", 15, rgb), 20)
    assert first is not None and first.t_ns == 5 and second is None


def test_a_frame_from_the_future_is_refused() -> None:
    detector = Detector(cell(), SETTINGS)
    rgb = picture(np.array([0.4, 0.0, SETTINGS.height]), np.random.default_rng(1))
    assert detector.track(detector.start(), CameraFrame("scene", 50, rgb), 10)[1] is None


def test_speed_bound_covers_a_moving_sphere_and_falls_to_the_floor_for_a_still_one() -> None:
    rng = np.random.default_rng(2)
    detector = Detector(cell(), SETTINGS)
    bounds = {}
    for speed in (0.0, 0.2):
        state = detector.start()
        for i in range(12):
            p = np.array([0.35, -0.15 + speed * i / 30, SETTINGS.height])
            t = i * NS_PER_S // 30
            state, hazards = detector.track(state, CameraFrame("scene", t, picture(p, rng)), t)
            assert hazards is not None
            bounds[speed] = float(hazards.speed_max[0])
    assert 0.2 <= bounds[0.2] <= SETTINGS.speed_cap
    assert bounds[0.0] <= 2 * SETTINGS.speed_floor


def test_a_camera_on_a_moving_link_is_refused_by_name() -> None:
    wrist = CameraSpec("scene", 0, (0, 0, 0), (1, 0, 0), 1.0, 128, 128, 30.0)
    with pytest.raises(ConfigError, match="joint 0"):
        Detector(cell(wrist), SETTINGS)


def test_a_picture_of_another_size_is_refused() -> None:
    with pytest.raises(ConfigError, match="64, 64"):
        Detector(cell(), SETTINGS).locate(np.zeros((64, 64, 3), dtype=np.uint8))


def test_in_the_simulated_world_the_median_error_is_a_centimetre_and_the_99th_percentile_three() -> None:
    spec, task = load_robot("sim_arm"), TaskSettings()
    world, detector, rng = SimWorld(spec, task), Detector(spec, SETTINGS), np.random.default_rng(3)
    error = []
    for k in range(60):
        if k % 20 == 0:
            world.reset(k)
        world.place_obstacle(np.array([rng.uniform(0.25, 0.62), rng.uniform(-0.25, 0.25), task.obstacle_height]))
        goal = np.array(spec.q_home) + rng.normal(0, 0.3, len(spec.joints))
        world.send(JointCommand(world.t_ns, np.clip(goal, spec.q_min, spec.q_max)))
        world.advance(100_000_000)
        fit = detector.locate(world.render("scene").rgb)
        if fit is not None:
            error.append(float(np.linalg.norm(fit.p_W - world.truth().obstacle_p)))
    world.close()
    assert len(error) >= 55
    assert np.median(error) <= 0.01 and np.percentile(error, 99) <= 0.03


def test_the_detector_knows_the_obstacle_of_the_simulated_task() -> None:
    assert (SETTINGS.height, SETTINGS.radius) == (TaskSettings().obstacle_height, TaskSettings().obstacle_radius)
