"""Real-time chunking (Black, Galliker and Levine 2025): the new chunk goes on from the one that plays while it is computed.

The rows y of the plan that will have been played by then are given, those after them should be near. In normalised modes x of a
joint the rows of a chunk are linear, rows = A x + c with A = basis^T diag(std). A sampler's estimate x' of the clean modes is
taken as the mean of N(x', v I) and conditioned on the plan's rows, each known to the variance r_i = s (1 - w_i) / w_i:

    x' + G (y - rows(x')),   G = v A^T (v A A^T + diag r)^-1,   s the mean of diag A A^T,

with the paper's soft mask w. At the last step of sampling the estimate is the sample, so that given rows come out as planned.
The paper pulls every step by a vector-Jacobian product through the network instead (pseudo-inverse guidance); where rows are
linear in what is sampled, the estimate itself can be conditioned, and the exported graph needs no gradient.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from robot_stack.types import Array

HARD = 0.02
SPREAD = 0.04
"""1 - w of a given row, and v: how much the modes vary once the observation is known, of their variance over the data.

What counts is HARD / v. Few modes have to carry many given rows: held tighter (1e-4 / 0.04), nothing is left for the observation
to decide, and the simulated arm fails (2 of 12 tries instead of 8 of 10 succeed).
"""

Guide = Callable[[Tensor], Tensor]
"""The clean modes a sampler expects (N, D), corrected."""


def as_is(modes: Tensor) -> Tensor:
    """The guide of a policy that has no plan to go on from."""
    return modes


def soft_mask(rows: int, given: int) -> Array:
    """w (T,): 1 for the first `given` rows, then c (e^c - 1) / (e - 1) with c falling evenly, 0 where the plan has ended (eq. 5).

    The plan is taken to end `given` rows before the chunk does, as when one decision follows the other.
    """
    end = rows - given
    c = np.clip((end - np.arange(rows)) / max(1, end - given + 1), 0.0, 1.0)
    w: Array = np.where(np.arange(rows) < given, 1.0 - HARD, c * np.expm1(c) / np.expm1(1.0))
    return w


def freedom(rows: int) -> Array:
    """1 - w (1 + T // 2, T) for a plan of which 0 (no plan), 1, 2, ... rows are given, exactly 0 where a row is given: how far
    what comes after sampling may move each row, so that it neither moves what is being played nor breaks where that ends."""
    table = np.ones((1 + rows // 2, rows))
    for given in range(1, len(table)):
        table[given] = np.where(np.arange(rows) < given, 0.0, 1.0 - soft_mask(rows, given))
    return table


def gains(basis: Array, std: Array) -> Array:
    """G (1 + T // 2, J, K, T) for a plan of which 0 (no plan), 1, 2, ... rows are given; `basis` (K, T), `std` (K, J)."""
    (modes, rows), joints = basis.shape, std.shape[1]
    table = np.zeros((1 + rows // 2, joints, modes, rows))
    for given in range(1, len(table)):
        w = soft_mask(rows, given)
        seen = w > 0.0
        for j in range(joints):
            a = (basis * std[:, j : j + 1]).T[seen]
            covariance = a @ a.T
            r = np.trace(covariance) / len(a) * (1.0 - w[seen]) / w[seen]
            table[given, j][:, seen] = np.linalg.solve(covariance + np.diag(r / SPREAD), a).T
    return table


def guided(gain: Tensor, plan: Tensor, to_rows: Callable[[Tensor], Tensor]) -> Guide:
    """The guide onto `plan` (T, J), relative to the joints as `to_rows`' (N, T, J) of modes (N, D) are; `gain` (J, K, T)."""

    def guide(modes: Tensor) -> Tensor:
        missed = (plan - to_rows(modes)).transpose(1, 2)[..., None]
        return modes + torch.matmul(gain, missed)[..., 0].transpose(1, 2).flatten(1)

    return guide
