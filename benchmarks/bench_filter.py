"""What one safety check costs: the whole `SafetyLayer.check` of sim_arm in a closed loop.

An ideal arm follows a waving chunk past a moving sphere, so that rows become active, are slowed for and projected as on a robot.
Unit: microseconds of one tick, kinematics, look-ahead, rows, learned barrier and QP together. The samples are replayed in one
process, with the barrier, without it and without constraint rows interleaved.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from safetensors.numpy import save_file

from benchmarks.harness import Result
from robot_stack.chunks import ChunkBuffer
from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import SafetySettings
from robot_stack.control import ControlState
from robot_stack.interfaces import Safety
from robot_stack.types import ActionChunk, Array, Hazards, JointCommand, JointState, Mode, SafeCommand
from safety.layer import SafetyLayer

SPEC = load_robot("sim_arm")
HOME = np.array(SPEC.q_home)
TICKS = 3_000
Tick = tuple[JointCommand | None, ControlState, int]


def _wave(t: float) -> Array:
    """Joints (7,) of a way past the sphere at time `t` s."""
    way = [0.8 * np.sin(t), 0.5 * np.sin(1.3 * t) + 0.3, 0.4 * np.sin(t), 0.1 * np.sin(t), 0.3 * np.sin(t), 0.2, -0.02]
    return HOME + np.array(way)


def ticks(layer: Safety, count: int) -> tuple[list[Tick], Counter[str]]:
    """Situations of a closed loop of `count` ticks with a new chunk five times a second, and how often each grade was used."""
    q, v, now, made, grades = HOME, np.zeros(7), 10_000_000_000, [], Counter[str]()
    for i in range(count):
        now += SPEC.dt_ns
        if i % 20 == 0:
            rows = [_wave(i * 0.01 + k * 0.05) for k in range(16)]
            chunk = ActionChunk(now, now, 50_000_000, np.array(rows), "policy")
        hazards = Hazards(now - 30_000_000, [[0.4, 0.2 * np.sin(0.003 * i), 0.14]], [0.05], [0.005], [0.1])
        last = SafeCommand(JointCommand(now - SPEC.dt_ns, q, v))
        joints = JointState(now, q, v, np.zeros(7))
        state = ControlState(mode=Mode.POLICY, joints=joints, commanded=last, hazards=hazards, playing=chunk)
        wish = ChunkBuffer(chunk).at(now)
        verdict = layer.check(wish, state, now)
        grades[f"{verdict.decision.value}/{verdict.solver}"] += 1
        made.append((wish, state, now))
        q, v = verdict.command.q, verdict.command.qd
    return made, grades


def _microseconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - begin) * 1e-3


def _barrier(folder: str) -> str:
    """A barrier file of the size that is trained (2 x 128 tanh), with weights that never bind."""
    rng, path = np.random.default_rng(0), str(Path(folder) / "barrier.safetensors")
    sizes = (9, 128, 128, 1)
    arrays = {f"W{i}": rng.normal(size=sizes[i : i + 2]).astype(np.float32) * 0.05 for i in range(3)}
    arrays |= {f"b{i}": np.zeros(n, np.float32) for i, n in enumerate(sizes[1:])}
    save_file(arrays | {"mean": np.zeros(9, np.float32), "std": np.ones(9, np.float32)}, path, metadata={"delta": "-1.0"})
    return path


def check_cost(count: int = TICKS) -> Result:
    """The whole check with the learned barrier, against the same ticks without it and without the constraint rows."""
    with TemporaryDirectory() as folder:
        full = SafetyLayer(SPEC, SafetySettings(barrier=_barrier(folder)))
    plain, bare = SafetyLayer(SPEC, SafetySettings()), SafetyLayer(SPEC, SafetySettings(use_filter=False))
    made, grades = ticks(full, count)
    peers = {"filter": full, "no_barrier": plain, "joint_limits_only": bare}
    samples: dict[str, list[float]] = {name: [] for name in peers}
    for wish, state, now in made:
        for name, layer in peers.items():
            samples[name].append(_microseconds(lambda: layer.check(wish, state, now)))  # noqa: B023
    ours = samples.pop("filter")
    return Result("filter", "us", ours, against=samples, extra={"grades": dict(grades), "joints": 7, "links": len(SPEC.capsules)})


def main(arguments: Sequence[str] = ()) -> Result:
    """The figure."""
    return check_cost()
