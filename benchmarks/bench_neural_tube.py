"""The neural reachable tube against the grid solver and forward simulation, on the taxi problem (arXiv 2211.02736).

Three tubes of the aircraft with perfect state feedback, |px| >= 10 m within 8 s, each learned from the equation alone:

* `ideal`: (px, th). The one a grid holds too.
* `gain`: one parameter more, a factor of the steering gains, 0.5..1.5: one network for every gain.
* `six`: four parameters more (gain, bias of the crosstrack and of the heading estimate, speed): no grid holds 6 dimensions.

Samples are |V - V_simulated|, m, at states drawn uniformly. `iou` and `false_safe` are of {V <= 0} before any correction, against
simulation and against the grid solver; `calibrated`: of the level that conformal calibration chose, on fresh states.
`train_cpu_s` is processor time of one thread. `robot-stack bench neural_tube` trains all three, in minutes.
"""

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.harness import Result
from drivers.taxi import drift, ideal_drift, margin, steering
from robot_stack.errors import ConfigError
from robot_stack.types import Array
from safety.neural_tube import Loop, NeuralTube, Training, calibrated, train_tube
from safety.reachability import StateGrid, agreement, backward_tube, simulated_tube, volume

HORIZON_S = 8.0
EDGE = (11.0, math.radians(32.0))
GRID = StateGrid((-EDGE[0], -EDGE[1]), EDGE, (101, 101))
GAINS = (0.5, 0.75, 1.0, 1.25, 1.5)
EPSILON, CONFIDENCE = 0.002, 0.95
STATES, DT = 20_000, 0.05


def with_gain(x: Array) -> Array:
    """f_cl (n, 3) of (px, th, k): steering k times the published gains."""
    return np.column_stack([drift(x, x[:, 2] * steering(x[:, :2])), np.zeros(len(x))])


def with_four(x: Array) -> Array:
    """f_cl (n, 6) of (px, th, k, bias of cte m, bias of he rad, speed m/s)."""
    seen = x[:, :2] + x[:, 3:5]
    moving = drift(x, x[:, 2] * steering(seen), x[:, 5:].T[0])
    return np.column_stack([moving, np.zeros((len(x), 4))])


LOOPS = {
    "ideal": Loop(GRID.lower, GRID.upper, ideal_drift, margin, HORIZON_S),
    "gain": Loop((*GRID.lower, 0.5), (*GRID.upper, 1.5), with_gain, margin, HORIZON_S),
    "six": Loop(
        (*GRID.lower, 0.5, -3.0, math.radians(-5.0), 3.0),
        (*GRID.upper, 1.5, 3.0, math.radians(5.0), 7.0),
        with_four,
        margin,
        HORIZON_S,
    ),
}
TRAININGS = {
    "ideal": Training(steps=1200),
    "gain": Training(steps=2500),
    "six": Training(steps=5000),
}


def main(arguments: Sequence[str]) -> list[Result]:
    """Train, compare, calibrate all tubes, or those named. Raises ConfigError on another name."""
    if unknown := sorted(set(arguments) - set(LOOPS)):
        raise ConfigError(f"bench neural_tube: found {unknown}, allowed {', '.join(LOOPS)}")
    torch.set_num_threads(1)
    return [measured(name) for name in arguments or LOOPS]


def measured(name: str) -> Result:
    """Train the tube called `name` and compare it with what is trusted."""
    began = time.process_time()
    tube = train_tube(LOOPS[name], TRAININGS[name], progress=_say(name))
    extra: dict[str, Any] = {"train_cpu_s": round(time.process_time() - began, 1)}
    error, found = on_fresh_states(tube)
    extra |= found
    if name == "ideal":
        value, truth = tube.value(GRID.nodes), grid_value()
        extra["grid"] = _figures(value, truth)
        extra["volume"] = {"neural": round(volume(value), 4), "grid": round(volume(truth), 4)}
    if name == "gain":
        extra["grid"] = {f"{gain:g}": _figures(_at_gain(tube, gain), grid_value(gain)) for gain in GAINS}
    return Result(f"neural_tube_{name}", "m", [float(e) for e in error], extra=extra)


def _say(name: str) -> Any:
    def say(step: int, loss: float) -> None:
        if step % 500 == 0:
            print(f"neural_tube {name}: step {step}, residual {loss:.4f} m/s", flush=True)

    return say


def _at_gain(tube: NeuralTube, gain: float) -> Array:
    return tube.value(np.column_stack([GRID.nodes, np.full(len(GRID.nodes), gain)]))


def grid_value(gain: float = 1.0) -> Array:
    """V (nodes,) of GRID by the grid solver."""
    flow = drift(GRID.nodes, gain * steering(GRID.nodes))
    return backward_tube(GRID, flow, margin(GRID.nodes), HORIZON_S)


def on_fresh_states(tube: NeuralTube) -> tuple[Array, dict[str, Any]]:
    """|V - V_simulated| (n,) at fresh states, and the agreement there, before and after calibrating the level on others."""
    rng = np.random.default_rng(1)
    seen, fresh = tube.loop.draw(STATES, rng), tube.loop.draw(STATES, rng)
    truths = [simulated_tube(x, tube.loop.drift, tube.loop.margin, HORIZON_S, DT) for x in (seen, fresh)]
    level = calibrated(tube.value(seen), truths[0], EPSILON, CONFIDENCE)
    value = tube.value(fresh)
    stated = {"level_m": round(level.level, 4), "bound": round(level.bound, 5), "failing": level.failing}
    corrected = _figures(value - level.level, truths[1]) | stated | {"epsilon": EPSILON, "confidence": CONFIDENCE}
    return np.abs(value - truths[1]), {"simulation": _figures(value, truths[1]), "calibrated": corrected}


def _figures(value: Array, truth: Array) -> dict[str, float]:
    found = agreement(value, truth)
    return {"iou": round(found.iou, 4), "false_safe": round(found.false_safe, 5), "differing": round(found.differing, 5)}
