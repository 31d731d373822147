"""Data for the barrier from motions that were logged without an accident: other obstacles, other actions.

Demonstrations rarely come near the obstacle, so a barrier learned from them alone knows nothing of where it is needed. But
h is computed from forward kinematics, not observed, so the label of a logged motion is known for *any* place the obstacle
might have stood (`place_obstacles`, hindsight relabelling): half of the places are on the path of the arm, half anywhere in
its reach. And a position-controlled arm moves as ``q' = q + dt u`` within its limits, so short random motions branched off
logged states (`wander`) show the actions a demonstrator never took: stopping, backing off, going on. What is relabelled is
the obstacle, standing still over the motion; how people move when an obstacle is near is not made up by this and stays
as it was logged.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robot_stack.config.schema import VocbfSettings
from robot_stack.errors import ContractError
from robot_stack.kinematics import Kinematics
from robot_stack.robot import RobotSpec
from robot_stack.types import Array
from safety.margins import margins

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Transitions:
    """Trajectories end to end: `states` and `next_states` (M, D) = arm joints and obstacle place, `actions` (M, A) rad/s,
    `h` (M,) m at `states`, `done` (M,) True on the last row of each trajectory, `motion` (M,) where it came from."""

    states: Array
    actions: Array
    next_states: Array
    h: Array
    done: Mask
    motion: NDArray[np.int64]

    def __post_init__(self) -> None:
        lengths = {len(getattr(self, name)) for name in self.__slots__}
        if len(lengths) != 1 or self.states.shape != self.next_states.shape or not len(self.done) or not self.done[-1]:
            raise ContractError(f"Transitions: found lengths {sorted(lengths)}; allowed equal, at least one, the last row done")

    def __len__(self) -> int:
        return len(self.states)

    def rows(self, kept: Mask) -> "Transitions":
        """The rows where `kept` (M,), whole trajectories."""
        return Transitions(*(getattr(self, name)[kept] for name in self.__slots__))


def join(parts: Sequence[Transitions]) -> Transitions:
    """All trajectories of `parts`, in order."""
    return Transitions(*(np.concatenate([getattr(p, name) for p in parts]) for name in Transitions.__slots__))


def transitions(
    q: Array, hazard_p: Array, radius: float, spec: RobotSpec, settings: VocbfSettings, motion: int, h: Array | None = None
) -> Transitions:
    """One motion `q` (n, J), rows `settings.dt` apart, past an obstacle at `hazard_p` (n, 3) or (3,). The last joint is the
    gripper and no part of the state. `h` (n,): labels that were made before (None: by geometry); clipped at `settings.h_max`:
    far is far."""
    p = np.broadcast_to(hazard_p, (len(q), 3))
    if h is None:
        h = margins(q, p, radius, Kinematics(spec), spec, settings.margin, workspace=False)
    states = np.concatenate([q[:, :-1], p], axis=1)
    done = np.zeros(len(q) - 1, dtype=bool)
    done[-1] = True
    actions = np.diff(q[:, :-1], axis=0) / settings.dt
    return Transitions(states[:-1], actions, states[1:], np.minimum(h, settings.h_max)[:-1], done, np.full(len(done), motion))


def place_obstacles(
    motions: Sequence[Array],
    heights: tuple[float, float],
    radius: float,
    spec: RobotSpec,
    settings: VocbfSettings,
    seed: int,
    every: int | None = None,
) -> Transitions:
    """Every motion (n, J) relabelled with `settings.obstacles` still obstacles of `radius` m, centres at `heights` (m, low-high).

    Motion i counts as ``i % every``: with `every` = the number of demonstrations, branches and their demonstration are one.
    """
    rng, kinematics = np.random.default_rng(seed), Kinematics(spec)
    parts = []
    for i, q in enumerate(motions):
        if len(q) < 2:
            continue
        points = kinematics.positions(q)
        for k in range(settings.obstacles):
            p = _on_path(points, heights, rng) if k % 2 == 0 else _in_reach(points, heights, rng)
            parts.append(transitions(q, p, radius, spec, settings, i % (every or len(motions))))
    return join(parts)


def _on_path(points: Array, heights: tuple[float, float], rng: np.random.Generator) -> Array:
    """Within some 8 cm of where the outer half of the arm once was."""
    outer = points[rng.integers(len(points)), points.shape[1] // 2 :]
    p = outer[rng.integers(len(outer))] + rng.normal(0.0, 0.08, 3)
    return np.array([p[0], p[1], rng.uniform(*heights)])


def _in_reach(points: Array, heights: tuple[float, float], rng: np.random.Generator) -> Array:
    """Anywhere over the box the arm swept, widened by 15 cm."""
    low, high = points.min(axis=(0, 1)) - 0.15, points.max(axis=(0, 1)) + 0.15
    return np.array([*rng.uniform(low[:2], high[:2]), rng.uniform(*heights)])


def wander(motions: Sequence[Array], spec: RobotSpec, settings: VocbfSettings, seed: int) -> list[Array]:
    """`settings.branches` short motions (branch_steps + 1, J) branched off random rows of each motion: a speed drawn within
    the limits, changed a little every step, now and then stopped or reversed; joint limits are kept. Branch i is of motion
    ``i % len(motions)``."""
    rng = np.random.default_rng(seed)
    starts = [q[rng.integers(len(q))] for _ in range(settings.branches) for q in motions]
    q, qd = np.array(starts), rng.uniform(-0.6, 0.6, (len(starts), len(spec.joints))) * spec.qd_max
    rows = [q]
    for _ in range(settings.branch_steps):
        turn = rng.random((len(q), 1))
        qd = np.where(turn < 0.05, 0.0, np.where(turn < 0.1, -qd, qd)) + rng.normal(0, 0.08, q.shape) * spec.qd_max
        qd = np.clip(qd, -spec.qd_max, spec.qd_max)
        q = np.clip(q + settings.dt * qd, spec.q_min, spec.q_max)
        rows.append(q)
    return list(np.stack(rows, axis=1))
