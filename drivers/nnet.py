"""Networks as `.nnet` text (Kyle Julian, Stanford, 2016): ReLU between layers, linear last.

    // comments
    layers, inputs, outputs, widest layer,
    inputs, layer sizes...,
    (a flag, unused)
    minimum of each input,   maximum of each input,
    mean of each input and of the output,   range of each input and of the output,
    for each layer: one line a row of W, then one number a line of b

An input is clipped to its limits and normalised (x - mean) / range. The output is returned as it is: writers of these files do
not agree on what its mean and range are for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robot_stack.errors import PolicyError
from robot_stack.types import Array


@dataclass(frozen=True, slots=True, eq=False)
class NnetNetwork:
    """`weights` (out, in) and `biases` (out,) a layer; `lower`, `upper`, `mean`, `span` (inputs,)."""

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    lower: Array
    upper: Array
    mean: Array
    span: Array

    def __call__(self, x: Array) -> Array:
        """Outputs (n, outputs) of inputs (n, inputs). Raises PolicyError on another number of inputs."""
        if x.ndim != 2 or x.shape[1] != len(self.mean):
            raise PolicyError(f"NnetNetwork: found inputs {x.shape}, allowed (n, {len(self.mean)})")
        x = (np.clip(x, self.lower, self.upper) - self.mean) / self.span
        for i, (W, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = x @ W.T + b
            x = np.maximum(x, 0.0) if i < len(self.weights) - 1 else x
        return np.asarray(x)


def read_nnet(path: Path) -> NnetNetwork:
    """The network of a file. Raises PolicyError, naming the line, when it is missing, ends early, goes on, or is no network."""
    if not path.is_file():
        raise PolicyError(f"{path}: missing; allowed a .nnet text file")
    rows = _rows(path)
    layers, inputs, outputs, _ = (int(v) for v in _take(rows, path, "the sizes", 4))
    sizes = [int(v) for v in _take(rows, path, "the layer sizes", layers + 1)]
    if sizes[0] != inputs or sizes[-1] != outputs or min(sizes) < 1:
        raise PolicyError(f"{path}: found layer sizes {sizes}, allowed {inputs} first and {outputs} last, all at least 1")
    _take(rows, path, "the flag", None)
    lower, upper = (_take(rows, path, f"the {name} of the inputs", inputs) for name in ("minimum", "maximum"))
    mean, span = (_take(rows, path, f"the {name} of inputs and output", inputs + 1)[:-1] for name in ("mean", "range"))
    if not (span != 0).all():
        raise PolicyError(f"{path}: found a range of 0, allowed anything else: inputs are divided by it")
    weights, biases = [], []
    for i, (width, height) in enumerate(zip(sizes, sizes[1:], strict=False)):
        weights.append(np.array([_take(rows, path, f"row {r} of layer {i}'s weights", width) for r in range(height)]))
        biases.append(np.array([_take(rows, path, f"bias {r} of layer {i}", 1)[0] for r in range(height)]))
    if (extra := next(rows, None)) is not None:
        raise PolicyError(f"{path}, line {extra[0]}: found more than the {layers} layers the header names, allowed the end")
    return NnetNetwork(tuple(weights), tuple(biases), lower, upper, mean, span)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line number, values as text) of every line that is no comment."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except UnicodeDecodeError as error:
        raise PolicyError(f"{path}: found a byte that is not text at {error.start}, allowed a .nnet text file") from error
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.startswith("//"):
            yield number, [v for v in (part.strip() for part in line.split(",")) if v]


def _take(rows: Iterator[tuple[int, list[str]]], path: Path, what: str, count: int | None) -> Array:
    """The next line as `count` finite numbers (None: any number of them)."""
    number, values = next(rows, (0, []))
    if number == 0:
        raise PolicyError(f"{path}: ends before {what}; allowed a whole .nnet file; next: copy it again")
    try:
        found = np.array([float(v) for v in values])
    except ValueError as error:
        raise PolicyError(f"{path}, line {number}: found {error}, allowed numbers: {what}") from error
    if (count is not None and len(found) != count) or not np.isfinite(found).all():
        raise PolicyError(f"{path}, line {number}: found {len(found)} values, allowed {count} finite ones: {what}")
    return found
