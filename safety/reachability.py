"""Which states end in failure whatever happens: the backward reachable tube of a closed loop, on a grid of up to 4 dimensions.

A closed loop x' = f_cl(x) has no free input, and the tube of the failure set {l <= 0} within a horizon T is {V <= 0} of

    V_t + min(0, grad V . f_cl(x)) = 0,   V(x, 0) = l(x)        (arXiv 2211.02736, 2309.13475; Mitchell et al. 2005)

solved backwards for T seconds by `hj-reachability` (WENO differences, Runge-Kutta), which is the optional extra `reachability`:
offline work only. An error of the drift that may be anything within +-s(x) is an adversary: the Hamiltonian becomes
grad V . f_cl - sum_i |grad_i V| s_i.

The same V is the smallest margin along each trajectory, V(x, T) = min over t <= T of l(x(t)). `simulated_tube` computes that with
numpy alone, and is what the solver is checked against. Letters are the papers'.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_stack.errors import ConfigError, ContractError
from robot_stack.types import Array

MAX_DIMENSIONS = 4
Drift = Callable[[Array], Array]
Margin = Callable[[Array], Array]


@dataclass(frozen=True, slots=True)
class StateGrid:
    """Evenly spaced nodes from `lower` to `upper` (D,), both ends included, `shape` (D,) of them. Units: those of the state."""

    lower: tuple[float, ...]
    upper: tuple[float, ...]
    shape: tuple[int, ...]

    @classmethod
    def over(cls, lower: tuple[float, ...], upper: tuple[float, ...], spacing: float) -> "StateGrid":
        """Nodes about `spacing` apart in every dimension."""
        return cls(lower, upper, tuple(round((b - a) / spacing) + 1 for a, b in zip(lower, upper, strict=True)))

    def __post_init__(self) -> None:
        sizes = {len(self.lower), len(self.upper), len(self.shape)}
        if len(sizes) != 1 or not 1 <= len(self.shape) <= MAX_DIMENSIONS:
            raise ContractError(
                f"StateGrid: found {len(self.lower)}, {len(self.upper)}, {len(self.shape)} dimensions; "
                f"allowed the same number, 1..{MAX_DIMENSIONS}; next: a neural tube for more"
            )
        if min(self.shape) < 4 or not all(a < b for a, b in zip(self.lower, self.upper, strict=True)):
            raise ContractError(f"StateGrid: found {self}, allowed lower < upper and at least 4 nodes a dimension")

    @property
    def spacing(self) -> Array:
        """Distance of neighbouring nodes (D,)."""
        return np.asarray((np.array(self.upper) - np.array(self.lower)) / (np.array(self.shape) - 1))

    @property
    def axes(self) -> tuple[Array, ...]:
        """The nodes of each dimension."""
        return tuple(np.linspace(a, b, n) for a, b, n in zip(self.lower, self.upper, self.shape, strict=True))

    @property
    def nodes(self) -> Array:
        """All nodes (prod(shape), D), the last dimension fastest."""
        return np.stack(np.meshgrid(*self.axes, indexing="ij"), axis=-1).reshape(-1, len(self.shape))

    @property
    def corners(self) -> NDArray[np.int64]:
        """Of a cell (2^D, D): 0 for the lower node of a dimension, 1 for the upper, the last dimension fastest."""
        return np.array(list(product((0, 1), repeat=len(self.shape))))

    def cell(self, states: Array) -> tuple[NDArray[np.int64], Array]:
        """Indices (n, 2^D) of the `corners` around `states` (n, D), and factors (n, 2^D, D): a corner's weight is their product.
        Outside the grid the nearest edge counts."""
        place = np.clip((states - np.array(self.lower)) / self.spacing, 0.0, np.array(self.shape) - 1.0)
        low = np.minimum(place.astype(np.int64), np.array(self.shape) - 2)
        part = (place - low)[:, None]
        index = np.ravel_multi_index(tuple(np.moveaxis(low[:, None] + self.corners, -1, 0)), self.shape)
        return index, np.where(self.corners, part, 1.0 - part)

    def interpolate(self, table: Array, states: Array) -> Array:
        """`table` (nodes, M) or (nodes,) at `states` (n, D), multilinear."""
        index, factors = self.cell(states)
        weights = factors.prod(axis=2)
        return np.asarray((weights.reshape(*weights.shape, *[1] * (table.ndim - 1)) * table[index]).sum(axis=1))


def backward_tube(grid: StateGrid, drift: Array, margin: Array, horizon_s: float, spread: Array | None = None) -> Array:
    """V (nodes,) of the closed loop whose f_cl at the nodes is `drift` (nodes, D), 1/s; l there `margin` (nodes,); tube {V <= 0}.

    `spread` (nodes, D): how far the drift may be off either way, chosen by an adversary at every instant. Raises ContractError on
    wrong shapes or numbers that are none, ConfigError where the extra `reachability` is not installed.
    """
    count, dimensions = math.prod(grid.shape), len(grid.shape)
    spread = np.zeros_like(drift) if spread is None else spread
    for name, value, shape in (
        ("drift", drift, (count, dimensions)),
        ("spread", spread, (count, dimensions)),
        ("margin", margin, (count,)),
    ):
        if value.shape != shape or not np.isfinite(value).all():
            raise ContractError(
                f"backward_tube: found {name} of shape {value.shape}, finite: {bool(np.isfinite(value).all())}; "
                f"allowed finite {shape}, one row a node of the grid"
            )
    hj, dynamics, settings = _solver()
    box = hj.sets.Box(np.array(grid.lower), np.array(grid.upper))
    lattice = hj.Grid.from_lattice_parameters_and_boundary_conditions(box, grid.shape)
    nodes = np.concatenate([grid.nodes, drift, spread], axis=1).reshape(*grid.shape, 3 * dimensions)
    lattice = lattice.replace(states=nodes.astype(np.float32))
    scale = float(np.abs(margin).max()) or 1.0
    start = (margin / scale).reshape(grid.shape).astype(np.float32)
    found = hj.step(settings, dynamics, lattice, 0.0, start, -float(horizon_s), progress_bar=False)
    value = scale * np.asarray(found, dtype=np.float64).reshape(-1)
    if not np.isfinite(value).all():
        raise ContractError(
            "backward_tube: the solver diverged, allowed a drift it can follow; next: a finer grid or a smoother drift"
        )
    return value


@lru_cache(maxsize=1)
def _solver() -> tuple[Any, Any, Any]:
    """The package, dynamics that read x, f_cl and s off the node itself (a new closed loop needs no new compilation), settings.

    The equation is homogeneous in V, so V is solved for in units of max |l| and kept at -1 or more: where paths leave the grid
    its edge is extrapolated, and deep in the tube V would grow until it is no number. {V <= 0} does not feel the floor.
    """
    try:
        import hj_reachability as hj
        import jax.numpy as jnp
    except ImportError as error:
        raise ConfigError(
            "safety.reachability: hj-reachability is not installed; next: pip install 'robot_stack[reachability]'"
        ) from error

    class Tabulated:
        """What the solver asks of dynamics; a node is [x, f_cl, s] (3 D,)."""

        def hamiltonian(self, node: Any, time: Any, value: Any, gradient: Any) -> Any:
            """grad V . f_cl - |grad V| . s"""
            _, f, s = jnp.split(node, 3)
            return gradient @ f - jnp.abs(gradient) @ s

        def partial_max_magnitudes(self, node: Any, time: Any, value: Any, gradient_box: Any) -> Any:
            """Bound of |dH / d grad V|: the dissipation and the time step are chosen by it."""
            _, f, s = jnp.split(node, 3)
            return jnp.abs(f) + s

    settings = hj.SolverSettings.with_accuracy(
        "high",
        hamiltonian_postprocessor=hj.solver.backwards_reachable_tube,
        value_postprocessor=lambda time, value: jnp.maximum(value, -1.0),
    )
    return hj, Tabulated(), settings


def simulated_tube(states: Array, drift: Drift, margin: Margin, horizon_s: float, dt: float = 0.02) -> Array:
    """V (n,) at `states` (n, D): the smallest `margin` along the path of `drift` in `horizon_s`; Runge-Kutta 4, step `dt` s."""
    x, smallest = np.array(states, dtype=np.float64), margin(states)
    for _ in range(round(horizon_s / dt)):
        a = drift(x)
        b = drift(x + 0.5 * dt * a)
        c = drift(x + 0.5 * dt * b)
        d = drift(x + dt * c)
        x = x + dt / 6.0 * (a + 2.0 * b + 2.0 * c + d)
        smallest = np.minimum(smallest, margin(x))
    return np.asarray(smallest)


def volume(value: Array) -> float:
    """Share of the nodes inside the tube {V <= 0}: the figure of the papers, for nodes spread evenly over the domain."""
    return float(np.mean(value <= 0.0))


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two tubes on the same nodes: `iou` intersection over union; `false_safe`: share of the true tube the other calls safe."""

    iou: float
    false_safe: float
    differing: float


def agreement(value: Array, truth: Array) -> Agreement:
    """How `value` (n,) agrees with the trusted `truth` (n,) about {V <= 0}; `differing` is a share of all nodes."""
    ours, theirs = value <= 0.0, truth <= 0.0
    union, failing = int((ours | theirs).sum()), int(theirs.sum())
    return Agreement(
        iou=float((ours & theirs).sum()) / union if union else 1.0,
        false_safe=float((theirs & ~ours).sum()) / failing if failing else 0.0,
        differing=float(np.mean(ours != theirs)),
    )
