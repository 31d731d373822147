"""The value of a policy from logs, with an interval: `estimate(data, policy, Estimator.FQE) -> Estimate(value, low, high)`.

Letters: rho_t ratio of densities, mu_t importance weight (`weights.py`), Q_k and V_k with k = H - t decisions left (`fqe.py`).

    FQE            E[V_H(s_0)]
    PDIS, MIS      E[sum_t gamma^t mu_t r_t]                                            mu cumulative, marginal
    DR, MDR        E[sum_t gamma^t (mu_t (r_t - Q_t(s_t, a_t)) + mu_{t-1} V_t(s_t))]    mu cumulative, marginal; mu_{-1} = 1

PDIS: Precup, Sutton and Singh (ICML 2000). DR: Jiang and Li (ICML 2016), Thomas and Brunskill (ICML 2016); right on average if
the densities or Q are. MIS: Xie, Ma and Wang (NeurIPS 2019). MDR: Kallus and Uehara (JMLR 2020). Q in DR and MDR is cross-fitted:
no episode is judged by a Q it was used for. `self_normalised` divides by the weights' mean at each t: biased, of less variance.
Intervals: percentile bootstrap over episodes; FQE and the marginal weights are fitted anew in each (Hao et al., ICML 2021). It
knows the luck of the episodes, not the bias of a Q where the policy leaves what was logged: on the boat (`bench ope`) the 95 %
interval holds 71 % of true values (FQE), 80 % (MDR), 36 % (PDIS). `widen` = 2 was chosen on other logs of the same policies and
makes it 95 % (FQE, MDR), 48 % (PDIS): another task may need more, and PDIS's is not to be trusted over a long horizon.
SCOPE-RL 0.2.1 agrees with these formulas (the tests) but wants gymnasium 1.0.0 and episodes of one length; d3rlpy 2.8.1's FQE
takes policies of its own classes only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial

import numpy as np

from robot_stack.replay.ope.features import Features, smooth
from robot_stack.replay.ope.fqe import Design, design, direct, fitted_q
from robot_stack.replay.ope.logged import LoggedData, Proposals, TargetPolicy, check_proposals, propose
from robot_stack.replay.ope.weights import cumulative, effective_episodes, log_ratios, marginal
from robot_stack.types import Array


class Estimator(Enum):
    """Which formula. Only FQE needs no behaviour densities."""

    FQE = "fqe"
    PDIS = "pdis"
    DR = "dr"
    MIS = "mis"
    MDR = "mdr"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How. `draws` of the policy a state, `bootstraps` resamples, `level` of the interval and how many times it is widened about
    the value, `ridge` of Q and `ridge_weights` of marginal weights (per row of data), `folds` of the cross-fit; `features` None:
    `smooth` of the data."""

    draws: int = 8
    bootstraps: int = 200
    level: float = 0.95
    widen: float = 2.0
    ridge: float = 1e-4
    ridge_weights: float = 1e-2
    folds: int = 2
    self_normalised: bool = False
    features: Features | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """`value` of the policy (units of the reward), its interval at `level`, `widened` times the bootstrap's; `episodes` logged.

    `effective_episodes`: how many on-policy ones the weights are worth at the worst decision (NaN for FQE, which has none).
    """

    value: float
    low: float
    high: float
    level: float
    widened: float
    episodes: int
    effective_episodes: float

    def __str__(self) -> str:
        worth = "" if np.isnan(self.effective_episodes) else f", worth {self.effective_episodes:.1f} on-policy ones"
        wide = "" if self.widened == 1.0 else f" ({self.widened:g} x the bootstrap's, which holds less than it says)"
        interval = f"[{self.low:.4g}, {self.high:.4g}] at {self.level:.0%}{wide}"
        return f"{self.value:.4g} {interval} from {self.episodes} episodes{worth}"


