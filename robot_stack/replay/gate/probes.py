"""What a candidate bundle does on recorded observations, next to the one it is to replace, and what would explain a difference.

C (n, T, J) are the candidate's chunks, A the other bundle's, each the mean of its N samples; q the measured joints, R (n, T, J)
what was commanded. Distances are means of absolute differences, rad. The floor is how far A is from itself with other noise.

A fault that can be undone is found by undoing it: if C is far from A (`FAR` floors), and C with the cameras swapped back, a
joint turned back, or its rows moved back, is nearer than `EXPLAINS` of that distance, then that is what happened to it. A
policy that is just another one does not come nearer to A by being shown the wrong camera.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from policies.bundle import Manifest
from policies.onnx_policy import OnnxPolicy
from policies.recorded import chunks, observation_at
from robot_stack.data.episode import Episode
from robot_stack.errors import DataError
from robot_stack.types import Array, CameraFrame, Observation

FAR, EXPLAINS, NEAR_RAD = 3.0, 0.35, 1e-3
LAGS = (1, 2, -1)


@dataclass(frozen=True, slots=True)
class Spot:
    """One recorded moment: the observation, the one a policy period later, the commands that followed (T, J)."""

    episode: str
    t_s: float
    now: Observation
    later: Observation
    recorded: Array


@dataclass(frozen=True, slots=True)
class Undone:
    """`fault` undone: distance to the other bundle `before` and `after`, and the least distance that means anything (`floor`)."""

    fault: str
    what: str
    before: float
    after: float
    floor: float

    @property
    def explains(self) -> bool:
        """There was a difference, and undoing the fault took most of it away."""
        return self.before > max(FAR * self.floor, NEAR_RAD) and self.after < EXPLAINS * self.before


@dataclass(frozen=True, slots=True)
class Worst:
    """A recorded moment on which the candidate is furthest from what was done: errors of both bundles, rad."""

    episode: str
    t_s: float
    candidate: float
    against: float


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


def spots(episodes: Sequence[Episode], manifest: Manifest, number: int, period_s: float) -> list[Spot]:
    """`number` moments spread evenly over `episodes`. Raises DataError when no episode is longer than a policy period."""
    places = []
    for episode in episodes:
        ahead = max(1, round(period_s * episode.rate_hz))
        places += [(episode, i, i + ahead) for i in range(len(episode) - ahead)]
    if not places:
        raise DataError(f"logs: found {len(episodes)} episodes, none longer than {period_s} s, allowed at least one that is")
    recorded = {id(e): chunks(e, manifest.rows, manifest.rate_hz) for e in episodes}
    chosen = [places[k] for k in np.linspace(0, len(places) - 1, min(number, len(places))).astype(int)]
    return [Spot(e.name, i / e.rate_hz, observation_at(e, i), observation_at(e, j), recorded[id(e)][i]) for e, i, j in chosen]


def mean_chunks(policy: OnnxPolicy, seen: Sequence[Observation]) -> Array:
    """The mean of the N candidates at each observation: (n, T, J)."""
    return np.stack([policy.sample(observation).actions.mean(axis=0) for observation in seen])


def compare(candidate: OnnxPolicy, against: OnnxPolicy, again: OnnxPolicy, at: Sequence[Spot]) -> Compared:
    """Both bundles on the moments `at`; `again` is `against` with other noise.

    `error`: distance to what was commanded, beside `standing` still; `error_ratio`: (low, mid, high) of the errors' ratio, 99 %,
    over resampled episodes. `seam`: between a chunk and the next one where both say the same moment. `statistics`: by how many
    octaves the joints' mean and std in the manifests miss those of the logs, and at which joint the candidate's does most.
    `camera_use`: how far another picture moves the chunk.
    """
    now, q = [s.now for s in at], np.stack([s.now.joints.q for s in at])[:, None]
    recorded = np.stack([s.recorded for s in at])
    c, a, floor = mean_chunks(candidate, now), mean_chunks(against, now), mean_chunks(again, now)
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
        undone=tuple(_undo(candidate, now, q, c, a, floors)) if whole else (),
        camera_use={
            name: _use(name, candidate, against, now, c, a) for name in against.cameras if whole and name in candidate.cameras
        },
        statistics=_statistics(candidate.manifest, against.manifest, q[:, 0]),
        worst=_worst(at, errors),
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


def _undo(policy: OnnxPolicy, now: Sequence[Observation], q: Array, c: Array, a: Array, floors: Array) -> Iterator[Undone]:
    before, floor = float(np.abs(c - a).mean()), float(floors.mean())
    sizes = dict(policy.manifest.cameras)
    if before > max(FAR * floor, NEAR_RAD):
        for one, other in combinations(policy.cameras, 2):
            if sizes[one] == sizes[other]:
                swapped = mean_chunks(policy, [_swapped(o, one, other) for o in now])
                yield Undone("camera_order", f"{one} and {other}", before, float(np.abs(swapped - a).mean()), floor)
    for lag in LAGS:
        yield Undone("time_shift", f"{lag} rows late", before, _lagged(c, a, lag), floor)
    by_joint = np.abs(c - a).mean(axis=(0, 1))
    joint = int((by_joint / np.maximum(floors, NEAR_RAD / FAR)).argmax())
    if by_joint[joint] > max(FAR * floors[joint], NEAR_RAD):
        yield from (
            Undone("joint_sign", f"{policy.joint_names[joint]}, {how}", float(by_joint[joint]), after, float(floors[joint]))
            for how, after in _turned(policy, now, q, c, a, joint)
        )


def _turned(
    policy: OnnxPolicy, now: Sequence[Observation], q: Array, c: Array, a: Array, joint: int
) -> Iterator[tuple[str, float]]:
    """Distance (rad) of one joint's rows after turning its sign back: of the output, of its motion, of input and output."""
    turned = mean_chunks(policy, [_mirrored(o, joint) for o in now])
    for how, rows in (
        ("output", -c[..., joint]),
        ("motion", 2 * q[..., joint] - c[..., joint]),
        ("input", turned[..., joint]),
        ("input and output", -turned[..., joint]),
    ):
        yield how, float(np.abs(rows - a[..., joint]).mean())


