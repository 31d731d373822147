"""Milliseconds from an observation to a chosen chunk, on one thread: `vla` and `flow`, by every engine, for N candidates.

Both as shipped (`policy=vla`, `policy=flow`) with the selector in the graph, on the simulated arm's inputs: two cameras of
128x128 pixels, 7 joints. The weights are trained for three steps only: a bundle that was not exported and checked can't be
opened, and their values do not change the speed. All engines run the same weights and take turns in one process, one call each
a round. `unshared` encodes the observation once for each candidate, as the code published with TACO does; the difference is
what one shared prefix is worth (the paper's curve: -73 % at N = 32). `ours` is the whole decision as policy_node makes it, with
the engine that `run.engine=auto` takes here. `robot-stack bench policy_latency=40` for 40 rounds.
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.harness import Result
from policies.bundle import MODEL
from policies.checkpoint import load_checkpoint
from policies.engine import Engine
from policies.engines.onnx_runtime import OnnxRuntimeEngine
from policies.engines.open_vino import OpenVinoEngine
from policies.engines.torch_graphs import TorchEngine
from policies.export import OUTPUTS, Decision, export_bundle, write_graph
from policies.onnx_policy import OnnxPolicy
from policies.recorded import observation_at
from policies.train import train_policy
from robot_stack.config.commands import TrainCommand
from robot_stack.config.load import load
from robot_stack.config.schema import TacoSettings
from robot_stack.data.episode import Episode
from robot_stack.errors import PolicyError
from robot_stack.types import Observation
from safety.taco import CoinFlipNetwork

POLICIES = ("vla", "flow")
CANDIDATES = (1, 4, 8, 16, 32, 64)
ROUNDS, WARM_UP = 20, 2
DEFAULT, MANY = 16, 32
STEPS = (4, 2)
"""Of `vla`, beside the 8 it is shipped with."""
COMPILED = MANY
"""torch.compile takes minutes, so it is compared at this N only."""
Cell = tuple[str, str, int]
"""Policy, engine, N; the engine's name ends in UNSHARED where each candidate encodes the observation anew."""
UNSHARED = ", unshared"


@dataclass(frozen=True)
class Made:
    """One policy: its bundle, the same graph without sharing, the module of each, the selector's own graph, and what it sees."""

    bundle: Path
    unshared: Path
    decisions: Mapping[bool, Decision]
    selector: Path
    features: int
    seen: Observation


def main(arguments: Sequence[str]) -> list[Result]:
    """`arguments`: the number of rounds. One result a policy: ours at N = 32, against the other engines there."""
    torch.set_num_threads(1)
    rounds = int(arguments[0]) if arguments else ROUNDS
    with tempfile.TemporaryDirectory() as folder:
        made = {name: _make(name, Path(folder) / name) for name in POLICIES}
        calls: dict[Cell, Callable[[], object]] = {}
        for name, one in made.items():
            calls |= _calls(name, one)
        for steps in STEPS:
            fewer = _make("vla", Path(folder) / f"vla_{steps}", f"policy.steps={steps}")
            calls |= {(f"vla, {steps} steps", "ours", n): _decides(fewer, n) for n in (1, MANY)}
        samples = _in_turns(calls, rounds)
        gflop = {name: {n: _gflop(one, n) for n in CANDIDATES} for name, one in made.items()}
        engine = OnnxPolicy(made["vla"].bundle, MANY, engine="auto").engine
    extra = {"engine": engine, "threads": 1, "rows": _rows(samples), "gflop": gflop} | _ratios(samples)
    return [_result(name, samples, extra if name == "vla" else {}) for name in POLICIES]


def _make(name: str, folder: Path, *overrides: str) -> Made:
    rng = np.random.default_rng(0)
    settings = load(TrainCommand, ["dataset=", f"policy={name}", *overrides]).policy
    pictures = {camera: rng.integers(0, 255, (80, 128, 128, 3), np.uint8) for camera in ("scene", "wrist")}
    action = np.cumsum(rng.normal(0.0, 0.02, (80, 7)), axis=0)
    joints = tuple(f"joint_{i}" for i in range(7))
    episode = Episode("made_up", settings.rate_hz, joints, action, action, pictures, "put the cube on the disc")
    train = replace(load(TrainCommand, ["dataset="]).train, steps=3, batch=8, holdout=0)
    checkpoint = train_policy([episode], settings, train, folder / "checkpoint")
    policy, _ = load_checkpoint(checkpoint)
    selector = CoinFlipNetwork(policy.num_features, TacoSettings()).eval()
    bundle = export_bundle(checkpoint, folder / "bundle", selector, [episode])
    decisions = {shared: Decision(policy, selector, shared).eval() for shared in (True, False)}
    if not overrides:
        write_graph(decisions[False], folder / "unshared.onnx")
    torch.onnx.export(
        selector, (torch.zeros(3, policy.num_features),), str(folder / "selector.onnx"), input_names=["noise"], dynamo=True,
        output_names=["counts"], dynamic_shapes=({0: torch.export.Dim("candidates", min=1, max=4096)},), external_data=False,
        verbose=False,
    )  # fmt: skip
    seen = observation_at(episode, 0)
    return Made(bundle, folder / "unshared.onnx", decisions, folder / "selector.onnx", policy.num_features, seen)


