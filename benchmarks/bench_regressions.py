"""Is every planted regression caught by the rule that names it, and is no equivalent bundle alarmed about?

Unit: seconds to the verdict on this machine as it was loaded, a sample for each fault and each equivalent bundle, with what
`robot-stack demo` learned as the bundle that runs now. Bundles are looked at on the last recorded demonstrations, settings on
logs of the policy in lock-step; a fault is caught when its rule rejects it. A false alarm is any rule, holding or rejecting, that
fires on an equivalent bundle (`benchmarks.equivalent`), but for `undecided`: that one says that it would take more pairs.

How many points worse the worse policy is, is measured on seeds that nothing else uses, without stopping early; with the 95 %
interval of a difference of paired rates (`replay.protections.difference`). Episodes and rows are kept in
`runs/bench/regressions-<hash of all they came from>`: an interrupted run goes on where it was. Episodes that were there already
are not in a row's seconds: those of the bundle that runs now, for all but the first row that needs them.

    python -m benchmarks.bench_regressions [bundle=B checkpoint=C barrier=F monitor=M demonstrations=LOGS live=LOGS] [out=FOLDER]

tries another robot than the demo's; the five go together. `processes=N`: of re-simulation (1: this one). `equivalent_pairs=N`: at
most so many pairs of an equivalent bundle.
"""

import os
import sys
import time
from collections import UserDict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.bench_protections import measured_latencies
from benchmarks.equivalent import Export, equivalents
from benchmarks.harness import Result, keep, ledger_rows, store, table
from benchmarks.planted import FAULTS, Planted, rewritten
from robot_stack.config.commands import DemoCommand
from robot_stack.config.gate import GateSettings
from robot_stack.config.load import load
from robot_stack.data.episode import Episode
from robot_stack.demo.cache import stage
from robot_stack.demo.learned import CORE, LOCKSTEP, Learned, School, setup_of
from robot_stack.demo.main import protected
from robot_stack.errors import ConfigError
from robot_stack.learn import load_episodes, log_folders
from robot_stack.replay.crew import Setup, autonomous, recording
from robot_stack.replay.gate.judge import Case, Judged, judge
from robot_stack.replay.gate.rules import Finding
from robot_stack.replay.gate.simulation import Sides, rounds
from robot_stack.replay.lockstep import Episode as Run
from robot_stack.replay.lockstep import Outcome, Rates
from robot_stack.replay.protections import Condition, Trial, difference
from robot_stack.types import Mode

NOISES, SELECTORS = range(1, 17), range(17, 21)
RECORDED = ("nominal", "intruder", "frozen")
SEED = 7_000
MEASURED = range(8_200, 8_300)
PLANTED = GateSettings(pairs=240, played_again=0)
EQUAL = replace(PLANTED, margin=0.2, least=6, pairs=36)
"""An equivalent bundle is promoted once it is shown to be less than 20 points worse: 18 pairs, where none differ."""
OPTIONS = ("live", "out", "processes", "equivalent_pairs")
MATERIAL = ("bundle", "checkpoint", "barrier", "monitor", "demonstrations")


