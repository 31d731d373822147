"""Implicit Q-learning of chunks (IQL, Kostrikov et al. 2022), robust to corrupted data (RIQL, Yang et al. 2024).

    y      = sum_{i < h} gamma^i r_{t+i} + gamma^h V(s_{t+h})       chunked TD (CO-RFT, 2508.02219): one backup a chunk of h steps
    L_Q    = mean_k l(Q_k(s, a) - y),   l(x) = x^2 / 2b for |x| < b, else |x| - b / 2      Huber's; b = 0: x^2
    L_V    = E |tau - 1(u < 0)| u^2,    u = Qbar_alpha(s, a) - V(s)

with Qbar a slow copy of Q. Only chunks that were recorded are asked about: nothing is extrapolated in training. The published
settings are K = 2, alpha = 0, squared errors (IQL); K = 5, alpha = 0.25, Huber (RIQL). CO-RFT has a conservative critic and asks
the policy for the next chunk; V takes its place here. RIQL also clips targets at constants of its benchmark: left out.
An episode ends where it ends: nothing is earned after its last step.
"""

from dataclasses import dataclass, fields, replace
from math import isfinite

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from policies.critic import Critic
from policies.workflow import Check, Verdict, judge
from robot_stack.config.schema import CriticSettings
from robot_stack.errors import PolicyError


@dataclass(frozen=True, eq=False)
class Transitions:
    """M times: in `s` (M, S) chunk `a` (M, A) earned `r` (M,) on the way to `after` (M, S), which counts `discount` (M,) of V;
    to the end of the episode it was `earned` (M,), discounted, which is not learned from."""

    s: Tensor
    a: Tensor
    r: Tensor
    discount: Tensor
    after: Tensor
    earned: Tensor

    def __len__(self) -> int:
        return len(self.s)

    def at(self, rows: Tensor) -> "Transitions":
        """Those at `rows`."""
        return Transitions(*(getattr(self, f.name)[rows] for f in fields(self)))


@dataclass(frozen=True, eq=False)
class Learned:
    """A critic, the looks that were taken at it while it learned, and what they say."""

    critic: Critic
    checks: tuple[Check, ...]
    verdict: Verdict

    @property
    def figures(self) -> dict[str, float]:
        """What a manifest says of it."""
        taken = self.checks[self.verdict.best]
        flags = {"overfitting": float(self.verdict.overfitting), "underfitting": float(self.verdict.underfitting)}
        numbers = {"step": taken.step, "q": taken.q, "td": taken.td, "explained": taken.explained, "held": taken.held} | flags
        return {f"critic_{name}": number for name, number in numbers.items() if isfinite(number)}


def fit(data: Transitions, held: Transitions | None, settings: CriticSettings) -> Learned:
    """Learn from `data`; `held` only judges. The same arguments, the same critic. Raises PolicyError on data that can't be."""
    _check(data)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        critic = Critic(data.s.shape[1], data.a.shape[1], settings)
        critic.fit_statistics(data.s, data.a)
        checks, kept = _loop(critic, _standard(critic, data), None if held is None else _standard(critic, held))
    verdict = judge(checks)
    critic.load_state_dict(kept[verdict.best])
    return Learned(critic.eval().requires_grad_(False), tuple(checks), verdict)


def _check(data: Transitions) -> None:
    parts = {f.name: getattr(data, f.name) for f in fields(data)}
    if wrong := [name for name, x in parts.items() if len(x) != len(data) or not torch.isfinite(x).all()]:
        raise PolicyError(f"critic: found {', '.join(wrong)} not finite or of another length, allowed finite, a row each")
    if len(data) < 2:
        raise PolicyError(f"critic: found {len(data)} transitions, allowed 2 or more; record more")


def _standard(critic: Critic, data: Transitions) -> Transitions:
    return replace(data, s=critic.states(data.s), a=critic.actions(data.a), after=critic.states(data.after))


def _loop(critic: Critic, data: Transitions, held: Transitions | None) -> tuple[list[Check], list[dict[str, Tensor]]]:
    """All steps; the looks taken on the way, and the weights at each."""
    settings = critic.settings
    slow = [p.detach().clone() for p in critic.q.parameters()]
    optimiser = torch.optim.AdamW(critic.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    checks: list[Check] = []
    kept: list[dict[str, Tensor]] = []
    for step in tqdm(range(settings.steps + 1), desc="critic", unit="step", leave=False):
        if step % settings.check_every == 0 or step == settings.steps:
            checks.append(look(critic, data, held, step))
            kept.append({name: tensor.clone() for name, tensor in critic.state_dict().items()})
        loss = _loss(critic, slow, data.at(torch.randint(len(data), (settings.batch,))))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        with torch.no_grad():
            torch._foreach_lerp_(slow, list(critic.q.parameters()), settings.polyak)
    return checks, kept


def _loss(critic: Critic, slow: list[Tensor], batch: Transitions) -> Tensor:
    """L_Q + L_V; no gradient flows from one into the other."""
    settings = critic.settings
    with torch.no_grad():
        names = [f"q.{name}" for name, _ in critic.q.named_parameters()]
        before = torch.func.functional_call(critic, dict(zip(names, slow, strict=True)), (batch.s, batch.a))
        y = targets(critic, batch)
    u = before - critic.v(batch.s)
    weight = torch.where(u.detach() < 0.0, 1.0 - settings.expectile, settings.expectile)
    loss: Tensor = huber(critic.q(batch.s, batch.a) - y, settings.huber) + (weight * u.square()).mean()
    return loss


def targets(critic: Critic, batch: Transitions) -> Tensor:
    """y (N,) of transitions whose states are standardised."""
    y: Tensor = batch.r + batch.discount * critic.v(batch.after)
    return y


def huber(x: Tensor, b: float) -> Tensor:
    """The mean of l(x)."""
    if b == 0.0:
        return x.square().mean()
    loss: Tensor = F.huber_loss(x, torch.zeros_like(x), delta=b) / b
    return loss


@torch.no_grad()
def look(critic: Critic, data: Transitions, held: Transitions | None, step: int) -> Check:
    """One look, at all standardised transitions."""
    y = targets(critic, data)
    td = float((critic.q(data.s, data.a).mean(0) - y).square().mean())
    explained = 1.0 - td / max(float(y.var(correction=0)), 1e-12)
    q = float(critic.score(data.s, data.a).mean())
    return Check(
        step, q, td, explained, float("nan") if held is None else _correlation(critic.score(held.s, held.a), held.earned)
    )


def _correlation(x: Tensor, y: Tensor) -> float:
    """Pearson's, of x and y (N,); NaN where one of them is the same everywhere."""
    return float(torch.corrcoef(torch.stack([x, y]))[0, 1])
