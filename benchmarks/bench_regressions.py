"""Is every planted regression caught by the rule that names it, and is no equivalent bundle alarmed about?

Unit: seconds to the verdict, a sample for each fault and each equivalent bundle, with what `robot-stack demo` learned as the
bundle that runs now. Bundles are looked at on the last recorded demonstrations, settings on logs of the policy in lock-step; a
fault is caught when its rule rejects it. An alarm is a verdict of reject on a bundle that is as good: the same export with other
noise. Rows are kept in `runs/bench/regressions-<hash of all they came from>`, so an interrupted run goes on where it was.
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.bench_protections import measured_latencies
from benchmarks.harness import Result, ledger_rows
from benchmarks.planted import FAULTS, Planted, another_seed, rewritten
from robot_stack.config.commands import DemoCommand
from robot_stack.config.gate import GateSettings
from robot_stack.config.load import load
from robot_stack.data.episode import Episode
from robot_stack.demo.cache import stage
from robot_stack.demo.learned import CORE, LOCKSTEP, School, setup_of
from robot_stack.demo.main import protected
from robot_stack.learn import load_episodes, log_folders
from robot_stack.replay.crew import Setup, autonomous, recording
from robot_stack.replay.gate.judge import Case, Judged, Known, judge
from robot_stack.replay.gate.rules import Finding
from robot_stack.replay.lockstep import Episode as Run
from robot_stack.replay.lockstep import Rates

EQUIVALENT = range(1, 21)
RECORDED = ("nominal", "intruder", "frozen")
SEED = 7_000
PLANTED = GateSettings()
EQUAL = replace(PLANTED, margin=0.2, least=13, pairs=39)
"""An equivalent bundle is promoted once it is shown to be less than 20 points worse: about 26 pairs, where none differ."""


@dataclass(frozen=True, slots=True)
class Trials:
    """What everything is tried with: the bundle that runs now, its robot, recorded demonstrations, and where to put things."""

    bundle: Path
    setup: Setup
    demonstrations: Path
    folder: Path


def recorded_logs(trials: Trials) -> tuple[Path, ...]:
    """Logs of the policy in lock-step, one for each of `RECORDED`; made once."""

    def record(out: Path) -> None:
        from drivers.scenario import SCENARIOS

        for name in RECORDED:
            with recording(out / name, trials.setup, name, {"seed": SEED}) as sink:
                Run(autonomous(trials.setup, trials.bundle, noise_seed=SEED), SCENARIOS[name], SEED, sink).run()

    inputs = [trials.setup, str(trials.bundle)]
    return tuple(log_folders(stage(trials.folder, "policy_logs", inputs, (*CORE, *LOCKSTEP), record).folder))


def tried(trials: Trials) -> Iterator[dict[str, object]]:
    """A row for each fault, then for each equivalent bundle, as they are judged; rows that are there are not made again."""
    file = trials.folder / "rows.jsonl"
    done = {row["name"]: row for row in ledger_rows(file)}
    episodes = load_episodes(trials.demonstrations, 20.0, None, PLANTED.episodes)
    logs, known = recorded_logs(trials), Known()
    equal = [Planted(f"equivalent, seed {k}", "", another_seed(k)) for k in EQUIVALENT]
    for one, settings in [*((f, PLANTED) for f in FAULTS), *((e, EQUAL) for e in equal)]:
        if one.name not in done:
            row = judged_row(trials, one, settings, episodes, logs, known)
            with file.open("a") as ledger:
                ledger.write(json.dumps(row) + "\n")
            done[one.name] = row
        print(done[one.name], flush=True)
        yield done[one.name]


def judged_row(
    trials: Trials, one: Planted, settings: GateSettings, episodes: Sequence[Episode], logs: Sequence[Path], known: Known
) -> dict[str, object]:
    """Plant `one`, judge it, and say what came out."""
    bundle = trials.bundle
    if one.edit is not None:
        bundle = rewritten(trials.bundle, trials.folder / one.name.replace(" ", "_").replace(",", ""), one.edit)
    case = Case(bundle, trials.bundle, episodes, logs if one.config or not one.rule else (), one.config, trials.setup)
    begin = time.monotonic()
    judged = judge(case, settings, known)
    return as_row(one, judged, time.monotonic() - begin)


def as_row(one: Planted, judged: Judged, seconds: float) -> dict[str, object]:
    """The verdict in plain values. `caught`: the rule that names the fault is among those that reject."""
    rejects = [f.rule for f in judged.fired if f.finding is Finding.REJECT]
    pairs = [{"pairs": len(p.candidate), "success": [sum(flags) for flags in p.flags("success")]} for p in judged.evidence.trials]
    return {
        "name": one.name,
        "planted": bool(one.rule),
        "rule": one.rule,
        "verdict": judged.finding.value,
        "caught": one.rule in rejects,
        "rules": [f.rule for f in judged.fired],
        "why": next((f.why for f in judged.fired if f.rule == one.rule), ""),
        "seconds": round(seconds, 2),
        "simulated": pairs,
    }


def result(rows: Sequence[dict[str, object]]) -> Result:
    """The figure."""
    planted, equal = [r for r in rows if r["planted"]], [r for r in rows if not r["planted"]]
    extra = {
        "planted": len(planted),
        "caught": sum(bool(r["caught"]) for r in planted),
        "equivalent": len(equal),
        "equivalent_pairs": EQUAL.pairs,
        "false_alarms": sum(r["verdict"] == "reject" for r in equal),
        "promoted": sum(r["verdict"] == "promote" for r in equal),
        "rows": list(rows),
    }
    return Result("regressions", "s", [float(str(r["seconds"])) for r in rows], extra=extra)


def main(arguments: Sequence[str] = ()) -> Result:
    """Every fault and every equivalent bundle; learns first what the demo would learn, unless that is there."""
    command = load(DemoCommand)
    learned = School(command).learn()
    command = protected(command, learned)
    rates = Rates(camera_hz=15.0, policy_latency_s=measured_latencies(Path(command.demo.root) / "live"))
    setup = setup_of(command, rates)
    inputs = [setup, str(learned.bundle)]
    folder = stage(Path("runs/bench"), "regressions", inputs, (*CORE, *LOCKSTEP, "robot_stack/replay"), lambda out: out).folder
    return result(list(tried(Trials(learned.bundle, setup, learned.demonstrations / "demonstrations", folder))))
