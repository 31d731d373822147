"""The rest of a graph that is well, for a control loop that runs without one."""

import time

import numpy as np

from robot_stack.nodes.arm_loop import Inbox
from robot_stack.types import Array, FailureScore, Hazards, JointCommand


def everybody_speaks(inbox: Inbox, q: Array, score: float = 0.0) -> int:
    """No hazard near, a `score` (1 is an alarm), a fallback that stays at `q` (J,): said now, which is returned (ns)."""
    now_ns = time.monotonic_ns()
    inbox.hazards.append(Hazards(now_ns, np.full((1, 3), 2.0), np.full(1, 0.05), np.zeros(1), np.zeros(1)))
    inbox.put_score(FailureScore(now_ns, score, 1.0))
    inbox.fallback.append(JointCommand(now_ns, q))
    return now_ns
