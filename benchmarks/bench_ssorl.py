"""Proxy actions for episodes without any (SSORL): how wrong they are, and what a policy cloned from them is worth.

`ssorl`, samples: |proxy - withheld true action| of a joint, rad, on the simulated arm with a tenth of the demonstrations
labelled, drawn from the slower half (the authors draw from the lower half of the returns); `against` on the same rows: the next
state as the action, what SSORL without the transition before says (k = 0), and a ridge regression on the same window.
`extra.arm`: success of behaviour cloning on all true actions, on a tenth true and the rest proxies, on a tenth true and the rest
next states, and on the tenth alone; as many draws, trainings and starts as in `FULL`, the same starts for all, Wilson
intervals; differences from the full labels with Newcombe's for paired starts. `extra.door`: the same for `adroit_door`, human
VR demonstrations, where actions are no positions: error of proxies, and of policies on held-out episodes, mean absolute and in
actions' own units (-1..1), mean and range over the seeds. Every episode is kept in `runs/bench/ssorl-<hash>`: an interrupted
run goes on. `robot-stack bench ssorl=small`: the arm as in `SMALL`, in a few minutes.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from benchmarks import state_arm
from benchmarks.harness import Result, keep, ledger_rows
from robot_stack.config.labellers import ActionsSettings
from robot_stack.data.catalogue import Catalogue
from robot_stack.data.episode import Episode
from robot_stack.demo.cache import stage
from robot_stack.relabel.actions import Proxy, action_error
from robot_stack.relabel.inverse_dynamics import fit, windows
from robot_stack.relabel.motion import motion_of
from robot_stack.replay.protections import difference, wilson
from robot_stack.types import Array

SHARED = Path(os.environ.get("ROBOT_STACK_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "data" / "adroit_door"
SHARE, FIRST_SEED, FIRST_START = 0.1, 30_000, 1_000
DOOR_HELD, DOOR_SEEDS = 5, range(3)
IDM = ActionsSettings(past=1, width=128, batch=128, steps=1500)
WIDTH, CLONE_STEPS = 128, 1000
CODE = ("benchmarks/state_arm.py", "robot_stack/relabel/inverse_dynamics.py")
VARIANTS = ("all true", "proxies", "next states", "the tenth alone")
Labelled = tuple[list[int], list[int]]
"""Which demonstrations keep their actions, and which lose them."""


@dataclass(frozen=True)
class Size:
    """Of the arm's table: demonstrations, seeds of draw and training, starts of each policy."""

    demonstrations: int
    seeds: int
    starts: int


FULL, SMALL = Size(60, 3, 25), Size(20, 1, 10)


def main(arguments: Sequence[str] = ()) -> Result:
    """Both tables; what there is no data for is left out. `arguments`: `small`, optional."""
    torch.set_num_threads(1)
    size = SMALL if "small" in arguments else FULL
    inputs = [size.demonstrations, SHARE, IDM, WIDTH, CLONE_STEPS]
    folder = stage(Path("runs/bench"), "ssorl", inputs, CODE, lambda out: collect(out, size.demonstrations)).folder
    episodes = recorded(folder / "demonstrations.npz")
    ledger = folder / "outcomes.jsonl"
    errors, samples, peers = arm_errors(episodes)
    extra: dict[str, Any] = {"demonstrations": len(episodes), "labelled": round(SHARE * len(episodes)), "error": errors}
    if SHARED.is_dir():
        extra["door"] = door_table(ledger)
    extra["arm"] = arm_table(play(episodes, size, ledger))
    return Result("ssorl", "rad", samples, against=peers, extra=extra)


def collect(out: Path, count: int) -> None:
    """`count` demonstrations of the scripted human, the first that succeed."""
    kept: list[Episode] = []
    bar = tqdm(total=count, desc="demonstrations", unit="episode")
    for seed in range(FIRST_SEED, FIRST_SEED + 2 * count):
        found = state_arm.demonstrate(seed) if len(kept) < count else None
        if found is not None:
            kept.append(found)
            bar.update()
    arrays = {
        f"{name}_{i}": a
        for i, e in enumerate(kept)
        for name, a in (("q", e.q), ("action", e.action), ("places", e.columns["places"]))
    }
    np.savez_compressed(out / "demonstrations.npz", **arrays)


