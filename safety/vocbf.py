"""A control barrier function from logged motion alone (V-OCBF, arXiv 2512.10822): twin critics and an expectile value.

    y = (1 - g) h(s) + g min(h(s), V(s'))        L_Q = sum_i (Q_i(s, a) - y)^2
    L_V = E |tau - 1(q - V < 0)| (q - V)^2,       q = min_i Q_i(s, a),  tau = 0.9:  about the best action in the data
    B := V, safe where B >= delta

h (m, h < 0 failure) comes from `margins`. The end of a log is no terminal state: its last row bootstraps like any other.
Before that, Q and V are fitted to h, the upper bound of the recursion, which then only has to come down where h will.

Traps of the released code that this does not share: the filter uses the arm's own ``q' = q + dt u`` for LfB + LgB u instead
of a learned model trained at another dt, so `barrier_gain` is in 1/s of true time; actions are not rescaled behind the
solver's back; and nothing is reported by an inverted cost flag: the figures below are counted from h on held-out motion.

delta is calibrated: on held-out trajectories, one failing state each, ``P(B >= delta) <= epsilon`` with `confidence`
(`conformal.certified_threshold`). A state fails when its logged motion has h < 0 within `horizon_s`, the time it takes to brake.
The bound is about trajectories and obstacle places drawn like the held-out ones, not about every state of the arm.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

from robot_stack.config.schema import VocbfSettings
from robot_stack.errors import DataError
from robot_stack.types import Array
from safety.barrier import Barrier
from safety.conformal import certified_threshold, samples_needed
from safety.hindsight import Mask, Transitions


@dataclass(frozen=True, slots=True)
class BarrierReport:
    """Counted on held-out trajectories. `false_safe`: failing states with B >= delta, its certified `bound`; `error` m: rms of
    B - h; `unsafe_share`: states with h >= 0 for the whole horizon that are declared unsafe all the same."""

    delta: float
    false_safe: float
    bound: float
    failing: int
    unsafe_share: float
    error: float
    states: int
    trajectories: int


_NETS = "nets."
"""What the names of the networks' own numbers begin with in a file of all of a FittedBarrier."""


