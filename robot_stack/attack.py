"""Changes of an observation, measured in sigmas: noise drawn from them, and attacks that look for the worst.

An attack is a shift d of the joints and pixels with ||d|| = r sigma. Candidates for the worst one, each with both signs: the
slope of the noisy action by the joints, read off the noisy decisions themselves by least squares (Stein's identity; no network is
needed); with a checkpoint, the mean gradient by joints and pixels together; and random directions. A picture is rounded and
clipped to uint8 after noise and shift: what the policy does to its input is part of the policy, so the certificate covers it.
Joint speeds, where a policy wants them, are left as they are.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from policies.onnx_policy import OnnxPolicy
from robot_stack.types import Array, CameraFrame, Image, Observation

if TYPE_CHECKING:
    from policies.sensitivity import Sensitivity

TARGETS = 2
"""So many joints are attacked, those with the largest certified change."""
GRADIENTS = 6
"""Noisy observations a gradient is the mean of."""


@dataclass(frozen=True, slots=True, eq=False)
class Shift:
    """What is added: `q` (J,) rad, `pixels` grey levels (H, W, 3) a camera. Empty `pixels`: none."""

    name: str
    q: Array
    pixels: Mapping[str, Array]


@dataclass(frozen=True, slots=True, eq=False)
class Sigma:
    """One standard deviation: `q` (J,) rad of each joint, `pixels` grey levels of each value of a picture."""

    q: Array
    pixels: float

    def shift(self, name: str, q: Array, pixels: Mapping[str, Array], radius: float) -> Shift:
        """The direction `q` (J,), `pixels` in whitened units, as a shift of length `radius`."""
        length = float(np.sqrt(np.sum(q * q) + sum(float(np.sum(p * p)) for p in pixels.values())))
        factor = radius / max(length, 1e-300)
        return Shift(name, factor * self.q * q, {name: factor * self.pixels * p for name, p in pixels.items()})

    def draw(self, observation: Observation, rng: np.random.Generator) -> Shift:
        """Noise: one draw of N(0, sigma^2)."""
        q = self.q * rng.standard_normal(len(self.q))
        sizes = {name: frame.rgb.shape for name, frame in sorted(observation.frames.items())}
        return Shift("noise", q, {name: _normal(rng, size, self.pixels) for name, size in sizes.items()})


def shifted(observation: Observation, *shifts: Shift) -> Observation:
    """`observation` with all `shifts` added; pictures rounded and clipped to uint8 once, at the end."""
    q = observation.joints.q + sum(shift.q for shift in shifts)
    frames = {
        name: CameraFrame(name, frame.t_ns, _added(frame.rgb, [shift.pixels[name] for shift in shifts if name in shift.pixels]))
        for name, frame in observation.frames.items()
    }
    return replace(observation, frames=frames, joints=replace(observation.joints, q=np.asarray(q)))


def _normal(rng: np.random.Generator, size: tuple[int, ...], scale: float) -> Array:
    """Drawn in float32, twice as fast: a picture has many values."""
    found: Array = rng.standard_normal(size, dtype=np.float32)  # type: ignore[assignment]
    return scale * found


def _added(rgb: Image, changes: Sequence[Array]) -> Image:
    if not changes:
        return rgb
    whole = rgb.astype(np.float32)
    for change in changes:
        whole += change
    return np.clip(np.rint(whole), 0, 255).astype(np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Noisy decisions: `actions` (n, T * J) of the chosen chunks, `whitened` (n, J) the noise of the joints, in sigmas."""

    actions: Array
    whitened: Array


def noisy(policy: OnnxPolicy, observation: Observation, sigma: Sigma, count: int, seed: Sequence[int], shift: Shift) -> Answers:
    """`count` decisions on `observation` + `shift` + noise. The same `seed` draws the same noise."""
    actions, whitened = [], []
    for i in range(count):
        noise = sigma.draw(observation, np.random.default_rng([*seed, i]))
        actions.append(policy.decide(shifted(observation, shift, noise)).chunk.q.ravel())
        whitened.append(noise.q / sigma.q)
    return Answers(np.array(actions), np.array(whitened))


def nothing(sigma: Sigma) -> Shift:
    """No shift."""
    return Shift("none", np.zeros_like(sigma.q), {})


@dataclass(frozen=True, slots=True, eq=False)
class Attacker:
    """Shifts of length `radius` against the coordinates whose `change` (T * J,) is certified least tightly."""

    policy: OnnxPolicy
    sigma: Sigma
    radius: float
    network: "Sensitivity | None"

    def attacks(self, observation: Observation, answers: Answers, change: Array, rng: np.random.Generator) -> Iterator[Shift]:
        """Candidates for the worst shift."""
        joints = len(self.sigma.q)
        worst = change.reshape(-1, joints)
        for joint in np.argsort(-worst.max(axis=0))[:TARGETS]:
            row = int(np.argmax(worst[:, joint]))
            directions: list[tuple[str, Array, Mapping[str, Array]]] = [
                ("joints", _slope(answers, row * joints + int(joint)), {})
            ]
            if self.network is not None:
                directions.append(("gradient", *self._gradient(self.network, observation, row, int(joint), rng)))
            for name, q, pixels in directions:
                yield self.sigma.shift(name, q, pixels, self.radius)
                yield self.sigma.shift(name, q, pixels, -self.radius)
        drawn = self.sigma.draw(observation, rng)
        yield self.sigma.shift("random", drawn.q / self.sigma.q, _in_sigmas(drawn.pixels, self.sigma.pixels), self.radius)
        yield self.sigma.shift("random joints", drawn.q / self.sigma.q, {}, self.radius)

    def _gradient(
        self, network: "Sensitivity", observation: Observation, row: int, joint: int, rng: np.random.Generator
    ) -> tuple[Array, dict[str, Array]]:
        """The mean whitened gradient of action [row, joint] of the candidate that wins, over noisy observations."""
        q, pixels = np.zeros_like(self.sigma.q), {name: np.zeros(()) for name in network.cameras}
        for _ in range(GRADIENTS):
            seen = shifted(observation, self.sigma.draw(observation, rng))
            winner = self.policy.decide(seen).winner
            by_q, by_pixels = network.gradient(seen, self.policy.noise[winner].astype(np.float64), row, joint)
            q = q + self.sigma.q * by_q
            pixels = {name: pixels[name] + self.sigma.pixels * by_pixels[name] for name in pixels}
        return q, pixels


def _in_sigmas(pixels: Mapping[str, Array], sigma: float) -> dict[str, Array]:
    return {name: picture / sigma for name, picture in pixels.items()}


def _slope(answers: Answers, coordinate: int) -> Array:
    """By how much the noisy action moves per sigma of each joint (J,): least squares on the noise that was drawn."""
    design = np.column_stack([answers.whitened, np.ones(len(answers.whitened))])
    found, *_ = np.linalg.lstsq(design, answers.actions[:, coordinate], rcond=None)
    return np.asarray(found[:-1])