def _mirrored(observation: Observation, joint: int) -> Observation:
    sign = np.ones_like(observation.joints.q)
    sign[joint] = -1.0
    joints = replace(observation.joints, q=sign * observation.joints.q, qd=sign * observation.joints.qd)
    return replace(observation, joints=joints)


def _swapped(observation: Observation, one: str, other: str) -> Observation:
    frames = dict(observation.frames)
    pictures = frames[one].rgb, frames[other].rgb
    frames[one] = CameraFrame(one, frames[one].t_ns, pictures[1])
    frames[other] = CameraFrame(other, frames[other].t_ns, pictures[0])
    return replace(observation, frames=frames)


def _lagged(c: Array, a: Array, lag: int) -> float:
    """Distance when row i of C is held against row i - lag of A."""
    return float(np.abs(c[:, lag:] - a[:, :-lag]).mean() if lag > 0 else np.abs(c[:, :lag] - a[:, -lag:]).mean())


def _use(
    name: str, candidate: OnnxPolicy, against: OnnxPolicy, now: Sequence[Observation], c: Array, a: Array
) -> tuple[float, float]:
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


def _worst(at: Sequence[Spot], errors: Array, number: int = 10) -> tuple[Worst, ...]:
    """The worst moment of each episode, the worst `number` episodes."""
    worst: dict[str, Worst] = {}
    for i in np.argsort(-errors[0]):
        worst.setdefault(at[i].episode, Worst(at[i].episode, at[i].t_s, float(errors[0][i]), float(errors[1][i])))
    return tuple(worst.values())[:number]
