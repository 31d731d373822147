"""The learned barrier B(x) (V-OCBF, arXiv 2512.10822) as the arm process runs it: a tanh MLP in numpy, value and gradient.

File: safetensors with W0, b0, W1, b1, ... (``x @ W + b``), `mean` and `std` (D,) of the input, and `delta` in the metadata: the
level, B(x) >= delta is safe. x is the joints that move the tool, then the centre of the nearest hazard in the world (m).
"""

from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from robot_stack.errors import ConfigError
from robot_stack.size_limits import check_weights
from robot_stack.types import Array


class Barrier:
    """B and its gradient. `dim` D is the length of x, `level` the value it must not fall below."""

    def __init__(self, layers: list[tuple[Array, Array]], mean: Array, std: Array, level: float) -> None:
        self._layers = [(np.ascontiguousarray(W, dtype=float), np.asarray(b, dtype=float)) for W, b in layers]
        self._backward = [np.ascontiguousarray(W.T) for W, _ in self._layers]
        self._mean, self._scale = np.asarray(mean, dtype=float), 1.0 / np.asarray(std, dtype=float)
        self.dim = int(self._mean.size)
        self.level = level

    @classmethod
    def load(cls, path: str | Path) -> "Barrier":
        """Read a barrier file. Raises ConfigError where it is missing, cut, of the wrong shapes or not finite."""
        try:
            check_weights(Path(path))
            with safe_open(str(path), framework="numpy") as file:
                arrays = {name: file.get_tensor(name) for name in file.keys()}
                level = float((file.metadata() or {}).get("delta", "nan"))
        except (OSError, SafetensorError, ValueError) as error:
            raise ConfigError(f"safety.barrier: {path}: {error}; train one or set safety.barrier='' to go without") from error
        depth = sum(1 for name in arrays if name.startswith("W"))
        names = {f"{kind}{i}" for i in range(depth) for kind in "Wb"} | {"mean", "std"}
        if depth == 0 or set(arrays) != names:
            raise ConfigError(f"safety.barrier: {path}: found arrays {sorted(arrays)}, allowed W0, b0, ... and mean, std")
        layers = [(arrays[f"W{i}"], arrays[f"b{i}"]) for i in range(depth)]
        _check(path, layers, arrays["mean"], arrays["std"], level)
        return cls(layers, arrays["mean"], arrays["std"], level)

    def value_and_gradient(self, x: Array) -> tuple[float, Array]:
        """B at `x` (D,) and dB/dx (D,)."""
        value, gradient = self.values_and_gradients(x)
        return float(value), gradient

    def values_and_gradients(self, x: Array) -> tuple[Array, Array]:
        """B (...,) at every `x` (..., D) and dB/dx (..., D)."""
        z = (x - self._mean) * self._scale
        slopes: list[Array] = []
        for W, b in self._layers[:-1]:
            z = np.tanh(z @ W + b)
            slopes.append(1.0 - z * z)
        W, b = self._layers[-1]
        gradient = self._backward[-1][0]
        for slope, back in zip(reversed(slopes), reversed(self._backward[:-1]), strict=True):
            gradient = (gradient * slope) @ back
        return (z @ W + b)[..., 0], gradient * self._scale


def _check(path: str | Path, layers: list[tuple[Array, Array]], mean: Array, std: Array, level: float) -> None:
    width = mean.size
    for i, (W, b) in enumerate(layers):
        if W.ndim != 2 or W.shape[0] != width or b.shape != W.shape[1:]:
            raise ConfigError(f"safety.barrier: {path}: found W{i} {W.shape}, b{i} {b.shape}; allowed ({width}, n), (n,)")
        width = W.shape[1]
    if width != 1 or std.shape != mean.shape or not (std > 0).all():
        raise ConfigError(f"safety.barrier: {path}: allowed one output (found {width}) and std > 0 of the shape of mean")
    if not (np.isfinite(level) and all(np.isfinite(a).all() for layer in layers for a in layer) and np.isfinite(mean).all()):
        raise ConfigError(f"safety.barrier: {path}: weights and metadata delta must be finite (found delta={level})")
