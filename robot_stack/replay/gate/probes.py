"""What a candidate bundle does on recorded observations, next to the one it is to replace.

C (n, T, J) are the candidate's chunks, A the other bundle's, each the mean of its N samples; q the measured joints, R (n, T, J)
what was commanded. Distances are means of absolute differences, rad. The floor is how far A is from itself with other noise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from policies.bundle import Manifest
from robot_stack.replay.gate.spots import Sampler, Spot, mean_chunks, settled_chunks
from robot_stack.replay.gate.undo import Undone, undone
from robot_stack.types import Array, Observation


@dataclass(frozen=True, slots=True)
class Worst:
    """A recorded moment on which the candidate is furthest from what was done: errors of both bundles, rad.

    `rows`: of the `joint` where it is, T positions `dt_s` apart each of what was done, the candidate's chunk, the other bundle's.
    """

    episode: str
    t_s: float
    candidate: float
    against: float
    joint: str
    rows: tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]
    dt_s: float


@dataclass(frozen=True)
class Compared:
    """Figures of both bundles, the candidate's first. rad, rad/s^3 for jerk. See `compare` for each."""

    spots: int
    episodes: int
    not_finite: int
    error: tuple[float, float]
    standing: float
    error_ratio: tuple[float, float, float]
    distance: float
    floor: float
    seam: tuple[float, float]
    jerk: tuple[float, float]
    undone: tuple[Undone, ...]
    camera_use: Mapping[str, tuple[float, float]]
    statistics: tuple[float, float, str]
    worst: tuple[Worst, ...]


def compare(candidate: Sampler, against: Sampler, again: Sampler, at: Sequence[Spot]) -> Compared:
    """Both bundles on the moments `at`; `again` is `against` with other noise.

    `error`: distance to what was commanded, beside `standing` still; `error_ratio`: (low, mid, high) of the errors' ratio, 99 %,
    over resampled episodes. `seam`: between a chunk and the next one where both say the same moment. `statistics`: by how many
    octaves the joints' mean and std in the manifests miss those of the logs, and at which joint the candidate's does most.
    `camera_use`: how far another picture moves the chunk.
    """
    now, q = [s.now for s in at], np.stack([s.now.joints.q for s in at])[:, None]
    recorded = np.stack([s.recorded for s in at])
    c, a, floor = settled_chunks(candidate, at), mean_chunks(against, now), mean_chunks(again, now)
    bad = ~np.isfinite(c).all(axis=(1, 2))
    if c.shape != a.shape or bad.any():
        c = np.where(np.isfinite(c), c, 1e3) if c.shape == a.shape else np.full_like(a, 1e3)
    errors = np.stack([np.abs(c - recorded).mean(axis=(1, 2)), np.abs(a - recorded).mean(axis=(1, 2))])
    floors, whole = np.abs(a - floor).mean(axis=(0, 1)), not bad.any()
    later_c, later_a = (mean_chunks(p, [s.later for s in at]) if whole else f for p, f in ((candidate, c), (against, a)))
    return Compared(
        spots=len(at),
        episodes=len({s.episode for s in at}),
        not_finite=int(bad.sum()),
        error=(float(errors[0].mean()), float(errors[1].mean())),
        standing=float(np.abs(q - recorded).mean()),
        error_ratio=_ratio(errors, [s.episode for s in at]),
        distance=float(np.abs(c - a).mean()),
        floor=float(floors.mean()),
        seam=(_seam(c, later_c, candidate.manifest, at), _seam(a, later_a, against.manifest, at)),
        jerk=(_jerk(c, candidate.manifest.dt_ns), _jerk(a, against.manifest.dt_ns)),
        undone=tuple(undone(candidate, against, at, c, a, floors)) if whole else (),
        camera_use={
            name: _use(name, candidate, against, now, c, a) for name in against.cameras if whole and name in candidate.cameras
        },
        statistics=_statistics(candidate.manifest, against.manifest, q[:, 0]),
        worst=_worst(at, errors, np.stack([recorded, c, a]), against.manifest),
    )