def estimate(data: LoggedData, policy: TargetPolicy | Proposals, estimator: Estimator, how: Evaluation | None = None) -> Estimate:
    """What `policy` earns in an episode. `Proposals` in its place: actions computed elsewhere (an engine on recorded pictures).

    Raises DataError on missing densities, on no overlap, on NaN, and on episodes cut off before the horizon (all but FQE).
    """
    how = how or Evaluation()
    proposals = propose(data, policy, how.draws, how.seed) if isinstance(policy, TargetPolicy) else policy
    check_proposals(data, proposals)
    features = how.features or smooth(data, seed=how.seed)
    value, mu = _estimator(data, proposals, estimator, how, features)
    episodes = len(data.episodes)
    once = np.ones(episodes)
    rng = np.random.default_rng(how.seed)
    resampled = [value(counts) for counts in rng.multinomial(episodes, once / episodes, how.bootstraps).astype(np.float64)]
    found, bounds = value(once), np.quantile(resampled, [(1.0 - how.level) / 2.0, (1.0 + how.level) / 2.0])
    low, high = found + how.widen * (bounds - found)
    worth = float("nan") if mu is None else effective_episodes(mu)
    return Estimate(found, float(low), float(high), how.level, how.widen, episodes, worth)


def _estimator(
    data: LoggedData, proposals: Proposals, estimator: Estimator, how: Evaluation, features: Features
) -> tuple[Callable[[Array], float], Array | None]:
    """The estimate as a function of how often each episode counts (E,), and the weights of the whole data."""
    if estimator is Estimator.FQE:
        rows = design(data, proposals, features)
        return partial(_direct, rows, data, how.ridge), None
    weights = _weights(data, proposals, estimator, how, features)
    q = v = np.zeros((len(data.episodes), data.horizon))
    if estimator in (Estimator.DR, Estimator.MDR):
        q, v = _cross_fitted(design(data, proposals, features), data, how)
    surprise, gamma = data.padded("rewards") - q, data.discounts

    def value(counts: Array) -> float:
        mu = weights(counts)
        before = np.concatenate([np.ones((len(mu), 1)), mu[:, :-1]], axis=1)
        mean = partial(_mean, counts=counts, self_normalised=how.self_normalised)
        return float(gamma @ (mean(mu, surprise) + mean(before, v)))

    return value, weights(np.ones(len(data.episodes)))


def _direct(rows: Design, data: LoggedData, ridge: float, counts: Array) -> float:
    return direct(rows, fitted_q(rows, data, counts, ridge), counts)


def _weights(
    data: LoggedData, proposals: Proposals, estimator: Estimator, how: Evaluation, features: Features
) -> Callable[[Array], Array]:
    """mu (E, H) as a function of how often each episode counts: the cumulative ones do not care."""
    ratios = log_ratios(data, proposals)
    if estimator in (Estimator.PDIS, Estimator.DR):
        mu = cumulative(ratios)
        return lambda counts: mu
    states = data.padded("states")
    psi = features.state(states.reshape(-1, states.shape[2])).reshape(*states.shape[:2], -1)
    return lambda counts: marginal(ratios, psi, data.alive, counts, how.ridge_weights)


def _mean(mu: Array, values: Array, counts: Array, self_normalised: bool) -> Array:
    """The mean of ``mu_t values_t`` over episodes, (H,)."""
    mean: Array = counts @ (mu * values)
    return mean / np.maximum(counts @ mu, 1e-300) if self_normalised else mean / counts.sum()


def _cross_fitted(rows: Design, data: LoggedData, how: Evaluation) -> tuple[Array, Array]:
    """Q_{H-t}(s_t, a_t) and V_{H-t}(s_t), (E, H) each, 0 after the end, of a Q fitted on the other folds."""
    episodes = len(data.episodes)
    fold = np.random.default_rng(how.seed).permutation(episodes) % how.folds
    q, v = np.zeros((episodes, data.horizon)), np.zeros((episodes, data.horizon))
    for k in range(how.folds):
        w = fitted_q(rows, data, (fold != k).astype(np.float64), how.ridge)
        mine = fold[rows.episode] == k
        episode, time = rows.episode[mine], rows.time[mine]
        of_time = w[data.horizon - time]
        q[episode, time] = (rows.phi[mine] * of_time).sum(axis=1)
        v[episode, time] = (rows.phi_pi[mine] * of_time).sum(axis=1)
    return q, v
