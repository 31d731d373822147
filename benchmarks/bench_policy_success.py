"""How often each kind of policy puts the cube on the disc, alone and with a selector: simulated arm, lock-step, paired starts.

Every policy learns from the same mixed demonstrations (`arm_lessons`: some take the wrong cube) for `SECONDS` of processor
time on one thread, whatever number of steps that buys: the table compares what so much of a laptop teaches, not what the methods
can do. Networks see 48 x 48 pixels. The two rows of `flow` are one network, sampled in 10 steps and in 1.

An episode has the whole safety path (arbitration, filter, fallback, detector, the monitor's signals that need no training);
cameras, detector and policy run at 5 Hz in step, and any decision takes 40 ms: success is about the policy, not its speed.
`none`: the first of its candidates; TACO: of 16 the one with the largest pseudo-count, learned from the same demonstrations;
Q-rank: of 16, each improved along the gradient of Q, the one with the largest, from a critic of which demonstrations succeeded.

Every outcome is kept in `runs/bench/success-<hash>`: a run may be stopped at any time and goes on. Seeds come in rounds, so that
all cells grow alike. Argument: how many seeds (100), and after a slash of how many policies (all), the first of them; 0 plays
none and sums up what is there. Samples: seconds of an episode. The table is also in `benchmarks/policy_success.md`.
`extra.one_step`: one call of the network against 10.
"""

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.arm_lessons import RATE_HZ, in_shared_world, read_lessons, write_lessons
from benchmarks.bench_policies import in_turns
from benchmarks.harness import Result, ledger_rows, machine
from drivers.scenario import SCENARIOS
from policies.checkpoint import WEIGHTS, load_checkpoint, save_checkpoint
from policies.chunk_policy import ChunkPolicy
from policies.engines.onnx_runtime import CPU, open_session
from policies.train import train_policy
from robot_stack.config.commands import TrainCommand
from robot_stack.config.load import load
from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import CriticSettings, DemoSettings, QRankSettings, TacoSettings
from robot_stack.data.episode import Episode
from robot_stack.demo.cache import source_of, stage
from robot_stack.demo.collect import Demonstration, plan
from robot_stack.demo.learned import CORE, LOCKSTEP
from robot_stack.learn import bundle_of
from robot_stack.replay.crew import Setup, autonomous
from robot_stack.replay.lockstep import Episode as Run
from robot_stack.replay.lockstep import Outcome, Rates
from robot_stack.replay.protections import difference, wilson

SECONDS, SEEDS, ROUND, FIRST_SEED = 120.0, 100, 20, 20_000
SPEC = load_robot("sim_arm")
LESSONS = 50
DEMONSTRATIONS = DemoSettings(demonstrations=100, clumsy_share=0.25, obstacle_share=0.0, intruder_share=0.0)
TACO, Q_RANK = TacoSettings(), QRankSettings(CriticSettings(reward="reward"))
TEACH = Setup(SPEC, monitor=None, rates=Rates(camera_hz=RATE_HZ, monitor_hz=RATE_HZ))
SETUP = Setup(SPEC, rates=Rates(camera_hz=5.0, monitor_hz=5.0, policy_hz=5.0))
TABLE = Path(__file__).resolve().parent / "policy_success.md"
SAMPLER, LEDGER = "sampler.onnx", "outcomes.jsonl"

SMALL = ["policy=flow_sim", "train=sim", "policy.image_height=48", "policy.image_width=48", "policy.width=128"]
TRAIN = ["train.batch=48", "train.steps=1000000", "train.holdout=0", f"train.minutes={SECONDS / 60.0}"]
TRAIN += ["train.save_every=200", "train.log_every=0", "train.prefetch=false"]
FLOW, ONE_STEP = "flow, 10 steps", "flow_one_step"
DIFFUSION = ["policy.name=diffusion", "policy.steps=10"]
POLICIES: Mapping[str, Sequence[str]] = {
    FLOW: ["policy.steps=10"],
    ONE_STEP: ["policy.name=flow_one_step", "policy.steps=1"],
    "flow, 1 step": ["policy.steps=1"],
    "bc, 5 Gaussians": ["policy.name=bc", "policy.steps=1"],
    "bc, one mean": ["policy.name=bc", "policy.steps=1", "policy.mixture=0"],
    "diffusion, transformer": [*DIFFUSION, "policy.denoiser=transformer"],
    "bc_rnn": ["policy.name=bc_rnn", "policy.steps=1", "policy.depth=2", "policy.noise_scale=0"],
    "carp": ["policy.name=carp", "policy.basis=rows", "policy.steps=4"],
    "streaming": ["policy.name=streaming", "policy.basis=rows", "policy.denoiser=unet", "policy.steps=5"],
    "vla": ["policy.name=vla", "policy.steps=10", "policy.tokens=40", "policy.depth=2", "policy.expert_width=128"],
    "diffusion, U-Net": [*DIFFUSION, "policy.denoiser=unet", "policy.basis=rows"],
}
SELECTORS: Mapping[str, tuple[str, int]] = {"none": ("taco", 1), "TACO": ("taco", 0), "Q-rank": ("q_rank", 0)}
"""The bundle of each selector, and how many candidates (0: as many as it says): of one, none is selected."""
OTHERS = tuple(name for name in SELECTORS if name != "none")
SEAMS = {"streaming": "inpainted"}
"""Those that go on from their plan."""
ALIKE = frozenset({("bc, one mean", "TACO")})
"""Cells without a choice: all candidates are alike."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the table."""

    policy: str
    selector: str