def _calls(name: str, made: Made) -> dict[Cell, Callable[[], object]]:
    """What takes turns: every engine, for every N, with and without a shared prefix; the selector alone, at N = DEFAULT."""
    calls: dict[Cell, Callable[[], object]] = {}
    for n in CANDIDATES:
        calls[name, "ours", n], feed = _decides(made, n), OnnxPolicy(made.bundle, n).feed(made.seen)
        for label, engine in _engines(made, n).items():
            calls[name, label, n] = lambda engine=engine, feed=feed: engine.run(["chunk", "winner", "counts"], feed)  # type: ignore[misc]
    alone, features = _fastest(made.selector, DEFAULT), np.ones((DEFAULT, made.features), np.float32)
    calls[name, "selector alone", DEFAULT] = lambda: alone.run(["counts"], {"noise": features})
    if compiled := _compiled(made):
        calls[name, "torch.compile", COMPILED] = compiled
    return calls


def _compiled(made: Made) -> Callable[[], object] | None:
    """The decision compiled by PyTorch, warm; none where it has no compiler to do it with."""
    engine = TorchEngine(torch.compile(made.decisions[True], dynamic=False), OUTPUTS)  # type: ignore[arg-type]
    feed = OnnxPolicy(made.bundle, COMPILED).feed(made.seen)
    try:
        engine.run(OUTPUTS, feed)
    except Exception as error:  # whatever its compiler says
        print(f"torch.compile: {error}", flush=True)
        return None
    return lambda: engine.run(["chunk", "winner", "counts"], feed)


def _decides(made: Made, candidates: int) -> Callable[[], object]:
    policy = OnnxPolicy(made.bundle, candidates, engine="auto")
    return lambda: policy.decide(made.seen)


def _gflop(made: Made, candidates: int) -> float:
    """Products of one decision, in 10^9 operations (a multiplication and an addition are two)."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        made.decisions[True](made.decisions[True].example(candidates))
    return counter.get_total_flops() / 1e9


def _engines(made: Made, candidates: int) -> dict[str, Engine]:
    found: dict[str, Engine] = {}
    for end, model, shared in (("", made.bundle / MODEL, True), (UNSHARED, made.unshared, False)):
        found[f"PyTorch{end}"] = TorchEngine(made.decisions[shared], OUTPUTS)
        found[f"ONNX Runtime{end}"] = OnnxRuntimeEngine(model)
        try:
            found[f"OpenVINO{end}"] = OpenVinoEngine(model, 1, candidates)
        except PolicyError as error:
            print(error, flush=True)
    return found


def _fastest(model: Path, candidates: int) -> Engine:
    try:
        return OpenVinoEngine(model, 1, candidates)
    except PolicyError:
        return OnnxRuntimeEngine(model)


def _in_turns(calls: Mapping[Cell, Callable[[], object]], rounds: int) -> dict[Cell, list[float]]:
    samples: dict[Cell, list[float]] = {cell: [] for cell in calls}
    for i in range(rounds + WARM_UP):
        for cell, call in calls.items():
            begin = time.perf_counter()
            call()
            if i >= WARM_UP:
                samples[cell].append(1e3 * (time.perf_counter() - begin))
    return samples


def _ratios(samples: Mapping[Cell, Sequence[float]]) -> dict[str, Any]:
    """The figures that have a target; of medians. `saved_by_sharing`: share of the time without it."""
    ms = {cell: float(np.median(values)) for cell, values in samples.items()}
    eager = {f"{p}, N = {n}": ms[p, "PyTorch", n] / ms[p, "ours", n] for p in POLICIES for n in CANDIDATES}
    fast = "OpenVINO" if ("vla", "OpenVINO", 1) in ms else "ONNX Runtime"
    saved = {p: {n: 1.0 - ms[p, fast, n] / ms[p, fast + UNSHARED, n] for n in CANDIDATES} for p in POLICIES}
    return {
        "exported_over_eager": min(eager[f"{p}, N = {DEFAULT}"] for p in POLICIES),
        "exported_over_eager_each": eager,
        "vla_n32_over_n1": ms["vla", "ours", MANY] / ms["vla", "ours", 1],
        "vla_n32_over_n1_of_steps": {s: ms[f"vla, {s} steps", "ours", MANY] / ms[f"vla, {s} steps", "ours", 1] for s in STEPS},
        "flow_n32_over_n1": ms["flow", "ours", MANY] / ms["flow", "ours", 1],
        "selector_share": ms["vla", "selector alone", DEFAULT] / ms["vla", "ours", DEFAULT],
        "selector_share_flow": ms["flow", "selector alone", DEFAULT] / ms["flow", "ours", DEFAULT],
        "saved_by_sharing": saved,
    }


def _rows(samples: Mapping[Cell, Sequence[float]]) -> list[dict[str, Any]]:
    """One row a policy and engine: the median for each N, ms."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for (policy, engine, n), values in samples.items():
        rows.setdefault((policy, engine), {"policy": policy, "engine": engine})[f"n{n}"] = round(float(np.median(values)), 3)
    return list(rows.values())


def _result(name: str, samples: Mapping[Cell, list[float]], extra: Mapping[str, Any]) -> Result:
    against = {e: v for (p, e, n), v in samples.items() if (p, n) == (name, MANY) and e != "ours"}
    title = "policy_latency" if name == "vla" else f"policy_latency_{name}"
    return Result(title, "ms", samples[name, "ours", MANY], against=against, extra={"policy": name, "N": MANY, **extra})
