"""How the plant answers, learned from its log: ``x' = f(x) + g(x) u`` for the barrier row ``LfB + LgB u`` (V-OCBF, §2.2).

    s' = s + dt (f(s) + g(s) u),     loss = |(s' - s) / dt - f(s) - g(s) u|^2 / var

`dt` must be the period the log was written at. The released code trains with 0.05 s what steps by 0.005 s: f and g come out ten
times too small, and a class-K gain of 1 then acts like 10. Here `alpha` keeps its unit, 1/s of true time.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

from robot_stack.errors import DataError
from robot_stack.types import Array


@dataclass(frozen=True)
class DynamicsSettings:
    """The network: three hidden layers of `width`; Adam + OneCycle to 3 x `lr` over `steps`; `holdout`: share judged on."""

    width: int = 64
    lr: float = 1e-3
    batch: int = 512
    steps: int = 3000
    holdout: float = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class DynamicsModel:
    """f and g as a ReLU network in numpy. `error` (D,): rms of the held-out rates, in units of x'."""

    layers: tuple[tuple[Array, Array], ...]
    num_actions: int
    error: Array

    def fields(self, states: Array) -> tuple[Array, Array]:
        """f (n, D) and g (n, D, A) at `states` (n, D)."""
        x = states
        for W, b in self.layers[:-1]:
            x = np.maximum(x @ W + b, 0.0)
        W, b = self.layers[-1]
        return _split(x @ W + b, states.shape[1])

    def save(self, path: Path) -> Path:
        """One safetensors file."""
        arrays = {f"{kind}{i}": a for i, layer in enumerate(self.layers) for kind, a in zip("Wb", layer, strict=True)}
        save_file({name: np.ascontiguousarray(a) for name, a in (arrays | {"error": self.error}).items()}, str(path))
        return path

    @classmethod
    def load(cls, path: Path) -> "DynamicsModel":
        """What `save` wrote."""
        arrays = load_file(str(path))
        depth = (len(arrays) - 1) // 2
        layers = tuple((arrays[f"W{i}"], arrays[f"b{i}"]) for i in range(depth))
        error = arrays["error"]
        return cls(layers, layers[-1][1].size // error.size - 1, error)


def _split(out: Array, dim: int) -> tuple[Array, Array]:
    return out[:, :dim], out[:, dim:].reshape(len(out), dim, out.shape[1] // dim - 1)


def train_dynamics(
    states: Array, actions: Array, next_states: Array, dt: float, settings: DynamicsSettings, seed: int = 0
) -> DynamicsModel:
    """Fit f and g to rows (M, D), (M, A), (M, D) that are `dt` s apart. Leave out rows in which the plant hit an end stop: they
    are not control-affine. Raises DataError on numbers that are not finite."""
    rates = (next_states - states) / dt
    if not (np.isfinite(rates).all() and np.isfinite(actions).all()):
        raise DataError("train_dynamics: rows are not finite; drop the broken samples of the log first")
    order = np.random.default_rng(seed).permutation(len(states))
    judged, learned = np.split(order, [max(1, round(settings.holdout * len(order)))])
    mean, std, scale = states.mean(0), np.maximum(states.std(0), 1e-3), np.maximum(rates.std(0), 1e-3)
    columns = [torch.as_tensor(a[learned], dtype=torch.float32) for a in ((states - mean) / std, actions, rates / scale)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = _network(states.shape[1], actions.shape[1], settings.width)
        _fit(net, columns, settings)
    model = DynamicsModel(_in_units(net, mean, std, scale), actions.shape[1], np.zeros(states.shape[1]))
    f, g = model.fields(states[judged])
    miss = f + np.einsum("nda,na->nd", g, actions[judged]) - rates[judged]
    return DynamicsModel(model.layers, model.num_actions, np.sqrt(np.mean(miss**2, axis=0)))


def _network(dim: int, num_actions: int, width: int) -> nn.Sequential:
    sizes = (dim, width, width, width)
    hidden = [part for a, b in zip(sizes, sizes[1:], strict=False) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(width, dim * (1 + num_actions)))


def _fit(net: nn.Sequential, columns: list[Tensor], settings: DynamicsSettings) -> None:
    optimiser = torch.optim.Adam(net.parameters(), lr=settings.lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3 * settings.lr, total_steps=settings.steps)
    for _ in range(settings.steps):
        rows = torch.randint(0, len(columns[0]), (settings.batch,))
        state, action, rate = (column[rows] for column in columns)
        out = net(state)
        f, g = out[:, : state.shape[1]], out[:, state.shape[1] :].reshape(*state.shape, -1)
        loss = (f + (g @ action[..., None])[..., 0] - rate).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()


def _in_units(net: nn.Sequential, mean: Array, std: Array, scale: Array) -> tuple[tuple[Array, Array], ...]:
    """The layers with the normalisation of states and rates folded in."""
    linear = [m for m in net if isinstance(m, nn.Linear)]
    layers = [(m.weight.detach().numpy().T.astype(float), m.bias.detach().numpy().astype(float)) for m in linear]
    (W0, b0), (W1, b1) = layers[0], layers[-1]
    num_actions = b1.size // scale.size - 1
    out = np.concatenate([scale, np.repeat(scale, num_actions)])
    layers[0] = (W0 / std[:, None], b0 - (mean / std) @ W0)
    layers[-1] = (W1 * out, b1 * out)
    return tuple(layers)
