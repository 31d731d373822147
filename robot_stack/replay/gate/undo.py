"""What would explain that a candidate is far from the other bundle: a fault is found by undoing it.

C (n, T, J) are the candidate's chunks, A the other bundle's, each the mean of its N samples; q the measured joints. Distances
are means of absolute differences, rad; the floor is how far A is from itself with other noise. If C is far from A (`FAR` floors),
and C with the cameras swapped back, a joint turned back, or its rows moved back, is nearer than `EXPLAINS` of that distance, then
that is what happened to it. A policy that is just another one does not come nearer to A by being shown the wrong camera. Pictures
that come late are found from the other side: A is shown the older ones, and says what C said.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from robot_stack.replay.gate.spots import Sampler, Spot, mean_chunks
from robot_stack.types import Array, CameraFrame, Observation

FAR, EXPLAINS, NEAR_RAD = 3.0, 0.35, 1e-3
LAGS = (1, 2, -1)


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


def undone(policy: Sampler, against: Sampler, at: Sequence[Spot], c: Array, a: Array, floors: Array) -> Iterator[Undone]:
    """Every fault there is a way to undo, undone: `policy` said `c`, `against` said `a`; `floors` (J,)."""
    now, q = [s.now for s in at], np.stack([s.now.joints.q for s in at])[:, None]
    before, floor = float(np.abs(c - a).mean()), float(floors.mean())
    sizes = dict(policy.manifest.cameras)
    if before > max(FAR * floor, NEAR_RAD):
        for one, other in combinations(policy.cameras, 2):
            if sizes[one] == sizes[other]:
                swapped = mean_chunks(policy, [_swapped(o, one, other) for o in now])
                yield Undone("camera_order", f"{one} and {other}", before, float(np.abs(swapped - a).mean()), floor)
        old = mean_chunks(against, [replace(s.now, frames=s.before.frames) for s in at])
        yield Undone("late_pictures", "all cameras, one frame", before, float(np.abs(c - old).mean()), floor)
    for lag in LAGS:
        yield Undone("time_shift", f"{lag} rows late", before, _lagged(c, a, lag), floor)
    by_joint = np.abs(c - a).mean(axis=(0, 1))
    joint = int((by_joint / np.maximum(floors, NEAR_RAD / FAR)).argmax())
    if by_joint[joint] > max(FAR * floors[joint], NEAR_RAD):
        yield from (
            Undone("joint_sign", f"{policy.joint_names[joint]}, {how}", float(by_joint[joint]), after, float(floors[joint]))
            for how, after in _turned(policy, now, q, c, a, joint)
        )


def _turned(policy: Sampler, now: Sequence[Observation], q: Array, c: Array, a: Array, joint: int) -> Iterator[tuple[str, float]]:
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
