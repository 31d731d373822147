"""What a critic is worth where demonstrations are mixed: half of those of `bench relabel` take the wrong cube.

All rows are the same small flow policy (`bench_relabel.POLICY`) on the same paired starts, in lock-step with the filter:

    plain            cloned from all of it, one sample a decision
    Q-rank           the same network: of 16 samples the one with the largest Q, each improved by five bounded steps before
    Q-rank, as is    the same without the steps
    critic's weights cloned with exp(beta A) of the critic, one sample a decision

The critic (robust IQL on chunks) learns from the plain policy's view of the demonstrations and from whether the last picture
shows the right cube on the disc. Success, and whether the hand came nearer to the right cube than to the wrong one, with Wilson's
95 % interval and, less the plain policy on the same starts, Newcombe's. One training seed, and a small policy trained for few
steps: compare the rows. Everything is kept in `runs/bench/critic` and goes on where it stopped. Argument: how many starts (20),
0 sums up what is there. Samples: seconds of processor time that learning the critic takes.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.bench_relabel import MIXED, POLICY, RATE_HZ, SEEDS, TRAIN, demonstrations, labelled, linked, setup, whole
from benchmarks.bench_relabel import ROOT as RELABEL
from benchmarks.harness import Result, keep, ledger_rows
from benchmarks.helped import evaluate
from policies.checkpoint import WEIGHTS, load_checkpoint
from policies.export import export_bundle
from policies.q_rank import train_critic, train_q_rank
from policies.train import train_policy
from policies.transitions import transitions_of
from robot_stack.config.commands import TrainCommand
from robot_stack.config.load import load
from robot_stack.config.schema import CriticSettings, QRankSettings
from robot_stack.data.episode import Episode
from robot_stack.learn import load_episodes
from robot_stack.replay.protections import difference, wilson

ROOT = Path("runs/bench/critic")
LEDGER, STARTS, CANDIDATES = ROOT / "outcomes.jsonl", 20, 16
ROWS: Mapping[str, tuple[int, QRankSettings | None]] = {
    "plain": (1, None),
    "Q-rank": (CANDIDATES, QRankSettings()),
    "Q-rank, as is": (CANDIDATES, QRankSettings(steps=0)),
    "critic's weights": (1, None),
}
"""Candidates of each row, and its selector."""


def main(arguments: Sequence[str] = ()) -> Result:
    """What of so many starts is not there yet; then the table of what is."""
    torch.set_num_threads(1)
    starts = int(arguments[0]) if arguments else STARTS
    for row, (candidates, _) in ROWS.items():
        known = outcomes(row)
        for seed in (s for s in range(starts) if s not in known):
            success, right = evaluate(setup(), bundle(row), seed, candidates)
            keep(LEDGER, {"row": row, "seed": seed, "success": success, "right_cube": right})
    spent, extra = judged()
    return Result("critic", "processor s", [spent], extra=extra | {"rows": {row: summed_up(row) for row in ROWS}})


def outcomes(row: str) -> dict[int, tuple[bool, bool]]:
    """Success and right cube by start, as far as known; those of the plain policy are `bench relabel`'s."""
    if row == "plain":
        found = [
            r for r in ledger_rows(RELABEL / "outcomes.jsonl") if (r["name"], r["weights"], r["training"]) == ("mixed", "", 0)
        ]
    else:
        found = [r for r in ledger_rows(LEDGER) if r["row"] == row]
    return {r["seed"]: (r["success"], r["right_cube"]) for r in found}


@cache
def mixed() -> Path:
    """The demonstrations without labels of others, and with whether each did the task."""
    folder = ROOT / "mixed"
    linked(demonstrations(RELABEL / "mixed", MIXED, clumsy_share=0.5), folder, MIXED)
    labelled(folder, "rewards")
    return folder


@cache
def episodes() -> tuple[Episode, ...]:
    """All of them."""
    return tuple(load_episodes(mixed(), RATE_HZ, None))


def trained(name: str, weights: str) -> Path:
    """The checkpoint `name` of this kind of policy, found or trained; the plain one is `bench relabel`'s where that is there."""
    found = RELABEL / "checkpoints" / f"mixed_plain_{SEEDS[0]}"
    out = found if not weights and (found / WEIGHTS).is_file() else ROOT / "checkpoints" / name
    if not (out / WEIGHTS).is_file():
        command = load(TrainCommand, ["dataset=", *POLICY, *TRAIN, f"train.weights={weights}", f"train.seed={SEEDS[0]}"])
        train_policy(load_episodes(mixed(), RATE_HZ, None), command.policy, command.train, out)
    return out


@cache
def bundle(row: str) -> Path:
    """The bundle of `row`, found or made now."""

    def make(out: Path) -> None:
        selector = ROWS[row][1]
        plain = trained("plain", "")
        if row == "critic's weights":
            said = [f"critic.checkpoint={plain}", f"critic.out={ROOT / 'critic'}", "weights.by=critic"]
            labelled(mixed(), "critic", "weights", settings=said)
            export_bundle(trained("weighted", "weight"), out, None, episodes()[:1])
        else:
            ranked = None if selector is None else train_q_rank(plain, episodes(), selector)
            export_bundle(plain, out, ranked, episodes()[:1])

    return whole(ROOT / "bundles" / row.replace(" ", "_").replace(",", "").replace("'", ""), make)


def judged() -> tuple[float, dict[str, Any]]:
    """Seconds of processor time to learn the critic, and what is to be said of it: its checks, its verdict, how well Q tells
    episodes apart that it was not trained on."""
    policy, settings = load_checkpoint(trained("plain", ""))[0], CriticSettings()
    parts = [transitions_of(policy, episode, settings) for episode in episodes()]
    begin = time.process_time()
    learned, _ = train_critic(parts, settings)
    spent = time.process_time() - begin
    held = np.random.default_rng(settings.seed).permutation(len(parts))[: round(settings.holdout * len(parts))]
    mean = {i: float(learned.critic.value(parts[i].s, parts[i].a).mean()) for i in held.tolist()}
    good = [q for i, q in mean.items() if parts[i].r.sum() > 0]
    bad = [q for i, q in mean.items() if not parts[i].r.sum() > 0]
    pairs = [(g > b) + 0.5 * (g == b) for g in good for b in bad]
    verdict = asdict(learned.verdict) | {"checks": [asdict(check) for check in learned.checks]}
    told = {"good": len(good), "bad": len(bad), "auc": float(np.mean(pairs)) if pairs else None}
    return spent, {"verdict": verdict, "held_out": told}


def summed_up(row: str) -> dict[str, Any]:
    """The figures of `row` on the starts it has, and less the plain policy on those both have."""
    found, plain = outcomes(row), outcomes("plain")
    both = sorted(found.keys() & plain.keys())
    made: dict[str, Any] = {"n": len(found)}
    for i, word in enumerate(("success", "right_cube")):
        ones = [outcome[i] for outcome in found.values()]
        if ones:
            made[word] = {"count": sum(ones), "interval": [round(x, 3) for x in wilson(sum(ones), len(ones))]}
        if both and row != "plain":
            less = difference([found[s][i] for s in both], [plain[s][i] for s in both])
            made[word] |= {"less_plain": [round(x, 3) for x in less], "pairs": len(both)}
    return made
