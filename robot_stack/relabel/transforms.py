"""More episodes from those there are: the scene turned, moved or mirrored with the arm in it, and states as a policy would err.

Guided data augmentation (GuDA, Corrado et al., RLC 2024): transforms under which the task stays the same are drawn at random and
kept only where the transformed segment still makes progress, by a rule the user gives. Here the arm and what it handles move,
where it belongs does not: a transformed carry counts when it still brings the object nearer to its place.

    turn    q_base + angle: exact where the first joint stands upright in the world's origin
    mirror  y -> -y. A joint whose axis lies in y keeps its sign, one whose axis lies across changes it; slides keep theirs
    move    the tip by (dx, dy), its link turned as before: damped least squares at every row (see `drivers.reach`)

Policy-noise state augmentation (after DART, Laskey et al., CoRL 2017): states get noise of the covariance of the policy's own
errors, actions stay: the data then shows the way back from where the policy will stray.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from robot_stack.errors import ConfigError, DataError
from robot_stack.kinematics import Kinematics
from robot_stack.robot import RobotSpec
from robot_stack.types import Array

DAMPING, ROUNDS, REACHED = 0.01, 12, 1e-3
"""Inverse kinematics: damping, steps a row at most, and how near (m, rad) is there."""

Point = tuple[float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A segment of motion with what it is about: `q` and `action` (n, J), `places[name]` (n, 3) m in the world."""

    q: Array
    action: Array
    places: Mapping[str, Array]

    def __len__(self) -> int:
        return len(self.q)


Transform = Callable[[Scene], Scene | None]
"""A scene made another; None: the arm cannot do that."""

Progress = Callable[[Scene], float]
"""How much nearer (m) the end of a scene is to its purpose than its beginning."""


def turned(scene: Scene, angle: float, spec: RobotSpec, fixed: Sequence[str] = ()) -> Scene | None:
    """`scene` turned by `angle` rad about the base; places named in `fixed` stay. None where that leaves the joint's range.

    Raises ConfigError when the robot does not stand on an upright first joint in the world's origin.
    """
    first = spec.joints[0]
    upright = first.kind == "revolute" and first.axis[:2] == (0, 0) and first.origin[:2] == (0.0, 0.0) and first.axis[2] != 0
    if not upright or any(joint.parent < 0 for joint in spec.joints[1:]):
        raise ConfigError(
            f"turned: {first.name} of {spec.name} is not the one upright joint in the origin; allowed only such robots"
        )
    by = np.zeros(len(spec.joints))
    by[0] = angle * np.sign(first.axis[2])
    c, s = np.cos(angle), np.sin(angle)
    R = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    return _within(_changed(scene, scene.q + by, scene.action + by, lambda p: p @ R.T, fixed), spec)


def mirrored(scene: Scene, spec: RobotSpec, fixed: Sequence[str] = ()) -> Scene | None:
    """`scene` with left and right exchanged (y -> -y); places named in `fixed` stay. None where that leaves a joint's range.

    Raises ConfigError when the robot has no such symmetry.
    """
    signs = mirror_signs(spec)
    flip = np.array([1.0, -1.0, 1.0])
    return _within(_changed(scene, scene.q * signs, scene.action * signs, lambda p: p * flip, fixed), spec)


def mirror_signs(spec: RobotSpec) -> Array:
    """(J,) +1 or -1: what y -> -y does to each joint. Raises ConfigError unless origins lie in y = 0 and axes along an axis."""
    signs = np.ones(len(spec.joints))
    for i, joint in enumerate(spec.joints):
        along = np.abs(joint.axis) > 1e-9
        if along.sum() != 1 or abs(joint.origin[1]) > 1e-9:
            raise ConfigError(f"mirrored: joint {joint.name} of {spec.name} is not in the plane y = 0, allowed only such robots")
        if joint.kind == "revolute":
            signs[i] = 1.0 if along[1] else -1.0
    return signs


