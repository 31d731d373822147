"""Every policy on `g1_bottle`: chunk error on episodes it never saw beside the baselines, and how long a decision takes.

Trained on all but the last four episodes for `SECONDS` of processor time each, one thread, whatever number of steps that buys:
the table compares what so much of a laptop teaches, not what the methods can do. Pictures are decoded at 72 x 96 first.
Samples: error of the mean of 16 candidates over 32 rows, rad, one for each policy; `against`: the baselines. `extra.rows` has the
rest; latency is processor time, medians, measured in turns in one process. Trained rows are kept in `runs/bench`; the table is
also written to `benchmarks/policies.md`.
"""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.harness import Result, machine
from policies.checkpoint import load_checkpoint
from policies.engines.onnx_runtime import CPU, open_session
from policies.engines.torch_graphs import TorchEngine
from policies.export import OUTPUTS, Decision, export_bundle
from policies.onnx_policy import OnnxPolicy
from policies.recorded import observation_at
from policies.train import train_policy
from robot_stack.config.commands import TrainCommand
from robot_stack.config.load import load
from robot_stack.config.schema import TacoSettings
from robot_stack.data.episode import Episode
from robot_stack.demo.cache import stage
from robot_stack.learn import load_episodes
from robot_stack.replay.chunk_error import chunk_errors
from robot_stack.types import Observation
from safety.taco import CoinFlipNetwork

SHARED = Path(os.environ.get("ROBOT_STACK_SHARED", Path(__file__).resolve().parents[2] / "shared"))
SELECTOR = "selector.onnx"
TABLE = Path(__file__).resolve().parent / "policies.md"
SECONDS, HOLDOUT, STRIDE, TURNS = 20.0, 4, 20, 7
CANDIDATES = (1, 8, 32)
POLICIES: Mapping[str, Sequence[str]] = {
    "flow": ["policy=flow"],
    "flow_one_step": ["policy=flow_one_step"],
    "diffusion, U-Net": ["policy=diffusion", "train.repeats=2"],
    "diffusion, transformer": ["policy=diffusion", "policy.denoiser=transformer", "policy.basis=cosine", "train.repeats=2"],
    "streaming": ["policy=streaming", "train.repeats=2"],
    "carp": ["policy=carp", "train.repeats=1"],
    "bc, 5 Gaussians": ["policy=bc"],
    "bc, one mean": ["policy=bc", "policy.mixture=0"],
    "bc_rnn, 5 Gaussians": ["policy=bc_rnn", "train.repeats=1"],
    "vla": ["policy=vla", "train.batch=16", "train.repeats=4"],
}
PARTS = (
    "action_tokens augment bc bc_rnn carp chunk_policy denoiser diffusion encoder flow flow_one_step frames held_out loader "
    "mixture resnet spatial_softmax streaming train transformer unet vision_tower vit vla"
).split()
CODE = [f"policies/{name}.py" for name in PARTS]


def row(name: str, episodes: Sequence[Episode], seconds: float = SECONDS) -> dict[str, Any]:
    """The figures of one policy: found, or trained, exported and measured now."""
    command = load(TrainCommand, ["dataset=", f"train.minutes={seconds / 60.0}", "train.holdout=0", *POLICIES[name]])
    inputs = [command.policy, command.train, *(episode.name for episode in episodes)]
    made = stage(Path("runs/bench"), "policy", inputs, CODE, lambda out: _make(command, episodes, out))
    found: dict[str, Any] = json.loads((made.folder / "row.json").read_text(encoding="utf-8"))
    return {"policy": name} | found | latency(made.folder, observation_at(episodes[-1], 30))


def _make(command: TrainCommand, episodes: Sequence[Episode], out: Path) -> None:
    torch.manual_seed(0)
    begin = time.process_time()
    checkpoint = train_policy(episodes[:-HOLDOUT], command.policy, command.train, out / "checkpoint")
    spent = time.process_time() - begin
    policy, card = load_checkpoint(checkpoint)
    selector, features = CoinFlipNetwork(policy.num_features, TacoSettings()).eval(), torch.zeros(8, policy.num_features)
    bundle = export_bundle(checkpoint, out / "bundle", selector, episodes[-HOLDOUT:])
    torch.onnx.export(selector, (features,), str(out / SELECTOR), dynamo=True, external_data=False, verbose=False)
    engine = OnnxPolicy(bundle, 16)
    errors = chunk_errors(engine, episodes[:-HOLDOUT], episodes[-HOLDOUT:], stride=STRIDE)
    found = {
        "weights": sum(p.numel() for p in policy.parameters()),
        "steps": card.steps_done,
        "cpu_s": spent,
        "error": {f"{line.method}, {line.rows} rows": line.error for line in errors.lines if line.learned},
        "baselines": {f"{line.method}, {line.rows} rows": line.error for line in errors.lines if not line.learned},
        "chunks": max(line.samples for line in errors.lines),
        "calls": command.policy.steps,
        "parity_rad": engine.manifest.parity["max_abs_rad"],
    }
    (out / "row.json").write_text(json.dumps(found), encoding="utf-8")


