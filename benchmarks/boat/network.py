"""What all learners of the boat share: one training loop, one kind of network, and its numpy twin for the rollouts."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

from robot_stack.types import Array


@dataclass(frozen=True)
class FitSettings:
    """Adam + OneCycle to 3 x `lr` over `steps` batches of `batch` rows; hidden layers of `width`."""

    width: int = 96
    steps: int = 4000
    batch: int = 512
    lr: float = 1e-3


def mlp(inputs: int, hidden: Sequence[int], outputs: int, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """A plain network."""
    sizes = (inputs, *hidden)
    layers = [part for a, b in zip(sizes, sizes[1:], strict=False) for part in (nn.Linear(a, b), activation())]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], outputs))


def fit(
    parameters: Iterable[nn.Parameter], loss: Callable[[list[Tensor]], Tensor], columns: Sequence[Array], settings: FitSettings
) -> None:
    """Minimise `loss(batch)` over random rows of `columns` (M, ...)."""
    tensors = [torch.as_tensor(c, dtype=torch.float32) for c in columns]
    optimiser = torch.optim.Adam(parameters, lr=settings.lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3 * settings.lr, total_steps=settings.steps)
    for _ in range(settings.steps):
        rows = torch.randint(0, len(tensors[0]), (settings.batch,))
        value = loss([column[rows] for column in tensors])
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        schedule.step()


Layers = tuple[tuple[Array, Array], ...]
"""W (a, b) and b (b,) of each."""


def save(file: Path, layers: Layers, **more: Array) -> None:
    """Layers, and what else there is, as in a barrier file: W0, b0, ..."""
    named = {f"{kind}{i}": a for i, layer in enumerate(layers) for kind, a in zip("Wb", layer, strict=True)}
    save_file({name: np.ascontiguousarray(a) for name, a in (named | more).items()}, str(file))


def layers_in(arrays: Mapping[str, Array]) -> Layers:
    """The layers among the arrays of such a file."""
    return tuple((arrays[f"W{i}"], arrays[f"b{i}"]) for i in range(sum(name.startswith("W") for name in arrays)))


@dataclass(frozen=True, slots=True, eq=False)
class NumpyNetwork:
    """A trained ReLU network on x (n, D), in numpy, float32."""

    layers: Layers

    @classmethod
    def load(cls, file: Path) -> "NumpyNetwork":
        """What `save` wrote of its layers."""
        return cls(layers_in(load_file(str(file))))

    @classmethod
    def of(cls, net: nn.Sequential) -> "NumpyNetwork":
        """The same function as `net`."""
        linear = [m for m in net if isinstance(m, nn.Linear)]
        return cls(tuple((m.weight.detach().numpy().T.copy(), m.bias.detach().numpy().copy()) for m in linear))

    def __call__(self, x: Array) -> Array:
        x = x.astype(np.float32)
        for W, b in self.layers[:-1]:
            x = np.maximum(x @ W + b, 0)
        W, b = self.layers[-1]
        return np.asarray(x @ W + b, dtype=float)


@dataclass(frozen=True, slots=True, eq=False)
class TanhBarrier:
    """A learned barrier as `safety.barrier.Barrier` runs it, in float32: five times faster for a thousand states at once."""

    layers: Layers
    mean: Array
    scale: Array

    @classmethod
    def of(cls, arrays: Mapping[str, Array]) -> "TanhBarrier":
        """From the arrays of a barrier file."""
        layers = tuple((W.astype(np.float32), b.astype(np.float32)) for W, b in layers_in(arrays))
        return cls(layers, arrays["mean"], 1.0 / arrays["std"])

    def values_and_gradients(self, states: Array) -> tuple[Array, Array]:
        """B (n,) and dB/dx (n, D) at `states` (n, D)."""
        z, slopes = ((states - self.mean) * self.scale).astype(np.float32), []
        for W, b in self.layers[:-1]:
            z = np.tanh(z @ W + b)
            slopes.append(1 - z * z)
        W, b = self.layers[-1]
        gradient = W[:, 0]
        for slope, (back, _) in zip(reversed(slopes), reversed(self.layers[:-1]), strict=True):
            gradient = (gradient * slope) @ back.T
        return (z @ W + b)[:, 0].astype(float), gradient * self.scale


def into_ball(u: Array) -> Array:
    """Actions (n, 2) shortened to length 1 where they are longer."""
    return u / np.maximum(np.linalg.norm(u, axis=1, keepdims=True), 1.0)
