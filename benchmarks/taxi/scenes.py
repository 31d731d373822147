"""The two worlds the same study runs in: our own runway with our own controller, and TinyTaxiNet with its X-Plane generator.

Our controller is trained on clear mornings only. What the monitor may know are days and nights with some haze and noise; evening,
thick haze and strong noise are shifts that neither has seen.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from drivers.nnet import NnetNetwork, read_nnet
from drivers.runway import Condition, render
from policies.pose_regressor import PoseRegressor, estimate, train_regressor
from robot_stack.types import Array, Image

LIMIT = np.array([11.0, np.radians(30.0)])
Estimate = Callable[[Image], Array]
Draw = Callable[[np.random.Generator], Any]
CONDITIONS = 40


@dataclass(frozen=True)
class Scene:
    """`picture(states (n, 2), condition, rng)` and the estimate (n, 2) of its controller; `known` draws a condition the monitor
    is trained and calibrated for, `shifts` draw what it is not. `ensemble`: estimates of controllers trained alike."""

    name: str
    picture: Callable[[Array, Any, np.random.Generator], Image]
    estimate: Estimate
    ensemble: tuple[Estimate, ...]
    known: Draw
    shifts: Mapping[str, Draw]
    named: Mapping[str, Any]


def between(rng: np.random.Generator, *bounds: tuple[float, float]) -> list[float]:
    """One uniform number within each of `bounds`."""
    return [float(rng.uniform(*b)) for b in bounds]


def morning(rng: np.random.Generator) -> Condition:
    """What the controller is trained on: clear, 8:30 to 9:30."""
    return Condition(*between(rng, (8.5, 9.5), (0.0, 0.002), (1.0, 4.0)))


def operating(rng: np.random.Generator) -> Condition:
    """What the monitor is made for: day from 7:30 to 14:30 or night from 19:30 to 22:30, some haze, some noise."""
    return _at(rng, HOURS[int(rng.integers(2))])


HOURS = ((7.5, 14.5), (19.5, 22.5))
HAZE, NOISE = (0.0, 0.02), (1.0, 10.0)


def _at(
    rng: np.random.Generator, hours: tuple[float, float], haze: tuple[float, float] = HAZE, noise: tuple[float, float] = NOISE
) -> Condition:
    return Condition(*between(rng, hours, haze, noise))


SHIFTS: Mapping[str, Draw] = {
    "evening": lambda rng: _at(rng, (15.5, 17.5)),
    "thick haze": lambda rng: _at(rng, HOURS[int(rng.integers(2))], haze=(0.03, 0.06)),
    "strong noise": lambda rng: _at(rng, HOURS[int(rng.integers(2))], noise=(15.0, 30.0)),
}
NAMED = {
    "9:00 clear": Condition(9.0),
    "8:00": Condition(8.0),
    "12:00": Condition(12.0),
    "16:00": Condition(16.0),
    "21:00": Condition(21.0),
    "9:00 haze 0.01": Condition(9.0, 0.01),
    "9:00 noise 20": Condition(9.0, 0.0, 20.0),
}


def draw_states(count: int, rng: np.random.Generator) -> Array:
    """States (count, 2) even over the controller's domain."""
    return np.asarray(rng.uniform(-LIMIT, LIMIT, (count, 2)))


def labelled(scene_picture: Any, draw: Draw, count: int, rng: np.random.Generator) -> tuple[Image, Array]:
    """Pictures and true states, CONDITIONS conditions of `draw`, `count` pictures in all."""
    states = [draw_states(count // CONDITIONS, rng) for _ in range(CONDITIONS)]
    return np.concatenate([scene_picture(s, draw(rng), rng) for s in states]), np.concatenate(states)


def runway_scene(controllers: tuple[PoseRegressor, ...]) -> Scene:
    """Our renderer; the first controller drives, all of them are the ensemble."""
    said = tuple(lambda pictures, c=c: estimate(c, pictures) for c in controllers)
    return Scene("runway", render, said[0], said, operating, SHIFTS, NAMED)


def train_controllers(count: int, pictures: int, steps: int) -> tuple[PoseRegressor, ...]:
    """Controllers that differ in their seed alone."""
    data = labelled(render, morning, pictures, np.random.default_rng(0))
    return tuple(train_regressor(*data, steps=steps, seed=seed) for seed in range(count))


@dataclass(frozen=True, slots=True)
class Camera:
    """How an X-Plane picture is taken: the generator's two latents, then contrast and noise (share of full scale)."""

    latents: tuple[float, float] = (0.0, 0.0)
    contrast: float = 1.0
    noise: float = 0.0


def xplane_picture(generator: NnetNetwork, states: Array, camera: Camera, rng: np.random.Generator) -> Image:
    """uint8 (n, 8, 16, 3): the generator's 128 grey pixels, mean 0.5."""
    latents = np.broadcast_to(camera.latents, (len(states), 2))
    truth = np.stack([states[:, 0], np.degrees(states[:, 1])], axis=1)
    grey = 0.5 * camera.contrast * generator(np.concatenate([latents, truth], axis=1)) + 0.5
    grey = np.clip(grey + camera.noise * rng.standard_normal(grey.shape), 0.0, 1.0)
    return np.repeat(np.rint(255 * grey).astype(np.uint8).reshape(-1, 8, 16, 1), 3, axis=3)


def tiny_estimate(network: NnetNetwork, pictures: Image) -> Array:
    """TinyTaxiNet's crosstrack m and heading rad (n, 2)."""
    said = network(pictures[..., 0].reshape(len(pictures), -1) / 255.0)
    return np.stack([said[:, 0], np.radians(said[:, 1])], axis=1)


def xplane_scene(folder: Path, pictures: int, steps: int) -> Scene:
    """TinyTaxiNet drives; two networks of ours, trained on the generator's pictures, complete the ensemble."""
    tiny, generator = read_nnet(folder / "TinyTaxiNet.nnet"), read_nnet(folder / "generator_supervised_mlp.nnet")

    def picture(states: Array, camera: Camera, rng: np.random.Generator) -> Image:
        return xplane_picture(generator, states, camera, rng)

    def known(rng: np.random.Generator) -> Camera:
        a, b, contrast, noise = between(rng, (-0.8, 0.8), (-0.8, 0.8), (0.7, 1.2), (0.0, 0.06))
        return Camera((a, b), contrast, noise)

    shifts = {
        "low contrast": lambda rng: Camera((0.0, 0.0), *between(rng, (0.3, 0.5), (0.0, 0.06))),
        "strong noise": lambda rng: Camera((0.0, 0.0), *between(rng, (0.7, 1.2), (0.1, 0.2))),
    }
    named = {"as generated": Camera(), "noise 0.05": Camera(noise=0.05), "noise 0.15": Camera(noise=0.15)}
    named["contrast 0.5"] = Camera(contrast=0.5)

    def as_generated(rng: np.random.Generator) -> Camera:
        return Camera((float(rng.uniform(-0.8, 0.8)), float(rng.uniform(-0.8, 0.8))))

    data = labelled(picture, as_generated, pictures, np.random.default_rng(0))
    ours = [train_regressor(*data, steps=steps, seed=seed) for seed in range(2)]
    ensemble = (lambda p: tiny_estimate(tiny, p), *(lambda p, c=c: estimate(c, p) for c in ours))
    return Scene("xplane", picture, ensemble[0], ensemble, known, shifts, named)
