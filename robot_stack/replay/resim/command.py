"""`robot-stack resim`: recorded commands again, open loop, in today's simulator; and drives that bring it closer to the robot."""

import json
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from drivers.dynamics import Change, Part
from drivers.gym_world import GymWorld
from robot_stack.clock import seconds
from robot_stack.config.commands import ResimCommand
from robot_stack.data.log_reader import read_log
from robot_stack.data.robomimic import read_demonstrations
from robot_stack.errors import ConfigError, DataError
from robot_stack.learn import log_folders
from robot_stack.replay.resim import arm, gymnasium
from robot_stack.replay.resim.divergence import Divergence, divergence, table
from robot_stack.replay.resim.divergence_plot import draw_divergence
from robot_stack.replay.resim.identify import Identified, Simulate, Unknown, drive_unknowns, identify
from robot_stack.replay.resim.trust import Track, Trust, Weighted, trust, weighted

LEAD_S = 0.01
"""Stamps of commands may be this much ahead of those of joints: a negative delay as far as this can be found."""
DELAY_S = 0.05
_ADROIT = {"arm": ("AR", 20.0), "wrist": ("WR", 0.5), "fingers": ("", 0.05)}
"""Groups of the Adroit hand by how joints are called, and the most dry friction looked for, N m."""
_SIM_FRICTION = 6.0


@dataclass(frozen=True)
class _Found:
    """All of one run of the command."""

    title: str
    divergences: list[Divergence]
    pictures: dict[str, list[float]]
    identified: Identified | None
    trust: Trust | None

    @property
    def weighted(self) -> Weighted | None:
        """The result of all re-simulations weighted by the ratio, where there is one."""
        return None if self.trust is None else weighted(self.divergences, self.trust.simulated)


def resimulate(command: ResimCommand) -> str:
    """What came out, as text; figures and a picture go to `command.out`. Raises ConfigError, DataError."""
    if bool(command.log) == bool(command.dataset):
        raise ConfigError("resim: allowed either log or dataset; next: robot-stack resim log=FOLDER")
    found = _arm(command) if command.log else _demonstrations(command)
    out = Path(command.out)
    picture = draw_divergence(found.divergences, out / "divergence.png", found.title)
    file = out / "resim.json"
    file.write_text(json.dumps(_as_dict(found), indent=2) + "\n", encoding="utf-8")
    parts = [table(found.divergences), _outcomes(found.divergences)]
    parts += [f"{name}: differing picture values {', '.join(f'{g:.2%}' for g in gaps)}" for name, gaps in found.pictures.items()]
    if found.identified is not None:
        parts += ["", found.identified.text()]
    if found.trust is not None:
        parts += ["", _trusted(found.trust, found.divergences[0].recorded.joint_names), str(found.weighted)]
    return "\n".join([*parts, f"written: {file}, {picture}"])


def _trusted(found: Trust, names: Sequence[str]) -> str:
    told = ", ".join(f"{name} {accuracy:.2f}" for name, accuracy in zip(names, found.accuracy, strict=True))
    return f"recorded told from simulated transitions, by joint (0.5: cannot be; by what others taught): {told}"


def _arm(command: ResimCommand) -> _Found:
    folders = log_folders(Path(command.log))
    if not folders:
        raise DataError(f"log: found no episode log (.mcap) in {command.log}, allowed a folder that robot-stack wrote")
    chosen = folders[: command.limit or None]
    recordings = [arm.arm_recording(read_log(folder), command.pictures) for folder in tqdm(chosen, desc="reading", unit="log")]
    found, pictures = [], {}
    for recording in tqdm(recordings, desc="re-simulating", unit="log"):
        with closing(arm.world_of(recording)) as world:
            found.append(divergence(recording.motion, arm.resimulate_arm(recording, world)))
            if recording.pictures:
                pictures[recording.motion.name] = arm.picture_gap(recording, world)
    identified = None
    if command.identify:
        unknowns = _arm_unknowns(recordings[0].spec.joint_names[: recordings[0].spec.tip_joint + 1])
        identified = _identify(command, unknowns, _arm_simulator(recordings), len(recordings))
    tracks = ((arm.track_of(r, r.motion), arm.track_of(r, one.simulated)) for r, one in zip(recordings, found, strict=True))
    return _Found("logs of the arm", found, pictures, identified, _trust(command, tracks))


def _arm_simulator(recordings: Sequence[arm.ArmRecording]) -> Simulate:
    worlds: dict[str, Any] = {}

    def simulate(k: int, changes: Sequence[Change]) -> Divergence:
        recording = recordings[k]
        world = worlds.setdefault(repr((recording.spec, recording.task)), None) or arm.world_of(recording)
        worlds[repr((recording.spec, recording.task))] = world
        world.change([*changes, Change(Part.DELAY, LEAD_S)])
        return divergence(recording.motion, arm.resimulate_arm(recording, world, LEAD_S))

    return simulate


