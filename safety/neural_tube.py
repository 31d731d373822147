"""The backward reachable tube as a network: for more dimensions than a grid can hold, and for a closed loop with parameters.

V(x, t) of a state x (D,) with t seconds to go solves the same equation as on the grid (`reachability`),

    V_t = min(0, grad V . f_cl(x) - sum_i |grad_i V| s_i),   V(x, 0) = l(x)

and is learned from that equation alone, without a simulated trajectory (DeepReach, arXiv 2011.02082; defaults of its code):

    V(x, t) = l(x) + c (t / T) N(x, t)           the terminal condition holds exactly, whatever the network N says
    loss    = mean |V_t - min(0, H(x, grad V))|  over fresh uniform states; t from [0, T k / (0.6 steps)], a curriculum in time

N has sine layers (SIREN, first weights times 30). Its last layer starts near zero, so that V starts as l: with an exact terminal
condition there is nothing to pretrain. l and f_cl are only ever evaluated, so a table of a vision controller will do; grad l is
taken by central differences. A parameter p of the loop (a gain, the time of day) is one more state with p' = 0: one network then
holds the tubes of all its values (arXiv 2410.21736). f_cl should point into the box, or l be clipped outside what matters:
nothing tells the network what happens to a state that leaves.

A network is no proof. `calibrated` moves the level: {V <= level} misses a failing state drawn like the calibration states with
probability at most epsilon, at the stated confidence. torch trains; `NeuralTube` itself is numpy.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor, nn

from robot_stack.errors import ContractError, DataError, PolicyError
from robot_stack.types import Array
from safety.conformal import certified_threshold
from safety.reachability import Drift, Margin

OMEGA = 30.0
PROBE = 1e-4
"""Step of the differences of l, in shares of the box."""


@dataclass(frozen=True, slots=True)
class Training:
    """`width` and `depth` of the sine layers, Adam at `lr` over `steps` batches of `batch` states; the first `ramp` of the steps
    lengthen the horizon, the last `decay` lower the step size."""

    width: int = 128
    depth: int = 3
    steps: int = 3000
    batch: int = 2048
    lr: float = 1e-3
    ramp: float = 0.6
    decay: float = 0.7
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Loop:
    """A closed loop f_cl (`drift`, per s), its `margin` l and the box `lower`..`upper` (D,) of states in which V is wanted, for
    `horizon_s` T. `spread` (D,): how far each component of f_cl may be off, chosen by an adversary at every instant."""

    lower: tuple[float, ...]
    upper: tuple[float, ...]
    drift: Drift
    margin: Margin
    horizon_s: float
    spread: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        sizes = {len(self.lower), len(self.upper), len(self.spread) or len(self.lower)}
        box = np.array([*self.lower, *self.upper, *self.spread, self.horizon_s])
        ordered = all(a < b for a, b in zip(self.lower, self.upper, strict=False))
        if len(sizes) != 1 or not self.lower or not np.isfinite(box).all() or not ordered or not self.horizon_s > 0.0:
            raise ContractError(
                f"neural_tube.Loop: found lower {self.lower}, upper {self.upper}, spread {self.spread}, "
                f"horizon_s {self.horizon_s}; allowed finite, of one length, lower < upper, horizon_s > 0"
            )

    @property
    def half(self) -> Array:
        """Half the sides of the box (D,)."""
        return np.asarray(0.5 * (np.array(self.upper) - np.array(self.lower)))

    @property
    def centre(self) -> Array:
        """The middle of the box (D,)."""
        return np.asarray(0.5 * (np.array(self.upper) + np.array(self.lower)))

    def draw(self, count: int, rng: np.random.Generator) -> Array:
        """States (count, D), uniform in the box."""
        return rng.uniform(self.lower, self.upper, (count, len(self.lower)))


class NeuralTube:
    """V of one `loop` in numpy. `scale` c in units of l."""

    def __init__(self, loop: Loop, layers: list[tuple[Array, Array]], scale: float) -> None:
        self.loop, self.scale = loop, scale
        self._layers = layers

    def value(self, states: Array, horizon_s: float | None = None) -> Array:
        """V (n,) of `states` (n, D) with `horizon_s` to go (None: T). Raises ContractError on another shape or beyond T."""
        horizon = self.loop.horizon_s if horizon_s is None else horizon_s
        dimensions = len(self.loop.lower)
        if states.ndim != 2 or states.shape[1] != dimensions or not 0.0 <= horizon <= self.loop.horizon_s:
            raise ContractError(
                f"NeuralTube.value: found states {states.shape}, horizon_s {horizon}; allowed (n, {dimensions}), "
                f"0..{self.loop.horizon_s:g} s"
            )
        share = horizon / self.loop.horizon_s
        z = np.column_stack([(states - self.loop.centre) / self.loop.half, np.full(len(states), share)])
        for W, b in self._layers[:-1]:
            z = np.sin(OMEGA * (z @ W + b))
        W, b = self._layers[-1]
        return np.asarray(self.loop.margin(states) + self.scale * share * (z @ W + b)[:, 0])

    def save(self, path: Path) -> Path:
        """Write the weights (safetensors); the loop itself is code and is not written."""
        arrays = {f"W{i}": np.ascontiguousarray(W) for i, (W, _) in enumerate(self._layers)}
        arrays |= {f"b{i}": b for i, (_, b) in enumerate(self._layers)}
        box = {"lower": self.loop.lower, "upper": self.loop.upper, "horizon_s": self.loop.horizon_s}
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(arrays, str(path), metadata={"scale": repr(self.scale), "loop": repr(box)})
        return path

    @classmethod
    def load(cls, path: Path, loop: Loop) -> "NeuralTube":
        """Read what `save` wrote. Raises PolicyError where it can't be read or is of another box or horizon."""
        box = {"lower": loop.lower, "upper": loop.upper, "horizon_s": loop.horizon_s}
        try:
            with safe_open(str(path), framework="numpy") as file:
                arrays, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()
            layers = [(arrays[f"W{i}"], arrays[f"b{i}"]) for i in range(len(arrays) // 2)]
            scale, found = float(metadata["scale"]), metadata["loop"]
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
            raise PolicyError(f"{path}: can't be read as a neural tube: {error!r}; train again") from error
        if found != repr(box):
            raise PolicyError(f"{path}: found a tube of {found}, allowed {box!r}; train again")
        return cls(loop, layers, scale)


class _Sine(nn.Module):
    """N(z, t): sine layers, their weights drawn as SIREN draws them."""

    def __init__(self, inputs: int, training: Training) -> None:
        super().__init__()
        sizes = [inputs, *[training.width] * training.depth, 1]
        layers = [nn.Linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False)]
        for i, layer in enumerate(layers):
            bound = math.sqrt(6.0 / layer.in_features) / OMEGA if i else 1.0 / inputs
            nn.init.uniform_(layer.weight, -bound, bound)
        with torch.no_grad():
            layers[-1].weight.mul_(0.1)
            layers[-1].bias.zero_()
        self.layers = nn.ModuleList(layers)

    def forward(self, z: Tensor) -> Tensor:
        """(n,) of (n, D + 1)."""
        for layer in list(self.layers)[:-1]:
            z = torch.sin(OMEGA * layer(z))
        last: Tensor = self.layers[-1](z)[:, 0]
        return last


class Progress(Protocol):
    """What is told of the training now and then."""

    def __call__(self, step: int, loss: float) -> None:
        """`loss` in units of l per s, at `step`."""


def train_tube(loop: Loop, training: Training | None = None, progress: Progress | None = None) -> NeuralTube:
    """Learn V of `loop`; the same seed gives the same tube on the same machine. Raises ContractError where f_cl or l are not
    finite somewhere in the box. Set the number of torch threads before."""
    training = training or Training()
    rng = np.random.default_rng(training.seed)
    scale = max(float(np.std(loop.margin(loop.draw(4096, rng)))) * 3.0, 1e-6)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        net = _Sine(len(loop.lower) + 1, training)
    optimiser = torch.optim.Adam(net.parameters(), lr=training.lr)
    for step in range(training.steps):
        for group in optimiser.param_groups:
            group["lr"] = training.lr * _pace(step, training)
        until = min(1.0, 0.05 + step / (training.ramp * training.steps))
        loss = _loss(net, loop, scale, until, training.batch, rng)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if progress is not None and step % 100 == 0:
            progress(step, float(loss.detach()))
    layers = [m for m in net.layers if isinstance(m, nn.Linear)]
    weights = [(m.weight.detach().numpy().T.astype(np.float64), m.bias.detach().numpy().astype(np.float64)) for m in layers]
    return NeuralTube(loop, weights, scale)


def _pace(step: int, training: Training) -> float:
    """Share of the step size: up over 50 steps, down along a half cosine at the end."""
    late = max(0.0, (step / training.steps - 1.0 + training.decay) / training.decay)
    return min(1.0, (step + 1) / 50.0) * (0.01 + 0.5 * (1.0 + math.cos(math.pi * late)))


def _loss(net: _Sine, loop: Loop, scale: float, until: float, batch: int, rng: np.random.Generator) -> Tensor:
    """Mean |V_t - min(0, H)| over a fresh batch with t in [0, T until]."""
    x, share = loop.draw(batch, rng), rng.uniform(0.0, until, batch)
    f, slope, half = loop.drift(x), _slope(loop, x), loop.half
    if f.shape != x.shape or not np.isfinite(f).all() or not np.isfinite(slope).all():
        raise ContractError(
            f"train_tube: found a drift of shape {f.shape}, finite: {bool(np.isfinite(f).all())}, margin finite: "
            f"{bool(np.isfinite(slope).all())}; allowed finite, {x.shape} and ({batch},), everywhere in the box"
        )
    z = _tensor(np.column_stack([(x - loop.centre) / half, share])).requires_grad_()
    N = net(z)
    (grad,) = torch.autograd.grad(N.sum(), z, create_graph=True)
    t = z[:, -1].detach()
    V_t = scale / loop.horizon_s * (N + t * grad[:, -1])
    V_x = _tensor(slope) + scale * t[:, None] * grad[:, :-1]  # per half side of the box
    H = (V_x * _tensor(f / half)).sum(1)
    if loop.spread:
        H = H - (V_x.abs() * _tensor(np.array(loop.spread) / half)).sum(1)
    residual: Tensor = (V_t - H.clamp(max=0.0)).abs().mean()
    return residual


def _slope(loop: Loop, x: Array) -> Array:
    """grad l (n, D) per half side of the box, by central differences."""
    columns = []
    for i, half in enumerate(loop.half):
        ahead, behind = x.copy(), x.copy()
        ahead[:, i] += PROBE * half
        behind[:, i] -= PROBE * half
        columns.append((loop.margin(ahead) - loop.margin(behind)) / (2.0 * PROBE))
    return np.stack(columns, axis=1)


def _tensor(array: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


@dataclass(frozen=True, slots=True)
class Level:
    """{V <= `level`} misses failing states at a rate of at most `bound`, at `confidence`; found on `failing` of them."""

    level: float
    bound: float
    confidence: float
    failing: int


def calibrated(value: Array, truth: Array, epsilon: float, confidence: float = 0.95) -> Level:
    """The lowest level, not below 0, whose false-safe rate P(V > level | failing) is at most `epsilon` at `confidence`.

    The tube never shrinks: where {V <= 0} needs no correction there is none. `value` (n,) of the network and `truth` (n,) of
    simulation or grid, at states drawn independently; failing: truth <= 0. The bound is about states drawn alike. Raises
    DataError when too few of them fail.
    """
    failing = np.asarray(value[truth <= 0.0], dtype=np.float64)
    threshold, bound = certified_threshold(-failing, epsilon, confidence)
    if not np.isfinite(threshold):
        raise DataError(
            f"calibrated: found {len(failing)} failing states, too few for epsilon {epsilon:g} at confidence {confidence:g}; "
            "next: draw more states"
        )
    return Level(max(0.0, float(np.nextafter(-threshold, -math.inf))), bound, confidence, len(failing))
