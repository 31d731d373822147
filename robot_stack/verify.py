"""`robot-stack replay` and `report`: what was recorded, against today's code."""

import json
from dataclasses import asdict
from pathlib import Path

from robot_stack.config.commands import ReplayCommand, ReportCommand
from robot_stack.data.log_reader import read_log
from robot_stack.errors import ConfigError, DataError, ReplayMismatch
from robot_stack.learn import load_episodes, log_folders
from robot_stack.replay.verdicts import Report, replay_verdicts, safety_of


def replay(command: ReplayCommand) -> str:
    """What came out, as text. Raises ReplayMismatch when a verdict differs from the recorded one, DataError without logs."""
    if command.log:
        return _replay_logs(Path(command.log))
    if command.dataset and command.bundle:
        return _replay_dataset(command)
    raise ConfigError("replay: found neither log nor dataset and bundle; next: robot-stack replay log=FOLDER")


def report(command: ReportCommand) -> Path:
    """Write the HTML report of the logs in a folder; returns the file."""
    from robot_stack.replay.report import report_on_logs

    return report_on_logs(_logs(Path(command.log)), Path(command.out))


def _replay_logs(folder: Path) -> str:
    reports = [_replayed(path) for path in _logs(folder)]
    text = "\n".join(_line(one) for one in reports)
    if not all(one.ok for one in reports):
        raise ReplayMismatch(f"{sum(not one.ok for one in reports)} of {len(reports)} logs differ\n{text}")
    return text


def _replayed(path: Path) -> Report:
    log = read_log(path)
    return replay_verdicts(log, safety_of(log))


def _line(one: Report) -> str:
    modes = ", ".join(f"{mode} {count}" for mode, count in one.modes.items())
    result = "bit-equal" if one.ok else f"DIFFERENT: {one.first or 'no tick to compare'}"
    return f"{one.log}: {one.equal} of {one.ticks} verdicts {result} (ticks: {modes})"


def _logs(folder: Path) -> list[Path]:
    logs = log_folders(folder)
    if not logs:
        raise DataError(f"log: found no episode log (.mcap) in {folder}, allowed a folder that robot-stack run or record wrote")
    return logs


def _replay_dataset(command: ReplayCommand) -> str:
    from policies.onnx_policy import OnnxPolicy
    from robot_stack.replay.chunk_error import chunk_errors, draw_chunks

    policy = OnnxPolicy(command.bundle)
    sizes = {size for _, size in policy.manifest.cameras}
    episodes = load_episodes(Path(command.dataset), policy.manifest.rate_hz, sizes.pop() if len(sizes) == 1 else None)
    if not 0 < command.holdout < len(episodes):
        raise ConfigError(f"holdout: found {command.holdout}, allowed 1..{len(episodes) - 1} for {len(episodes)} episodes")
    kept, test = episodes[: -command.holdout], episodes[-command.holdout :]
    errors = chunk_errors(policy, kept, test, stride=command.stride)
    out = Path(command.out)
    out.mkdir(parents=True, exist_ok=True)
    table = out / "chunk_error.json"
    table.write_text(json.dumps(asdict(errors), indent=2) + "\n", encoding="utf-8")
    picture = draw_chunks(policy, test[0], out / "chunks.png")
    return f"{errors.text()}\nwritten: {table}, {picture}"