def cells(policies: int = len(POLICIES)) -> Iterator[Cell]:
    """All that can differ, of the first so many `policies`: each policy without a selector, then with the first, ..."""
    for selector in SELECTORS:
        yield from (Cell(policy, selector) for policy in list(POLICIES)[:policies] if (policy, selector) not in ALIKE)


def open_jobs(done: Iterable[Mapping[str, Any]], seeds: int, policies: int) -> Iterator[tuple[Cell, int]]:
    """What of the first `seeds` seeds of so many `policies` is not in `done`: round by round, and within one cell by cell."""
    known = {(row["policy"], row["selector"], row["seed"]) for row in done}
    for first in range(0, seeds, ROUND):
        for cell in cells(policies):
            for seed in range(FIRST_SEED + first, FIRST_SEED + min(first + ROUND, seeds)):
                if (cell.policy, cell.selector, seed) not in known:
                    yield cell, seed


def command_of(policy: str) -> TrainCommand:
    """How `policy` is trained and sampled."""
    return load(TrainCommand, ["dataset=", *SMALL, *TRAIN, *POLICIES[policy]])


@cache
def key_of(policy: str) -> str:
    """A hash of what `policy` is made by: settings and code."""
    command = command_of(policy)
    text = json.dumps([asdict(command.policy), asdict(command.train)], sort_keys=True) + source_of(("policies", "safety/taco.py"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def planned() -> list[Demonstration]:
    """The demonstrations: the first LESSONS of those planned."""
    return plan(TEACH, DEMONSTRATIONS, Path())[:LESSONS]


@cache
def lessons(root: Path) -> tuple[Episode, ...]:
    """The demonstrations, as far as there are any found, the others recorded now."""
    folder = stage(root, "lessons", [TEACH, DEMONSTRATIONS], LOCKSTEP, lambda out: out).folder
    write_lessons(planned(), folder)
    return tuple(read_lessons(TEACH, folder))


@cache
def learned(policy: str, root: Path) -> Path:
    """The checkpoint of `policy`, trained now, gone on with or found. Rows that differ in the steps of sampling share it."""
    command = command_of(policy)
    plain = replace(command.policy, steps=1) if command.policy.name == "flow" else command.policy
    out = stage(root, "learned", [plain, command.train], ("policies",), lambda out: out).folder
    if not (out / WEIGHTS).is_file():
        train_policy(lessons(root), plain, command.train, out)
    return out


@cache
def made_of(policy: str, selector: str, root: Path) -> Path:
    """The folder with bundle and card of `policy` and "taco" or "q_rank", made now or found."""
    command, checkpoint = command_of(policy), learned(policy, root)
    taco, q_rank = (TACO, None) if selector == "taco" else (None, Q_RANK)

    def export(out: Path) -> None:
        network, card = load_checkpoint(checkpoint)
        save_checkpoint(out / "checkpoint", network, replace(card, settings=command.policy))
        bundle_of(out / "checkpoint", lessons(root), taco, out / "bundle", q_rank)
        if policy in (FLOW, ONE_STEP) and selector == "taco":
            write_sampler(load_checkpoint(out / "checkpoint")[0], out / SAMPLER)
        weights = sum(p.numel() for p in network.parameters())
        (out / "card.json").write_text(json.dumps({"steps": card.steps_done, "weights": weights, "calls": command.policy.steps}))

    name = f"{selector}-" + re.sub(r"[^a-z0-9]+", "_", policy.lower())
    return stage(root, name, [str(checkpoint), command.policy, taco, q_rank], ("policies", "safety/taco.py"), export).folder


class Sampling(nn.Module):
    """The sampling of a policy alone: condition (1, width), centre (1, K, J) and noise (N, T, J) to chunks (N, T, J)."""

    def __init__(self, policy: ChunkPolicy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, condition: Tensor, centre: Tensor, noise: Tensor) -> Tensor:
        """As in a decision without a plan."""
        return self.policy.sample(condition, centre, noise)[0]


def write_sampler(policy: ChunkPolicy, path: Path) -> None:
    """`Sampling` of `policy` as ONNX, N dynamic."""
    settings, joints = policy.settings, policy.shape.num_joints
    condition, centre = torch.randn(1, settings.width), policy.mode_mean[None]
    noise = torch.randn(3, settings.rows, joints)
    dynamic = (None, None, {0: torch.export.Dim("candidates", min=1, max=4096)})
    names = ["condition", "centre", "noise"]
    asked: dict[str, Any] = {"dynamo": True, "external_data": False, "verbose": False, "dynamic_shapes": dynamic}
    torch.onnx.export(Sampling(policy).eval(), (condition, centre, noise), str(path), input_names=names, **asked)


def play(bundle: Path, candidates: int, seed: int, seams: str) -> Outcome:
    """One episode; the noise bank is drawn from the seed, so cells are paired."""
    crew = autonomous(replace(SETUP, seams=seams), bundle, candidates, noise_seed=seed)
    return Run(in_shared_world(crew, SPEC), SCENARIOS["nominal"], seed).run()


def evaluate(root: Path, seeds: int, policies: int = len(POLICIES)) -> list[dict[str, Any]]:
    """Play what is missing of `seeds` seeds, each outcome written down as it comes; all rows of policies as they are now."""
    ledger = root / LEDGER
    rows = [row for row in ledger_rows(ledger) if row["policy"] in POLICIES and row["key"] == key_of(row["policy"])]
    with ledger.open("a", encoding="utf-8") as file:
        for cell, seed in open_jobs(rows, seeds, policies):
            kind, candidates = SELECTORS[cell.selector]
            made = made_of(cell.policy, kind, root)
            begin = time.process_time()
            outcome = asdict(play(made / "bundle", candidates, seed, SEAMS.get(cell.policy, "as_is")))
            kept = {name: outcome[name] for name in ("seed", "success", "duration_s", "limited", "held", "fallback_s", "stop_s")}
            card = json.loads((made / "card.json").read_text())
            rows.append(asdict(cell) | {"key": key_of(cell.policy), "made": made.name} | card | kept)
            rows[-1]["cpu_s"] = round(time.process_time() - begin, 3)
            file.write("\n" + json.dumps(rows[-1]))  # first the new line: a row cut short spoils no other
            file.flush()
    return rows


def compared(ones: Mapping[int, bool], others: Mapping[int, bool]) -> dict[str, Any]:
    """Points by which the success of `ones` exceeds that of `others` on the seeds both have, and Newcombe's 95 % interval."""
    seeds = sorted(ones.keys() & others.keys())
    if not seeds:
        return {"n": 0}
    a, b = [ones[s] for s in seeds], [others[s] for s in seeds]
    points = 100.0 * (sum(a) - sum(b)) / len(seeds)
    return {"n": len(seeds), "points": points, "interval": [round(100.0 * end, 1) for end in difference(a, b)]}


def won(rows: Iterable[Mapping[str, Any]], cell: Cell) -> dict[int, bool]:
    """Success by seed of one cell."""
    return {row["seed"]: row["success"] for row in rows if (row["policy"], row["selector"]) == (cell.policy, cell.selector)}


def table_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of every cell that was played: count, Wilson interval, less the policy without a selector, less flow in 10 steps."""
    found = []
    for cell in cells():
        if wins := won(rows, cell):
            n, k = len(wins), sum(wins.values())
            card = next(row for row in rows if row["policy"] == cell.policy)
            found.append(
                asdict(cell)
                | {name: card[name] for name in ("weights", "steps", "calls")}
                | {"n": n, "success": k, "rate": round(k / n, 3), "interval": [round(x, 3) for x in wilson(k, n)]}
                | {"less_none": compared(wins, won(rows, Cell(cell.policy, "none")))}
                | {"less_flow": compared(wins, won(rows, Cell(FLOW, "none")))}
            )
    return found


def one_step(rows: Sequence[Mapping[str, Any]], root: Path) -> dict[str, Any]:
    """One call of the network against 10: success on the same seeds, and processor ms of the sampling alone, exported."""
    found = compared(won(rows, Cell(ONE_STEP, "none")), won(rows, Cell(FLOW, "none")))
    made = {row["policy"]: root / row["made"] for row in rows if row["selector"] == "none"}
    if not {FLOW, ONE_STEP} <= made.keys():
        return found
    for n in (1, 16):
        spent = in_turns({name: sampling(made[name], n) for name in (FLOW, ONE_STEP)}, turns=51)
        found[f"denoising_ms_n{n}"] = {name: round(ms, 3) for name, ms in spent.items()}
        found[f"denoising_ratio_n{n}"] = round(spent[FLOW] / spent[ONE_STEP], 2)
    return found


def sampling(made: Path, candidates: int) -> Callable[[], object]:
    """One call of the exported sampler in `made`, with `candidates` draws; its condition is made up: that costs no less."""
    session = open_session(made / SAMPLER, 1, CPU)
    rng = np.random.default_rng(0)
    shapes = {i.name: [size if isinstance(size, int) else candidates for size in i.shape] for i in session.get_inputs()}
    feed = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    return lambda: session.run(None, feed)


def markdown(rows: Sequence[Mapping[str, Any]], ends: Mapping[str, Any]) -> str:
    """The table of `policy_success.md` from `table_rows` and `one_step`."""
    head = ["policy", "weights", "steps", "network calls", *SELECTORS, *(f"{name} less none, points" for name in OTHERS)]
    head += ["none less flow in 10 steps, points"]
    lines = [head, ["---"] * len(head), *(_line(policy, rows) for policy in POLICIES)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    wrong = sum(d.clumsy for d in planned())
    return f"""# Success of policies on the simulated arm

Written by `robot-stack bench policy_success`: paired starts in lock-step, with the whole safety path. A run goes on where it was
stopped; what nobody has played yet says so.
Each was trained on the same {LESSONS} demonstrations, {wrong} of which take the wrong cube, for {SECONDS:g} s of processor
time on one thread ({machine()["cpu"]}), which buys it `steps`: too few for any to be at its best, and the fewer the larger it is.
TACO and Q-rank choose among 16 candidates; only Q-rank was told which demonstrations succeeded.
Cells: episodes in which the cube ends on the disc, of those played, with Wilson's 95 % interval in percent. Differences are on
the seeds both have, with Newcombe's 95 % interval for pairs: one that holds 0 is undecided.

{table}

{_ending(ends)}
"""


def _line(policy: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    found = {row["selector"]: row for row in rows if row["policy"] == policy}
    if not found:
        return [policy, "", "", "", *("not measured" for _ in SELECTORS), *("" for _ in OTHERS), ""]
    card = next(iter(found.values()))
    costs = [f"{card['weights'] / 1e6:.2f} M", str(card["steps"]), str(card["calls"])]
    played = [_played(found.get(name), (policy, name) in ALIKE) for name in SELECTORS]
    gains = [_points(found[name]["less_none"]) if name in found else "" for name in OTHERS]
    return [policy, *costs, *played, *gains, _points(found["none"]["less_flow"]) if "none" in found and policy != FLOW else ""]


def _played(row: Mapping[str, Any] | None, alike: bool) -> str:
    if row is None:
        return "no choice" if alike else "not measured"
    low, high = (round(100 * end) for end in row["interval"])
    return f"{row['success']} of {row['n']} ({low} to {high})"


def _points(found: Mapping[str, Any]) -> str:
    if not found["n"]:
        return ""
    low, high = found["interval"]
    return f"{found['points']:+.0f} ({low:+.0f} to {high:+.0f}), n = {found['n']}"


def _ending(ends: Mapping[str, Any]) -> str:
    """One step against 10, in words."""
    if not ends["n"]:
        return "One step against 10: not measured yet."
    said = f"One call of the network (`flow_one_step`) less 10 steps of `flow`, points of success: {_points(ends)}."
    if "denoising_ratio_n1" in ends:
        times = {n: [f"{ms:.2f}" for ms in ends[f"denoising_ms_n{n}"].values()] for n in (1, 16)}
        said += "\nSampling alone, exported, processor ms on one thread, medians: " + "; ".join(
            f"N = {n} {ten} against {one}, {ends[f'denoising_ratio_n{n}']} x less" for n, (ten, one) in times.items()
        )
    return said


def main(arguments: Sequence[str] = ()) -> Result:
    """What is not there yet of the seeds asked for, then the table."""
    torch.set_num_threads(1)
    asked = (arguments[0] if arguments else str(SEEDS)).partition("/")
    seeds, policies = int(asked[0]), int(asked[2] or len(POLICIES))
    inputs = [SETUP, TEACH, DEMONSTRATIONS, LESSONS]
    root = stage(Path("runs/bench"), "success", inputs, (*CORE, *LOCKSTEP), lambda out: out).folder
    played = evaluate(root, seeds, policies)
    rows, ends = table_rows(played), one_step(played, root)
    TABLE.write_text(markdown(rows, ends), encoding="utf-8")
    extra = {"seconds": SECONDS, "asked": seeds, "rows": rows, "one_step": ends, "not_measured": missing(rows)}
    return Result("policy_success", "s", [row["duration_s"] for row in played], extra=extra)


def missing(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The cells nobody has played yet."""
    there = {(row["policy"], row["selector"]) for row in rows}
    return [f"{cell.policy}: {cell.selector}" for cell in cells() if (cell.policy, cell.selector) not in there]
