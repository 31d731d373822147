"""Replay, second depth: what the policy saw is shown to it again, and its chunks must come out within the parity tolerance."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from robot_stack.clock import seconds
from robot_stack.data.log_reader import EpisodeLog
from robot_stack.data.wire import ChoiceNote
from robot_stack.errors import DataError, ReplayMismatch
from robot_stack.interfaces import Policy
from robot_stack.types import ActionChunk, CameraFrame, Choice, JointState, Observation

CHUNK, CHOICE, JOINTS = "/policy/chunk", "/policy/choice", "/joint_states"

Seen = CameraFrame | JointState | ActionChunk
"""What a policy decides on."""


@dataclass(frozen=True, slots=True)
class ChunkError:
    """One chunk decided again: the largest error over rows and joints (rad; m for a prismatic joint), and both winners."""

    t_s: float
    error: float
    recorded_winner: int
    replayed_winner: int


@dataclass(frozen=True, slots=True)
class ChunkReport:
    """All chunks of a log decided again. `skipped`: an input they were made from is not in the log (a lost frame)."""

    log: str
    chunks: tuple[ChunkError, ...]
    skipped: int
    tolerance: float

    @property
    def worst(self) -> float:
        """The largest error of all, rad; NaN without chunks."""
        return max((c.error for c in self.chunks), default=float("nan"))

    @property
    def ok(self) -> bool:
        """There were chunks, and all came out within the tolerance."""
        return self.worst <= self.tolerance

    def require(self) -> "ChunkReport":
        """This report. Raises ReplayMismatch, naming the worst chunk, unless it is `ok`."""
        if not self.ok:
            if not self.chunks:
                raise ReplayMismatch(f"log {self.log}: no chunk to compare, {self.skipped} skipped; was the policy armed?")
            worst = max(self.chunks, key=lambda c: c.error)
            winners = f"winner {worst.recorded_winner} recorded, {worst.replayed_winner} replayed"
            raise ReplayMismatch(
                f"log {self.log}: the chunk at {worst.t_s:.3f} s differs by {worst.error:.2e} rad ({winners}), "
                f"allowed {self.tolerance:.0e}; is this the bundle that was recorded?"
            )
        return self


def replay_chunks(log: EpisodeLog, policy: Policy, tolerance: float = 1e-3, limit: int | None = None) -> ChunkReport:
    """Let `policy` decide again on the recorded observations and compare with the recorded chunks, to `tolerance` rad.

    The policy must be built as it was on the robot (bundle, N, noise seed). `limit`: at most so many chunks, spread evenly.
    Raises DataError when the log cannot be read, PolicyError when the policy refuses an observation.
    """
    errors, skipped = [], 0
    begin = next((raw.t_ns for raw in log.messages()), 0)
    for chunk, note, choice in decide_again(log, policy, limit):
        if choice is None:
            skipped += 1
            continue
        errors.append(ChunkError(seconds(chunk.t_obs_ns - begin), _error(chunk, choice.chunk), note.winner, choice.winner))
    return ChunkReport(log.name, tuple(errors), skipped, tolerance)


def decide_again(
    log: EpisodeLog, policy: Policy, limit: int | None = None
) -> Iterator[tuple[ActionChunk, ChoiceNote, Choice | None]]:
    """Each recorded chunk of a policy, its note, and what `policy` decides on the same observation (None: it is not all there).

    Raises as `replay_chunks` does.
    """
    decisions = _decisions(log)
    if limit is not None and len(decisions) > limit:
        decisions = [decisions[i] for i in np.linspace(0, len(decisions) - 1, limit).round().astype(int)]
    needed = {(name, t) for _, note in decisions for name, t in note.seen.items()}
    inputs = _inputs(log, policy, needed)
    for (chunk, note), observation in _shown(decisions, inputs, policy, log.metadata.instruction):
        yield chunk, note, None if observation is None else policy.decide(observation)


def _error(recorded: ActionChunk, replayed: ActionChunk) -> float:
    if recorded.q.shape != replayed.q.shape or recorded.dt_ns != replayed.dt_ns:
        return float("inf")
    worst = float(np.max(np.abs(recorded.q - replayed.q)))
    return worst if np.isfinite(worst) else float("inf")


def _decisions(log: EpisodeLog) -> list[tuple[ActionChunk, ChoiceNote]]:
    """Each chunk of a policy with the note on it. A log without notes on what was seen cannot be replayed."""
    chunks: list[ActionChunk] = []
    notes: dict[tuple[str, int], list[ChoiceNote]] = {}
    for _, _, value in log.iterate({CHUNK, CHOICE}):
        if isinstance(value, ActionChunk):
            chunks.append(value)
        elif isinstance(value, ChoiceNote):
            notes.setdefault((value.source, value.t_obs_ns), []).append(value)
    pairs = [(c, found.pop(0)) for c in chunks if (found := notes.get((c.source, c.t_obs_ns)))]
    if pairs and not any(note.seen for _, note in pairs):
        raise DataError(f"log {log.path}: /policy/choice does not say what the policy saw; it was recorded by an older version")
    return [(chunk, note) for chunk, note in pairs if note.seen]


def _inputs(log: EpisodeLog, policy: Policy, needed: set[tuple[str, int]]) -> dict[tuple[str, int], Seen]:
    topics = {f"/{camera}/image" for camera in policy.cameras} | {JOINTS, CHUNK}
    found: dict[tuple[str, int], Seen] = {}
    for _, _, value in log.iterate(topics):
        if isinstance(value, Seen) and (key := _key(value)) in needed:
            found[key] = value
    return found


def _key(value: Seen) -> tuple[str, int]:
    """As a note names it."""
    match value:
        case CameraFrame():
            return value.camera, value.t_ns
        case JointState():
            return "joints", value.t_ns
        case ActionChunk():
            return "plan", value.t_obs_ns


def _shown(
    decisions: list[tuple[ActionChunk, ChoiceNote]],
    inputs: dict[tuple[str, int], Seen],
    policy: Policy,
    instruction: str,
) -> Iterator[tuple[tuple[ActionChunk, ChoiceNote], Observation | None]]:
    for chunk, note in decisions:
        values = {name: inputs.get((name, t_ns)) for name, t_ns in note.seen.items()}
        frames = {name: v for name in policy.cameras if isinstance(v := values.get(name), CameraFrame)}
        joints, plan = values.get("joints"), values.get("plan")
        if not isinstance(joints, JointState) or len(frames) < len(policy.cameras) or ("plan" in values and plan is None):
            yield (chunk, note), None
            continue
        went_on = plan if isinstance(plan, ActionChunk) else None
        told = note.instruction or instruction
        yield (chunk, note), Observation(chunk.t_obs_ns, frames, joints, told, went_on, note.given_ns)