def latency(made: Path, seen: Observation) -> dict[str, Any]:
    """Processor ms of a decision for each N, medians; N = 32 over 1; PyTorch over exported and the selector's share at N = 8."""
    engines = {n: OnnxPolicy(made / "bundle", n) for n in CANDIDATES}
    manifest = engines[8].manifest
    decision = Decision(load_checkpoint(made / "checkpoint")[0], CoinFlipNetwork(manifest.features, TacoSettings())).eval()
    session = open_session(made / SELECTOR, 1, CPU)
    features = {session.get_inputs()[0].name: np.ones((8, manifest.features), np.float32)}
    reference, feed = TorchEngine(decision, OUTPUTS), engines[8].feed(seen)

    def eager() -> None:
        reference.run(["chunk"], feed)

    calls: dict[str, Callable[[], object]] = {f"n{n}": lambda e=engine: e.decide(seen) for n, engine in engines.items()}  # type: ignore[misc]
    spent = in_turns(calls | {"eager": eager, "selector": lambda: session.run(None, features)})
    return {
        "latency_ms": {key: spent[key] for key in calls},
        "n32_over_n1": spent["n32"] / spent["n1"],
        "exported_over_eager": spent["eager"] / spent["n8"],
        "selector_share": spent["selector"] / spent["n8"],
    }


def in_turns(calls: Mapping[str, Callable[[], object]], turns: int = TURNS) -> dict[str, float]:
    """Median processor ms of each of `calls`, one after the other `turns` times after two to warm up."""
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(turns + 2):
        for name, call in calls.items():
            begin = time.process_time()
            call()
            spent[name].append(1e3 * (time.process_time() - begin))
    return {name: float(np.median(values[2:])) for name, values in spent.items()}


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table of `policies.md`."""
    head = ["policy", "weights", "steps", "one sample", "mean of 16", "one sample", "mean of 16", "network calls"]
    head += ["N = 1, ms", "N = 32 over 1", "PyTorch over exported", "selector"]
    lines = [head, ["---"] * len(head), *(_cells(found) for found in rows)]
    baselines = rows[0]["baselines"]
    names = sorted({key.rpartition(", ")[0] for key in baselines}, key=lambda name: baselines[f"{name}, 32 rows"])
    both = [[name, *(f"{baselines[f'{name}, {n} rows']:.4f}" for n in (32, 64))] for name in names]
    parts = [lines, [["baseline", "32 rows", "64 rows"], ["---"] * 3, *both]]
    tables = ["\n".join(f"| {' | '.join(line)} |" for line in part) for part in parts]
    where = f"{machine()['cpu']}, {machine()['cores']} shared cores"
    return f"""# Policies on g1_bottle

Written by `robot-stack bench policies`. Mean absolute chunk error (rad, 26 joints) on {rows[0]["chunks"]} chunks of the last
{HOLDOUT} of 20 episodes, first over 32 rows (1 s), then over 64. Each policy was trained on the others for {SECONDS:g} seconds of
processor time on one thread ({where}),
which buys it `steps`: too few for any of them to be at its best, and the fewer the larger it is.
Latency is processor time on one thread, measured in turns, because the machine was busy with other things. "PyTorch over
exported" and the selector's share of a decision are at N = 8.

{tables[0]}

{tables[1]}
"""


def _cells(found: Mapping[str, Any]) -> list[str]:
    error = [f"{found['error'][f'policy, {kind}, {n} rows']:.4f}" for n in (32, 64) for kind in ("one sample", "mean of 16")]
    ratios = [f"{found['n32_over_n1']:.1f}", f"{found['exported_over_eager']:.1f}", f"{100 * found['selector_share']:.0f} %"]
    calls, first = str(found["calls"]), f"{found['latency_ms']['n1']:.1f}"
    return [found["policy"], f"{found['weights'] / 1e6:.1f} M", str(found["steps"]), *error, calls, first, *ratios]


def main(arguments: Sequence[str] = ()) -> Result:
    """All policies, or those named."""
    torch.set_num_threads(1)
    settings = load(TrainCommand, ["dataset="]).policy
    size = (settings.image_height, settings.image_width)
    episodes = load_episodes(SHARED / "data" / "g1_bottle", settings.rate_hz, size)
    rows = []
    for name in arguments or POLICIES:
        rows.append(row(name, episodes))
        print(json.dumps(rows[-1]), flush=True)
    if not arguments:
        TABLE.write_text(markdown(rows), encoding="utf-8")
    errors = [found["error"]["policy, mean of 16, 32 rows"] for found in rows]
    against = {key.removesuffix(", 32 rows"): [e] for key, e in rows[0]["baselines"].items() if key.endswith(", 32 rows")}
    return Result("policies", "rad", errors, against=against, extra={"seconds": SECONDS, "rows": rows})
