"""Named scalars with a stamp: score, hazards and choice <-> sensor_msgs/JointState (DESIGN: standard messages only)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robot_stack.clock import NS_PER_S
from robot_stack.errors import ContractError
from robot_stack.size_limits import SCALARS, WORDS, at_most
from robot_stack.types import Array, Choice, FailureScore, Hazards, Observation

Make = Callable[..., Any]
"""Builds a message: `make("std_msgs/msg/Header", stamp=..., frame_id=...)`."""

JOINT_STATE = "sensor_msgs/msg/JointState"
_HAZARD_FIELDS = ("x", "y", "z", "radius", "sigma", "speed_max")


@dataclass(frozen=True, slots=True, eq=False)
class ChoiceNote:
    """/policy/choice: the winner among the candidates for the chunk of `source` seen at `t_obs_ns`; `counts` (N,) or None.

    `seen`: the stamp (ns) of each input the policy used ("joints", the cameras, "plan"), so that replay can show it the same;
    `given_ns` as in the observation.
    `instruction`: what it was told ("": as the log's header says).
    """

    t_obs_ns: int
    source: str
    winner: int
    latency_s: float
    counts: Array | None
    seen: Mapping[str, int] = field(default_factory=dict)
    instruction: str = ""
    given_ns: int = 0


def note_of(choice: Choice, latency_s: float, observation: Observation) -> ChoiceNote:
    """The note on `choice`, made from `observation` in `latency_s`."""
    seen = {name: frame.t_ns for name, frame in observation.frames.items()} | {"joints": observation.joints.t_ns}
    if observation.plan is not None:
        seen["plan"] = observation.plan.t_obs_ns
    chunk, told, given_ns = choice.chunk, observation.instruction, observation.given_ns
    return ChoiceNote(chunk.t_obs_ns, chunk.source, choice.winner, latency_s, choice.counts, seen, told, given_ns)


SEAL = " seal="
"""In a frame_id, between what it says and who said it: see `robot_stack.seal`."""


def meaning(message: Any) -> str:
    """What the frame_id of `message` says, without a seal."""
    frame_id = str(message.header.frame_id)
    return frame_id.rpartition(SEAL)[0] if SEAL in frame_id else frame_id


def stamp_ns(message: Any) -> int:
    """The time in the header, nanoseconds."""
    return int(message.header.stamp.sec) * NS_PER_S + int(message.header.stamp.nanosec)


def header(make: Make, t_ns: int, frame_id: str = "") -> Any:
    """A std_msgs/Header with the stamp `t_ns`."""
    stamp = make("builtin_interfaces/msg/Time", sec=t_ns // NS_PER_S, nanosec=t_ns % NS_PER_S)
    return make("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)


def _scalars(make: Make, t_ns: int, frame_id: str, values: dict[str, float]) -> Any:
    position = np.array(list(values.values()), dtype=np.float64)
    zeros = np.zeros(len(position))
    names = list(values)
    return make(JOINT_STATE, header=header(make, t_ns, frame_id), name=names, position=position, velocity=zeros, effort=zeros)


def _named(message: Any, what: str, needed: tuple[str, ...]) -> dict[str, float]:
    at_most(f"{what}: scalars", len(message.name), SCALARS)
    at_most(f"{what}: characters of frame_id", len(message.header.frame_id), WORDS)
    values = dict(zip(message.name, (float(x) for x in message.position), strict=False))
    if missing := [name for name in needed if name not in values]:
        raise ContractError(f"{what}: found {sorted(values)}, missing {missing}")
    return values


def score_value(message: Any) -> FailureScore:
    """The monitor's score in a sensor_msgs/JointState of named scalars."""
    values = _named(message, "failure score", ("score", "threshold"))
    return FailureScore(stamp_ns(message), values["score"], values["threshold"], meaning(message))


def score_message(score: FailureScore, make: Make) -> Any:
    """The score with its threshold; frame_id is the cause."""
    return _scalars(make, score.t_ns, score.cause, {"score": score.score, "threshold": score.threshold})


def hazards_message(hazards: Hazards, make: Make) -> Any:
    """hazard_k.{x,y,z,radius,sigma,speed_max}, after their count, so that no hazard is not an empty message."""
    columns = np.column_stack([hazards.p_W, hazards.radius, hazards.sigma, hazards.speed_max])
    names = [f"hazard_{k}.{name}" for k in range(len(columns)) for name in _HAZARD_FIELDS]
    values = dict(zip(names, columns.ravel().tolist(), strict=True))
    return _scalars(make, hazards.t_ns, "world", {"count": float(len(columns)), **values})


def hazards_value(message: Any) -> Hazards:
    """The perceived spheres in a sensor_msgs/JointState of named scalars."""
    count = _named(message, "hazards", ("count",))["count"]
    if not (count >= 0 and float(count).is_integer() and count * len(_HAZARD_FIELDS) < len(message.name)):
        raise ContractError(f"hazards: found count {count} with {len(message.name)} scalars, allowed 6 scalars for each")
    names = tuple(f"hazard_{k}.{name}" for k in range(int(count)) for name in _HAZARD_FIELDS)
    values = _named(message, "hazards", names)
    rows = np.array([values[name] for name in names]).reshape(-1, len(_HAZARD_FIELDS))
    return Hazards(stamp_ns(message), rows[:, :3], rows[:, 3], rows[:, 4], rows[:, 5])


def note_message(note: ChoiceNote, make: Make) -> Any:
    """winner, latency_s, count_0.., seen_<input> (ns after t_obs), given_ns; frame_id: which chunk, then the instruction."""
    counts = {} if note.counts is None else {f"count_{i}": float(c) for i, c in enumerate(note.counts)}
    seen = {f"seen_{name}": float(t_ns - note.t_obs_ns) for name, t_ns in note.seen.items()}
    values = {"winner": float(note.winner), "latency_s": note.latency_s, **counts, **seen, "given_ns": float(note.given_ns)}
    frame_id = f"{note.source}@{note.t_obs_ns}" + (f"\n{note.instruction}" if note.instruction else "")
    return _scalars(make, note.t_obs_ns, frame_id, values)


def note_value(message: Any) -> ChoiceNote:
    """The policy's choice in a sensor_msgs/JointState of named scalars."""
    values = _named(message, "policy choice", ("winner", "latency_s"))
    counts = [values[f"count_{i}"] for i in range(len(values) - 2) if f"count_{i}" in values]
    winner = int(values["winner"]) if np.isfinite(values["winner"]) else -1
    t_obs_ns = stamp_ns(message)
    source, _, instruction = meaning(message).partition(f"@{t_obs_ns}")
    seen = {k.removeprefix("seen_"): t_obs_ns + int(v) for k, v in values.items() if k.startswith("seen_") and np.isfinite(v)}
    counted, given = np.array(counts) if counts else None, values.get("given_ns", 0.0)
    told, given_ns = instruction.removeprefix("\n"), int(given) if np.isfinite(given) else 0
    return ChoiceNote(t_obs_ns, source, winner, values["latency_s"], counted, seen, told, given_ns)
