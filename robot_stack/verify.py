"""`robot-stack replay` and `report`: what was recorded, against today's code."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from robot_stack.config.commands import ReplayCommand, ReportCommand
from robot_stack.data.log_reader import EpisodeLog, read_log
from robot_stack.errors import ConfigError, DataError, ReplayMismatch
from robot_stack.learn import load_episodes, log_folders
from robot_stack.replay.verdicts import Report, replay_verdicts, safety_of


def replay(command: ReplayCommand) -> str:
    """What came out, as text. Raises ReplayMismatch when a verdict, or with `bundle` a chunk, differs from the recorded one."""
    if command.log:
        return _replay_logs(Path(command.log), command.bundle)
    if command.dataset and command.bundle:
        return _replay_dataset(command)
    raise ConfigError("replay: found neither log nor dataset and bundle; next: robot-stack replay log=FOLDER")


def report(command: ReportCommand) -> Path:
    """Write the HTML report of the logs in a folder; returns the file."""
    from robot_stack.replay.report import report_on_logs

    return report_on_logs(_logs(Path(command.log)), Path(command.out))


def _replay_logs(folder: Path, bundle: str) -> str:
    found = [line for path in _logs(folder) for line in _replayed(read_log(path), bundle)]
    text = "\n".join(said for _, said in found)
    if not all(same for same, _ in found):
        raise ReplayMismatch(f"{sum(not same for same, _ in found)} of {len(found)} replays differ\n{text}")
    return text


def _replayed(log: EpisodeLog, bundle: str) -> Iterator[tuple[bool, str]]:
    """Each depth of replay of `log`: did it come out the same, and how to say so."""
    verdicts = replay_verdicts(log, safety_of(log))
    yield verdicts.ok, _verdict_line(verdicts, log.complete)
    if bundle:
        from policies.onnx_policy import OnnxPolicy
        from robot_stack.replay.chunks import replay_chunks

        candidates = log.metadata.settings.get("settings", {}).get("candidates", 0)
        chunks = replay_chunks(log, OnnxPolicy(bundle, candidates, joint_names=log.metadata.joint_names))
        worst = f"worst {chunks.worst:.1e} rad, allowed {chunks.tolerance:.0e}"
        yield chunks.ok, f"{chunks.log}: {len(chunks.chunks)} chunks decided again, {chunks.skipped} skipped, {worst}"


def _verdict_line(one: Report, complete: bool) -> str:
    modes = ", ".join(f"{mode} {count}" for mode, count in one.modes.items())
    result = "bit-equal" if one.ok else f"DIFFERENT: {one.first or 'no tick to compare'}"
    cut = "" if complete else "; the log was not closed: what its recorder had not yet written is lost"
    return f"{one.log}: {one.equal} of {one.ticks} verdicts {result} (ticks: {modes or 'none'}){cut}"


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