def moved(scene: Scene, by: tuple[float, float], spec: RobotSpec, fixed: Sequence[str] = ()) -> Scene | None:
    """`scene` moved by (dx, dy) m over the table; places named in `fixed` stay. None where the arm does not reach."""
    kinematics, offset = Kinematics(spec), np.array([*by, 0.0])
    parts = [_followed(kinematics, spec, rows, offset) for rows in (scene.q, scene.action)]
    q, action = parts
    if q is None or action is None:
        return None
    return _within(_changed(scene, q, action, lambda p: p + offset, fixed), spec)


def _followed(kinematics: Kinematics, spec: RobotSpec, rows: Array, offset: Array) -> Array | None:
    """Joints (n, J) that put the tip `offset` m beside where `rows` (n, J) do, turned alike; each begins from the one before."""
    found, step = np.empty_like(rows), np.zeros(rows.shape[1])
    for i, row in enumerate(rows):
        tip, R, _ = kinematics.tip(row)
        q = row + step
        for _ in range(ROUNDS):
            here, R_here, J = kinematics.tip(q)
            error = np.concatenate([tip + offset - here, 0.5 * np.cross(R_here.T, R.T).sum(axis=0)])
            if np.abs(error).max() < 0.1 * REACHED:
                break
            q = q + J.T @ np.linalg.solve(J @ J.T + DAMPING**2 * np.eye(6), error)
        if np.abs(error).max() > REACHED or (q < spec.q_min - 1e-9).any() or (q > spec.q_max + 1e-9).any():
            return None
        found[i], step = q, q - row
    return found


def _changed(scene: Scene, q: Array, action: Array, place: Callable[[Array], Array], fixed: Sequence[str]) -> Scene:
    return replace(scene, q=q, action=action, places={n: p if n in fixed else place(p) for n, p in scene.places.items()})


def _within(scene: Scene, spec: RobotSpec) -> Scene | None:
    """`scene`, if all its joints are in range; a command may lie past its end as far as it did before."""
    inside = (scene.q >= spec.q_min - 1e-6).all() and (scene.q <= spec.q_max + 1e-6).all()
    return scene if inside else None


def approach(mover: str, target: str) -> Progress:
    """The rule "`mover` comes nearer to `target`": how much (m) from the first row to the last."""

    def progress(scene: Scene) -> float:
        away = np.linalg.norm(scene.places[mover] - scene.places[target], axis=1)
        return float(away[0] - away[-1])

    return progress


def guided(
    scene: Scene,
    draw: Callable[[np.random.Generator], Transform],
    rule: Progress,
    copies: int,
    rng: np.random.Generator,
    share: float = 0.9,
) -> list[Scene]:
    """Up to `copies` transforms of `scene`, each kept where its progress by `rule` is at least `share` of the original's (and
    above zero); three times as many are drawn at most."""
    least, kept = max(share * rule(scene), 1e-9), []
    for _ in range(3 * copies):
        made = draw(rng)(scene)
        if made is not None and rule(made) >= least:
            kept.append(made)
        if len(kept) == copies:
            break
    return kept


def error_covariance(predicted: Array, action: Array) -> Array:
    """(A, A) covariance of a policy's errors: its actions (n, A) on recorded states less the recorded ones (n, A)."""
    error = predicted - action
    return np.atleast_2d(np.asarray(error.T @ error / max(len(error), 1)))


def strayed(states: Array, covariance: Array, scale: float, rng: np.random.Generator) -> Array:
    """`states` (n, D) with noise of `scale` times the root of `covariance` (A, A) on the first A numbers; actions stay.

    Raises DataError when the states have fewer numbers than the covariance.
    """
    size = len(covariance)
    if states.shape[1] < size:
        raise DataError(f"strayed: found states of {states.shape[1]} numbers for a covariance of {size}, allowed as many or more")
    power, axes = np.linalg.eigh(covariance)
    noise = rng.standard_normal((len(states), size)) @ (axes * np.sqrt(np.maximum(power, 0.0))).T
    return np.hstack([states[:, :size] + scale * noise, states[:, size:]])
