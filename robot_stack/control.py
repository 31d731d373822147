"""One control tick as a pure function: what is new in, who moves, what the filter says, one command out.

arm_node, lock-step runs and replay all call `control_step`; nothing else decides what a motor gets.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from robot_stack.chunks import ChunkBuffer
from robot_stack.interfaces import Safety
from robot_stack.types import (
    ARMED,
    ActionChunk,
    Hazards,
    JointCommand,
    JointState,
    Mode,
    Reason,
    Request,
    SafeCommand,
    SafetyVerdict,
    Step,
    TickInputs,
    Violation,
)

TELEOP_SOURCE = "teleop"
TAKE, HELD, GIVE = f"{TELEOP_SOURCE}+take", f"{TELEOP_SOURCE}+held", f"{TELEOP_SOURCE}+give"
HUMAN_SOURCES = frozenset({TELEOP_SOURCE, TAKE, HELD, GIVE})
"""`ActionChunk.source` of a human; any other is a policy. A device with a clutch says more: just pressed, held, given back."""

INPUTS = frozenset({"joints", "fallback", "score", "hazards"})
"""The fields of `TickInputs` that every running graph keeps sending."""

OFF_PATH = frozenset({Reason.PROJECTED, Reason.INFEASIBLE, Reason.SOLVER})
"""Reasons of a verdict whose command is not on the path of the wish."""


@dataclass(frozen=True, slots=True)
class ControlState:
    """All the memory the control loop has. Times named `*_ns` are arrival times unless said otherwise."""

    mode: Mode = Mode.DISARMED
    since_ns: int = 0
    resume: Mode = Mode.DISARMED
    joints: JointState | None = None
    before: JointState | None = None
    hazards: Hazards | None = None
    commanded: SafeCommand | None = None
    chunks: ChunkBuffer = field(default_factory=ChunkBuffer)
    chunk_ns: int | None = None
    chunk_due: bool = False
    playing: ActionChunk | None = None
    behind_ns: int = 0
    pace: float = 1.0
    fallback: JointCommand | None = None
    fallback_ns: int | None = None
    alarm_ns: int | None = None
    score_ns: int | None = None


def control_step(
    state: ControlState, inputs: TickInputs, now_ns: int, lateness_ns: int, safety: Safety
) -> tuple[ControlState, Step]:
    """Take what is new, arbitrate the mode, propose the wish of whoever may move, check it. Pure: same arguments, same bits."""
    state, refused = _take(state, inputs, now_ns)
    mode, cause = safety.arbitrate(state, inputs.request, now_ns)
    if mode is not state.mode:
        state = _enter(state, mode, now_ns)
    verdict = safety.check(_wish(state, now_ns), state, now_ns)
    if refused is not None:
        verdict = replace(verdict, violations=(*verdict.violations, Violation(refused)))
    state = _followed(state, verdict, safety.dt_ns)
    return state, Step(now_ns, lateness_ns, inputs, verdict, cause)


def unsent(state: ControlState) -> ControlState:
    """`state` after a tick in shadow: it goes on from where the arm was measured, as nobody was told the command."""
    joints = state.joints
    if joints is None or not (np.isfinite(joints.q).all() and np.isfinite(joints.qd).all()):
        return state
    return replace(state, commanded=SafeCommand(JointCommand(joints.t_ns, joints.q, joints.qd)))


def _take(state: ControlState, inputs: TickInputs, now_ns: int) -> tuple[ControlState, Reason | None]:
    new: dict[str, Any] = {name: value for name in ("joints", "hazards") if (value := getattr(inputs, name)) is not None}
    if inputs.joints is not None:
        new["before"] = state.joints
    if inputs.fallback is not None:
        new |= {"fallback": inputs.fallback, "fallback_ns": now_ns}
    if inputs.score is not None:
        new |= {"score_ns": now_ns, "alarm_ns": now_ns if inputs.score.alarm else state.alarm_ns}
    chunks, why = state.chunks.turn(now_ns), None
    if inputs.chunk is not None and wants(state, inputs.chunk):
        why = _refuse(inputs.chunk, inputs.joints or state.joints)
        if why is None:
            chunks, why = chunks.push(inputs.chunk, now_ns)
        if why is None:
            new["chunk_ns"] = now_ns
    behind_ns = state.behind_ns if chunks.playing is state.chunks.playing else 0
    due = ChunkBuffer(chunks.playing).due(now_ns - behind_ns)
    state = replace(state, chunks=chunks, playing=due, behind_ns=behind_ns, chunk_due=due is not None, **new)
    return state, why or inputs.refused


def wants(state: ControlState, chunk: ActionChunk) -> bool:
    """True when `chunk` comes from the source that may move the arm now, or that may again once FALLBACK ends."""
    armed = state.resume if state.mode is Mode.FALLBACK else state.mode
    return armed in ARMED and (armed is Mode.TELEOP) == (chunk.source in HUMAN_SOURCES)


def handover(state: ControlState, chunk: ActionChunk | None) -> Request | None:
    """What the clutch of a human whose newest `chunk` this is asks for.

    From a policy it takes the arm for as long as it is held, its fallback included. An arm that fell back while the human had
    it is taken by a new press alone. Giving back is for who has it. Nobody arms an arm that is disarmed, or leaves STOP, so.
    """
    owner = state.resume if state.mode is Mode.FALLBACK else state.mode
    source = None if chunk is None else chunk.source
    if (owner is Mode.POLICY and source in (TAKE, HELD)) or (
        owner is Mode.TELEOP and state.mode is Mode.FALLBACK and source == TAKE
    ):
        return Request.ARM_TELEOP
    return Request.ARM_POLICY if owner is Mode.TELEOP and source == GIVE else None


def _refuse(chunk: ActionChunk, joints: JointState | None) -> Reason | None:
    if joints is not None and chunk.q.shape[1] != joints.q.shape[0]:
        return Reason.CHUNK_JOINTS
    return None if np.isfinite(chunk.q).all() else Reason.CHUNK_NOT_FINITE


def _enter(state: ControlState, mode: Mode, now_ns: int) -> ControlState:
    """A new mode begins. Arming starts with no chunk and no old alarm; FALLBACK remembers where it came from."""
    resume = state.mode if mode is Mode.FALLBACK else Mode.DISARMED
    if mode in ARMED and not (state.mode is Mode.FALLBACK and mode is state.resume):
        state = replace(state, chunks=ChunkBuffer(), playing=None, behind_ns=0, chunk_due=False, chunk_ns=now_ns, alarm_ns=None)
    return replace(state, mode=mode, since_ns=now_ns, resume=resume)


def _wish(state: ControlState, now_ns: int) -> JointCommand | None:
    if state.mode in ARMED:
        wish = ChunkBuffer(state.playing).at(now_ns - state.behind_ns)
        return wish if wish is None or not state.behind_ns else replace(wish, t_ns=now_ns)
    return state.fallback if state.mode is Mode.FALLBACK else None


def _followed(state: ControlState, verdict: SafetyVerdict, dt_ns: int) -> ControlState:
    """`state` after a tick: an arm slowed along its path gets to the rows of its chunk later, so that the wish can't run away."""
    reasons = {v.reason: v.amount for v in verdict.violations}
    pace = 0.0 if reasons.keys() & OFF_PATH else 1.0 - reasons.get(Reason.SLOWED, 0.0)
    late_ns = round((1.0 - pace) * dt_ns) if pace > 0.0 and state.mode in ARMED else 0
    return replace(state, commanded=verdict.command, pace=pace, behind_ns=state.behind_ns + late_ns)
