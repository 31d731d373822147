"""Importance weights mu (E, H) of the logged decisions, from both policies' densities: ``rho_t = pi(a_t|s_t) / pi_b(a_t|s_t)``.

* `cumulative`: ``mu_t = rho_0 ... rho_t`` (Precup, Sutton and Singh, ICML 2000). Unbiased; its variance grows like exp(t).
* `marginal`: ``mu_t = w_t(s_t) rho_t`` with ``w_t = d_t^pi / d_t^b``, the ratio of the densities of states, by the recursion

      w_0 = 1        w_{t+1}(s') = E_b[ w_t(s_t) rho_t | s_{t+1} = s' ]

  (Xie, Ma and Wang, NeurIPS 2019, with the table replaced by ridge regression on features of s', and w_t scaled to
  its known mean, 1).
  Biased by what the features cannot express; on a table its error grows like a power of t, not like exp(t).
"""

import numpy as np

from robot_stack.errors import DataError
from robot_stack.replay.ope.logged import LoggedData, Mask, Proposals
from robot_stack.types import Array


def log_ratios(data: LoggedData, proposals: Proposals) -> Array:
    """ln rho (E, H), 0 after the end. Raises DataError where a density is missing or NaN, or where an episode merely stops."""
    logged = data.episodes[0].log_density
    if logged is None or proposals.log_density is None:
        missing = "the behaviour policy's" if logged is None else "the target policy's"
        raise DataError(
            f"importance weights: {missing} log densities: found none, allowed one for each logged action; "
            "next: log them with the action, or use Estimator.FQE, which needs none"
        )
    cut = [i for i, e in enumerate(data.episodes) if not e.terminal and len(e) < data.horizon]
    if cut:
        shortest = min(len(data.episodes[i]) for i in cut)
        raise DataError(
            f"importance weights: found {len(cut)} episodes that stop before the horizon {data.horizon} and are not terminal; "
            f"allowed none; next: set the horizon to {shortest}, or use Estimator.FQE"
        )
    ratios = np.zeros((len(data.episodes), data.horizon))
    for i, (episode, density) in enumerate(zip(data.episodes, proposals.log_density, strict=True)):
        n = min(len(episode), data.horizon)
        assert episode.log_density is not None, "LoggedData holds episodes of one kind"
        ratios[i, :n] = density[:n] - episode.log_density[:n]
    if np.isnan(ratios).any() or (ratios == np.inf).any():
        raise DataError("importance weights: found NaN or infinite target densities, allowed finite or minus infinity")
    return ratios


def cumulative(ratios: Array) -> Array:
    """mu (E, H) of per-decision importance sampling. Raises DataError where no episode has any weight, or one overflows."""
    with np.errstate(over="ignore"):
        mu: Array = np.exp(np.cumsum(ratios, axis=1))
    if not np.isfinite(mu).all():
        raise DataError(
            f"importance weights: found one of exp({np.cumsum(ratios, axis=1).max():.0f}), allowed finite; "
            "next: look whether both log densities are of the same action, in the same unit"
        )
    return _overlapping(mu)


def marginal(ratios: Array, psi: Array, alive: Mask, counts: Array, ridge: float) -> Array:
    """mu (E, H) from features `psi` (E, H, D) of the states s_t; `alive` (E, H); each episode counted `counts` (E,) times."""
    rho = np.exp(np.minimum(ratios, 700.0))
    mu = np.empty_like(rho)
    mu[:, 0] = rho[:, 0]
    for t in range(1, rho.shape[1]):
        w, living = np.zeros(len(rho)), alive[:, t]
        if counts[~living].sum() > 0:
            w[~living] = np.average(mu[~living, t - 1], weights=counts[~living])
        if counts[living].sum() > 0:
            w[living] = _regressed(psi[living, t], mu[living, t - 1], counts[living], ridge)
        mu[:, t] = w * rho[:, t] * (counts.sum() / max(float(counts @ w), 1e-300))
    return _overlapping(mu)


def _regressed(psi: Array, y: Array, counts: Array, ridge: float) -> Array:
    """Ridge regression of y on psi, shrunk to its mean; a ratio of densities is never negative."""
    mean = float(np.average(y, weights=counts))
    weighted = psi * counts[:, None]
    gram = psi.T @ weighted + ridge * counts.sum() * np.eye(psi.shape[1])
    fitted: Array = np.maximum(mean + psi @ np.linalg.solve(gram, weighted.T @ (y - mean)), 0.0)
    return fitted


def _overlapping(mu: Array) -> Array:
    if not (mu.sum(axis=0) > 0).all():
        first = int(np.argmin(mu.sum(axis=0) > 0))
        raise DataError(
            f"importance weights: from decision {first} on, found no logged episode the target policy could have taken; "
            "allowed at least one; next: log with a policy that tries what the target does, or use Estimator.FQE and mistrust it"
        )
    return mu


def effective_episodes(mu: Array) -> float:
    """min_t (sum mu)^2 / sum mu^2: how many on-policy episodes the weights are worth (Kong 1992), at the worst decision."""
    return float(((mu.sum(axis=0) ** 2) / (mu * mu).sum(axis=0)).min())
