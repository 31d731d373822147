"""How far each step was from breaking a constraint of its robot, h: what V-OCBF learns its barrier from; h < 0 is failure.

    limits      rad (m)   min_j (q_max - q, q - q_min), and each joint's speed left, (qd_max - |qd|) * 1 s, where it was recorded
    workspace   m         min over walls and link ends  n . p - d                                    (`safety.margins`)
    keep_out    m         distance of the links to the perceived spheres, less `keep_out_margin`     (`safety.margins`)
    contact     m         the same distance without that margin, and that between links of the arm   (`safety.keep_out`)
    detector              the failure monitor's threshold less its score

A constraint that a robot does not have, or a log says nothing of, is never broken: `NEVER`. `h` is the least of those in
`margins.of`, clipped at `margins.most`: far is far. In other units than m only their signs compare.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np

from robot_stack.config.relabel import CONSTRAINTS, MarginSettings
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


def constraints(episode: Recording, q: Array, spec: RobotSpec) -> dict[str, Array]:
    """h (n,) of each of CONSTRAINTS while the joints are at `q` (n, J)."""
    kinematics, settings = Kinematics(spec), SafetySettings()
    points = kinematics.positions(q)
    away = _to_hazards(episode, points, kinematics)
    found = (
        _limits(episode, q, spec),
        workspace_margins(points, spec),
        away - settings.keep_out_margin,
        np.minimum(away, _between_links(points, kinematics, spec)),
        _to_threshold(episode),
    )
    return dict(zip(CONSTRAINTS, found, strict=True))


def _limits(episode: Recording, q: Array, spec: RobotSpec) -> Array:
    """(n,) the least room of any joint."""
    room = np.minimum(spec.q_max - q, q - spec.q_min).min(axis=1)
    if "qd" in episode.columns:
        room = np.minimum(room, (spec.qd_max - np.abs(episode.numbers("qd"))).min(axis=1))
    return np.asarray(room)


def _to_hazards(episode: Recording, points: Array, kinematics: Kinematics) -> Array:
    """(n,) m from the links of `points` (n, P, 3) to the nearest sphere that the detector saw in each row."""
    found = np.full(len(points), NEVER)
    if "hazard_p" not in episode.columns:
        return found
    centres, radii = episode.numbers("hazard_p").reshape(len(points), -1, 3), episode.numbers("hazard_radius")
    for p, radius in zip(np.swapaxes(centres, 0, 1), radii.T, strict=True):
        seen = np.isfinite(p).all(axis=1)
        if seen.any():
            found[seen] = np.minimum(found[seen], obstacle_margins(points[seen], p[seen], 0.0, kinematics) - radius[seen])
    return found


def _between_links(points: Array, kinematics: Kinematics, spec: RobotSpec) -> Array:
    """(n,) m until two links touch."""
    touching = Links(spec, kinematics, replace(SafetySettings(), keep_out_margin=0.0, self_collision_margin=0.0))
    gaps, _, _ = touching.gaps(np.swapaxes(points, 0, 1), NOTHING, 0.0)
    return np.asarray(gaps.h.min(axis=0, initial=NEVER))


def _to_threshold(episode: Recording) -> Array:
    """(n,) what is left to the monitor's threshold."""
    if not {"threshold", "score"} <= episode.columns.keys():
        return np.full(len(episode), NEVER)
    left = episode.numbers("threshold")[:, 0] - episode.numbers("score")[:, 0]
    return np.where(np.isfinite(left), left, NEVER)


@lru_cache(maxsize=4)
def _robot(name: str) -> RobotSpec:
    return load_robot(name)


def label(episode: Recording, settings: MarginSettings, gathered: None) -> Labels:
    """`h_NAME` (n,) of every constraint, and `h` (n,)."""
    name = settings.robot or episode.robot
    try:
        spec = _robot(name)
    except ConfigError as error:
        raise DataError(f"episode {episode.name}: {error}; next: margins.robot=NAME") from error
    q = episode.numbers(STATE)
    if q.shape[1] != len(spec.joints):
        raise DataError(f"episode {episode.name}: found {q.shape[1]} joints, allowed {len(spec.joints)} as {name} has")
    every = constraints(episode, q, spec)
    least = np.minimum.reduce([every[name] for name in settings.of]) if settings.of else np.full(len(q), NEVER)
    found = {f"h_{name}": np.minimum(h, NEVER).astype(np.float32) for name, h in every.items()}
    return {**found, "h": np.minimum(least, settings.most).astype(np.float32)}


LABELLER = Labeller("margins", 1, label)