def _ratio(errors: Array, names: Sequence[str], draws: int = 2000) -> tuple[float, float, float]:
    """Ratio of mean errors with its 99 % interval, episodes resampled (decisions of one episode are alike)."""
    kinds = sorted(set(names))
    sums = np.stack([errors[:, [n == kind for n in names]].sum(axis=1) for kind in kinds])
    picks = np.random.default_rng(0).integers(0, len(kinds), (draws, len(kinds)))
    drawn = sums[picks].sum(axis=1)
    ratio = drawn[:, 0] / np.maximum(drawn[:, 1], 1e-12)
    low, high = np.percentile(ratio, [0.5, 99.5])
    return float(low), float(errors[0].mean() / max(errors[1].mean(), 1e-12)), float(high)


def _seam(first: Array, later: Array, manifest: Manifest, at: Sequence[Spot]) -> float:
    """Mean distance between row k of a chunk and row 0 of the one decided k rows later, by the recorded joints in between."""
    ahead_ns = at[0].later.joints.t_ns - at[0].now.joints.t_ns
    k = min(round(ahead_ns / manifest.dt_ns), first.shape[1] - 1)
    return float(np.abs(first[:, k] - later[:, 0]).mean())


def _jerk(c: Array, dt_ns: int) -> float:
    """Root mean square third difference over time, rad/s^3."""
    return float(np.sqrt(np.mean((np.diff(c, 3, axis=1) / (dt_ns * 1e-9) ** 3) ** 2))) if c.shape[1] > 3 else 0.0


def _use(name: str, candidate: Sampler, against: Sampler, now: Sequence[Observation], c: Array, a: Array) -> tuple[float, float]:
    """How far the picture of `name` of another moment moves the chunk of each bundle, mean rad."""
    other = [now[(i + len(now) // 2) % len(now)].frames[name] for i in range(len(now))]
    shown = [replace(o, frames={**o.frames, name: frame}) for o, frame in zip(now, other, strict=True)]
    moved = (np.abs(mean_chunks(p, shown) - chunk).mean() for p, chunk in ((candidate, c), (against, a)))
    return float(next(moved)), float(next(moved))


def _statistics(candidate: Manifest, against: Manifest, q: Array) -> tuple[float, float, str]:
    found = [_octaves(manifest, q) for manifest in (candidate, against)]
    worst = int(found[0].argmax())
    return float(found[0][worst]), float(found[1].max()), candidate.joint_names[worst]


def _octaves(manifest: Manifest, q: Array) -> Array:
    """(J,) by how much the manifest's joint statistics miss those of q: std in octaves, or mean in recorded std, the larger."""
    mean, std = (
        np.asarray(manifest.statistics.get(name, fill), dtype=np.float64) for name, fill in (("joint_mean", 0), ("joint_std", 1))
    )
    if mean.shape != q.shape[1:] or std.shape != mean.shape:
        return np.full(q.shape[1], np.inf)
    measured = np.maximum(q.std(axis=0), 0.01)
    octaves: Array = np.abs(np.log2(np.maximum(std, 1e-9) / measured))
    worst: Array = np.maximum(octaves, np.abs(mean - q.mean(axis=0)) / measured)
    return worst


def _worst(at: Sequence[Spot], errors: Array, rows: Array, manifest: Manifest, number: int = 10) -> tuple[Worst, ...]:
    """The worst moment of each episode, the worst `number` episodes; `rows` (3, n, T, J): recorded, candidate, against."""
    worst: dict[str, Worst] = {}
    for i in np.argsort(-errors[0]):
        if at[i].episode not in worst:
            joint = int(np.abs(rows[1, i] - rows[0, i]).mean(axis=0).argmax())
            done, mine, theirs = (tuple(map(float, rows[k, i, :, joint])) for k in range(3))
            worst[at[i].episode] = Worst(
                at[i].episode,
                at[i].t_s,
                candidate=float(errors[0][i]),
                against=float(errors[1][i]),
                joint=manifest.joint_names[joint],
                rows=(done, mine, theirs),
                dt_s=manifest.dt_ns * 1e-9,
            )
    return tuple(worst.values())[:number]
