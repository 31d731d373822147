"""How alike episodes are: near-duplicates, leakage between what is trained on and what is held out, modes of motion.

The features of an episode are its states and actions at `POINTS` evenly spread moments, each number standardised over the
data set: one vector f of fixed length, whatever the duration. The distance of two is the root mean square of their difference,
in standard deviations. Pairs nearer than a threshold are found by a k-d tree over the first principal components: a projection
shortens distances, so no pair is lost, and those it brings are measured in full.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from robot_stack.relabel.motion import Motion
from robot_stack.types import Array

POINTS, PROJECTED = 32, 8
NEAR = 0.1
"""Standard deviations: two episodes nearer than that are near-duplicates. People repeating a task differ by 0.46 and
more (`g1_bottle`; `adroit_door`: 0.54)."""

SHARED_ROWS = 0.2
"""A held-out episode of whose rows a larger share also stands in one trained on has leaked."""

MOST_MODES, LEAST_SILHOUETTE, TRIES, MOST_JUDGED = 6, 0.25, 4, 2000
"""Of more episodes than `MOST_JUDGED` so many, evenly spread, are looked at for the silhouette: its cost is their square."""


@dataclass(frozen=True, slots=True)
class Pair:
    """`one` and `other` are alike: `why` says how."""

    one: str
    other: str
    why: str


def features(motions: Sequence[Motion]) -> Array:
    """(E, POINTS (D + A)): one row an episode, in standard deviations."""
    rows = np.array([_resampled(np.hstack([m.q, m.action])) for m in motions])
    spread = rows.reshape(-1, rows.shape[-1]).std(axis=0)
    return np.asarray(((rows - rows.mean(axis=(0, 1))) / np.where(spread > 1e-9, spread, 1.0)).reshape(len(rows), -1))


def _resampled(values: Array) -> Array:
    at = np.linspace(0, len(values) - 1, POINTS)
    low = np.minimum(at.astype(int), max(len(values) - 2, 0))
    part = (at - low)[:, None]
    return np.asarray((1 - part) * values[low] + part * values[np.minimum(low + 1, len(values) - 1)])


def near_duplicates(motions: Sequence[Motion], threshold: float = NEAR) -> list[Pair]:
    """Pairs of episodes that are copies, bit for bit or nearly: the distance of their features is below `threshold`."""
    return [Pair(motions[i].name, motions[j].name, why) for i, j, why in _alike(motions, threshold)]


def _alike(motions: Sequence[Motion], threshold: float) -> Iterator[tuple[int, int, str]]:
    """Which of `motions`, i < j, are near-duplicates, and why."""
    if len(motions) < 2:
        return
    found, prints = features(motions), [_fingerprint(m) for m in motions]
    width = np.sqrt(found.shape[1])
    _, _, axes = np.linalg.svd(found - found.mean(axis=0), full_matrices=False)
    pairs = cKDTree(found @ axes[:PROJECTED].T).query_pairs(threshold * width)
    for i, j in sorted(pairs):
        distance = float(np.linalg.norm(found[i] - found[j]) / width)
        if distance < threshold:
            yield i, j, "the same numbers" if prints[i] == prints[j] else f"{distance:.3f} standard deviations apart"


def leaks(trained: Sequence[Motion], held: Sequence[Motion], threshold: float = NEAR) -> list[Pair]:
    """(held-out, trained) pairs: near-duplicates, or a piece of the other, however it was cut."""
    if not held:
        return []
    first, every = len(trained), [*trained, *held]
    found = [Pair(every[j].name, every[i].name, why) for i, j, why in _alike(every, threshold) if i < first <= j]
    seen = {(p.one, p.other) for p in found}
    rows = {m.name: _rows(m) for m in trained}
    for m in held:
        mine = _rows(m)
        for name, theirs in rows.items():
            share = len(mine & theirs) / max(len(mine), 1)
            if share > SHARED_ROWS and (m.name, name) not in seen:
                found.append(Pair(m.name, name, f"{100 * share:.0f} % of its rows are there too"))
    return found


def _fingerprint(motion: Motion) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(np.hstack([motion.q, motion.action])).tobytes(), digest_size=16).digest()


def _rows(motion: Motion) -> set[bytes]:
    """State, action and next state of each row that moves, as bytes of single precision: no other episode has them."""
    whole = np.hstack([motion.q[:-1], motion.action[:-1], motion.q[1:]]).astype(np.float32)
    moves = np.any(motion.q[1:] != motion.q[:-1], axis=1)
    return {row.tobytes() for row in whole[moves]}


def modes(motions: Sequence[Motion], seed: int = 0) -> tuple[list[int], float]:
    """The mode of each episode, 0 the commonest, and the silhouette (-1..1) of the split; one mode where no split is clear.

    k-means on the principal components of the features; of 2..6 modes the number with the largest mean silhouette
    (Rousseeuw 1987), provided it is at least `LEAST_SILHOUETTE`.
    """
    if len(motions) < 4:
        return [0] * len(motions), 0.0
    whole = features(motions)
    _, _, axes = np.linalg.svd(whole - whole.mean(axis=0), full_matrices=False)
    points = whole @ axes[:PROJECTED].T
    best, score = np.zeros(len(points), dtype=np.intp), 0.0
    some = np.linspace(0, len(points) - 1, min(len(points), MOST_JUDGED)).astype(np.intp)
    for labels in _splits(points, seed):
        found = silhouette(points[some], labels[some])
        if found > max(score, LEAST_SILHOUETTE):
            best, score = labels, found
    order = np.argsort(-np.bincount(best), kind="stable")
    return [int(np.flatnonzero(order == label)[0]) for label in best], score


def _splits(points: Array, seed: int) -> Iterator[NDArray[np.intp]]:
    for k in range(2, min(MOST_MODES, len(points) - 1) + 1):
        for attempt in range(TRIES):
            labels = kmeans2(points, k, minit="++", rng=np.random.default_rng([seed, k, attempt]))[1]
            if len(np.unique(labels)) == k:
                yield labels


def silhouette(points: Array, labels: NDArray[np.intp]) -> float:
    """Mean over points of (b - a) / max(a, b), of mean distances: a in its own cluster, b to the next."""
    distance, member = cdist(points, points), labels[:, None] == np.arange(labels.max() + 1)
    sizes = member.sum(axis=0)
    total = distance @ member
    own = np.take_along_axis(total, labels[:, None], axis=1)[:, 0] / np.maximum(sizes[labels] - 1, 1)
    other = np.where(member, np.inf, total / np.maximum(sizes, 1)).min(axis=1)
    value = np.where(sizes[labels] > 1, (other - own) / np.maximum(np.maximum(own, other), 1e-12), 0.0)
    return float(value.mean())
