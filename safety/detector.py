"""Find the red keep-out sphere in the picture of a world-fixed camera and say where it is, how sure, and how fast it may move.

The outline of a sphere (centre c, radius r) seen from the camera centre is a circular cone: every outline ray makes the
angle ``asin(r / |c|)`` with c. Height and radius are known, so two unknowns remain, fitted to the outline pixels by
Gauss-Newton with Geman-McClure weights of shrinking scale; what occludes the sphere leaves outline pixels far inside
the cone, the post leaves some outside, and both lose their weight. Fewer supporting pixels give a larger `sigma`.
"""

from dataclasses import dataclass
from hashlib import blake2b

import cv2
import numpy as np
from numpy.typing import NDArray

from robot_stack.clock import NS_PER_S, nanoseconds
from robot_stack.config.schema import DetectorSettings
from robot_stack.errors import ConfigError
from robot_stack.kinematics import camera_matrix, camera_pose
from robot_stack.robot import RobotSpec
from robot_stack.types import Array, CameraFrame, Hazards, Image

_EDGE = 0.35  # px: centres of outline pixels lie this far inside the true outline, on average
_SCALES = (4.0, 2.0, 1.0, 0.7, 0.7, 0.7)  # px, of the Geman-McClure weights, one a Gauss-Newton step
_OPEN = cv2.getStructuringElement(cv2.MORPH_RECT, (3, 3))


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """Where the sphere is: `p_W` (3,) m, `sigma` m, and the share of its outline that was seen."""

    p_W: Array
    sigma: float
    coverage: float


@dataclass(frozen=True, slots=True)
class DetectorState:
    """The track so far: (t_ns, x, y) in the world, newest last, and the digest of the last picture."""

    track: tuple[tuple[int, float, float], ...] = ()
    digest: bytes = b""


