"""The same projection by others: quadprog and CLARABEL as oracles, quadprog and cbfpy as peers."""

import os
from collections.abc import Callable

import numpy as np
import quadprog

from robot_stack.types import Array

Peer = Callable[[Array, Array, Array, Array, Array, Array], Array]

CBFPY_ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "JAX_ENABLE_X64": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "OPENBLAS_NUM_THREADS": "1",
}
"""What cbfpy asks for on a CPU."""


def by_quadprog(u_ref: Array, weight: Array, A: Array, b: Array, lower: Array, upper: Array) -> Array | None:
    """The answer as a user of quadprog would ask for it; None where it says there is none."""
    eye = np.eye(u_ref.size)
    G = np.concatenate((A, eye, -eye)).T
    try:
        answer: Array = quadprog.solve_qp(np.diag(weight), weight * u_ref, G, np.concatenate((b, lower, -upper)))[0]
    except ValueError:
        return None
    return answer


def oracle(u_ref: Array, weight: Array, A: Array, b: Array, lower: Array, upper: Array) -> Array | None:
    """quadprog at its best: rows of unit length, and y = W^1/2 u for a perfectly conditioned Hessian."""
    length = np.sqrt((A * A).sum(axis=1))
    real, root = length > 1e-12, np.sqrt(weight)
    rows, floor = A[real] / length[real, None], b[real] / length[real]
    eye = np.diag(1.0 / root)
    y = by_quadprog_rows(np.concatenate((rows / root, eye, -eye)), np.concatenate((floor, lower, -upper)), root * u_ref)
    return None if y is None else y / root


def by_quadprog_rows(G: Array, h: Array, y_ref: Array) -> Array | None:
    """The point nearest to `y_ref` with ``G y >= h``."""
    try:
        y: Array = quadprog.solve_qp(np.eye(y_ref.size), y_ref, G.T, h)[0]
    except ValueError:
        return None
    return y


def by_clarabel(u_ref: Array, weight: Array, A: Array, b: Array, lower: Array, upper: Array) -> Array | None:
    """cvxpy with CLARABEL at tolerances of 1e-12: slow, and independent of active sets."""
    import cvxpy as cp

    u = cp.Variable(u_ref.size)
    goal = cp.Minimize(cp.sum_squares(cp.multiply(np.sqrt(weight), u - u_ref)))
    problem = cp.Problem(goal, [A @ u >= b, u >= lower, u <= upper])
    tight = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), 1e-12)
    try:
        problem.solve(solver="CLARABEL", **tight)
    except cp.SolverError:
        return None
    return None if u.value is None or not problem.status.startswith("optimal") else np.asarray(u.value)


def by_cbfpy(num: int, rows: int) -> Peer:
    """cbfpy without slack, compiled for `num` variables and `rows` rows, in the environment its README recommends.

    A single integrator at z = 0 with h(z) = R z - r: the filter's row ``Lg h u >= -alpha(h)`` is then ``R u >= r``. The bounds
    are rows too, since cbfpy fixes its own at compile time. Raises ImportError where it is not installed.
    """
    for name, value in CBFPY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import jax.numpy as jnp
    from cbfpy import CBF, CBFConfig

    eye, zero = np.eye(num), np.zeros(num)

    class Single(CBFConfig):
        def __init__(self) -> None:
            seed = (np.ones((rows + 2 * num, num)), np.zeros(rows + 2 * num), np.ones(num))
            super().__init__(n=num, m=num, relax_qp=False, init_args=seed)

        def f(self, z, R, r, weight):  # type: ignore[no-untyped-def]
            return jnp.zeros(num)

        def g(self, z, R, r, weight):  # type: ignore[no-untyped-def]
            return jnp.eye(num)

        def h_1(self, z, R, r, weight):  # type: ignore[no-untyped-def]
            return R @ z - r

        def P(self, z, u_des, R, r, weight):  # type: ignore[no-untyped-def]
            return jnp.diag(weight)

        def q(self, z, u_des, R, r, weight):  # type: ignore[no-untyped-def]
            return -weight * u_des

    cbf = CBF.from_config(Single())

    def solve(u_ref: Array, weight: Array, A: Array, b: Array, lower: Array, upper: Array) -> Array:
        R, r = np.concatenate((A, eye, -eye)), np.concatenate((b, lower, -upper))
        return np.asarray(cbf.safety_filter(zero, u_ref, R, r, weight))

    return solve