def recorded(file: Path) -> list[Episode]:
    """The demonstrations in `file`."""
    with np.load(file, allow_pickle=False) as found:
        rows = [[found[f"{name}_{i}"] for name in ("q", "action", "places")] for i in range(len(found.files) // 3)]
    names = state_arm.SPEC.joint_names
    return [Episode(str(i), state_arm.RATE_HZ, names, q, a, {}, columns={"places": p}) for i, (q, a, p) in enumerate(rows)]


def split(order: Sequence[int], count: int, seed: int) -> Labelled:
    """`count` of the first half of `order` keep their actions, drawn by the seed."""
    half = list(order)[: max(len(order) // 2, count)]
    kept = sorted(int(i) for i in np.random.default_rng([seed, 5]).permutation(half)[:count])
    return kept, [i for i in range(len(order)) if i not in kept]


def arm_split(episodes: Sequence[Episode], seed: int) -> Labelled:
    """The slower half first."""
    return split(np.argsort([-len(e) for e in episodes], kind="stable").tolist(), round(SHARE * len(episodes)), seed)


def arm_proxies(episodes: Sequence[Episode], seed: int, past: int = 1) -> list[Proxy]:
    """Of every demonstration, by a model of the labelled ones."""
    kept, _ = arm_split(episodes, seed)
    settings = replace(IDM, seed=seed, past=past)
    model = fit([episodes[i].q for i in kept], [episodes[i].action for i in kept], settings, relative=True)
    return [model.actions(e.q) for e in episodes]


def next_states(q: Array) -> Array:
    """(n, J): where the joints were one row later."""
    return np.concatenate([q[1:], q[-1:]])


def ridge(seen: Sequence[Array], actions: Sequence[Array], wanted: Sequence[Array], relative: bool) -> list[Array]:
    """Actions for `wanted` states by ridge regression on the window of k = 1."""
    A = actions[0].shape[1]
    x = [np.hstack([windows(s, 1), np.ones((len(s), 1))]) for s in seen]
    a = np.concatenate([b - (s[:, :A] if relative else 0.0) for s, b in zip(seen, actions, strict=True)])
    stack = np.concatenate(x)
    W = np.linalg.solve(stack.T @ stack + 1e-4 * len(stack) * np.eye(stack.shape[1]) * stack.var(), stack.T @ a)
    return [np.hstack([windows(s, 1), np.ones((len(s), 1))]) @ W + (s[:, :A] if relative else 0.0) for s in wanted]


def arm_errors(episodes: Sequence[Episode]) -> tuple[dict[str, Any], list[float], dict[str, list[float]]]:
    """Error of proxies against the withheld actions of the first seed: summed up, and every sample, ours and of the peers."""
    kept, lost = arm_split(episodes, 0)
    true = [episodes[i].action for i in lost]
    proxies = arm_proxies(episodes, 0)
    q = [e.q for e in episodes]
    seen = [q[i] for i in kept], [episodes[i].action for i in kept], [q[i] for i in lost]
    without = arm_proxies(episodes, 0, past=0)
    peers = {
        "next state": [next_states(x) for x in seen[2]],
        "k = 0": [without[i][0] for i in lost],
        "ridge, k = 1": ridge(*seen, relative=True),
    }
    constant = np.concatenate(seen[1]).mean(axis=0)
    found = action_error([proxies[i] for i in lost], true, constant)
    summed = {"mae": float(found.mae.mean()), "constant": float(found.constant_mae.mean()), "within_two_std": found.within}
    summed |= {"explained": float(found.explained.mean()), "episodes": found.episodes, "rows": found.rows}
    return summed, _misses([proxies[i][0] for i in lost], true), {name: _misses(p, true) for name, p in peers.items()}


def _misses(found: Sequence[Array], true: Sequence[Array]) -> list[float]:
    """|error| of every 7th row, over all joints."""
    return [float(x) for p, a in zip(found, true, strict=True) for x in np.abs(p - a)[::7].ravel()]


def lessons(episodes: Sequence[Episode], variant: str, seed: int) -> list[Episode]:
    """What the policy of `variant` is cloned from."""
    kept, lost = arm_split(episodes, seed)
    if variant == "all true":
        return list(episodes)
    if variant == "the tenth alone":
        return [episodes[i] for i in kept]
    proxies = arm_proxies(episodes, seed) if variant == "proxies" else [(next_states(e.q), e.q) for e in episodes]
    return [e if i in kept else replace(e, action=proxies[i][0]) for i, e in enumerate(episodes)]


def play(episodes: Sequence[Episode], size: Size, ledger: Path) -> dict[str, dict[tuple[int, int], bool]]:
    """Success of every variant, by (training seed, start); what the ledger has is not played again."""
    done: dict[str, dict[tuple[int, int], bool]] = {variant: {} for variant in VARIANTS}
    for row in ledger_rows(ledger):
        if row["kind"] == "arm":
            done[row["variant"]][row["seed"], row["start"]] = row["success"]
    starts = range(FIRST_START, FIRST_START + size.starts)
    for seed in range(size.seeds):
        todo = [(start, variant) for start in starts for variant in VARIANTS if (seed, start) not in done[variant]]
        policies = {v: state_arm.clone(lessons(episodes, v, seed), seed) for v in dict.fromkeys(v for _, v in todo)}
        for start, variant in tqdm(todo, desc=f"seed {seed}", unit="episode"):
            success = state_arm.perform(policies[variant], start).success
            keep(ledger, {"kind": "arm", "variant": variant, "seed": seed, "start": start, "success": success})
            done[variant][seed, start] = success
    return done


def arm_table(done: Mapping[str, Mapping[tuple[int, int], bool]]) -> list[dict[str, Any]]:
    """One row a variant: successes, Wilson interval, each seed's rate, difference from all true labels on the same starts."""
    keys = sorted(set.intersection(*(set(found) for found in done.values())))
    full = [done[VARIANTS[0]][key] for key in keys]
    rows = []
    for variant in VARIANTS:
        found = [done[variant][key] for key in keys]
        by_seed = {seed: [done[variant][key] for key in keys if key[0] == seed] for seed in sorted({s for s, _ in keys})}
        row = {
            "labels": variant,
            "n": len(found),
            "success": sum(found),
            "rate": float(np.mean(found)),
            "interval": wilson(sum(found), len(found)),
        }
        row |= {"by_seed": [float(np.mean(part)) for part in by_seed.values()]}
        rows.append(row | ({"less_than_full": difference(found, full)} if variant != VARIANTS[0] else {}))
    return rows


def door_table(ledger: Path) -> dict[str, Any]:
    """Errors on `adroit_door`, by what was learned from: mean over the seeds, and their range."""
    rows = {row["seed"]: row["errors"] for row in ledger_rows(ledger) if row["kind"] == "door"}
    catalogue = Catalogue.open(SHARED)
    motions = [motion_of(catalogue.recording(entry)) for entry in catalogue.entries()]
    states, actions = [m.q for m in motions], [m.action for m in motions]
    gains = [0.0 if m.reward is None else float(m.reward.sum()) for m in motions]
    for seed in DOOR_SEEDS:
        if seed not in rows:
            rows[seed] = door_errors(states, actions, gains, seed)
            keep(ledger, {"kind": "door", "seed": seed, "errors": rows[seed]})
    names = list(rows[DOOR_SEEDS[0]])
    return {
        name: {"mean": float(np.mean(v)), "least": min(v), "most": max(v)}
        for name in names
        for v in [[rows[s][name] for s in DOOR_SEEDS]]
    }


def door_errors(states: Sequence[Array], actions: Sequence[Array], gains: Sequence[float], seed: int) -> dict[str, float]:
    """Mean absolute errors of one draw: of proxies and their peers on what lost its actions, of policies on what was held out."""
    order = np.random.default_rng([seed, 6]).permutation(len(states))
    held, rest = order[:DOOR_HELD].tolist(), order[DOOR_HELD:].tolist()
    by_gain = np.argsort([gains[i] for i in rest], kind="stable").tolist()
    kept, lost = ([rest[i] for i in part] for part in split(by_gain, max(round(SHARE * len(rest)), 1), seed))
    seen = [states[i] for i in kept], [actions[i] for i in kept], [states[i] for i in lost]
    true = [actions[i] for i in lost]
    models = {k: fit(seen[0], seen[1], replace(IDM, past=k, seed=seed)) for k in (0, 1)}
    found: dict[str, Sequence[Array]] = {f"proxies, k = {k}": [m.actions(s)[0] for s in seen[2]] for k, m in models.items()}
    found |= {
        "ridge, k = 1": ridge(*seen, relative=False),
        "the mean action": [np.tile(np.concatenate(seen[1]).mean(0), (len(a), 1)) for a in true],
    }
    errors = {f"labels: {name}": _mae(proxies, true) for name, proxies in found.items()}
    proxied = dict(zip(lost, found["proxies, k = 1"], strict=True))
    taught: dict[str, tuple[list[int], Callable[[int], Array]]] = {
        "all true": (rest, lambda i: actions[i]),
        "proxies": (rest, lambda i: proxied.get(i, actions[i])),
        "the tenth alone": (kept, lambda i: actions[i]),
    }
    for name, (which, action) in taught.items():
        policy = cloned([states[i] for i in which], [action(i) for i in which], seed)
        errors[f"policy: {name}"] = _mae([policy(states[i]) for i in held], [actions[i] for i in held])
    return errors


def _mae(found: Sequence[Array], true: Sequence[Array]) -> float:
    return float(np.mean(np.concatenate([np.abs(p - a)[:-1] for p, a in zip(found, true, strict=True)])))


def cloned(states: Sequence[Array], actions: Sequence[Array], seed: int) -> Callable[[Array], Array]:
    """Behaviour cloning of single actions from single states: two hidden layers, squared error."""
    torch.manual_seed(seed)
    x, a = (torch.tensor(np.concatenate(part), dtype=torch.float32) for part in (states, actions))
    mean, std = x.mean(0), x.std(0).clamp_min(1e-4)
    net = nn.Sequential(
        nn.Linear(x.shape[1], WIDTH), nn.ReLU(), nn.Dropout(0.1), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Dropout(0.1),
        nn.Linear(WIDTH, a.shape[1]),
    )  # fmt: skip
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, CLONE_STEPS)
    for _ in range(CLONE_STEPS):
        pick = torch.randint(len(x), (128,))
        loss = (net((x[pick] - mean) / std) - a[pick]).square().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    net.eval()

    def policy(seen: Array) -> Array:
        with torch.no_grad():
            return np.asarray(net((torch.tensor(seen, dtype=torch.float32) - mean) / std).double().numpy())

    return policy
