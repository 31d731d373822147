"""`robot-stack replay` and `report`: what was recorded, against today's code."""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from robot_stack.config.commands import ReplayCommand, ReportCommand
from robot_stack.data.log_reader import EpisodeLog, read_log
from robot_stack.errors import ConfigError, DataError, ReplayMismatch
from robot_stack.learn import load_episodes, log_folders
from robot_stack.parallel import parallel_map
from robot_stack.replay.accept import accept
from robot_stack.replay.behaviour import Other, StepDiff, behaviour, other_of
from robot_stack.replay.chunks import replay_chunks
from robot_stack.replay.verdicts import Report, replay_verdicts, safety_of, ticks, unlike

if TYPE_CHECKING:
    from policies.onnx_policy import OnnxPolicy


def replay(command: ReplayCommand) -> str:
    """What came out, as text. Raises ReplayMismatch when a verdict, or with `bundle` a chunk, differs from the recorded one.

    With `config` a difference is the answer, not an error; with `accept` verdicts that differ become references; with `publish`
    the logs are played on topics instead.
    """
    if command.accept and (command.config or command.bundle or not command.log):
        raise ConfigError("accept: found config, bundle or no log beside it; allowed with log= alone: today's code as recorded")
    if command.log:
        return _on_logs(command, _logs(command.log))
    if command.dataset and command.bundle:
        return _replay_dataset(command)
    raise ConfigError("replay: found neither log nor dataset and bundle; next: robot-stack replay log=FOLDER")


def report(command: ReportCommand) -> Path:
    """Write the HTML report of the logs in a folder; returns the file."""
    from robot_stack.replay.report import report_on_logs

    return report_on_logs(_logs(command.log), Path(command.out), ray=command.ray)


def _on_logs(command: ReplayCommand, logs: Sequence[Path]) -> str:
    if command.publish:
        from robot_stack.replay.publish import publish

        return publish(logs, command.playback)
    if command.accept:
        return "\n".join(_accept(path, command.accept) for path in logs)
    return "\n".join(_differences(command, logs)) if command.config else _replay_logs(command, logs)


def _accept(path: Path, reason: str) -> str:
    """Make today's verdicts on the log at `path` its references; a log that replays as it should is left alone."""
    log = read_log(path)
    safety = safety_of(log)
    if replay_verdicts(log, safety).ok:
        return f"{log.name}: nothing to accept, its verdicts replay as they should"
    new = {t.index: t.replayed for t in ticks(log, safety) if t.warm and unlike(t.recorded, t.replayed) is not None}
    file = accept(log.path.parent, reason, new)
    summary = behaviour(log, Other(safety))
    replay_verdicts(log, safety).require()
    return f"{summary}\naccepted: {file}; commit it with the change"


def _differences(command: ReplayCommand, logs: Sequence[Path]) -> Iterator[str]:
    """A summary of each log through `command.config` and `command.bundle`; ticks that differ go to `out`/behaviour.jsonl."""
    out = Path(command.out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    parts = [out / f"behaviour.{i}.part" for i in range(len(logs))]
    compare = partial(_difference, command.config, command.bundle)
    with (out / "behaviour.jsonl").open("wb") as file:
        for summary, part in zip(parallel_map(compare, list(zip(logs, parts, strict=True)), command.ray), parts, strict=True):
            with part.open("rb") as found:
                shutil.copyfileobj(found, file)
            part.unlink()
            yield summary
    yield f"written: {Path(command.out) / 'behaviour.jsonl'}"


def _difference(config: str, bundle: str, paths: tuple[Path, Path]) -> str:
    """The summary of the log at the first of `paths`; its ticks that differ go to the file at the second."""
    log = read_log(paths[0])
    with paths[1].open("w", encoding="utf-8") as file:

        def write(diff: StepDiff) -> None:
            file.write(json.dumps({"log": log.name, **diff.plain()}) + "\n")

        policy = _policy(log, bundle) if bundle else None
        return str(behaviour(log, other_of(log, config, policy), write))


def _policy(log: EpisodeLog, bundle: str) -> "OnnxPolicy":
    """The policy of `bundle` with as many candidates as on the robot that recorded `log`."""
    from policies.onnx_policy import OnnxPolicy

    ran = log.metadata.settings.get("settings", {})
    return OnnxPolicy(bundle, ran.get("candidates", 0), joint_names=log.metadata.joint_names, seams=ran.get("seams", "as_is"))


def _replay_logs(command: ReplayCommand, logs: Sequence[Path]) -> str:
    found = [said for one in parallel_map(partial(_replayed, command.bundle), logs, command.ray) for said in one]
    text = "\n".join(said for _, said in found)
    if not all(same for same, _ in found):
        other = "".join(f"\n{said}" for said in _differences(command, logs)) if command.bundle else ""
        raise ReplayMismatch(f"{sum(not same for same, _ in found)} of {len(found)} replays differ\n{text}{other}")
    return text


def _replayed(bundle: str, path: Path) -> list[tuple[bool, str]]:
    """Each depth of replay of the log at `path`: did it come out the same, and how to say so."""
    log = read_log(path)
    verdicts = replay_verdicts(log, safety_of(log))
    found = [(verdicts.ok, _verdict_line(verdicts, log))]
    if bundle:
        from policies.parity import TOLERANCES_RAD

        policy = _policy(log, bundle)
        chunks = replay_chunks(log, policy, TOLERANCES_RAD[policy.manifest.precision])
        worst = f"worst {chunks.worst:.1e} rad, allowed {chunks.tolerance:.0e}"
        found.append((chunks.ok, f"{chunks.log}: {len(chunks.chunks)} chunks decided again, {chunks.skipped} skipped, {worst}"))
    return found


def _verdict_line(one: Report, log: EpisodeLog) -> str:
    modes = ", ".join(f"{mode} {count}" for mode, count in one.modes.items())
    result = "bit-equal" if one.ok else f"DIFFERENT: {one.first or 'no tick to compare'}"
    cut = "" if log.complete else "; the log was not closed: what its recorder had not yet written is lost"
    shadow = "; in shadow: nothing was sent" if log.metadata.shadow else ""
    meant = f", {one.accepted} of them as accepted since" if one.accepted else ""
    return f"{one.log}: {one.equal} of {one.ticks} verdicts {result}{meant} (ticks: {modes or 'none'}){shadow}{cut}"


def _logs(folders: str) -> list[Path]:
    """The logs in `folders` (separated as in PATH), whole paths, each once. Raises DataError naming a folder without any."""
    logs: dict[Path, None] = {}
    for folder in folders.split(os.pathsep):
        found = log_folders(Path(folder).resolve())
        if not found:
            raise DataError(
                f"log: found no episode log (.mcap) in {folder}, allowed a folder that robot-stack run or record wrote"
            )
        logs |= dict.fromkeys(found)
    return list(logs)


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
