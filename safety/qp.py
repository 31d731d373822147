"""The projection of a wished velocity onto the safe ones: ``min ||u - u_ref||^2_W  s.t.  A u >= b,  lower <= u <= upper``.

One violated row has a closed form (the projection onto a half-space); everything else goes to daqp, a dual active-set solver
that is exact to its 1e-6 tolerance, so rows are scaled to unit length and asked for 1e-6 more than needed. The answer is
checked here and believed only then: no status of the solver is taken on trust.
"""

from typing import NamedTuple

import daqp
import numpy as np

from robot_stack.types import Array

MARGIN = 1e-6
"""What daqp may miss a bound by, in units of a row scaled to unit length."""

TOLERANCE = 1e-9
"""What a row may be missed by in what this module returns."""

SLACK_WEIGHT = 1e5
"""Price of the squared slack in `least_violation` against 1 for a whole range of speed."""

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
    worst = float((b - A @ u).max())
    return max(worst, 0.0) if np.isfinite(worst) else float("inf")


def project(u_ref: Array, weight: Array, A: Array, b: Array, lower: Array, upper: Array) -> Solution:
    """The `u` (n,) nearest to `u_ref` in the norm of `weight` (n,) > 0 with ``A u >= b`` (m rows) and ``lower <= u <= upper``.

    On "infeasible" and "failed" the `u` returned is `u_ref` inside the bounds and must not be used as an answer.
    """
    u = np.minimum(np.maximum(u_ref, lower), upper)
    if not (np.isfinite(u).all() and np.isfinite(A).all() and np.isfinite(b).all()):
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
    length = np.sqrt(np.einsum("ij,ij->i", A, A))
    length = np.where(length > 1e-12, length, 1.0)
    rows, floor = A / length[:, None], b / length + MARGIN
    low, high = np.concatenate([lower, floor]), np.append(upper, np.full(b.size, UNBOUNDED))
    u, flag = _daqp(np.diag(weight), -weight * u_ref, rows, low, high)
    u = np.minimum(np.maximum(u, lower), upper)
    if not np.isfinite(u).all():
        return Solution(np.minimum(np.maximum(u_ref, lower), upper), "failed", float("inf"))
    slack = missed(A, b, u)
    if flag == 1 and slack <= TOLERANCE:
        return Solution(u, "daqp", 0.0)
    return Solution(u, "infeasible" if flag in (-1, 1) else "failed", slack)


def _daqp(H: Array, f: Array, A: Array, lower: Array, upper: Array) -> tuple[Array, int]:
    sense = np.zeros(lower.size, dtype=np.int32)
    u, _, flag, _ = daqp.solve(H, f, np.ascontiguousarray(A), upper, lower, sense)
    return np.asarray(u, dtype=float), int(flag)


def least_violation(u_ref: Array, weight: Array, A: Array, b: Array, lower: Array, upper: Array) -> Solution:
    """The `u` inside the bounds that misses ``A u >= b`` least, nearest to `u_ref` among those.

    Status "relaxed", or "failed" with no answer; `slack` says how much the worst row is missed by.
    """
    n, m = u_ref.size, b.size
    H = np.diag(np.append(weight, SLACK_WEIGHT))
    rows = np.hstack([A, np.ones((m, 1))])
    low, high = np.concatenate([lower, [0.0], b]), np.append(upper, np.full(m + 1, UNBOUNDED))
    u, flag = _daqp(H, np.append(-weight * u_ref, 0.0), rows, low, high)
    u = np.minimum(np.maximum(u[:n], lower), upper)
    if flag != 1 or not np.isfinite(u).all():
        return Solution(np.minimum(np.maximum(u_ref, lower), upper), "failed", float("inf"))
    return Solution(u, "relaxed", missed(A, b, u))
