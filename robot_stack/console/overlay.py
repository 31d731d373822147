"""Where the tool is about to go, as it appears in a camera: the chunk put through the kinematics and a pinhole camera.

A point of the world p_W is seen at ``(u, v) = K p_C / z`` with ``p_C = R_WC' (p_W - p_WC)``, z forward (OpenCV). The camera is
fixed to the world or to a joint, whose pose then depends on the measured q. Places are shares of the picture's width and height,
so that they hold at any size it is shown in.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from robot_stack.clock import seconds
from robot_stack.kinematics import Kinematics, camera_matrix, camera_pose
from robot_stack.robot import CameraSpec
from robot_stack.types import ActionChunk, Array, Hazards

NEAR = 0.01
"""m: a point closer in front of the camera than this, or behind it, is not seen."""
FAR_OUT = 4.0
"""Pictures: a point that many widths or heights outside is as good as not seen."""


@dataclass(frozen=True, slots=True, eq=False)
class Lens:
    """A camera at one state of the robot: pose `R_WC` (3, 3), `p_WC` (3,) m, matrix `K` (3, 3) of pictures `width`, `height`."""

    R_WC: Array
    p_WC: Array
    K: Array
    width: int
    height: int

    def see(self, p_W: Array) -> tuple[Array, Array]:
        """The points `p_W` (n, 3) m as shares of the picture (n, 2), NaN where they are not seen, and their depth (n,) m."""
        p_C = (p_W - self.p_WC) @ self.R_WC
        depth = p_C[:, 2]
        z = np.where(depth > NEAR, depth, np.nan)
        share = (p_C @ self.K.T)[:, :2] / z[:, None] / (self.width, self.height)
        with np.errstate(invalid="ignore"):
            share[~(np.abs(share - 0.5) < FAR_OUT).all(axis=1)] = np.nan
        return share, depth


def lens(spec: CameraSpec, kinematics: Kinematics, q: Array) -> Lens:
    """The camera `spec` of a robot that is at `q` (J,)."""
    R, p = camera_pose(spec)
    if spec.joint >= 0:
        X = kinematics.poses(q[None])[spec.joint, 0]
        R, p = X[:3, :3] @ R, X[:3, :3] @ p + X[:3, 3]
    return Lens(R, p, camera_matrix(spec), spec.width, spec.height)


def rows_to_come(chunk: ActionChunk, t_ns: int) -> tuple[Array, Array]:
    """The rows of `chunk` due at `t_ns` or later, up to the first that is not finite: seconds after `t_ns` (n,), q (n, J)."""
    first = min(len(chunk.q), max(0, -((chunk.t0_ns - t_ns) // chunk.dt_ns)))
    finite = np.isfinite(chunk.q[first:]).all(axis=1)
    last = first + int(np.argmin(np.append(finite, False)))
    dues = chunk.t0_ns + np.arange(first, last) * chunk.dt_ns - t_ns
    return dues / 1e9, chunk.q[first:last]


def overlay(
    spec: CameraSpec, kinematics: Kinematics, q: Array, chunk: ActionChunk | None, hazards: Hazards | None, t_ns: int
) -> dict[str, Any]:
    """What to draw over a picture of `t_ns`, taken at `q` (J,): `path`, the tool from now on as [x, y, s after t_ns], null where
    it is not seen; `hazards` as [x, y, radius], the radius a share of the width."""
    seen = lens(spec, kinematics, q)
    times, rows = (np.zeros(0), np.zeros((0, len(q)))) if chunk is None else rows_to_come(chunk, t_ns)
    tool = kinematics.positions(np.vstack([q[None], rows]))[:, -1]
    path = [_point(share, t) for share, t in zip(seen.see(tool)[0], [0.0, *times.tolist()], strict=True)]
    return {"path": path, "hazards": [] if hazards is None else _spheres(seen, hazards)}


def _spheres(seen: Lens, hazards: Hazards) -> list[list[float]]:
    share, depth = seen.see(hazards.p_W)
    size = hazards.radius * seen.K[0, 0] / np.maximum(depth, NEAR) / seen.width
    points = [_point(where, radius) for where, radius in zip(share, size.tolist(), strict=True)]
    return [point for point in points if point is not None]


def _point(share: Array, third: float) -> list[float] | None:
    return None if np.isnan(share).any() else [round(float(share[0]), 4), round(float(share[1]), 4), round(third, 3)]


def age_s(t_ns: int, now_ns: int) -> float:
    """How old something of `t_ns` is at `now_ns`, s."""
    return round(seconds(now_ns - t_ns), 3)
