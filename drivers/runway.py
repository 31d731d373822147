"""What an aircraft's nose camera sees of a runway: a ray-cast ground plane under a sky, in conditions that change the picture.

Pinhole camera over a flat ground. With camera-forward distance f and camera-right distance r of a pixel's ground point, an
aircraft at (px, th) sees the crosstrack coordinate

    X = px + f sin th + r cos th

and the colour is a function of X and f alone: the runway is drawn without marks that repeat along it. Edges are softened over the
ground width of a pixel. By day, hangars along both sides throw a shadow whose length follows the sun: from the right before noon,
from the left after. At night the headlight lights what is near, and lamps line the edges.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_stack.errors import DriverError
from robot_stack.types import Array, Image

HEIGHT, WIDTH = 32, 64
_FOCAL, _HORIZON, _CAMERA_HEIGHT = 36.0, 7.5, 4.0
_SUNRISE_H, _SUNSET_H = 6.0, 18.0
_HANGAR_X, _HANGAR_HEIGHT = 17.0, 9.0
_GRASS, _ASPHALT, _SHOULDER = (70, 110, 55), (95, 95, 100), (125, 122, 115)
_WHITE, _YELLOW, _LAMP, _FOG = (225, 225, 220), (225, 185, 40), (255, 225, 150), (190, 195, 200)
_BATCH = 512

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Condition:
    """Local solar `time_h` (0..24), `haze` extinction 1/m (0 clear, 0.05 thick), `noise` of a pixel: 1 std in grey levels."""

    time_h: float = 9.0
    haze: float = 0.0
    noise: float = 2.0

    def __post_init__(self) -> None:
        for name, top in (("time_h", 24.0), ("haze", 1.0), ("noise", 255.0)):
            if not 0.0 <= (value := getattr(self, name)) <= top:
                raise DriverError(f"Condition.{name}: found {value}, allowed 0..{top:g}")

    @property
    def sun(self) -> float:
        """Sine of the sun's elevation, 0 at night."""
        return max(0.0, float(np.sin(np.pi * (self.time_h - _SUNRISE_H) / (_SUNSET_H - _SUNRISE_H))))

    @property
    def is_day(self) -> bool:
        """The sun is up."""
        return _SUNRISE_H < self.time_h < _SUNSET_H


CLEAR_MORNING = Condition()


def render(states: Array, condition: Condition, rng: np.random.Generator) -> Image:
    """Pictures uint8 (n, HEIGHT, WIDTH, 3) at `states` (n, 2): crosstrack m, heading rad; noise drawn from `rng`."""
    parts = [_render(states[i : i + _BATCH], condition, rng) for i in range(0, len(states), _BATCH)]
    return np.concatenate(parts) if parts else np.zeros((0, HEIGHT, WIDTH, 3), np.uint8)


def _rays() -> tuple[Floats, Floats]:
    """Forward and right distance (H', W) m of the ground under each pixel below the horizon."""
    rows = np.arange(int(np.ceil(_HORIZON)), HEIGHT)
    forward = _CAMERA_HEIGHT * _FOCAL / (rows + 0.5 - _HORIZON)
    right = forward[:, None] * (np.arange(WIDTH) + 0.5 - WIDTH / 2) / _FOCAL
    return np.broadcast_to(forward[:, None], right.shape), right


def _render(states: Floats, condition: Condition, rng: np.random.Generator) -> Image:
    forward, right = _rays()
    px, th = (states[:, i].astype(np.float32)[:, None, None] for i in range(2))
    f, r = forward.astype(np.float32), right.astype(np.float32)
    X = px + f * np.sin(th) + r * np.cos(th)
    soft = np.float32(0.08) + f / np.float32(_FOCAL)
    clear = np.exp(np.float32(-condition.haze) * f)
    light = _light(X, f, r, soft, condition) * clear
    picture = np.empty((len(states), HEIGHT, WIDTH, 3), np.float32)
    horizon = HEIGHT - len(f)
    picture[:, :horizon] = _sky(condition)
    picture[:, horizon:] = _paint(X, soft, light, clear, condition) + _fog(condition) * (1.0 - clear[..., None])
    picture += np.float32(condition.noise) * rng.standard_normal(picture.shape, dtype=np.float32)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def _band(X: Floats, centre: float, half: float, soft: Floats) -> Floats:
    """How much (0..1) of a pixel `soft` m wide lies within `half` m of `centre`."""
    inside = np.minimum(X + soft / 2, centre + half) - np.maximum(X - soft / 2, centre - half)
    return np.asarray(np.clip(inside / soft, 0.0, 1.0))


def _paint(X: Floats, soft: Floats, light: Floats, clear: Floats, condition: Condition) -> Floats:
    """Colours (n, H', W, 3) in `light` (n, H', W): grass, shoulders, asphalt, white edge lines at 10 m, a yellow centre line.

    At night lamps beside the edges shine by themselves, as far as the air is `clear`. Each layer covers what lies below it.
    """
    side = np.abs(X)
    layers = [
        (_SHOULDER, _band(X, 0.0, 12.0, soft)),
        (_ASPHALT, _band(X, 0.0, 10.3, soft)),
        (_YELLOW, _band(X, 0.0, 0.3, soft)),
        (_WHITE, _band(side, 10.0, 0.3, soft)),
    ]
    shares = [light]
    for _, cover in layers:
        shares = [share * (1.0 - cover) for share in shares] + [light * cover]
    if not condition.is_day:
        cover = np.float32(0.9) * _band(side, 10.6, 0.25, soft)
        shares = [share * (1.0 - cover) for share in shares] + [clear * cover]
    colours = np.array([_GRASS, *(colour for colour, _ in layers), _LAMP][: len(shares)], np.float32)
    return np.asarray(np.stack(shares, axis=-1) @ colours)


def _fog(condition: Condition) -> Floats:
    """Colour (3,) of what haze scatters."""
    return np.array(_FOG, np.float32) * np.float32(0.06 + 0.94 * _daylight(condition))


def _daylight(condition: Condition) -> float:
    return float(min(1.0, 1.6 * condition.sun) ** 0.7)


def _light(X: Floats, f: Floats, r: Floats, soft: Floats, condition: Condition) -> Floats:
    """Share of full light (n, H', W): sun with the hangars' shadow by day, a headlight by night."""
    if not condition.is_day:
        return np.asarray(0.05 + 0.9 * np.exp(-((f / 16.0) ** 2) - (r / np.maximum(0.45 * f, 1.0)) ** 2) + 0 * X)
    length = _HANGAR_HEIGHT * float(np.sqrt(1.0 - condition.sun**2)) / max(condition.sun, 0.05)
    side = 1.0 if condition.time_h < 12.0 else -1.0
    shaded = _band(side * X, _HANGAR_X + 200.0, 200.0 + length, soft)
    return np.asarray(_daylight(condition) * (1.0 - 0.55 * shaded))


def _sky(condition: Condition) -> Floats:
    """Colour (3,): blue by day, red when the sun is low, black at night."""
    low = 1.0 - min(1.0, 1.6 * condition.sun)
    day = np.array((150, 185, 225), np.float32) * (1.0 - low) + np.array((225, 140, 90), np.float32) * low
    sky = day * (0.35 + 0.65 * _daylight(condition)) if condition.is_day else np.array((8, 9, 16), np.float32)
    clear = float(np.exp(-120.0 * condition.haze))
    return np.asarray(sky * clear + _fog(condition) * (1.0 - clear))
