"""A small network from one picture to a few numbers, such as crosstrack and heading error of a taxiing aircraft.

Supervised regression on pictures whose truth is known. What it says of pictures unlike those it was trained on is anybody's
guess: that is what the reachability failure monitor is for.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from robot_stack.errors import PolicyError
from robot_stack.types import Array, Image

_BATCH = 512


class PoseRegressor(nn.Module):
    """Pictures uint8 (n, H, W, 3) -> (n, D): three stride-2 convolutions, every cell keeps its own weights, two linear layers."""

    mean: Tensor
    scale: Tensor

    def __init__(self, shape: tuple[int, int], outputs: int, width: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in ((3, width), (width, 2 * width), (2 * width, 2 * width)):
            layers += [nn.Conv2d(a, b, 3, stride=2, padding=1), nn.ReLU()]
        self.eye = nn.Sequential(*layers, nn.Flatten())
        cells = ((shape[0] + 7) // 8) * ((shape[1] + 7) // 8)
        self.head = nn.Sequential(nn.Linear(2 * width * cells, 64), nn.ReLU(), nn.Linear(64, outputs))
        self.register_buffer("mean", torch.zeros(outputs))
        self.register_buffer("scale", torch.ones(outputs))

    def forward(self, pictures: Tensor) -> Tensor:
        """Estimates (n, D) in the units of the targets."""
        out: Tensor = self.mean + self.scale * self.normalised(pictures)
        return out

    def normalised(self, pictures: Tensor) -> Tensor:
        """Estimates (n, D) in standard deviations of the training targets."""
        out: Tensor = self.head(self.eye(pictures.permute(0, 3, 1, 2) / 127.5 - 1.0))
        return out


def train_regressor(
    pictures: Image,
    targets: Array,
    steps: int,
    seed: int = 0,
    start: PoseRegressor | None = None,
    batch: int = 64,
    lr: float = 3e-3,
    light: float = 0.15,
) -> PoseRegressor:
    """Least squares on `pictures` uint8 (n, H, W, 3) with `targets` (n, D); `start`: go on from a trained one (left alone).

    Adam, one cosine from `lr` to zero over `steps`; brightness and contrast are varied by the share `light` (1 std).
    Raises PolicyError when the shapes do not fit or a target is no number.
    """
    _check(pictures, targets)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = PoseRegressor((pictures.shape[1], pictures.shape[2]), targets.shape[1])
        if start is not None:
            network.load_state_dict(start.state_dict())
        else:
            network.mean.copy_(torch.as_tensor(targets.mean(0)))
            network.scale.copy_(torch.as_tensor(targets.std(0) + 1e-6))
        _fit(network, torch.as_tensor(pictures), torch.as_tensor(targets, dtype=torch.float32), steps, batch, lr, light)
    return network.eval()


def _fit(network: PoseRegressor, pictures: Tensor, targets: Tensor, steps: int, batch: int, lr: float, light: float) -> None:
    wanted = (targets - network.mean) / network.scale
    optimiser = torch.optim.Adam(network.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        rows = torch.randint(0, len(pictures), (batch,))
        contrast, brightness = (light * torch.randn(batch, 1, 1, 1) for _ in range(2))
        seen = pictures[rows] * (1.0 + contrast) + 127.5 * brightness
        loss = (network.normalised(seen) - wanted[rows]).square().mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()


def _check(pictures: Image, targets: Array) -> None:
    fits = pictures.ndim == 4 and targets.ndim == 2 and len(pictures) == len(targets) > 0 and pictures.dtype == np.uint8
    if not fits or not np.isfinite(targets).all():
        raise PolicyError(
            f"train_regressor: found pictures {pictures.dtype} {pictures.shape}, targets {targets.shape}; "
            "allowed uint8 (n, H, W, 3) and finite (n, D), n > 0"
        )


def estimate(network: PoseRegressor, pictures: Image) -> Array:
    """Estimates (n, D) of `pictures` uint8 (n, H, W, 3)."""
    with torch.inference_mode():
        parts = [network(torch.as_tensor(pictures[i : i + _BATCH])) for i in range(0, len(pictures), _BATCH)]
    return torch.cat(parts).double().numpy()


def save_regressor(network: PoseRegressor, path: Path) -> None:
    """Weights and scales as safetensors."""
    save_file(network.state_dict(), str(path))


def load_regressor(path: Path, shape: tuple[int, int]) -> PoseRegressor:
    """The network of a file for pictures of `shape` (H, W). Raises PolicyError when it is missing or of another shape."""
    if not path.is_file():
        raise PolicyError(f"load_regressor: {path} is missing; next: train it and save_regressor")
    arrays = load_file(str(path))
    width, outputs = arrays["eye.0.weight"].shape[0], arrays["mean"].shape[0]
    network = PoseRegressor(shape, outputs, width)
    try:
        network.load_state_dict(arrays)
    except RuntimeError as error:
        raise PolicyError(f"load_regressor: {path} is not for pictures of {shape[0]} x {shape[1]}: {error}") from error
    return network.eval()
