"""Smooth made-up teleoperation, and faults planted in it or in real episodes: for the tests and the figures of data quality."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from robot_stack.relabel.motion import Motion
from robot_stack.types import Array


@dataclass(frozen=True, slots=True)
class Planted:
    """Episodes to train on and those held out; names of the `corrupt`, pairs of `twins`, and which of the held out `leaked`."""

    kept: list[Motion]
    held: list[Motion]
    corrupt: set[str]
    twins: set[frozenset[str]]
    leaked: set[str]


def teleoperation(count: int = 40, joints: int = 6, seed: int = 0, rate_hz: float = 20.0) -> list[Motion]:
    """Episodes of one task: minimum-jerk strokes between places that differ each time, commands a little ahead, pauses."""
    rng = np.random.default_rng(seed)
    middle = rng.normal(0.0, 0.6, (5, joints))
    return [_episode(f"episode_{i:02d}", middle, rng, rate_hz) for i in range(count)]


def _episode(name: str, middle: Array, rng: np.random.Generator, rate_hz: float) -> Motion:
    q = middle[:1] + rng.normal(0.0, 0.1, (1, middle.shape[1]))
    for place in middle[1:] + rng.normal(0.0, 0.12, middle[1:].shape):
        s = np.linspace(0.0, 1.0, int(rate_hz * rng.uniform(0.9, 1.6)))[:, None]
        stroke = q[-1] + (place - q[-1]) * (10 * s**3 - 15 * s**4 + 6 * s**5)
        q = np.concatenate([q, stroke, np.repeat(stroke[-1:], rng.integers(0, 8), axis=0)])
    q = q + rng.normal(0.0, 2e-4, q.shape)
    ahead = np.concatenate([q[2:], np.repeat(q[-1:], 2, axis=0)]) + rng.normal(0.0, 1e-3, q.shape)
    return Motion(name, rate_hz, q, ahead)


def corrupted(motion: Motion, rng: np.random.Generator, rate: float = 0.3, scale: float = 1.0) -> Motion:
    """RIQL's random corruption: at a share `rate` of the rows states and actions are off by up to `scale` standard deviations."""
    rows = (rng.random(len(motion)) < rate)[:, None]
    off = [rng.uniform(-scale, scale, values.shape) * values.std(axis=0) * rows for values in (motion.q, motion.action)]
    return replace(motion, q=motion.q + off[0], action=motion.action + off[1])


def twin(motion: Motion, rng: np.random.Generator, name: str) -> Motion:
    """The same episode written again by a careless export: another name, perhaps a row short at an end, rounded."""
    rows = slice(int(rng.integers(0, 2)), len(motion) - int(rng.integers(0, 2)))
    return replace(motion, name=name, q=np.round(motion.q[rows], 4), action=np.round(motion.action[rows], 4), reward=None)


def plant(
    motions: Sequence[Motion],
    seed: int = 0,
    held_out: int = 8,
    corrupt: int = 5,
    twins: int = 3,
    leaked: int = 2,
    rate: float = 0.3,
    scale: float = 1.0,
) -> Planted:
    """`motions`, the last `held_out` of them held out, with so many faults of each kind in episodes drawn by `seed`."""
    rng = np.random.default_rng([seed, 1])
    kept, held = list(motions[:-held_out]), list(motions[-held_out:])
    order = [int(i) for i in rng.permutation(len(kept))]
    bad, pairs = order[:corrupt], list(zip(order[corrupt : corrupt + twins], order[-twins:], strict=True))
    for i in bad:
        kept[i] = corrupted(kept[i], rng, rate, scale)
    for a, b in pairs:
        kept[b] = twin(kept[a], rng, kept[b].name)
    for i in range(leaked):
        source = kept[order[corrupt + twins + i]]
        cut = slice(len(source) // 4, None)
        held[i] = replace(source, name=held[i].name, q=source.q[cut], action=source.action[cut], reward=None)
    names = {frozenset((kept[a].name, kept[b].name)) for a, b in pairs}
    return Planted(kept, held, {kept[i].name for i in bad}, names, {m.name for m in held[:leaked]})


def precision_recall(found: set[str] | set[frozenset[str]], true: set[str] | set[frozenset[str]]) -> tuple[float, float]:
    """Of two sets; 1 where nothing was found, or there was nothing to find."""
    hits = len(found & true)  # type: ignore[operator]
    return (hits / len(found) if found else 1.0), (hits / len(true) if true else 1.0)