class Detector:
    """Detects in the camera named by the settings. Raises ConfigError when that camera moves or does not exist."""

    def __init__(self, spec: RobotSpec, settings: DetectorSettings) -> None:
        camera = spec.camera(settings.camera)
        if camera.joint != -1:
            raise ConfigError(
                f"detector.camera: {camera.name} moves with joint {camera.joint}, allowed one fixed to the world (-1)"
            )
        self.camera = camera.name
        self._settings = settings
        self._shape = (camera.height, camera.width)
        self._R_WC, self._p_WC = camera_pose(camera)
        self._focal = float(camera_matrix(camera)[0, 0])
        self._K_inv = np.linalg.inv(camera_matrix(camera))

    def start(self) -> DetectorState:
        """The state before the first picture."""
        return DetectorState()

    def track(self, state: DetectorState, frame: CameraFrame, now_ns: int) -> tuple[DetectorState, Hazards | None]:
        """What `frame` shows. None: no sphere, or stamp or pixels not new; keep the last Hazards, whose age grows. Pure."""
        digest = blake2b(frame.rgb.tobytes(), digest_size=16).digest()
        last_ns = state.track[-1][0] if state.track else -1
        if digest == state.digest or not last_ns < frame.t_ns <= now_ns:
            return state, None
        fit = self.locate(frame.rgb)
        if fit is None:
            return DetectorState(state.track, digest), None
        since = frame.t_ns - nanoseconds(self._settings.window_s)
        kept = tuple(row for row in state.track if row[0] >= since)
        state = DetectorState((*kept, (frame.t_ns, float(fit.p_W[0]), float(fit.p_W[1]))), digest)
        speed = self._speed_max(state, fit.sigma)
        return state, Hazards(frame.t_ns, fit.p_W[None], *(np.array([v]) for v in (self._settings.radius, fit.sigma, speed)))

    def _speed_max(self, state: DetectorState, sigma: float) -> float:
        """A bound for the near future, m/s: 1.5 x the speed fitted to the track, plus what `sigma` makes of standing still."""
        rows = np.array(state.track, dtype=float)
        t = (rows[:, 0] - rows[0, 0]) / NS_PER_S
        spread = float(np.sum((t - t.mean()) ** 2))
        floor, cap = self._settings.speed_floor, self._settings.speed_cap
        if len(t) < 3 or spread < 1e-4:
            return floor
        slope = (t - t.mean()) @ rows[:, 1:] / spread
        return float(np.clip(1.5 * np.linalg.norm(slope) - sigma / np.sqrt(spread) + floor, floor, cap))

    def locate(self, rgb: Image) -> Fit | None:
        """The sphere in one picture (H, W, 3), or None when too little of it is seen. Raises ConfigError on another size."""
        if rgb.shape[:2] != self._shape:
            raise ConfigError(
                f"detector: found a picture of {rgb.shape[:2]}, allowed {self._shape} (robot.cameras.{self.camera})"
            )
        outline = self._outline(rgb)
        if outline is None:
            return None
        rays = np.column_stack([outline, np.ones(len(outline))]) @ self._K_inv.T
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        return self._fit(rays @ self._R_WC.T)

    def _mask(self, rgb: Image) -> NDArray[np.uint8]:
        s = self._settings
        hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)
        low = cv2.inRange(hsv, (0, s.saturation_min, s.value_min), (s.hue, 255, 255))
        high = cv2.inRange(hsv, (180 - s.hue, s.saturation_min, s.value_min), (179, 255, 255))
        return np.asarray(cv2.morphologyEx(cv2.bitwise_or(low, high), cv2.MORPH_OPEN, _OPEN), dtype=np.uint8)

    def _outline(self, rgb: Image) -> Array | None:
        """Outline pixels of all red regions as image points (n, 2), without those cut by the border of the picture."""
        contours, _ = cv2.findContours(self._mask(rgb), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        if not contours:
            return None
        largest = max(contours, key=len)
        parts = [c[:, 0, :] for c in contours if len(c) >= max(6, len(largest) // 6)]
        if not parts:
            return None
        points = np.concatenate(parts)
        inside = np.all((points > 0) & (points < np.array(self._shape[::-1]) - 1), axis=1)
        return np.asarray(points[inside] + 0.5, dtype=np.float64) if inside.sum() >= 6 else None

    def _on_plane(self, ray_W: Array) -> Array | None:
        """Where a ray from the camera meets the known height, (2,) m."""
        if abs(ray_W[2]) < 1e-6:
            return None
        scale = (self._settings.height - self._p_WC[2]) / ray_W[2]
        return np.asarray(self._p_WC[:2] + scale * ray_W[:2]) if scale > 0 else None

    def _residuals(self, rays_W: Array, xy: Array) -> tuple[Array, Array]:
        """Outline rays (n, 3) against the cone of a sphere at `xy`: distance outside it, px (n,), and its Jacobian (n, 2)."""
        c = np.array([xy[0], xy[1], self._settings.height]) - self._p_WC
        d2 = float(c @ c)
        d = np.sqrt(d2)
        a = c / d
        cos = np.clip(rays_W @ a, -1.0, 1.0)
        sin = np.sqrt(np.maximum(1.0 - cos * cos, 1e-12))
        ratio = self._settings.radius / d
        r = np.arccos(cos) - np.arcsin(ratio)
        d_cos = (rays_W[:, :2] - cos[:, None] * a[:2]) / d
        d_theta = -ratio / np.sqrt(1.0 - ratio * ratio) * a[:2] / d
        return r * self._focal + _EDGE, (-d_cos / sin[:, None] - d_theta) * self._focal

    def _fit(self, rays_W: Array) -> Fit | None:
        xy = self._on_plane(rays_W.mean(axis=0))
        if xy is None:
            return None
        for scale in _SCALES:
            r, jac = self._residuals(rays_W, xy)
            w = 1.0 / (1.0 + (r / scale) ** 2) ** 2
            normal = (jac * w[:, None]).T @ jac
            if np.linalg.det(normal) < 1e-9 * np.trace(normal) ** 2:
                return None
            xy = xy - np.linalg.solve(normal, jac.T @ (w * r))
        return self._judge(rays_W, xy)

    def _judge(self, rays_W: Array, xy: Array) -> Fit | None:
        """The fit at `xy` with its uncertainty, or None when too little of the outline supports it."""
        p_W = np.array([xy[0], xy[1], self._settings.height])
        distance = float(np.linalg.norm(p_W - self._p_WC))
        r, jac = self._residuals(rays_W, xy)
        good = np.abs(r) < 1.0
        pixels = 2 * np.pi * self._focal * self._settings.radius / distance
        coverage = min(1.0, float(good.sum()) / (0.9 * pixels))
        if coverage < self._settings.coverage_min:
            return None
        normal = jac[good].T @ jac[good]
        spread = float(np.sqrt(1.0 / max(np.linalg.eigvalsh(normal)[0], 1e-9)))
        sigma = self._settings.sigma_min + self._settings.pixel_sigma * spread / coverage
        return Fit(p_W, sigma, coverage)
