"""What lies on the goal, seen by a camera that is fixed to the world: regions of known colours, placed on the table.

A pixel (u, v) looks along ``R K^-1 (u, v, 1)`` from the camera's place p and meets the plane z at ``p + s ray, s = (z - p_z) /
ray_z``. An object is where the middle of its region is, at half its height; the goal, flat and round, where the middle of its
outline is: what stands on it hides some of it, but seldom all of one side.
"""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from robot_stack.config.relabel import RewardSettings
from robot_stack.config.robot_file import load_robot
from robot_stack.data.recording import Recording
from robot_stack.data.video import iterate
from robot_stack.errors import ConfigError, DataError
from robot_stack.kinematics import camera_matrix, camera_pose
from robot_stack.robot import CameraSpec
from robot_stack.types import Array, Image

VIVID = (110, 50)
"""The least saturation and brightness (0..255) of a colour that counts."""

FEWEST = 6
"""Pixels of the smallest region that counts."""


def on_goal(episode: Recording, settings: RewardSettings) -> str:
    """The first of `settings.objects` on the goal in the episode's last picture; "" when none is, or no goal is seen.

    Raises DataError where the robot or its camera is not known.
    """
    camera = _camera(settings.robot or episode.robot, settings.camera)
    rgb = last_picture(episode, settings.camera)
    hsv = np.asarray(cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2HSV), dtype=np.uint8)
    outline = region(hsv, settings.goal, settings.span)
    if outline is None:
        return ""
    edge = _on_plane(outline, camera, rgb.shape, 0.0)
    goal = 0.5 * (edge.min(axis=0) + edge.max(axis=0))
    for name, hue in zip(settings.objects, settings.hues, strict=True):
        found = region(hsv, hue, settings.span)
        if found is not None:
            there = _on_plane(_middle(found), camera, rgb.shape, settings.height)[0]
            if np.linalg.norm(there - goal) <= settings.radius:
                return name
    return ""


def region(hsv: Image, hue: int, span: int) -> NDArray[np.int32] | None:
    """The outline (n, 2) px of the largest region of `hue` +- `span`, its hull; None: there is none."""
    off = np.abs((hsv[..., 0].astype(np.int16) - hue + 90) % 180 - 90)
    mask = (off <= span) & (hsv[..., 1] >= VIVID[0]) & (hsv[..., 2] >= VIVID[1])
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    largest = max(contours, key=cv2.contourArea, default=None)
    if largest is None or len(largest) < FEWEST:
        return None
    return np.asarray(cv2.convexHull(largest)[:, 0], dtype=np.int32)


def last_picture(episode: Recording, camera: str) -> Image:
    """The last of the episode's pictures of `camera`, uint8 (H, W, 3)."""
    pictures = episode.cameras[camera].pick(slice(len(episode) - 1, None))
    return next(iterate(pictures))


def _middle(outline: NDArray[np.int32]) -> Array:
    moments = cv2.moments(outline)
    if moments["m00"] == 0.0:
        return np.asarray(outline.mean(axis=0, keepdims=True), dtype=np.float64)
    return np.array([[moments["m10"], moments["m01"]]]) / moments["m00"]


def _on_plane(pixels: NDArray[np.int32] | Array, camera: CameraSpec, shape: tuple[int, ...], z: float) -> Array:
    """Where `pixels` (n, 2) of a picture of `shape` are, (n, 2) m, if at height `z` m."""
    scale = np.array([camera.width / shape[1], camera.height / shape[0]])
    R_WC, p_WC = camera_pose(camera)
    rays = np.column_stack([(pixels + 0.5) * scale, np.ones(len(pixels))]) @ np.linalg.inv(camera_matrix(camera)).T @ R_WC.T
    return np.asarray(p_WC[:2] + ((z - p_WC[2]) / np.minimum(rays[:, 2], -1e-9))[:, None] * rays[:, :2])


@lru_cache(maxsize=4)
def _camera(robot: str, name: str) -> CameraSpec:
    try:
        camera = load_robot(robot).camera(name)
    except ConfigError as error:
        raise DataError(f"{error}; next: rewards.robot=NAME, or another rewards.camera") from error
    if camera.joint != -1:
        raise DataError(f"rewards.camera: {name} moves with joint {camera.joint}, allowed one fixed to the world")
    return camera