class _Nets(nn.Module):
    """V (tanh: the filter needs its gradient everywhere) and two critics at once, on normalised inputs, in units of h_max."""

    def __init__(self, state: int, action: int, width: int) -> None:
        super().__init__()
        self.value = nn.Sequential(nn.Linear(state, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))
        sizes = (state + action, width, width, 1)
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(2, a, b) / a**0.5) for a, b in zip(sizes, sizes[1:], strict=False)
        )
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(2, 1, b)) for b in sizes[1:])

    def critics(self, state: Tensor, action: Tensor) -> Tensor:
        """(2, N) for states (N, D) and actions (N, A)."""
        x = torch.cat([state, action], dim=1).expand(2, -1, -1)
        for i, (W, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(b, x, W)
            x = torch.relu(x) if i < len(self.weights) - 1 else x
        return x[..., 0]


@dataclass(frozen=True, slots=True, eq=False)
class FittedBarrier:
    """What training found, in units of h: the arrays of a barrier file, and the critics, for those who weigh actions by them."""

    arrays: dict[str, Array]
    _nets: _Nets
    _action_scale: Array
    _h_max: float

    def barrier(self, level: float = 0.0) -> Barrier:
        """B = V as the filter runs it."""
        depth = sum(name.startswith("W") for name in self.arrays)
        layers = [(self.arrays[f"W{i}"], self.arrays[f"b{i}"]) for i in range(depth)]
        return Barrier(layers, self.arrays["mean"], self.arrays["std"], level)

    def critic(self, states: Array, actions: Array) -> Array:
        """q (n,) = min_i Q_i(s, a) of `states` (n, D) and `actions` (n, A)."""
        x = torch.as_tensor((states - self.arrays["mean"]) / self.arrays["std"], dtype=torch.float32)
        with torch.no_grad():
            q = self._nets.critics(x, torch.as_tensor(actions / self._action_scale, dtype=torch.float32)).min(0).values
        return np.asarray(q.numpy() * self._h_max, dtype=np.float64)

    def write(self, out: Path, level: float) -> Path:
        """A barrier file, read by `safety.barrier.Barrier.load`."""
        out.parent.mkdir(parents=True, exist_ok=True)
        save_file({k: np.ascontiguousarray(a) for k, a in self.arrays.items()}, str(out), metadata={"delta": repr(level)})
        return out

    def save(self, path: Path) -> Path:
        """All of it, critics included: one safetensors file for `load`, which no filter reads."""
        nets = {f"{_NETS}{name}": value.numpy() for name, value in self._nets.state_dict().items()}
        rest = {"action_scale": self._action_scale, "h_max": np.array(self._h_max)}
        save_file({name: np.ascontiguousarray(a) for name, a in (self.arrays | nets | rest).items()}, str(path))
        return path

    @classmethod
    def load(cls, path: Path) -> "FittedBarrier":
        """What `save` wrote."""
        arrays = load_file(str(path))
        state = {n.removeprefix(_NETS): torch.from_numpy(arrays.pop(n)) for n in list(arrays) if n.startswith(_NETS)}
        scale, h_max = arrays.pop("action_scale"), arrays.pop("h_max").item()
        with torch.device("meta"):
            nets = _Nets(arrays["mean"].size, scale.size, arrays["b0"].size)
        nets.load_state_dict(state, assign=True)
        return cls(arrays, nets, scale, h_max)


def fit_barrier(data: Transitions, settings: VocbfSettings, seed: int = 0) -> FittedBarrier:
    """Q and V of all rows of `data`, whose h is clipped at `settings.h_max` already and whose rows are `settings.dt` s apart. No
    level: calibrate one. Raises DataError when values are not finite."""
    _check(data)
    mean, std = data.states.mean(0), np.maximum(data.states.std(0), 1e-3)
    scale = np.maximum(data.actions.std(0), 1e-3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        nets = _Nets(data.states.shape[1], data.actions.shape[1], settings.width)
        _fit(nets, _tensors(data, mean, std, scale, settings.h_max), settings)
    layers = [m for m in nets.value if isinstance(m, nn.Linear)]
    arrays = {f"W{i}": m.weight.detach().numpy().T.astype(np.float64) for i, m in enumerate(layers)}
    arrays |= {f"b{i}": m.bias.detach().numpy().astype(np.float64) for i, m in enumerate(layers)}
    last = len(layers) - 1
    for name in (f"W{last}", f"b{last}"):
        arrays[name] = arrays[name] * settings.h_max
    return FittedBarrier(arrays | {"mean": mean, "std": std}, nets, scale, settings.h_max)


def train_vocbf(data: Transitions, out: Path, settings: VocbfSettings, seed: int = 0) -> Path:
    """Learn a barrier from `data` and write `out` (safetensors, read by `safety.barrier.Barrier`) with its report beside it
    (``.json``). Raises DataError when values are not finite or too few held-out trajectories fail to certify a level."""
    _check(data)
    held = _held_out(data.motion, settings.holdout, seed)
    fitted = fit_barrier(data.rows(~held), settings, seed)
    report = _report(_forward(fitted.arrays, data.states[held]), data.h[held], data.done[held], settings, seed)
    fitted.write(out, report.delta)
    out.with_suffix(".json").write_text(json.dumps(asdict(report) | {"settings": asdict(settings)}, indent=2) + "\n")
    return out


def barrier_values(path: Path, states: Array) -> tuple[Array, float]:
    """B (n,) m of `states` (n, D) and the level delta of a barrier file: for labels, where a whole log is wanted at once."""
    with safe_open(str(path), framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}
        level = float(file.metadata()["delta"])
    return _forward(arrays, states), level


def _forward(arrays: dict[str, Array], states: Array) -> Array:
    x = (states - arrays["mean"]) / arrays["std"]
    depth = sum(name.startswith("W") for name in arrays)
    for i in range(depth):
        x = x @ arrays[f"W{i}"] + arrays[f"b{i}"]
        x = np.tanh(x) if i < depth - 1 else x
    return np.asarray(x[:, 0])


def _check(data: Transitions) -> None:
    for name in ("states", "actions", "next_states", "h"):
        if not np.isfinite(getattr(data, name)).all():
            raise DataError(f"train_vocbf: {name} is not finite; drop the broken samples of the log first")


def _held_out(motion: NDArray[np.int64], share: float, seed: int) -> Mask:
    """Rows (M,) kept out of training: all relabelled copies and branches of some motions."""
    names = np.unique(motion)
    count = min(len(names) - 1, max(1, round(share * len(names))))
    if count < 1:
        raise DataError("train_vocbf: found one motion, allowed at least two: one trains, one calibrates")
    return np.isin(motion, np.random.default_rng(seed).choice(names, count, replace=False))


def _tensors(data: Transitions, mean: Array, std: Array, scale: Array, h_max: float) -> tuple[Tensor, ...]:
    """States, actions, next states (normalised), h / h_max, float32."""
    columns = ((data.states - mean) / std, data.actions / scale, (data.next_states - mean) / std, data.h / h_max)
    return tuple(torch.as_tensor(c, dtype=torch.float32) for c in columns)


def _fit(nets: _Nets, data: tuple[Tensor, ...], settings: VocbfSettings) -> None:
    """Half of every batch is drawn from rows near the boundary, |h| < `near`, where the level will lie."""
    optimiser = torch.optim.Adam(nets.parameters(), lr=settings.lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3 * settings.lr, total_steps=settings.steps)
    warm = round(settings.warm_share * settings.steps)
    near = torch.nonzero(data[3].abs() < settings.near / settings.h_max)[:, 0]
    pool = torch.cat([torch.arange(len(data[0])), near.repeat(max(0, len(data[0]) // max(len(near), 1)))])
    for step in range(settings.steps):
        rows = pool[torch.randint(0, len(pool), (settings.batch,))]
        batch = [column[rows] for column in data]
        loss = _warm_loss(nets, batch) if step < warm else _loss(nets, batch, settings)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()


def _warm_loss(nets: _Nets, batch: list[Tensor]) -> Tensor:
    state, action, _, h = batch
    value: Tensor = nets.value(state)[:, 0]
    loss: Tensor = (value - h).square().mean() + (nets.critics(state, action) - h).square().sum(0).mean()
    return loss


def _loss(nets: _Nets, batch: list[Tensor], settings: VocbfSettings) -> Tensor:
    state, action, after, h = batch
    values = nets.value(torch.cat([state, after]))[:, 0]
    value, value_after = values[: len(state)], values[len(state) :].detach()
    y = (1 - settings.discount) * h + settings.discount * torch.minimum(h, value_after)
    critics = nets.critics(state, action)
    gap = critics.detach().min(0).values - value
    expectile = torch.where(gap < 0, 1 - settings.expectile, settings.expectile)
    loss: Tensor = (critics - y).square().sum(0).mean() + (expectile * gap.square()).mean()
    return loss


def _report(value: Array, h: Array, done: Mask, settings: VocbfSettings, seed: int) -> BarrierReport:
    failing = fails_soon(h, done, round(settings.horizon_s / settings.dt))
    trajectory = np.concatenate([[0], np.cumsum(done)[:-1]])
    rng = np.random.default_rng(seed)
    chosen = [rng.choice(np.flatnonzero(failing & (trajectory == t))) for t in np.unique(trajectory[failing])]
    needed = samples_needed(settings.epsilon, settings.confidence)
    if len(chosen) < needed:
        raise DataError(
            f"train_vocbf: {len(chosen)} of {int(done.sum())} held-out trajectories ever fail, allowed at least {needed} for "
            f"epsilon {settings.epsilon:g} at confidence {settings.confidence:g}; place more obstacles or branches"
        )
    threshold, bound = certified_threshold(-value[chosen], settings.epsilon, settings.confidence)
    delta = -threshold
    return BarrierReport(
        delta=delta,
        false_safe=float(np.mean(value[failing] >= delta)),
        bound=bound,
        failing=len(chosen),
        unsafe_share=float(np.mean(value[~failing] < delta)),
        error=float(np.sqrt(np.mean((value - h) ** 2))),
        states=len(h),
        trajectories=int(done.sum()),
    )


def fails_soon(h: Array, done: Mask, steps: int) -> Mask:
    """True (M,) where h < 0 at a row or within the next `steps` rows of its trajectory."""
    bad = h < 0
    for _ in range(steps):
        bad = bad | np.concatenate([bad[1:] & ~done[:-1], [False]])
    return np.asarray(bad)
