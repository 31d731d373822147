"""Collect, deploy, relabel, retrain: once around on the simulated arm, in lock-step, with the success rate before and after.

    collect    `DEMONSTRATIONS` of the scripted human                    robot-stack record
    train      a policy with its selector                                robot-stack train, export
    deploy     `DEPLOYED` episodes with it, recorded as logs             robot-stack run
    relabel    what was unfamiliar, filtered, alarmed                    robot-stack relabel hard_cases; robot-stack data hard
    correct    the `CORRECTED` episodes with the rarest moments again from the same start: before that moment a human takes over
    retrain    the same network, as many steps, on demonstrations and corrections (the human's rows alone)

The policy sees joints and where things are, not pictures (`benchmarks.state_arm`); control loop, filter, logs and labellers are
those of the robot. `extra.rows`: success of the policy before, after, and of two more that got as many other lessons instead:
corrections of episodes drawn by lot, taken over at a random time, and ordinary demonstrations (longer than corrections). So it
is seen what the signals are worth, not only what more data are. `SEEDS` times around, `EVALUATED` starts that are none of the
others', the same for all; Wilson intervals, and Newcombe's for paired differences from before. `extra.signals`: does the rarest
moment of an episode tell that it will fail (area under the ROC curve over the deployed)? Samples: seconds of an episode after,
`against` before. Each step is kept under `runs/bench`, each evaluated episode in a ledger: an interrupted run goes on.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from benchmarks import state_arm
from benchmarks.harness import Result, keep, ledger_rows
from benchmarks.state_arm import StatePolicy
from drivers.scenario import SCENARIOS
from robot_stack.config.labellers import HardCasesSettings
from robot_stack.data.catalogue import Catalogue
from robot_stack.data.episode import Episode
from robot_stack.demo.cache import stage
from robot_stack.relabel.commands import labeller_of
from robot_stack.relabel.hard_cases import Moment, hard_cases
from robot_stack.relabel.runs import Job, relabel
from robot_stack.replay.crew import recording
from robot_stack.replay.lockstep import Episode as Run
from robot_stack.replay.lockstep import Outcome
from robot_stack.replay.protections import difference, wilson
from robot_stack.types import Mode
from safety.taco import CoinFlipNetwork

DEMONSTRATIONS, DEPLOYED, CORRECTED = 10, 30, 10
SEEDS, EVALUATED = range(2), range(1_000, 1_040)
COLLECT_SEED, DEPLOY_SEED = 60_000, 70_000
BEFORE_S, LIMIT_S = 0.5, 16.0
"""The human takes over so long before the moment, where it goes wrong and has not yet; how long a corrected episode may last."""

SETUP = replace(state_arm.SETUP, safety=replace(state_arm.SETUP.safety, use_filter=True))
CODE = ("benchmarks/bench_loop.py", "benchmarks/state_arm.py", "robot_stack/relabel/hard_cases.py")
NAMES = ("before", "after", "corrections by lot", "more demonstrations")


@dataclass(frozen=True, slots=True)
class Learner:
    """A policy and how familiar it is with what it sees."""

    policy: StatePolicy
    selector: CoinFlipNetwork

    @classmethod
    def of(cls, lessons: Sequence[Episode], seed: int) -> "Learner":
        """Trained on `lessons`."""
        policy = state_arm.clone(lessons, seed)
        return cls(policy, state_arm.familiarity(policy, lessons, seed))


def collected(first: int, count: int) -> list[Episode]:
    """The first `count` demonstrations that succeed, from the start `first` on."""
    found: list[Episode] = []
    while len(found) < count:
        if (episode := state_arm.demonstrate(first)) is not None:
            found.append(episode)
        first += 1
    return found


def play(learner: Learner, seed: int, log: Path | None = None, take_over_s: float = 1e9) -> tuple[Outcome, Episode | None]:
    """One episode from the start `seed`, recorded in `log`; with what the human did, if one took over, as a lesson."""
    crew = state_arm.crew_of(learner.policy, SETUP, seed, learner.selector, take_over_s)
    lesson = state_arm.Lesson(crew.world, Mode.TELEOP)
    if log is None:
        outcome = Run(crew, SCENARIOS["nominal"], seed, lesson).run(LIMIT_S if take_over_s < 1e9 else state_arm.LIMIT_S)
    else:
        with recording(log, SETUP, "nominal", {"seed": seed}) as sink:
            outcome = Run(crew, SCENARIOS["nominal"], seed, sink).run(state_arm.LIMIT_S)
    return outcome, lesson.episode(f"correction_{seed}")


def deployed(learner: Learner, seed: int, out: Path) -> Path:
    """Logs of `learner` from starts it has not seen, and which succeeded."""
    success = {}
    for i in tqdm(range(DEPLOYED), desc="deployed", unit="episode"):
        start = DEPLOY_SEED + 1_000 * seed + i
        success[f"episode_{start}"] = play(learner, start, out / f"episode_{start}")[0].success
    (out / "success.json").write_text(json.dumps(success))
    return out


def told(logs: Path) -> dict[str, Any]:
    """What the labels of `logs` say of failure: the area under the ROC curve of an episode's rarest moment."""
    relabel(Job(logs, 30.0, labeller_of("hard_cases"), HardCasesSettings()), "bench loop")
    catalogue = Catalogue.open(logs)
    rarity = {e.name: float(catalogue.recording(e, ("hard_worst",)).constants["hard_worst"]) for e in catalogue.entries()}
    success: dict[str, bool] = json.loads((logs / "success.json").read_text())
    failed, fine = ([rarity[name] for name, good in success.items() if good is kind] for kind in (False, True))
    pairs = [(a > b) + 0.5 * (a == b) for a in failed for b in fine]
    return {"deployed": len(success), "failed": len(failed), "auc": float(np.mean(pairs)) if pairs else None}


