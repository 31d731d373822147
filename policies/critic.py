"""Q and V of chunks as networks: what is to be earned by playing chunk a in state s, and in s by choosing chunks well.

    Q_k(s, a) = w_k . silu(x2) + c_k,   x2 = B_k silu(x1) + b_k,   x1 = S_k s + A_k a + d_k,     k = 1 .. K, all K at once
    Q_alpha = the alpha-quantile of the Q_k: 0 is the minimum of IQL's twin critics, 0.25 what RIQL takes of five
    dQ_k/da = A_k' (silu'(x1) * B_k' (silu'(x2) * w_k))

The gradient is written out because an exported graph has no autograd. States and chunks are standardised by the data (RIQL
normalises observations too). Weights are kept as safetensors; nothing is unpickled.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from policies.checkpoint import write_atomic
from robot_stack.config.schema import CriticSettings
from robot_stack.errors import PolicyError

CRITIC = "critic.safetensors"


def slope(x: Tensor) -> Tensor:
    """silu'(x)."""
    gate = torch.sigmoid(x)
    return gate * (1.0 + x * (1.0 - gate))


def quantile(q: Tensor, alpha: float) -> Tensor:
    """The `alpha`-quantile (N,) of q (K, N), linear between ranks. A sort: engines know it, unlike torch.quantile."""
    place = alpha * (len(q) - 1)
    low = int(place)
    ranked = torch.sort(q, dim=0).values
    return ranked[low] if place == low else torch.lerp(ranked[low], ranked[low + 1], place - low)


class Ensemble(nn.Module):
    """K networks of two hidden layers from states (1 or N, S) and actions (N, A) to a number each."""

    def __init__(self, states: int, actions: int, width: int, number: int) -> None:
        super().__init__()

        def drawn(fan_in: int, *shape: int) -> nn.Parameter:
            return nn.Parameter((torch.rand(number, *shape) * 2.0 - 1.0) * fan_in**-0.5)

        self.from_s, self.from_a = drawn(states + actions, states, width), drawn(states + actions, actions, width)
        self.d, self.between, self.b = drawn(states + actions, 1, width), drawn(width, width, width), drawn(width, 1, width)
        self.w, self.c = drawn(width, 1, width), drawn(width, 1)

    def forward(self, s: Tensor, a: Tensor) -> Tensor:
        """Q (K, N)."""
        return self._q(self._hidden(s, a)[1])

    def with_gradient(self, s: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        """Q (K, N) and d mean_k Q_k / da (N, A)."""
        x1, x2 = self._hidden(s, a)
        back = slope(x1) * torch.matmul(slope(x2) * self.w, self.between.transpose(1, 2))
        return self._q(x2), torch.matmul(back, self.from_a.transpose(1, 2)).mean(0)

    def _hidden(self, s: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        x1 = torch.matmul(s, self.from_s) + torch.matmul(a, self.from_a) + self.d
        return x1, torch.matmul(F.silu(x1), self.between) + self.b

    def _q(self, x2: Tensor) -> Tensor:
        return (F.silu(x2) * self.w).sum(-1) + self.c


class Critic(nn.Module):
    """Q and V of states (., S) and actions (., A) as they come; `states` and `actions` standardise them."""

    s_mean: Tensor
    s_std: Tensor
    a_mean: Tensor
    a_std: Tensor

    def __init__(self, states: int, actions: int, settings: CriticSettings) -> None:
        super().__init__()
        self.settings, width = settings, settings.width
        self.q = Ensemble(states, actions, width, settings.critics)
        self.v = nn.Sequential(
            nn.Linear(states, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1), nn.Flatten(0)
        )
        for name, size in (("s", states), ("a", actions)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_std", torch.ones(size))

    def fit_statistics(self, s: Tensor, a: Tensor) -> None:
        """Mean and standard deviation of the data; what hardly moves is not blown up."""
        for name, x in (("s", s), ("a", a)):
            std = x.std(0, correction=0)
            getattr(self, f"{name}_mean").copy_(x.mean(0))
            getattr(self, f"{name}_std").copy_(torch.where(std > 1e-4, std, torch.ones_like(std)))

    def states(self, s: Tensor) -> Tensor:
        """Standardised states."""
        return (s - self.s_mean) / self.s_std

    def actions(self, a: Tensor) -> Tensor:
        """Standardised actions z."""
        return (a - self.a_mean) / self.a_std

    def score(self, s: Tensor, z: Tensor) -> Tensor:
        """Q_alpha (N,) of standardised states (1 or N, S) and actions (N, A)."""
        return quantile(self.q(s, z), self.settings.quantile)

    def climb(self, s: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """`score` (N,), and the gradient of the mean of all Q by `z` (N, A)."""
        q, gradient = self.q.with_gradient(s, z)
        return quantile(q, self.settings.quantile), gradient

    def value(self, s: Tensor, a: Tensor) -> Tensor:
        """Q_alpha (N,)."""
        return self.score(self.states(s), self.actions(a))

    def state_value(self, s: Tensor) -> Tensor:
        """V (N,)."""
        out: Tensor = self.v(self.states(s))
        return out

    def forward(self, s: Tensor, z: Tensor) -> Tensor:
        """`score`."""
        return self.score(s, z)

    def advantage(self, s: Tensor, a: Tensor) -> Tensor:
        """Q_alpha - V (N,)."""
        return self.value(s, a) - self.state_value(s)


def save_critic(folder: Path, critic: Critic, about: Mapping[str, Any]) -> Path:
    """Write `critic` into `folder`, with its settings and what else is worth knowing `about` it (as JSON holds it)."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes = [len(critic.s_mean), len(critic.a_mean)]
    text = json.dumps({"settings": asdict(critic.settings), "sizes": sizes, "about": dict(about)}, sort_keys=True)
    tensors = {name: tensor.contiguous() for name, tensor in critic.state_dict().items()}
    write_atomic(folder / CRITIC, save(tensors, metadata={"critic": text}))
    return folder


def load_critic(folder: Path) -> tuple[Critic, dict[str, Any]]:
    """The critic in `folder`, in evaluation mode, and what it says about itself. Raises PolicyError where there is none."""
    path = folder / CRITIC
    try:
        with safe_open(path, "pt") as file:
            said = json.loads((file.metadata() or {})["critic"])
            states, actions = said["sizes"]
            critic = Critic(states, actions, CriticSettings(**said["settings"]))
            critic.load_state_dict({name: file.get_tensor(name) for name in file.keys()})
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise PolicyError(f"{path}: can't be read: {error!r}; allowed what training wrote; train the critic again") from error
    about: dict[str, Any] = said["about"]
    return critic.eval().requires_grad_(False), about
