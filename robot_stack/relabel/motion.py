"""One episode as relabellers that need no pictures see it: measured and commanded numbers at an even rate."""

from dataclasses import dataclass

import numpy as np

from robot_stack.data.recording import ACTION, STATE, Recording
from robot_stack.errors import DataError
from robot_stack.types import Array

REWARDS = ("next.reward", "reward")


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """n rows at `rate_hz`: `q` (n, D) measured, `action` (n, A) commanded, `reward` (n,) or None. Raises DataError if not so."""

    name: str
    rate_hz: float
    q: Array
    action: Array
    reward: Array | None = None

    def __post_init__(self) -> None:
        if self.q.ndim != 2 or self.action.ndim != 2 or len(self.q) != len(self.action) or not len(self.q):
            raise DataError(
                f"episode {self.name}: found q {self.q.shape}, action {self.action.shape}, allowed (n, D) and (n, A), n > 0"
            )

    def __len__(self) -> int:
        return len(self.q)

    @property
    def follows(self) -> bool:
        """Actions are of as many numbers as states: positions to be at."""
        return bool(self.q.shape[1] == self.action.shape[1])


def motion_of(found: Recording) -> Motion:
    """The numbers of a recording; without actions (or with none that is finite) the next state is taken for the action.

    Raises DataError without a state.
    """
    if STATE not in found.columns:
        raise DataError(f"episode {found.name}: found no {STATE}, allowed one (n, D); see `data info`")
    q = found.numbers(STATE)
    action = found.numbers(ACTION) if ACTION in found.columns else np.full_like(q, np.nan)
    if not np.isfinite(action).any():
        action = np.concatenate([q[1:], q[-1:]])
    rewards = next((name for name in REWARDS if name in found.columns), None)
    return Motion(found.name, found.rate_hz, q, action, None if rewards is None else found.numbers(rewards)[:, 0])
