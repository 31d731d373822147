"""Who moved the arm, step by step, and what that says about each step: Sirius (Liu et al., RSS 2023), IWR (Mandlekar et al. 2020)
and RLIF (Luo et al., ICLR 2024).

Classes c, in Sirius's numbers: demo (-1), an episode no policy took part in; robot (0); intervention (1), a person moves the arm
in an episode of a policy; pre-intervention (-10), the robot's steps in the last `window` s before a person takes over. With P(c)
the share of class c in the dataset

    w_c = P*(c) / P(c),   P*(intervention) = 1/2,  P*(pre) = 0.002,  P*(demo) = P(demo),  P*(robot) = the rest.

Where demonstrations leave no rest, the robot's own steps get no weight; what counts in training is how weights compare. In data
without interventions nothing is known of any step, and all weigh 1.
IWR: interventions weigh (N - n_intervention) / n_intervention, all else 1. RLIF: reward -1 for the policy's last step before a
person took over, and 0 for all others; the task's own reward is not needed.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_stack.config.relabel import InterventionSettings
from robot_stack.data.catalogue import Catalogue
from robot_stack.data.from_log import MODES
from robot_stack.data.labels import Labels
from robot_stack.data.recording import Recording
from robot_stack.relabel.labeller import Labeller
from robot_stack.types import Array, Mode

DEMO, ROBOT, INTERVENTION, PRE = -1, 0, 1, -10
CLASSES = (DEMO, ROBOT, INTERVENTION, PRE)


def classes(episode: Recording, window_s: float) -> NDArray[np.int8]:
    """The class of each row (n,). An episode that does not say who moved the arm (no column `mode`) is a demonstration."""
    found = np.full(len(episode), DEMO, dtype=np.int8)
    mode = np.asarray(episode.columns.get("mode", found)).reshape(-1)
    if not (mode == MODES.index(Mode.POLICY)).any():
        return found
    human = mode == MODES.index(Mode.TELEOP)
    found[:] = np.where(human, INTERVENTION, ROBOT)
    window = round(window_s * episode.rate_hz)
    for row in takeovers(found):
        before = found[max(row - window, 0) : row]
        before[before == ROBOT] = PRE
    return found


def takeovers(found: NDArray[np.int8]) -> NDArray[np.intp]:
    """The rows at which interventions begin, each after a step of the robot."""
    human = found == INTERVENTION
    return np.flatnonzero(human[1:] & ~human[:-1]) + 1


def measure(episode: Recording, settings: InterventionSettings) -> list[int]:
    """How many rows are of each of CLASSES."""
    found = classes(episode, settings.window)
    return [int((found == c).sum()) for c in CLASSES]


def gather(facts: Mapping[str, list[int]], settings: InterventionSettings, catalogue: Catalogue) -> dict[str, Any]:
    """Rows of each of CLASSES in the dataset, and the weights of each by Sirius and by IWR."""
    counts = np.sum(list(facts.values()), axis=0)
    return {"counts": counts, "sirius": sirius(counts, settings), "iwr": iwr(counts)}


def sirius(counts: NDArray[np.int64], settings: InterventionSettings) -> Array:
    """The weight of each of CLASSES, of `counts` rows each; 0 for classes without rows."""
    share = counts / counts.sum()
    if not counts[CLASSES.index(INTERVENTION)]:
        return np.ones(len(CLASSES))
    target = np.array([share[0], 0.0, settings.intervention, settings.pre])
    target[1] = max(1.0 - target.sum(), 0.0)
    return np.asarray(np.divide(target, share, out=np.zeros(len(CLASSES)), where=share > 0))


def iwr(counts: NDArray[np.int64]) -> Array:
    """The weight of each of CLASSES: all interventions together weigh what all other rows do."""
    weights, number = np.ones(len(CLASSES)), int(counts[CLASSES.index(INTERVENTION)])
    if 0 < number < counts.sum():
        weights[CLASSES.index(INTERVENTION)] = (counts.sum() - number) / number
    return weights


def label(episode: Recording, settings: InterventionSettings, gathered: dict[str, Any]) -> Labels:
    """`intervention` the class, `sirius_weight`, `iwr_weight`, `rlif_reward`."""
    found = classes(episode, settings.window)
    place = np.array([CLASSES.index(c) for c in found.tolist()])
    reward = np.zeros(len(found), dtype=np.float32)
    reward[takeovers(found) - 1] = -1.0
    return {
        "intervention": found,
        "sirius_weight": gathered["sirius"][place].astype(np.float32),
        "iwr_weight": gathered["iwr"][place].astype(np.float32),
        "rlif_reward": reward,
    }


def tell(gathered: dict[str, Any]) -> str:
    """How many rows there are of each class."""
    names = ("demo", "robot", "intervention", "pre-intervention")
    rows = zip(names, gathered["counts"], gathered["sirius"], strict=True)
    return ", ".join(f"{name} {count:,} (weight {weight:.3g})" for name, count, weight in rows)


LABELLER = Labeller("interventions", 1, label, measure=measure, gather=gather, tell=tell)
