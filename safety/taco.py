"""Pseudo-counts of a policy's own features by coin flipping (TACO, arXiv 2512.02834; CFN, Lobel et al., ICML 2023).

Every row of the data set has a fixed vector of d coin flips c in {-1, +1}. The network f is fitted to them by MSE; for a
feature seen n times the best f is the mean of n flips, so ``E[f_j^2] = 1/n`` and ``N(x) = d / ||f(x)||^2`` counts. A frozen
copy of the untrained network, standardised over the data, is added: what was never seen keeps ``f^2 ~ 1``, a count of one.

    f(x) = net(10 x) + (prior(10 x) - m) / sqrt(v + 1e-6)
    net: Linear, GELU, LayerNorm, 3 x [y = fc2(GELU(fc1(x))), LayerNorm(y + x)], Linear to d

Where this differs from the authors' code: our features are not a pi0 hidden state of unit scale, so they are divided by
their root mean square inside the module (one scalar, a buffer; centring them as well was tried and is wrong: it moves the
commonest mode to the origin, where the first LayerNorm leaves only the direction of noise). The prior runs without dropout
(theirs has it live while training). Batches are not accumulated in pairs. Width 96 (theirs 1536), batch 256 (512) and
12 epochs (16) are settings sized for one CPU core.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from robot_stack.config.schema import TacoSettings
from robot_stack.errors import DataError
from robot_stack.types import Array


class Block(nn.Module):
    """Post-norm residual block of width H: ``LayerNorm(fc2(GELU(fc1(x))) + x)``, fc1 H -> 4 H."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norm, self.drop = nn.LayerNorm(width), nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(N, H) -> (N, H)."""
        y = self.drop(self.fc2(self.drop(functional.gelu(self.fc1(x)))))
        out: Tensor = self.norm(y + x)
        return out


def _network(num_features: int, settings: TacoSettings) -> nn.Sequential:
    blocks = [Block(settings.width, settings.dropout) for _ in range(settings.depth)]
    start = (nn.Linear(num_features, settings.width), nn.GELU(), nn.LayerNorm(settings.width))
    net = nn.Sequential(*start, *blocks, nn.Linear(settings.width, settings.flips))
    for layer in net.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return net


class CoinFlipNetwork(nn.Module):
    """Features (N, F) -> pseudo-counts (N,), larger is more familiar. Exports to ONNX; no dropout in eval mode."""

    feature_rms: Tensor
    prior_mean: Tensor
    prior_var: Tensor

    def __init__(self, num_features: int, settings: TacoSettings) -> None:
        super().__init__()
        self.settings = settings
        self.net = _network(num_features, settings)
        self.prior = copy.deepcopy(self.net).requires_grad_(False)
        self.register_buffer("feature_rms", torch.ones(()))
        self.register_buffer("prior_mean", torch.zeros(settings.flips))
        self.register_buffer("prior_var", torch.full((settings.flips,), 0.01))

    def scaled(self, features: Tensor) -> Tensor:
        """What both networks read, (N, F): features of unit root mean square, times the gain."""
        return features * (self.settings.gain / self.feature_rms)

    def standard_prior(self, prior: Tensor) -> Tensor:
        """Raw output of the prior (N, d), standardised over the data."""
        return (prior - self.prior_mean) / torch.sqrt(self.prior_var + 1e-6)

    def flips(self, features: Tensor) -> Tensor:
        """The mean coin flips f (N, d) of features (N, F)."""
        x = self.scaled(features)
        out: Tensor = self.net(x) + self.standard_prior(self.prior(x))
        return out

    def forward(self, features: Tensor) -> Tensor:
        """Pseudo-counts ``d / ||f||^2`` (N,) of features (N, F)."""
        return self.settings.flips / torch.clamp(self.flips(features).square().sum(dim=1), min=1e-6)


def train_cfn(features: Array, settings: TacoSettings, seed: int) -> CoinFlipNetwork:
    """Fit a network to features (M, F) of M demonstrated samples. Same seed, same network. Raises DataError on bad features."""
    x = torch.as_tensor(features, dtype=torch.float32)
    if x.ndim != 2 or len(x) < 2 or not torch.isfinite(x).all():
        raise DataError(f"train_cfn: found {tuple(x.shape)}, finite {bool(x.isfinite().all())}; allowed finite (M >= 2, F)")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        cfn = CoinFlipNetwork(x.shape[1], settings)
        cfn.feature_rms = x.square().mean().sqrt().clamp(min=1e-9)
        _fit(cfn, x, torch.randint(0, 2, (len(x), settings.flips)) * 2.0 - 1.0)
    return cfn.eval().requires_grad_(False)


def _fit(cfn: CoinFlipNetwork, features: Tensor, target: Tensor) -> None:
    """Adam + OneCycle on MSE. The prior never changes, so its raw output is computed once; its standardisation runs along."""
    settings = cfn.settings
    x = cfn.scaled(features)
    with torch.no_grad():
        prior = cfn.eval().prior(x)
    batch = min(settings.batch, len(x))
    steps = settings.epochs * (len(x) // batch)
    optimiser = torch.optim.Adam(cfn.net.parameters(), lr=settings.lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.lr_max, total_steps=steps)
    seen, total, square = 0, torch.zeros(settings.flips), torch.zeros(settings.flips)
    cfn.train()
    for _ in range(settings.epochs):
        for rows in torch.randperm(len(x))[: len(x) // batch * batch].reshape(-1, batch):
            loss = functional.mse_loss(cfn.net(x[rows]) + cfn.standard_prior(prior[rows]), target[rows])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            seen, total, square = _update(cfn, prior[rows], seen, total, square)


def _update(cfn: CoinFlipNetwork, prior: Tensor, seen: int, total: Tensor, square: Tensor) -> tuple[int, Tensor, Tensor]:
    """The running standardisation, sample by sample as the authors write it, in closed form:
    ``m_n = sum(p) / n`` and ``v_n = sum((p_i - m_{i-1})^2) / n``, with the old mean."""
    sums = total + prior.cumsum(0)
    count = torch.arange(seen, seen + len(prior)).clamp(min=1)[:, None]
    before = torch.cat([total[None], sums[:-1]]) / count
    square = square + (prior - before).square().sum(0)
    seen += len(prior)
    cfn.prior_mean, cfn.prior_var = sums[-1] / seen, square / seen
    return seen, sums[-1], square
