"""A wish of a control-affine plant made safe, many states at once, in closed form:

    min ||u - u_ref||^2   s.t.   LfB + LgB u + kappa(B - delta) >= 0,   ||u|| <= r
    kappa(s) = alpha s  for s >= 0,   recovery s  below

One half-space and one ball: the answer is u_ref, its projection onto the ball, onto the half-space, or the nearest point of the
circle where both meet (Karush-Kuhn-Tucker, one case each). Where they do not meet, the u of the ball that misses the row least
is returned and the miss is reported, never hidden.

`recovery` says how hard a state below the level is led back: at the gentle alpha that keeps the filter out of the way inside,
a boat outside drifts onto the rock before it has come back (`bench boat`).

A learned B and a learned f, g come in as they are: what they get wrong is measured in closed loop, not assumed away. The
own filter of the arm, with many rows and joint limits, is `safety.filter`.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from robot_stack.errors import ContractError
from robot_stack.types import Array


class StateBarrier(Protocol):
    """`safety.barrier.Barrier`, `safety.avoid_value.GridBarrier`, or a formula."""

    def values_and_gradients(self, states: Array) -> tuple[Array, Array]:
        """B (n,) and dB/dx (n, D) at `states` (n, D)."""
        ...


class AffinePlant(Protocol):
    """`safety.dynamics_model.DynamicsModel`, or a plant whose equations are known."""

    def fields(self, states: Array) -> tuple[Array, Array]:
        """f (n, D) and g (n, D, A) of ``x' = f(x) + g(x) u`` at `states` (n, D)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Filtered:
    """`u` (n, A); `missed` (n,): by how much the row is missed, in units of B per s; 0 where it is kept."""

    u: Array
    missed: Array


@dataclass(frozen=True, slots=True)
class AffineFilter:
    """`alpha` and `recovery` (1/s; None: as alpha) and level `delta` of the row, actions in a ball of `radius`. Raises
    ContractError on what is negative or no number."""

    barrier: StateBarrier
    plant: AffinePlant
    alpha: float = 1.0
    level: float = 0.0
    radius: float = 1.0
    recovery: float | None = None

    def __post_init__(self) -> None:
        if not (self.alpha >= 0 and self._recovery >= 0 and self.radius > 0 and np.isfinite(self.level)):
            found = f"alpha {self.alpha}, recovery {self.recovery}, level {self.level}, radius {self.radius}"
            raise ContractError(f"AffineFilter: found {found}; allowed alpha >= 0, recovery >= 0, radius > 0, a finite level")

    @property
    def _recovery(self) -> float:
        return self.alpha if self.recovery is None else self.recovery

    def check(self, states: Array, u_ref: Array) -> Filtered:
        """The nearest safe action to each wish `u_ref` (n, A) at `states` (n, D)."""
        value, gradient = self.barrier.values_and_gradients(states)
        f, g = self.plant.fields(states)
        LfB = np.einsum("nd,nd->n", gradient, f)
        LgB = np.einsum("nd,nda->na", gradient, g)
        spare = value - self.level
        kappa = np.where(spare >= 0, self.alpha, self._recovery) * spare
        return project_rows(u_ref, LgB, -LfB - kappa, self.radius)


def project_rows(u_ref: Array, a: Array, b: Array, radius: float) -> Filtered:
    """The nearest u (n, A) to `u_ref` with ``a u >= b`` (a (n, A), b (n,)) and ``||u|| <= radius``. A wish that is not finite is
    taken as none (0); a row that is not finite can't be kept: the answer is 0 and `missed` is inf."""
    known = np.isfinite(a).all(axis=1) & np.isfinite(b)
    a, b = np.where(known[:, None], a, 0.0), np.where(known, b, 0.0)
    wish = _into_ball(np.where(np.isfinite(u_ref).all(axis=1, keepdims=True), u_ref, 0.0), radius)
    length = np.linalg.norm(a, axis=1)
    normal = a / np.maximum(length, 1e-12)[:, None]
    least = b / np.maximum(length, 1e-12)
    fine = (a * wish).sum(axis=1) >= b
    u = np.where(fine[:, None], wish, _onto_both(wish, u_ref, normal, least, radius))
    u = np.where(known[:, None], u, 0.0)
    missed = np.where(known, np.maximum(b - (a * u).sum(axis=1), 0.0), np.inf)
    return Filtered(u, np.where(missed <= 1e-9 * (1.0 + np.abs(b)), 0.0, missed))


def _into_ball(u: Array, radius: float) -> Array:
    length = np.linalg.norm(u, axis=1, keepdims=True)
    inside: Array = u * np.minimum(1.0, radius / np.maximum(length, 1e-12))
    return inside


def _onto_both(wish: Array, u_ref: Array, normal: Array, least: Array, radius: float) -> Array:
    """For wishes that miss the row: `normal` (n, A) of length 1, ``normal u >= least``."""
    u_ref = np.where(np.isfinite(u_ref).all(axis=1, keepdims=True), u_ref, wish)
    along = (normal * u_ref).sum(axis=1)
    plane = u_ref + normal * (np.maximum(least, along) - along)[:, None]
    inside = np.linalg.norm(plane, axis=1) <= radius
    height = np.clip(least, -radius, radius)
    tangent = u_ref - normal * along[:, None]
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-12)
    rim = normal * height[:, None] + tangent * np.sqrt(np.maximum(radius**2 - height**2, 0.0))[:, None]
    nearest: Array = np.where(inside[:, None], plane, rim)
    return nearest
