"""How much each step counts in training, from returns, advantages or values. `train.weights=weight` draws samples in proportion.

Trajectory weighting (Hong et al., "Harnessing mixed offline reinforcement learning datasets via trajectory weighting", ICLR
2023), with G_i the return of episode i and all transitions of all episodes under one softmax:

    RW  w_it ~ exp(Gbar_i / alpha),   Gbar = (G - min G) / (max G - min G)
    AW  the same of  A_i = G_i - V(s_i0),  V a linear regression of G on the first state: what the start alone does not explain.

Advantage weighting of single steps (AWR, Peng et al. 2019; the actor of IQL), V a column of values, r of rewards:

    w_t = min(exp(beta (A_t - mean A) / std A), 100),   A_t = r_t + gamma V_{t+1} - V_t,   V = 0 after the last step.

With A_t = G_t, what is earned from t on, discounted, no values are needed (`togo`): of RLIF's reward, -1 where a person had to
take over, that makes what led there count less. With A_t the column that `relabel critic` wrote (`critic`), it is the extraction
of IQL and RIQL, from chunks.

Weights of episodes are scaled to a mean of 1. The lower alpha (the higher beta), the fewer episodes (steps) count; where all
returns are equal every step weighs 1.
"""

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import numpy as np

from robot_stack.config.relabel import WeightSettings
from robot_stack.data.catalogue import Catalogue
from robot_stack.data.earned import rewards as rewards
from robot_stack.data.labels import Labels
from robot_stack.data.recording import STATE, Recording
from robot_stack.relabel.labeller import Labeller
from robot_stack.types import Array

STEPS = ("value", "togo", "critic")
"""What weighs single steps."""
MOST = 100.0
"""The largest weight of a step by its own advantage, before scaling."""


def reads(settings: WeightSettings) -> tuple[str, ...]:
    """The rewards, and the values where steps are weighted by them; or the advantages."""
    if settings.by == "critic":
        return (settings.advantage,)
    return (settings.reward, settings.value) if settings.by == "value" else (settings.reward,)


def advantages(episode: Recording, settings: WeightSettings) -> Array:
    """A (n,) of each step: as a critic wrote it, or from the columns of rewards and, unless it is what comes, of values."""
    if settings.by == "critic":
        return rewards(episode, settings.advantage)
    earned = rewards(episode, settings.reward)
    if settings.by == "togo":
        return np.array(list(accumulate(earned[::-1].tolist(), lambda later, r: r + settings.discount * later)))[::-1]
    value = rewards(episode, settings.value)
    return np.asarray(earned + settings.discount * np.append(value[1:], 0.0) - value)


def measure(episode: Recording, settings: WeightSettings) -> dict[str, Any]:
    """Rows, return and first state; or, for steps, the first two moments of the advantage."""
    if settings.by in STEPS:
        a = advantages(episode, settings)
        return {"rows": len(episode), "sum": float(a.sum()), "squares": float(a @ a)}
    earned = rewards(episode, settings.reward)
    start = np.asarray(episode.columns[STATE][0], dtype=np.float64).reshape(-1)
    return {"rows": len(episode), "return": float(settings.discount ** np.arange(len(earned)) @ earned), "start": start}


def gather(facts: Mapping[str, dict[str, Any]], settings: WeightSettings, catalogue: Catalogue) -> dict[str, Any]:
    """What single episodes are compared with: the weight of each episode, or mean and spread of the advantage."""
    rows = np.array([fact["rows"] for fact in facts.values()])
    if settings.by in STEPS:
        mean = sum(fact["sum"] for fact in facts.values()) / rows.sum()
        variance = sum(fact["squares"] for fact in facts.values()) / rows.sum() - mean**2
        return {"mean": mean, "std": max(variance, 0.0) ** 0.5}
    score = np.array([fact["return"] for fact in facts.values()])
    returns = dict(zip(facts, score.tolist(), strict=True))
    if settings.by == "advantage":
        score = score - _explained(np.array([fact["start"] for fact in facts.values()]), score)
    return {
        "weights": dict(zip(facts, trajectory_weights(score, rows, settings.alpha).tolist(), strict=True)),
        "returns": returns,
    }


def _explained(starts: Array, returns: Array) -> Array:
    """V(s_0) (E,): the regression of `returns` on `starts` (E, D), slightly ridged, as episodes may be fewer than D."""
    x = np.column_stack([np.ones(len(starts)), (starts - starts.mean(0)) / np.maximum(starts.std(0), 1e-6)])
    ridge = 1e-3 * len(x) * np.eye(x.shape[1])
    return np.asarray(x @ np.linalg.solve(x.T @ x + ridge, x.T @ returns))


def trajectory_weights(score: Array, rows: Array, alpha: float) -> Array:
    """The weight (E,) of each row of episodes with returns (or advantages) `score` (E,), `rows` (E,) each; their mean is 1."""
    span = float(np.ptp(score))
    weights = np.exp((score - score.max()) / (alpha * span)) if span > 0 else np.ones(len(score))
    return np.asarray(weights * rows.sum() / (weights @ rows))


def label(episode: Recording, settings: WeightSettings, gathered: dict[str, Any]) -> Labels:
    """`weight` (n,) and, of whole episodes, `return`."""
    if settings.by in STEPS:
        scaled = settings.beta * (advantages(episode, settings) - gathered["mean"]) / max(gathered["std"], 1e-9)
        return {"weight": np.minimum(np.exp(np.minimum(scaled, 50.0)), MOST).astype(np.float32)}
    weight = np.full(len(episode), gathered["weights"][episode.name], dtype=np.float32)
    return {"weight": weight, "return": gathered["returns"][episode.name]}


def tell(gathered: dict[str, Any]) -> str:
    """How few episodes count: their effective number, (sum w)^2 / sum w^2."""
    if "weights" not in gathered:
        return f"advantages {gathered['mean']:.3g} in the mean, {gathered['std']:.3g} std"
    w = np.array(list(gathered["weights"].values()))
    return f"{len(w)} episodes count like {w.sum() ** 2 / (w @ w):.1f}"


LABELLER = Labeller("weights", 1, label, reads, measure, gather, tell)
