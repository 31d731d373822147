"""The log of the boat as the learners see it: one row a decision of the crew, not one a step of the integrator.

A crew holds its action for `hold` steps. Over one step of 5 ms the best and the worst action differ by 1 cm of margin, less than
a critic's error, so the expectile over actions picks out noise; over a decision of 50 ms they differ by 10 cm. And 0.99 a step
forgets in half a second what 0.99 a decision remembers for five.
"""

import numpy as np

from drivers.boat import BoatLog
from robot_stack.types import Array
from safety.hindsight import Transitions

H_MIN, H_MAX = -0.2, 0.5
"""Margins (m) are clipped here: what lies deep in a rock or far from all is alike."""


def decisions(log: BoatLog, hold: int) -> tuple[Transitions, Array]:
    """Rows `hold` steps apart, h the smallest on the way, and their mean reward (M,); those the log cuts short are left out."""
    starts = np.flatnonzero(np.append(True, log.done[:-1]))
    number = np.cumsum(np.append(True, log.done[:-1])) - 1
    rows = np.flatnonzero((np.arange(len(log)) - starts[number]) % hold == 0)
    last = rows + hold - 1
    rows = rows[(last < len(log)) & (log.trajectory[np.minimum(last, len(log) - 1)] == log.trajectory[rows])]
    steps = rows[:, None] + np.arange(hold)
    trajectory = log.trajectory[rows]
    done = np.append(trajectory[1:] != trajectory[:-1], True)
    h = np.clip(log.h[steps].min(axis=1), H_MIN, H_MAX)
    data = Transitions(log.states[rows], log.actions[rows], log.next_states[rows + hold - 1], h, done, trajectory)
    return data, log.reward[steps].mean(axis=1)


def free_rows(log: BoatLog, low: tuple[float, float], high: tuple[float, float]) -> Array:
    """Mask (M,): rows in which no bank stopped the boat; only those obey ``x' = f + g u``."""
    return ((log.next_states > np.array(low)) & (log.next_states < np.array(high))).all(axis=1)
