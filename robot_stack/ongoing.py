"""What plays while a policy decides: the plan that its next chunk should go on from, and how much of it will have been played."""

from collections import deque
from dataclasses import dataclass, field, replace

import numpy as np

from robot_stack.chunks import rows_at
from robot_stack.types import ActionChunk, Observation

WARM_UP = 3
"""The first decisions are slower than all others: each of them is forgotten at the next."""
WINDOW = 50
QUANTILE = 0.95
OFF_PLAN = 0.25
"""rad (m where prismatic). An arm measured farther from its plan is not on it: it was held, pushed or handed over."""


@dataclass
class Ongoing:
    """The newest chunk of one policy, and how long after its first row each of the last chunks arrived (ns)."""

    plan: ActionChunk | None = None
    waits: deque[int] = field(default_factory=lambda: deque(maxlen=WINDOW))
    unheard: int = WARM_UP

    def before(self, observation: Observation) -> Observation:
        """`observation` with the plan, if the arm is on it, and the QUANTILE of the waits as the time in which it goes on."""
        plan, now_ns = self.plan, observation.joints.t_ns
        if plan is None or not plan.t0_ns <= now_ns < plan.t_end_ns:
            return observation
        with np.errstate(invalid="ignore"):
            on_it = bool(np.all(np.abs(rows_at(plan, now_ns, plan.dt_ns, 1)[0] - observation.joints.q) < OFF_PLAN))
        given_ns = round(np.quantile(self.waits, QUANTILE)) if self.waits else 0
        return replace(observation, plan=plan, given_ns=given_ns) if on_it else observation

    def after(self, chunk: ActionChunk, now_ns: int) -> None:
        """`chunk` was sent at `now_ns`."""
        self.plan = chunk
        if self.unheard:
            self.unheard -= 1
            self.waits.clear()
        self.waits.append(now_ns - chunk.t0_ns)
