"""Which action led from these states to the next: the multi-transition inverse dynamics of SSORL (Zheng et al., ICML 2023).

    p(a_t | s_{t-k}, ..., s_{t+1}) = N(mu, diag(sigma^2)),  log sigma in [-5, 2],  fitted by maximum likelihood; the proxy is mu

The window enters as s_t and the steps s_{i+1} - s_i, i = t-k .. t: the same numbers, better scaled. The authors pad the start
with zeros; here the first state is repeated, so a step there is zero. Their network is 1024 x 1024 at a rate of 1e-4 with
batches of 1024; the width, rate and batch here are settings sized for a processor. Weights are those of the best validation.
"""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from robot_stack.config.labellers import ActionsSettings
from robot_stack.errors import DataError
from robot_stack.types import Array

LOG_STD = (-5.0, 2.0)
CHECK_EVERY = 50
"""Steps between two looks at the validation part."""


def windows(states: Array, past: int) -> Array:
    """(n, (past + 2) D) of `states` (n, D): s_t, then the steps from s_{t - past} on to s_{t+1}; past an end it stands still."""
    padded = np.concatenate([np.repeat(states[:1], past, axis=0), states, states[-1:]])
    steps = np.diff(padded, axis=0)
    return np.hstack([states, *(steps[i : i + len(states)] for i in range(past + 1))])


class InverseDynamics(nn.Module):
    """Windows (N, W) to mean and standard deviation (N, A) of the action. Statistics are buffers.

    `relative`: states begin with the joints that actions command, and what is learned is the action less the state.
    """

    mean: Tensor
    std: Tensor
    action_mean: Tensor
    action_std: Tensor

    def __init__(self, inputs: int, actions: int, settings: ActionsSettings, relative: bool) -> None:
        super().__init__()
        self.past, self.relative, self.num_actions = settings.past, relative, actions
        sizes = [inputs, *[settings.width] * settings.depth]
        layers = [
            m for a, b in zip(sizes, sizes[1:], strict=False) for m in (nn.Linear(a, b), nn.ReLU(), nn.Dropout(settings.dropout))
        ]
        self.net = nn.Sequential(*layers, nn.Linear(sizes[-1], 2 * actions))
        for name, size in (("mean", inputs), ("std", inputs), ("action_mean", actions), ("action_std", actions)):
            self.register_buffer(name, torch.zeros(size) if "mean" in name else torch.ones(size))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the standard deviation (N, A) of the standardised target, of windows (N, W)."""
        mean, log_std = self.net((x - self.mean) / self.std).chunk(2, dim=-1)
        return mean, log_std.clamp(*LOG_STD)

    def loss(self, x: Tensor, target: Tensor) -> Tensor:
        """Negative log-likelihood a dimension of standardised targets (N, A), without its constant."""
        mean, log_std = self(x)
        loss: Tensor = (0.5 * ((target - mean) * (-log_std).exp()).square() + log_std).mean()
        return loss

    @torch.no_grad()
    def actions(self, states: Array) -> tuple[Array, Array]:
        """Proxy actions and their standard deviations, each (n, A), for one episode of `states` (n, D)."""
        mean, log_std = self.eval()(_tensor(windows(states, self.past)))
        proxy = (mean * self.action_std + self.action_mean).double().numpy()
        offset = states[:, : self.num_actions] if self.relative else 0.0
        return np.asarray(proxy + offset), np.asarray((log_std.exp() * self.action_std).double().numpy())


def fit(states: Sequence[Array], actions: Sequence[Array], settings: ActionsSettings, relative: bool = False) -> InverseDynamics:
    """The model fitted to episodes of `states` (n, D) and `actions` (n, A); the last row of each has no next state: left out.

    Raises DataError when fewer than two rows are left.
    """
    x = np.concatenate([windows(s, settings.past)[:-1] for s in states])
    a = np.concatenate([b[:-1] - (s[:-1, : b.shape[1]] if relative else 0.0) for s, b in zip(states, actions, strict=True)])
    if len(x) < 2:
        raise DataError(f"inverse dynamics: found {len(x)} labelled transitions, allowed at least 2; label more episodes")
    torch.manual_seed(settings.seed)
    model = InverseDynamics(x.shape[1], a.shape[1], settings, relative)
    for buffer, values in (
        (model.mean, x.mean(0)),
        (model.std, _spread(x)),
        (model.action_mean, a.mean(0)),
        (model.action_std, _spread(a)),
    ):
        buffer.copy_(_tensor(values))
    _train(model, _tensor(x), (_tensor(a) - model.action_mean) / model.action_std, settings)
    return model.eval()


def _train(model: InverseDynamics, x: Tensor, target: Tensor, settings: ActionsSettings) -> None:
    """Adam on random batches, half a cosine down to zero; ends with the weights of the best validation."""
    order = torch.randperm(len(x))
    held, kept = order[: max(1, round(settings.validation * len(x)))], order[round(settings.validation * len(x)) :]
    optimiser = torch.optim.Adam(model.parameters(), lr=settings.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
    best, weights = float("inf"), copy.deepcopy(model.state_dict())
    for step in range(1, settings.steps + 1):
        pick = kept[torch.randint(len(kept), (min(settings.batch, len(kept)),))]
        optimiser.zero_grad(set_to_none=True)
        model.train().loss(x[pick], target[pick]).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if step % CHECK_EVERY == 0 or step == settings.steps:
            with torch.no_grad():
                loss = float(model.eval().loss(x[held], target[held]))
            if loss < best:
                best, weights = loss, copy.deepcopy(model.state_dict())
    model.load_state_dict(weights)


def _spread(values: Array) -> Array:
    std = values.std(axis=0)
    return np.where(std > 1e-6, std, 1.0)


def _tensor(values: Array) -> Tensor:
    return torch.as_tensor(np.asarray(values), dtype=torch.float32)
