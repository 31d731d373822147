"""What is done with a velocity that breaks rows, in this order: slow it on its path, push it aside, evade, brake."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from robot_stack.types import Array, Decision, Reason, Violation
from safety import qp
from safety.constraints import Rows
from safety.limits import Box, span


class Answer(NamedTuple):
    """The velocity `u` (J,) and what was done to get it."""

    u: Array
    decision: Decision
    violations: tuple[Violation, ...] = ()
    solver: str = "none"
    slack: float = 0.0


class GivingWay:
    """The ways of one robot: `arm` and `grip` are indices of joints, `qd_max` (J,) their speeds, `least` the slowest pace."""

    def __init__(self, arm: NDArray[np.intp], grip: NDArray[np.intp], qd_max: Array, least: float) -> None:
        self._arm, self._grip, self._least = span(arm), grip, least
        self._weight = 1.0 / qd_max[arm] ** 2

    def _arm_rows(self, rows: Rows, u: Array) -> tuple[Array, Array]:
        """`rows` on the arm's joints alone: grippers keep their part of `u` (J,)."""
        return np.ascontiguousarray(rows.A[:, self._arm]), rows.b - rows.A[:, self._grip] @ u[self._grip]

    def left(self, u: Array, wished: Array) -> float:
        """How much (0..1) of the velocity `wished` (J,) is left in `u` (J,), along it; 1 where the arm was not to move."""
        u, wished = u[self._arm], wished[self._arm]
        length2 = float(wished @ wished)
        return min(max(float(u @ wished) / length2, 0.0), 1.0) if length2 > 1e-18 else 1.0

    def slow(self, u: Array, wished: Array, braked: Array, rows: Rows, violations: tuple[Violation, ...]) -> Answer | None:
        """`u` (J,) slowed until it keeps the `rows`; None where that can't be, or too little of `wished` (J,) would be left."""
        A, b = self._arm_rows(rows, u)
        start = braked[self._arm]
        s = _slowing(A, b, start, u[self._arm] - start)
        found = qp.Solution(start + s * (u[self._arm] - start), "slowed", 0.0)
        if s <= 0.0 or not qp.missed(A, b, found.u) <= qp.TOLERANCE:
            return None
        answer = self._answer(u, found, Decision.LIMIT, violations)
        left = self.left(answer.u, wished)
        if left < self._least:
            return None
        return answer._replace(violations=(*violations, Violation(Reason.SLOWED, 1.0 - left)))

    def aside(self, u: Array, braked: Array, box: Box, rows: Rows, violations: tuple[Violation, ...]) -> Answer:
        """Project, else evade, else brake: what is done when slowing `u` (J,) is not enough."""
        arm, (A, b) = self._arm, self._arm_rows(rows, u)
        start, lower, upper = braked[arm], box.lower[arm], box.upper[arm]
        found = qp.project(u[arm], self._weight, A, b, lower, upper)
        if found.solved:
            pushed = float(np.sqrt(((found.u - u[arm]) ** 2).sum()))
            return self._answer(u, found, Decision.LIMIT, (*violations, Violation(Reason.PROJECTED, pushed)))
        if found.status == "infeasible":
            evade = qp.least_violation(start, self._weight, A, b, lower, upper, rows.soft)
            softly = evade.status == "relaxed"
            evade = evade if softly else qp.least_violation(start, self._weight, A, b, lower, upper)
            violations = (*violations, Violation(Reason.INFEASIBLE, evade.slack))
            if softly or evade.slack < qp.missed(A, b, start):
                return self._answer(u, evade, Decision.HOLD, violations)
        else:
            violations = (*violations, Violation(Reason.SOLVER))
        return self._answer(u, qp.Solution(start, found.status, qp.missed(A, b, start)), Decision.HOLD, violations)

    def _answer(self, u: Array, found: qp.Solution, decision: Decision, violations: tuple[Violation, ...]) -> Answer:
        whole = u.copy()
        whole[self._arm] = found.u
        return Answer(whole, decision, violations, found.status, found.slack)


def _slowing(A: Array, b: Array, start: Array, way: Array) -> float:
    """The largest s in 0..1 with ``A (start + s way) >= b``; -1 when there is none."""
    room, slope = b - A @ start, A @ way
    falls, rises = slope < -1e-12, slope > 1e-12
    if bool((room[~(falls | rises)] > qp.TOLERANCE).any()):
        return -1.0
    high = float((room[falls] / slope[falls]).min(initial=1.0))
    low = float((room[rises] / slope[rises]).max(initial=0.0))
    return high if low <= high else -1.0
