"""What the console has heard, as one value: each message makes a new `View`. Nothing here knows ROS or the web."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from robot_stack.clock import seconds
from robot_stack.control import TELEOP_SOURCE
from robot_stack.data.wire import ChoiceNote
from robot_stack.diagnostics import Reading
from robot_stack.types import (
    ARMED,
    ActionChunk,
    Array,
    CameraFrame,
    Decision,
    FailureScore,
    Hazards,
    JointState,
    Mode,
    Reason,
    Step,
)

KEPT_EVENTS = 40
KEPT_JOINTS = 64
"""Measured joints kept, to know where a camera on the arm was when its picture was taken."""
KEPT_READINGS = 300
AGAIN_S = 1.0
"""The same intervention within this time is the same one, going on."""
RESTING = frozenset({Reason.DISARMED, Reason.STOPPED})
"""Reasons of a verdict that holds because nobody may move: no intervention."""


@dataclass(frozen=True, slots=True)
class Event:
    """A change of mode (`cause`: why), or the filter at work: `decision` in `ticks` ticks until `until_ns`, why in how many."""

    t_ns: int
    until_ns: int
    mode: Mode
    decision: Decision
    reasons: Mapping[Reason, int] = field(default_factory=dict)
    cause: tuple[Reason, ...] = ()
    ticks: int = 1

    @property
    def is_change(self) -> bool:
        """The mode changed."""
        return not self.reasons

    def continues(self, step: Step) -> bool:
        """True when what the filter did in `step` is more of this."""
        same = (self.mode, self.decision) == (step.verdict.mode, step.verdict.decision)
        return same and not self.is_change and seconds(step.t_ns - self.until_ns) <= AGAIN_S

    def with_step(self, step: Step, reasons: Iterable[Reason]) -> "Event":
        """This, gone on in `step` because of `reasons`."""
        counted = {**self.reasons, **{reason: self.reasons.get(reason, 0) + 1 for reason in reasons}}
        return replace(self, until_ns=step.t_ns, ticks=self.ticks + 1, reasons=counted)


@dataclass(frozen=True, slots=True)
class Recording:
    """The log that is being written ("": none), for how long (s), its mark ("": none yet), what went wrong, messages dropped."""

    path: str
    for_s: float = 0.0
    mark: str = ""
    fault: str = ""
    dropped: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The newest of everything (None: nothing yet). `since_ns`: when the mode began; `events`: the last ones, newest last."""

    step: Step | None = None
    since_ns: int = 0
    joints: tuple[JointState, ...] = ()
    score: FailureScore | None = None
    hazards: Hazards | None = None
    chunks: Mapping[str, ActionChunk] = field(default_factory=dict)
    note: ChoiceNote | None = None
    frames: Mapping[str, CameraFrame] = field(default_factory=dict)
    readings: Mapping[str, Reading] = field(default_factory=dict)
    recording: Recording | None = None
    events: tuple[Event, ...] = ()

    def with_step(self, step: Step) -> "View":
        """After one more tick of arm_node."""
        changed = self.step is None or self.step.verdict.mode is not step.verdict.mode
        inputs = step.inputs
        joints = self.joints if inputs.joints is None else (*self.joints[1 - KEPT_JOINTS :], inputs.joints)
        return replace(
            self,
            step=step,
            since_ns=step.t_ns if changed else self.since_ns,
            joints=joints,
            score=inputs.score or self.score,
            hazards=inputs.hazards or self.hazards,
            events=_noted(self.events, step, changed),
        )

    @property
    def chunk(self) -> ActionChunk | None:
        """The newest chunk of whoever has the arm; while nobody has it, of the policy, or of the human where there is none."""
        human, policy = self.chunks.get(TELEOP_SOURCE), self.chunks.get("")
        if self.step is not None and self.step.verdict.mode in ARMED:
            return human if self.step.verdict.mode is Mode.TELEOP else policy
        return policy or human

    def with_chunk(self, chunk: ActionChunk) -> "View":
        """After a chunk was published, by a policy or by a human."""
        return replace(self, chunks={**self.chunks, TELEOP_SOURCE if chunk.source == TELEOP_SOURCE else "": chunk})

    def with_note(self, note: ChoiceNote) -> "View":
        """After the policy said how it chose."""
        return replace(self, note=note)

    def with_frame(self, frame: CameraFrame) -> "View":
        """After one more picture."""
        return replace(self, frames={**self.frames, frame.camera: frame})

    def with_readings(self, readings: Mapping[str, Reading]) -> "View":
        """After some node said how it is. Anyone may say anything there, so only the last names are kept."""
        known = {name: reading for name, reading in self.readings.items() if name not in readings} | dict(readings)
        return replace(self, readings=dict(list(known.items())[-KEPT_READINGS:]))

    def with_recording(self, recording: "Recording | None") -> "View":
        """After the recorder was asked what it does (None: it does not answer)."""
        return replace(self, recording=recording)

    def q_at(self, t_ns: int) -> Array | None:
        """The measured joints (J,) nearest to `t_ns`."""
        return min(self.joints, key=lambda joints: abs(joints.t_ns - t_ns)).q if self.joints else None


def _noted(events: tuple[Event, ...], step: Step, changed: bool) -> tuple[Event, ...]:
    """`events` after `step`. Decisions that take turns go on side by side, each in its own event."""
    verdict = step.verdict
    if changed:
        events = (*events, Event(step.t_ns, step.t_ns, verdict.mode, verdict.decision, cause=step.mode_cause))
    if reasons := {violation.reason for violation in verdict.violations} - RESTING:
        before = next((event for event in reversed(events) if event.continues(step)), None)
        if before is None:
            events = (*events, Event(step.t_ns, step.t_ns, verdict.mode, verdict.decision, dict.fromkeys(reasons, 1)))
        else:
            longer = before.with_step(step, reasons)
            events = tuple(longer if event is before else event for event in events)
    return events[-KEPT_EVENTS:]
