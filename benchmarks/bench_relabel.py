"""How fast labellers are, and what weights are worth: policies trained with and without them, on the simulated arm in lock-step.

Samples: frames (rows) of each labeller a second of processor time, in one process, on episodes of the mixed demonstrations: logs
with two cameras, read and hashed anew by every run.

`mixed`: demonstrations half of which take the wrong cube. Plain behaviour cloning, and the same with each episode weighted by
whether the last picture shows the right cube on the goal (`relabel rewards weights`): nobody told which half is which.

`helped`: the same demonstrations and one round of the plain policy, in which a scripted expert takes over where it goes wrong
(`helped.py`); policies trained on all of it: plain, by Sirius, by IWR, and by RLIF's reward (weights from what each step earns
from there on; RLIF itself runs RL on it).

Success, and how often the hand came nearer to the right cube than to the wrong one, over EVALUATIONS paired seeds from each of
SEEDS trainings, Wilson 95 % intervals; networks are small and trained for few steps: compare the rows. Everything is kept in
`runs/bench/relabel` and goes on where it stopped. Argument: nothing, or the only table beside the speeds, `mixed` or `helped`.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.harness import Result, keep, ledger_rows
from benchmarks.helped import evaluate, help_out
from policies.checkpoint import WEIGHTS
from policies.export import export_bundle
from policies.train import train_policy
from robot_stack.config.commands import TrainCommand
from robot_stack.config.load import load
from robot_stack.config.relabel import RelabelCommand
from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import DemoSettings
from robot_stack.demo.collect import plan, record
from robot_stack.errors import ConfigError
from robot_stack.learn import load_episodes
from robot_stack.relabel.commands import labeller_of
from robot_stack.relabel.runs import Job as LabelJob
from robot_stack.relabel.runs import Run, relabel
from robot_stack.replay.crew import Setup
from robot_stack.replay.lockstep import Rates
from robot_stack.replay.protections import difference, wilson

ROOT = Path("runs/bench/relabel")
MIXED, ROUND, EVALUATIONS, SEEDS, RATE_HZ = 40, 12, 20, (0,), 10.0
TIMED_EPISODES = 10
TIMED = ("interventions", "rewards", "margins", "weights", "hindsight", "preferences")
POLICY = ["policy=flow_sim", "train=sim", "policy.image_height=48", "policy.image_width=48", "policy.width=128"]
TRAIN = ["train.batch=48", "train.steps=2000", "train.holdout=0", "train.repeats=4"]
VARIANTS = {
    "mixed": {"plain": "", "weighted by success": "weight"},
    "helped": {"plain": "", "Sirius": "sirius_weight", "IWR": "iwr_weight", "RLIF's reward": "weight"},
}


def main(arguments: Sequence[str]) -> Result:
    """See above. Every figure of the tables is in `extra`, those that are not measured yet are left out."""
    asked = tuple(arguments) or tuple(VARIANTS)
    if unknown := set(asked) - set(VARIANTS):
        raise ConfigError(f"bench relabel: found {sorted(unknown)}, allowed {', '.join(VARIANTS)}, or nothing for both")
    mixed = demonstrations(ROOT / "mixed", MIXED, clumsy_share=0.5)
    speeds = {name: speed(mixed, name) for name in TIMED}
    extra: dict[str, Any] = {f"{name}_frames_per_s": round(s) for name, s in speeds.items()}
    if "mixed" in asked:
        labelled(mixed, "rewards", "weights")
        extra["mixed"] = table("mixed", mixed)
    if "helped" in asked:
        extra["helped"] = table("helped", helped_set(mixed))
    return Result("relabel", "frames / processor s", list(speeds.values()), extra=extra)


def setup() -> Setup:
    """The robot with its filter, without the monitor."""
    return Setup(load_robot("sim_arm"), rates=Rates(camera_hz=RATE_HZ, monitor_hz=RATE_HZ), monitor=None)


def demonstrations(folder: Path, count: int, clumsy_share: float) -> Path:
    """`count` of them, recorded now or found."""
    settings = DemoSettings(demonstrations=count, clumsy_share=clumsy_share, obstacle_share=0.0, intruder_share=0.0)
    for demonstration in plan(setup(), settings, folder):
        whole(demonstration.path, lambda path, d=demonstration: record(replace(d, path=path)))  # type: ignore[misc]
    return folder


def whole(path: Path, make: Callable[[Path], object]) -> Path:
    """`path`, made elsewhere and put there when it is whole; what an interrupted run left is made again."""
    if not path.exists():
        partial = ROOT / "partial" / path.name
        shutil.rmtree(partial, ignore_errors=True)
        make(partial)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.rename(path)
    return path


def labelled(root: Path, *names: str, settings: Sequence[str] = ()) -> list[Run]:
    """Run the labellers on `root`."""
    command = load(RelabelCommand, [f"dataset={root}", *settings])
    return [relabel(LabelJob(root, 30.0, labeller_of(name), getattr(command, name))) for name in names]


def speed(root: Path, name: str) -> float:
    """Rows a second of processor time of the labeller, on some of the logs."""
    copy = ROOT / "timed"
    shutil.rmtree(copy, ignore_errors=True)
    linked(root, copy, TIMED_EPISODES)
    if name in ("weights", "preferences"):
        labelled(copy, "rewards")
    begin = time.process_time()
    (run,) = labelled(copy, name)
    spent = time.process_time() - begin
    shutil.rmtree(copy)
    return run.rows / spent


def linked(root: Path, copy: Path, count: int) -> None:
    """The first `count` logs of `root`, without labels, in `copy`: links."""
    for log in sorted(root.glob("episode_*"))[:count]:
        (copy / log.name).mkdir(parents=True, exist_ok=True)
        for file in log.iterdir():
            (copy / log.name / file.name).unlink(missing_ok=True)
            os.link(file, copy / log.name / file.name)


def helped_set(mixed: Path) -> Path:
    """The mixed demonstrations and one round of helped episodes of the policy cloned from them, labelled."""
    first, folder = bundle("mixed", mixed, "", SEEDS[0]), ROOT / "helped"
    linked(mixed, folder, MIXED)
    for seed in range(ROUND):
        log = folder / f"round_{seed:04d}"
        whole(log, lambda path, s=seed: help_out(setup(), first, 2_000 + s, path))  # type: ignore[misc]
    labelled(folder, "interventions")
    rlif = ["weights.by=togo", "weights.reward=rlif_reward", "weights.discount=0.97", "weights.beta=1.0"]
    labelled(folder, "weights", settings=rlif)
    return folder


def bundle(name: str, root: Path, weights: str, seed: int) -> Path:
    """The policy trained on `root`, exported; found, or made now."""

    def make(out: Path) -> None:
        command = load(TrainCommand, [f"dataset={root}", *POLICY, *TRAIN, f"train.weights={weights}", f"train.seed={seed}"])
        episodes = load_episodes(root, RATE_HZ, None)
        checkpoint = ROOT / "checkpoints" / f"{name}_{weights or 'plain'}_{seed}"
        if not (checkpoint / WEIGHTS).is_file():
            train_policy(episodes, command.policy, command.train, checkpoint)
        export_bundle(checkpoint, out, None, episodes[:1])

    return whole(ROOT / "bundles" / f"{name}_{weights or 'plain'}_{seed}", make)


def table(name: str, root: Path) -> dict[str, Any]:
    """Of every variant trained on `root`: success and right cubes, and their difference from plain on the same seeds."""
    found = {variant: list(outcomes(name, root, column)) for variant, column in VARIANTS[name].items()}
    words = ("success", "right_cube")
    columns = {variant: dict(zip(words, zip(*pairs, strict=True), strict=True)) for variant, pairs in found.items()}
    return {v: {word: _row(columns[v][word], columns["plain"][word]) for word in words} for v in columns}


def _row(ones: Sequence[bool], plain: Sequence[bool]) -> dict[str, Any]:
    n, k = len(ones), sum(ones)
    row = {"n": n, "count": k, "rate": round(k / n, 3), "interval": [round(x, 3) for x in wilson(k, n)]}
    return row | {"less_plain": [round(x, 3) for x in difference(ones, plain)]}


def outcomes(name: str, root: Path, weights: str) -> Iterable[tuple[bool, bool]]:
    """Success and right cube of each evaluation, in the order of the seeds; each is written down once it is known."""
    ledger = ROOT / "outcomes.jsonl"
    known = {(r["name"], r["weights"], r["training"], r["seed"]): (r["success"], r["right_cube"]) for r in ledger_rows(ledger)}
    for training in SEEDS:
        made = bundle(name, root, weights, training)
        for seed in range(EVALUATIONS):
            key = (name, weights, training, seed)
            if key not in known:
                known[key] = evaluate(setup(), made, seed)
                row = dict(zip(("name", "weights", "training", "seed"), key, strict=True))
                row |= dict(zip(("success", "right_cube"), known[key], strict=True))
                keep(ledger, row)
            yield known[key]
