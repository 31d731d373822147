"""`robot-stack validate`: may this bundle, or this change of the config, go on the robot?"""

from dataclasses import replace
from pathlib import Path

from policies.bundle import load_bundle
from robot_stack.config.commands import ValidateCommand
from robot_stack.data.log_reader import read_log
from robot_stack.data.wire import ChoiceNote
from robot_stack.learn import load_episodes, log_folders
from robot_stack.replay.crew import Setup
from robot_stack.replay.gate.judge import Case, Judged, judge, sides_of
from robot_stack.replay.gate.report import write_verdict
from robot_stack.replay.gate.rules import Finding
from robot_stack.replay.gate.simulation import played_again, worst_episodes
from robot_stack.replay.lockstep import Rates
from robot_stack.replay.recorded_settings import changed, recorded_settings
from robot_stack.replay.resim.suites import suite

EXIT_CODES = {Finding.PROMOTE: 0, Finding.REJECT: 3, Finding.HOLD: 4}


def validate(command: ValidateCommand) -> tuple[str, int]:
    """The verdict in words, and the exit code. Page and figures are written to `out`.

    Raises ConfigError on a scenario or setting that does not exist, DataError without a usable log, PolicyError when the bundle
    that runs now cannot be opened.
    """
    case = case_of(command)
    judged = judge(case, command.gate)
    out = Path(command.out)
    page = write_verdict(judged, case.episodes, {log_name(path): path for path in (*case.logs, *again(judged, out))}, out)
    return f"{words(judged)}\nwritten: {page}, {page.with_suffix('.json')}", EXIT_CODES[judged.finding]


def case_of(command: ValidateCommand) -> Case:
    """What `command` puts on trial, its logs read."""
    conditions = {condition.name: condition for name in command.suite for condition in suite(name)}
    manifest = load_bundle(Path(command.against)).manifest
    sizes = {size for _, size in manifest.cameras}
    folder = Path(command.logs)
    episodes = load_episodes(folder, manifest.rate_hz, sizes.pop() if len(sizes) == 1 else None, command.gate.episodes)
    logs = tuple(log_folders(folder))
    setup = setup_of(logs, command.gate.camera_hz)
    if setup is not None and command.config:
        changed(recorded_settings(read_log(logs[0])), command.config)  # a misspelt key is said before anything runs
    return Case(Path(command.bundle), Path(command.against), episodes, logs, command.config, setup, tuple(conditions.values()))


def setup_of(logs: tuple[Path, ...], camera_hz: float) -> Setup | None:
    """The simulated robot as the first of `logs` was recorded, deciding as slowly as in all of them; None on a real one."""
    if not logs:
        return None
    found = recorded_settings(read_log(logs[0]))
    if found.spec.driver != "sim":
        return None
    rates = Rates(camera_hz=camera_hz)
    if latencies := _latencies(logs):
        rates = replace(rates, policy_latency_s=latencies)
    return Setup(found.spec, found.task, found.safety, found.monitor, found.detector, rates, found.robot)


def _latencies(logs: tuple[Path, ...]) -> tuple[float, ...]:
    return tuple(
        v.latency_s for log in logs for _, _, v in read_log(log).iterate({"/policy/choice"}) if isinstance(v, ChoiceNote)
    )


def again(judged: Judged, out: Path) -> list[Path]:
    """The worst re-simulated episodes of the candidate, played once more into logs below `out`."""
    if (sides := sides_of(judged.case)) is None:
        return []
    worst = worst_episodes(judged.evidence.trials, judged.evidence.settings.played_again)
    return [played_again(sides, bad, out / "episodes") for bad in worst]


def log_name(path: Path) -> str:
    """The name by which an episode of the log at `path` goes."""
    return read_log(path).name


def words(judged: Judged) -> str:
    """The verdict and why, for a terminal."""
    spent = sum(judged.seconds.values())
    lines = [f"{judged.finding.value.upper()}: {judged.case.bundle} against {judged.case.against} ({spent:.1f} s)"]
    lines += [f"  {one.finding.value:<7}{one.rule}: {one.why}" for one in judged.fired]
    lines += [f"  note   {note}" for note in judged.notes]
    return "\n".join(lines)