def worst(logs: Path, count: int) -> list[Moment]:
    """Of the `count` episodes with the rarest moments, the rarest moment of each."""
    found, _ = hard_cases([(e.name, Path(e.key)) for e in Catalogue.open(logs).entries()], 10_000, HardCasesSettings())
    first: dict[str, Moment] = {}
    for moment in found:
        first.setdefault(moment.episode, moment)
    return list(first.values())[:count]


def corrections(learner: Learner, takeovers: Sequence[tuple[int, float]]) -> list[Episode]:
    """What a human does who takes over at (start, s)."""
    made = [play(learner, start, take_over_s=max(at, 0.3))[1] for start, at in tqdm(takeovers, desc="corrected")]
    return [lesson for lesson in made if lesson is not None]


def around(seed: int, out: Path) -> None:
    """Once around; every policy's weights and what was seen on the way go to `out`."""
    begin = COLLECT_SEED + 1_000 * seed
    lessons, more = collected(begin, DEMONSTRATIONS), collected(begin + 500, CORRECTED)
    learner = Learner.of(lessons, seed)
    logs = deployed(learner, seed, out / "logs")
    signals, moments = told(logs), worst(logs, CORRECTED)
    by_signal = [(int(m.episode.rpartition("_")[2]), m.begin_s - BEFORE_S) for m in moments]
    rng = np.random.default_rng([seed, 8])
    starts = rng.choice(DEPLOYED, len(moments), replace=False) + DEPLOY_SEED + 1_000 * seed
    by_lot = [(int(start), float(rng.uniform(0.3, 4.0))) for start in starts]
    taught = {
        "after": [*lessons, *corrections(learner, by_signal)],
        "corrections by lot": [*lessons, *corrections(learner, by_lot)],
        "more demonstrations": [*lessons, *more],
    }
    policies = {"before": learner.policy} | {name: state_arm.clone(part, seed) for name, part in taught.items()}
    for name, policy in policies.items():
        save_file(policy.state_dict(), out / f"{name}.safetensors")
    success = json.loads((logs / "success.json").read_text())
    signals["corrected"] = {
        "episodes": len(moments),
        "of_which_failed": sum(not success[m.episode] for m in moments),
        "kinds": {kind: sum(m.kind == kind for m in moments) for kind in sorted({m.kind for m in moments})},
        "rows": {name: sum(map(len, part)) for name, part in taught.items()} | {"before": sum(map(len, lessons))},
    }
    (out / "signals.json").write_text(json.dumps(signals))


def evaluated(folder: Path, seed: int) -> dict[str, dict[tuple[int, int], Outcome]]:
    """Outcomes of each policy of `seed` from each start; what the ledger has is not played again."""
    ledger = folder.parent / f"{folder.name}.jsonl"
    done: dict[str, dict[tuple[int, int], Outcome]] = {name: {} for name in NAMES}
    for row in ledger_rows(ledger):
        outcome = Outcome(**row["outcome"] | {"final_mode": Mode(row["outcome"]["final_mode"])})
        done[row["name"]][seed, outcome.seed] = outcome
    weights = {name: load_file(folder / f"{name}.safetensors") for name in NAMES}
    for name, start in tqdm([(n, s) for s in EVALUATED for n in NAMES if (seed, s) not in done[n]]):
        policy = StatePolicy(len(weights[name]["mean"]))
        policy.load_state_dict(weights[name])
        crew = state_arm.crew_of(policy.eval(), SETUP, start)
        outcome = Run(crew, SCENARIOS["nominal"], start).run(state_arm.LIMIT_S)
        keep(ledger, {"name": name, "outcome": asdict(outcome)})
        done[name][seed, start] = outcome
    return done


def table(done: Mapping[str, Mapping[tuple[int, int], Outcome]]) -> list[dict[str, Any]]:
    """One row a policy: successes, Wilson interval, and what it does better than the policy before, on the same starts."""
    keys = sorted(set.intersection(*(set(outcomes) for outcomes in done.values())))
    first, rows = [done["before"][key].success for key in keys], []
    for name, outcomes in done.items():
        found = [outcomes[key].success for key in keys]
        by_seed = [
            float(np.mean([o.success for (s, _), o in outcomes.items() if s == seed])) for seed in sorted({s for s, _ in keys})
        ]
        row = {"policy": name, "n": len(found), "success": sum(found), "rate": float(np.mean(found))}
        row |= {"interval": wilson(sum(found), len(found)), "by_seed": by_seed}
        rows.append(row | ({"better_than_before": difference(found, first)} if name != "before" else {}))
    return rows


def main(arguments: Sequence[str] = ()) -> Result:
    """`SEEDS` times around."""
    torch.set_num_threads(1)
    done: dict[str, dict[tuple[int, int], Outcome]] = {name: {} for name in NAMES}
    signals = []
    for seed in SEEDS:
        inputs = [seed, DEMONSTRATIONS, DEPLOYED, CORRECTED, BEFORE_S]
        folder = stage(Path("runs/bench"), "loop", inputs, CODE, lambda out, seed=seed: around(seed, out)).folder  # type: ignore[misc]
        signals.append(json.loads((folder / "signals.json").read_text()))
        for name, outcomes in evaluated(folder, seed).items():
            done[name] |= outcomes
    seconds = {name: [outcome.duration_s for outcome in done[name].values()] for name in ("after", "before")}
    extra = {"rows": table(done), "signals": signals, "demonstrations": DEMONSTRATIONS}
    return Result("loop", "s", seconds["after"], against={"before": seconds["before"]}, extra=extra)