class Kept(UserDict[tuple[str, str, int], Outcome]):
    """Outcomes of episodes by bundle, condition and seed; each is written to `file` as it comes."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file
        for row in ledger_rows(file):
            outcome = row["outcome"] | {"final_mode": Mode(row["outcome"]["final_mode"])}
            self.data[row["bundle"], row["condition"], row["seed"]] = Outcome(**outcome)

    def __setitem__(self, key: tuple[str, str, int], outcome: Outcome) -> None:
        keep(self._file, dict(zip(("bundle", "condition", "seed"), key, strict=True)) | {"outcome": asdict(outcome)})
        self.data[key] = outcome


@dataclass(frozen=True, slots=True)
class Trials:
    """What everything is tried with: the bundle that runs now, its robot, recorded demonstrations, and where to put things."""

    export: Export
    setup: Setup
    folder: Path
    processes: int
    equivalent_pairs: int

    @property
    def bundle(self) -> Path:
        """The bundle that runs now."""
        return self.export.bundle


def recorded_logs(trials: Trials) -> tuple[Path, ...]:
    """Logs of the policy in lock-step, one for each of `RECORDED`; made once."""
    for name in RECORDED:
        if not (folder := trials.folder / "policy_logs" / name).exists():
            from drivers.scenario import SCENARIOS

            part = folder.with_name(f"{name}.partial")
            with recording(part, trials.setup, name, {"seed": SEED}) as sink:
                Run(autonomous(trials.setup, trials.bundle, noise_seed=SEED), SCENARIOS[name], SEED, sink).run()
            part.rename(folder)
    return tuple(log_folders(trials.folder / "policy_logs"))


def tried(trials: Trials, known: Kept) -> Iterator[dict[str, object]]:
    """A row for each fault, then for each equivalent bundle, as they are judged; rows that are there are not made again."""
    file = trials.folder / "rows.jsonl"
    done = {row["name"]: row for row in ledger_rows(file)}
    episodes = load_episodes(trials.export.demonstrations, 20.0, None, PLANTED.episodes)
    logs = recorded_logs(trials)
    for one in (*FAULTS, *(Planted(name, "") for name, _ in equivalents(trials.export, NOISES, SELECTORS))):
        if one.name not in done:
            done[one.name] = judged_row(trials, one, episodes, logs, known)
            keep(file, done[one.name])
        print(done[one.name], flush=True)
        yield done[one.name]


def made(trials: Trials, one: Planted) -> Path:
    """The folder of the bundle with `one` in it, written unless it is there."""
    out = trials.folder / one.name.replace(" ", "_").replace(",", "")
    if one.edit is not None:
        return rewritten(trials.bundle, out, one.edit)
    if one.rule:
        return trials.bundle
    if not out.exists():
        dict(equivalents(trials.export, NOISES, SELECTORS))[one.name](out)
    return out


def judged_row(trials: Trials, one: Planted, episodes: Sequence[Episode], logs: Sequence[Path], known: Kept) -> dict[str, object]:
    """Plant `one`, judge it, and say what came out."""
    bundle = made(trials, one)
    logs = logs if one.config or not one.rule else ()
    case = Case(bundle, trials.bundle, episodes, logs, one.config, trials.setup, opened=one.opened)
    settings = PLANTED if one.rule else replace(EQUAL, pairs=trials.equivalent_pairs)
    begin, before, spent = time.monotonic(), len(known), cpu_seconds()
    judged = judge(case, replace(settings, processes=trials.processes), known)
    row = as_row(one, judged, time.monotonic() - begin)
    return row | {"cpu_seconds": round(cpu_seconds() - spent, 2), "episodes_played": len(known) - before}


def cpu_seconds() -> float:
    """What this process and those it has waited for have spent."""
    return sum(os.times()[:4])


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
        "why": next((f.why for f in judged.fired if f.rule == one.rule), "; ".join(f"{f.rule}: {f.why}" for f in judged.fired)),
        "seconds": round(seconds, 2),
        "simulated": pairs,
    }


def points_worse(trials: Trials, known: Kept) -> dict[str, object]:
    """How much less often the worse policy succeeds, on `MEASURED`."""
    worse = made(trials, next(f for f in FAULTS if f.rule == "success_lower"))
    sides = Sides(Trial(trials.setup, worse), Trial(trials.setup, trials.bundle), (Condition("nominal", "nominal"),))
    number = len(MEASURED)
    fixed = GateSettings(seed=MEASURED[0], pairs=number, least=number, processes=trials.processes)
    (pair,) = next(rounds(sides, fixed, known))
    low, high = difference(*pair.flags("success"))
    one, other = (sum(flags) for flags in pair.flags("success"))
    return {"success": [one, other], "pairs": number, "points": 100 * (one - other) / number, "interval": [100 * low, 100 * high]}


def result(rows: Sequence[dict[str, object]], worse: dict[str, object], pairs: int) -> Result:
    """The figure; `pairs` at most of an equivalent bundle."""
    planted, equal = [r for r in rows if r["planted"]], [r for r in rows if not r["planted"]]
    extra = {
        "planted": len(planted),
        "caught": sum(bool(r["caught"]) for r in planted),
        "equivalent": len(equal),
        "equivalent_pairs": pairs,
        "false_alarms": sum(bool(set(map(str, r["rules"])) - {"undecided"}) for r in equal),  # type: ignore[call-overload]
        "promoted": sum(r["verdict"] == "promote" for r in equal),
        "worse_policy": worse,
        "rows": list(rows),
    }
    return Result("regressions", "s", [float(str(r["seconds"])) for r in rows], extra=extra)


def trials_of(arguments: Sequence[str]) -> Trials:
    """What is named, or else what the demo learns (first, unless it is there). Raises ConfigError on a name there is not."""
    named = dict(argument.partition("=")[::2] for argument in arguments)
    given = sorted(named.keys() & set(MATERIAL))
    if (unknown := named.keys() - {*MATERIAL, *OPTIONS}) or len(given) not in (0, len(MATERIAL)):
        found = f"found {sorted(unknown)}" if unknown else f"found only {given}"
        raise ConfigError(f"bench regressions: {found}, allowed all of {', '.join(MATERIAL)}; {', '.join(OPTIONS)}")
    command = load(DemoCommand)
    learned = _named(named) if given else School(command).learn()
    command = protected(command, learned)
    latencies = measured_latencies(Path(named.get("live", Path(command.demo.root) / "live")))
    setup = setup_of(command, Rates(camera_hz=15.0, policy_latency_s=latencies))
    export = Export(learned.bundle, learned.policy, _demonstrations(learned.demonstrations), command.taco)
    folder = _folder(named.get("out", ""), [setup, str(learned.bundle)])
    processes, pairs = int(named.get("processes", os.cpu_count() or 1)), int(named.get("equivalent_pairs", EQUAL.pairs))
    return Trials(export, setup, folder, processes, pairs)


def _named(named: dict[str, str]) -> Learned:
    at = {name: Path(named[name]).resolve() for name in MATERIAL}
    return Learned(at["demonstrations"], at["barrier"], at["checkpoint"], at["bundle"], at["monitor"])


def _demonstrations(folder: Path) -> Path:
    """The demo keeps close calls beside the demonstrations proper."""
    inner = folder / "demonstrations"
    return inner if inner.is_dir() else folder


def _folder(out: str, inputs: list[object]) -> Path:
    code = (*CORE, *LOCKSTEP, "robot_stack/replay", "robot_stack/replay/gate")
    folder = Path(out) if out else stage(Path("runs/bench"), "regressions", inputs, code, lambda made: made).folder
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def main(arguments: Sequence[str] = ()) -> Result:
    """Every fault and every equivalent bundle, then how much worse the worse policy is."""
    trials = trials_of(arguments)
    known = Kept(trials.folder / "outcomes.jsonl")
    rows = list(tried(trials, known))
    return result(rows, points_worse(trials, known), trials.equivalent_pairs)


if __name__ == "__main__":
    answer = main(sys.argv[1:])
    print(table([answer]))
    print(*store([answer]))