def _arm_unknowns(joints: tuple[str, ...]) -> tuple[Unknown, ...]:
    half = (len(joints) + 1) // 2
    groups = {"arm": joints[:half], "wrist": joints[half:]}
    found = drive_unknowns(groups, {"arm": _SIM_FRICTION, "wrist": _SIM_FRICTION / 2}, DELAY_S)
    return (Unknown(Part.DELAY, -LEAD_S, DELAY_S, 0.0), *found[1:])


def _demonstrations(command: ResimCommand) -> _Found:
    file = read_demonstrations(Path(command.dataset))
    with closing(gymnasium.world_of(file)) as world:
        layout = gymnasium.layout_of(file.environment, world, file)
        chosen = file.demonstrations[: command.limit or None]
        if command.as_seen:
            chosen = tuple(gymnasium.started_as_seen(one, world, layout) for one in chosen)
        dt_s = seconds(world.dt_ns)
        motions = [gymnasium.recorded_motion(one, layout, dt_s) for one in chosen]

        def simulate(k: int, changes: Sequence[Change]) -> Divergence:
            world.change(changes)
            return divergence(motions[k], gymnasium.resimulate(chosen[k], world, layout))

        found = [simulate(k, ()) for k in tqdm(range(len(chosen)), desc="re-simulating", unit="demonstration")]
        identified = _identify(command, _gym_unknowns(world), simulate, len(chosen)) if command.identify else None
        tracks = (
            (gymnasium.track_of(one, world, layout, d.recorded), gymnasium.track_of(one, world, layout, d.simulated))
            for one, d in zip(chosen, found, strict=True)
        )
        trusted = _trust(command, tracks)
    title = f"{file.environment}, start {'as seen' if command.as_seen and layout.settable else 'as recorded'}"
    return _Found(title, found, {}, identified, trusted)


def _gym_unknowns(world: GymWorld) -> tuple[Unknown, ...]:
    left, groups, friction = list(world.drives), {}, {}
    for group, (prefix, most) in _ADROIT.items():
        groups[group] = tuple(name for name in left if name.startswith(prefix))
        left = [name for name in left if name not in groups[group]]
        friction[group] = most
    return drive_unknowns({group: names for group, names in groups.items() if names}, friction, DELAY_S)


def _identify(command: ResimCommand, unknowns: Sequence[Unknown], simulate: Simulate, count: int) -> Identified:
    kept = _kept(command, count)
    return identify(unknowns, simulate, range(kept), range(kept, count), command.evaluations)


def _trust(command: ResimCommand, tracks: Iterable[tuple[Track, Track]]) -> Trust | None:
    if not command.trust:
        return None
    real, simulated = zip(*tracks, strict=True)
    return trust(real, simulated)


def _kept(command: ResimCommand, count: int) -> int:
    """How many recordings are trained on. Raises ConfigError when none is left, or none held out."""
    if not 0 < command.holdout < count:
        raise ConfigError(f"holdout: found {command.holdout}, allowed 1..{count - 1} for {count} recordings")
    return count - command.holdout


def _outcomes(found: Sequence[Divergence]) -> str:
    """How many succeed, of how many, there and here; and whether the same ones do."""
    here = [bool(one.simulated.success) for one in found]
    if any(one.recorded.success is None for one in found):
        return f"success: {sum(here)} of {len(here)} re-simulated (the recordings do not say)"
    there = [bool(one.recorded.success) for one in found]
    kept = sum(a and b for a, b in zip(there, here, strict=True))
    lines = [f"success: {sum(there)} of {len(there)} recorded, {sum(here)} re-simulated; {kept} of the recorded ones still do"]
    for goal in found[0].recorded.reached:
        gaps = [abs(one.simulated.reached[goal] - one.recorded.reached[goal]) for one in found]
        lines.append(f"{goal} gets as far as recorded to {np.median(gaps):.2g} rad (median), {max(gaps):.2g} (worst)")
    return "\n".join(lines)


def _as_dict(found: _Found) -> dict[str, Any]:
    identified = None
    if found.identified is not None:
        identified = asdict(found.identified) | {"unknowns": [u.name for u in found.identified.unknowns]}
    return {
        "title": found.title,
        "rms_median": float(np.median([one.rms for one in found.divergences])),
        "recordings": [one.as_dict() for one in found.divergences],
        "pictures": found.pictures,
        "identified": identified,
        "trust": found.trust and {"accuracy": found.trust.accuracy.tolist(), "map": found.trust.by_share().tolist()},
        "weighted": found.weighted and asdict(found.weighted),
    }
