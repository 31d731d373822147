"""The projection of a wished velocity onto the safe ones: ``min ||u - u_ref||^2_W  s.t.  A u >= b,  lower <= u <= upper``.

One violated row has a closed form (the projection onto a half-space); everything else goes to daqp, a dual active-set solver.
At its default tolerance of 1e-6 it calls contradictions up to that size solved; asked for 1e-11, with rows scaled to unit length,
it is exact to rounding (`robot-stack bench qp`). The answer is checked here and believed only then: no status of the solver is
taken on trust.
"""

from math import isfinite
from typing import NamedTuple

import daqp
import numpy as np
from numpy.typing import NDArray

from robot_stack.types import Array

PRIMAL = 1e-11
"""What daqp may miss a bound by, in units of a row scaled to unit length."""

TOLERANCE = 1e-9
"""What a row may be missed by in what this module returns."""

SLACK_WEIGHT = 1e5
"""Price of the squared slack in `least_violation` against 1 for a whole range of speed."""

EMPTY = 1e-12
"""The least length a row is divided by."""

ITERATIONS = 1000
"""What daqp may take: ten times what 64 rows need, a millisecond at most."""

UNBOUNDED = 1e30
"""daqp's infinity."""

SOLVED = frozenset({"none", "closed_form", "daqp"})


class Solution(NamedTuple):
    """`u` (n,); `status`: none (`u_ref` is fine), closed_form, daqp, relaxed, infeasible, failed; `slack`: worst miss."""

    u: Array
    status: str
    slack: float

    @property
    def solved(self) -> bool:
        """True when every row and bound holds."""
        return self.status in SOLVED


def missed(A: Array, b: Array, u: Array) -> float:
    """The most any row of ``A u >= b`` is missed by (0 with none missed); inf when not a number."""
    if b.size == 0:
        return 0.0
    worst = float((b - A.dot(u)).max())
    return max(worst, 0.0) if isfinite(worst) else float("inf")


def project(u_ref: Array, weight: Array, A: Array, b: Array, lower: Array, upper: Array) -> Solution:
    """The `u` (n,) nearest to `u_ref` in the norm of `weight` (n,) > 0 with ``A u >= b`` (m rows) and ``lower <= u <= upper``.

    On "infeasible" and "failed" the `u` returned is inside the bounds and must not be used as an answer.
    """
    u = np.minimum(np.maximum(u_ref, lower), upper)
    # a sum of squares is finite only when every number in it is, and a dot product warns of nothing
    if not isfinite(u_ref.dot(u_ref) + u.dot(u) + b.dot(b) + np.vdot(A, A)):
        return Solution(u, "failed", float("inf"))
    if missed(A, b, u) <= TOLERANCE:
        return Solution(u, "none", 0.0)
    if b.size == 1 and (closed := _half_space(u_ref, weight, A[0], float(b[0]), lower, upper)) is not None:
        return Solution(closed, "closed_form", 0.0)
    return _solve(u_ref, weight, A, b, lower, upper)


def _half_space(u_ref: Array, weight: Array, a: Array, b: float, lower: Array, upper: Array) -> Array | None:
    """``u_ref + W^-1 a (b - a u_ref) / (a W^-1 a)``, or None where that leaves the bounds or misses the row."""
    step = a / weight
    length = float(a @ step)
    if length <= 1e-18:
        return None
    u = u_ref + step * ((b - float(a @ u_ref)) / length)
    inside = bool((u >= lower).all() and (u <= upper).all())
    return u if inside and b - float(a @ u) <= TOLERANCE else None


def _solve(u_ref: Array, weight: Array, A: Array, b: Array, lower: Array, upper: Array) -> Solution:
    length = np.maximum(np.sqrt(np.einsum("ij,ij->i", A, A)), EMPTY)
    rows, floor = A / length[:, None], b / length
    u, flag = _daqp(weight, -weight * u_ref, rows, floor, lower, upper)
    if not isfinite(u.dot(u)):
        return Solution(np.minimum(np.maximum(u_ref, lower), upper), "failed", float("inf"))
    u = np.minimum(np.maximum(u, lower), upper)
    if flag == 1 and missed(rows, floor, u) <= TOLERANCE:
        return Solution(u, "daqp", 0.0)
    return Solution(u, "infeasible" if flag in (-1, 1) else "failed", missed(A, b, u))


def _daqp(weight: Array, f: Array, A: Array, b: Array, lower: Array, upper: Array) -> tuple[Array, int]:
    """``min u diag(weight) u / 2 + f u`` under the rows and bounds; the answer and daqp's flag (1: solved, -1: infeasible)."""
    n, m = weight.size, b.size
    H = np.zeros((n, n))
    H.flat[:: n + 1] = weight
    low, high = np.concatenate((lower, b)), np.full(n + m, UNBOUNDED)
    high[:n] = upper
    sense = np.zeros(n + m, np.int32)
    u, _, flag, _ = daqp.solve(H, f, np.ascontiguousarray(A), high, low, sense, primal_tol=PRIMAL, iter_limit=ITERATIONS)
    return np.asarray(u, dtype=float), int(flag)


def least_violation(
    u_ref: Array, weight: Array, A: Array, b: Array, lower: Array, upper: Array, soft: NDArray[np.bool_] | None = None
) -> Solution:
    """The `u` inside the bounds that misses ``A u >= b`` least, nearest to `u_ref` among those.

    With `soft` (m,) bool only those rows may be missed. Status "relaxed", or "failed" with no answer, as where the rows that are
    not soft contradict each other; `slack` says how much the worst row is missed by.
    """
    gives = np.ones(b.size) if soft is None else soft.astype(float)
    n, rows = u_ref.size, np.concatenate((A, gives[:, None]), axis=1)
    f, low, high = np.append(-weight * u_ref, 0.0), np.append(lower, 0.0), np.append(upper, UNBOUNDED)
    u, flag = _daqp(np.append(weight, SLACK_WEIGHT), f, rows, b, low, high)
    u = np.minimum(np.maximum(u[:n], lower), upper)
    if flag != 1 or not isfinite(u.dot(u)) or missed(A[gives == 0.0], b[gives == 0.0], u) > TOLERANCE:
        return Solution(np.minimum(np.maximum(u_ref, lower), upper), "failed", float("inf"))
    return Solution(u, "relaxed", missed(A, b, u))
