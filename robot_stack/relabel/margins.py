"""How far each step was from breaking a constraint of its robot, h: what V-OCBF learns its barrier from; h < 0 is failure.

    limits      rad (m)   min_j (q_max - q, q - q_min), and each joint's speed left, (qd_max - |qd|) * 1 s, where it was recorded
    workspace   m         min over walls and link ends  n . p - d                                    (`safety.margins`)
    keep_out    m         distance of the links to the perceived spheres, less `keep_out_margin`     (`safety.margins`)
    contact     m         the same distance without that margin, and that between links of the arm   (`safety.keep_out`)
    detector              the failure monitor's threshold less its score

A constraint that a robot does not have, or a log says nothing of, is never broken: `NEVER`. `h` is the least of those in
`margins.of`, clipped at `margins.most`: far is far. In other units than m only their signs compare.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np

from robot_stack.config.relabel import MarginSettings
from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import SafetySettings
from robot_stack.data.labels import Labels
from robot_stack.data.recording import STATE, Recording
from robot_stack.errors import ConfigError, DataError
from robot_stack.kinematics import Kinematics
from robot_stack.relabel.labeller import Labeller
from robot_stack.robot import RobotSpec
from robot_stack.types import Array
from safety.constraints import NOTHING
from safety.keep_out import Links
from safety.margins import obstacle_margins, workspace_margins

NEVER = 1e3
"""The h of what cannot be broken."""


def limits(episode: Recording, q: Array, spec: RobotSpec) -> Array:
    """(n,) the least room of any joint."""
    room = np.minimum(spec.q_max - q, q - spec.q_min).min(axis=1)
    if "qd" not in episode.columns:
        return np.asarray(room)
    left = spec.qd_max - np.abs(np.asarray(episode.columns["qd"], dtype=np.float64))
    return np.asarray(np.minimum(room, left.min(axis=1)))


def workspace(episode: Recording, q: Array, spec: RobotSpec) -> Array:
    """(n,) m inside the walls."""
    return workspace_margins(Kinematics(spec).positions(q), spec)


def keep_out(episode: Recording, q: Array, spec: RobotSpec) -> Array:
    """(n,) m to what the detector saw, beyond the margin the filter keeps."""
    return _to_hazards(episode, q, spec) - SafetySettings().keep_out_margin


def contact(episode: Recording, q: Array, spec: RobotSpec) -> Array:
    """(n,) m until a link touches what the detector saw, or another link."""
    touching = Links(spec, Kinematics(spec), replace(SafetySettings(), keep_out_margin=0.0, self_collision_margin=0.0))
    gaps, _, _ = touching.gaps(Kinematics(spec).places(Kinematics(spec).poses(q)), NOTHING, 0.0)
    return np.asarray(np.minimum(_to_hazards(episode, q, spec), gaps.h.min(axis=0, initial=NEVER)))


def detector(episode: Recording, q: Array, spec: RobotSpec) -> Array:
    """(n,) what is left to the monitor's threshold."""
    if not {"threshold", "score"} <= episode.columns.keys():
        return np.full(len(q), NEVER)
    left = np.asarray(episode.columns["threshold"], dtype=np.float64) - np.asarray(episode.columns["score"], dtype=np.float64)
    return np.where(np.isfinite(left), left, NEVER).reshape(-1)


def _to_hazards(episode: Recording, q: Array, spec: RobotSpec) -> Array:
    """(n,) m from the links to the nearest perceived sphere of each row."""
    found = np.full(len(q), NEVER)
    if "hazard_p" not in episode.columns:
        return found
    centres = np.asarray(episode.columns["hazard_p"], dtype=np.float64).reshape(len(q), -1, 3)
    radii = np.asarray(episode.columns["hazard_radius"], dtype=np.float64).reshape(len(q), -1)
    kinematics = Kinematics(spec)
    points = kinematics.positions(q)
    for p, radius in zip(np.swapaxes(centres, 0, 1), radii.T, strict=True):
        seen = np.isfinite(p).all(axis=1)
        if seen.any():
            found[seen] = np.minimum(found[seen], obstacle_margins(points[seen], p[seen], 0.0, kinematics) - radius[seen])
    return found


CONSTRAINTS: dict[str, Callable[[Recording, Array, RobotSpec], Array]] = {
    "limits": limits,
    "workspace": workspace,
    "keep_out": keep_out,
    "contact": contact,
    "detector": detector,
}


@lru_cache(maxsize=4)
def _robot(name: str) -> RobotSpec:
    return load_robot(name)


def label(episode: Recording, settings: MarginSettings, gathered: None) -> Labels:
    """`h_NAME` (n,) of every constraint, and `h` (n,)."""
    if unknown := sorted(set(settings.of) - CONSTRAINTS.keys()):
        raise ConfigError(f"margins.of: found {', '.join(unknown)}, allowed {', '.join(CONSTRAINTS)}")
    name = settings.robot or episode.robot
    try:
        spec = _robot(name)
    except ConfigError as error:
        raise DataError(f"episode {episode.name}: {error}; next: margins.robot=NAME") from error
    q = np.asarray(episode.columns[STATE], dtype=np.float64).reshape(len(episode), -1)
    if q.shape[1] != len(spec.joints):
        raise DataError(f"episode {episode.name}: found {q.shape[1]} joints, allowed {len(spec.joints)} as {name} has")
    every = {name: np.asarray(fn(episode, q, spec)) for name, fn in CONSTRAINTS.items()}
    least = np.minimum.reduce([every[name] for name in settings.of]) if settings.of else np.full(len(q), NEVER)
    found = {f"h_{name}": np.minimum(h, NEVER).astype(np.float32) for name, h in every.items()}
    return {**found, "h": np.minimum(least, settings.most).astype(np.float32)}


LABELLER = Labeller("margins", 1, label)
