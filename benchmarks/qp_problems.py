"""Random projections ``min ||u - u_ref||^2_W  s.t.  A u >= b,  lower <= u <= upper`` of every kind a filter can meet, and worse.

Each problem is feasible or not by construction: a feasible one carries a point that keeps every row in floating point, an
infeasible one two rows (or a row and the bounds) that contradict each other by a known gap.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from robot_stack.types import Array

KINDS = (
    "plain",  # random rows around an inner point
    "crowded",  # the same, with hardly any room
    "duplicate",  # the same rows several times, also scaled
    "near_parallel",  # rows 1e-3 to 1e-8 rad apart
    "badly_scaled",  # rows of length 1e-4 to 1e4
    "zero_rows",  # some rows 0 >= b with b <= 0
    "vertex",  # all rows meet in one point
    "flat",  # opposite rows leave no inner point
    "contradiction",  # opposite rows with a gap
    "beyond",  # a row no point of the bounds can keep
)


class Problem(NamedTuple):
    """The six arguments of `project`, the kind, and a point that keeps everything (None: there is none)."""

    u_ref: Array
    weight: Array
    A: Array
    b: Array
    lower: Array
    upper: Array
    kind: str
    inside: Array | None

    @property
    def arguments(self) -> tuple[Array, ...]:
        """What `project` takes."""
        return (self.u_ref, self.weight, self.A, self.b, self.lower, self.upper)


def problems(count: int, seed: int = 0, size: tuple[int, int] | None = None) -> Iterator[Problem]:
    """`count` problems, all kinds in turn, of 7-14 variables and 1-64 rows, or of one `size` (variables, rows)."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        n, m = size or (int(rng.integers(7, 15)), int(rng.integers(1, 65)))
        yield _problem(rng, n, m, KINDS[i % len(KINDS)])


def _problem(rng: np.random.Generator, n: int, m: int, kind: str) -> Problem:
    upper = rng.uniform(0.1, 1.5, n)
    lower = -rng.uniform(0.1, 1.5, n)
    x = rng.uniform(0.8 * lower, 0.8 * upper)
    A = _rows(rng, n, m, kind)
    room = np.zeros(m) if kind in ("vertex", "flat") else rng.uniform(0.0, 0.02 if kind == "crowded" else 0.5, m)
    b = A @ x - room * np.sqrt((A * A).sum(axis=1))
    inside: Array | None = x
    if kind in ("contradiction", "beyond"):
        inside = None
        b = _broken(rng, A, b, lower, upper, kind)
    elif kind == "flat" and m > 1:
        A[1] = -A[0]
        b[1] = -b[0]
    if inside is not None:  # rounding must not make a liar of what is called feasible
        b = np.minimum(b, A @ inside)
    u_ref = rng.normal(size=n) * rng.choice([0.3, 1.0, 3.0])
    return Problem(u_ref, rng.uniform(0.05, 30.0, n), A, b, lower, upper, kind, inside)


def _rows(rng: np.random.Generator, n: int, m: int, kind: str) -> Array:
    A = rng.normal(size=(m, n))
    if kind == "duplicate":
        A = A[rng.integers(0, max(1, m // 3), m)] * rng.choice([1.0, 1.0, 2.0, 0.1], size=(m, 1))
    if kind == "near_parallel":
        A = A[rng.integers(0, max(1, m // 3), m)] + rng.normal(size=(m, n)) * 10.0 ** rng.uniform(-8, -3, size=(m, 1))
    if kind == "badly_scaled":
        A *= 10.0 ** rng.uniform(-4, 4, size=(m, 1))
    if kind == "zero_rows":
        A[rng.random(m) < 0.4] = 0.0
    return A


def _broken(rng: np.random.Generator, A: Array, b: Array, lower: Array, upper: Array, kind: str) -> Array:
    """`b` with a contradiction of 1e-4 to 1 in it, in units of a row of unit length; `A` is changed in place."""
    gap = 10.0 ** rng.uniform(-4, 0)
    b, length = b.copy(), float(np.sqrt(A[0] @ A[0]))
    if kind == "contradiction" and b.size > 1:
        A[1] = -A[0]
        b[1] = -b[0] + gap * length
    else:
        b[0] = np.where(A[0] > 0, upper, lower) @ A[0] + gap * length
    return b
