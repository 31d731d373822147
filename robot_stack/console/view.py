"""What the console has heard, as one value: each message makes a new `View`. Nothing here knows ROS or the web."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from robot_stack.clock import seconds
from robot_stack.data.wire import ChoiceNote
from robot_stack.types import (
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
AGAIN_S = 1.0
"""The same intervention within this time is the same one, going on."""
RESTING = frozenset({Reason.DISARMED, Reason.STOPPED})
"""Reasons of a verdict that holds because nobody may move: no intervention."""


@dataclass(frozen=True, slots=True)
class Event:
    """A change of mode (`cause`: why), or the filter at work: `decision` with `reasons`, in `ticks` ticks until `until_ns`."""

    t_ns: int
    until_ns: int
    mode: Mode
    decision: Decision
    reasons: frozenset[Reason] = frozenset()
    cause: tuple[Reason, ...] = ()
    ticks: int = 1

    @property
    def is_change(self) -> bool:
        """The mode changed."""
        return not self.reasons

    def continues(self, step: Step, reasons: frozenset[Reason]) -> bool:
        """True when `step`, with `reasons`, is more of this."""
        verdict = step.verdict
        same = (self.mode, self.decision, self.reasons) == (verdict.mode, verdict.decision, reasons)
        return same and seconds(step.t_ns - self.until_ns) <= AGAIN_S


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The newest of everything (None: nothing yet). `since_ns`: when the mode began; `events`: the last ones, newest last."""

    step: Step | None = None
    since_ns: int = 0
    joints: tuple[JointState, ...] = ()
    score: FailureScore | None = None
    hazards: Hazards | None = None
    chunk: ActionChunk | None = None
    note: ChoiceNote | None = None
    frames: Mapping[str, CameraFrame] = field(default_factory=dict)
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

    def with_chunk(self, chunk: ActionChunk) -> "View":
        """After a chunk was published, by a policy or by a human."""
        return replace(self, chunk=chunk)

    def with_note(self, note: ChoiceNote) -> "View":
        """After the policy said how it chose."""
        return replace(self, note=note)

    def with_frame(self, frame: CameraFrame) -> "View":
        """After one more picture."""
        return replace(self, frames={**self.frames, frame.camera: frame})

    def q_at(self, t_ns: int) -> Array | None:
        """The measured joints (J,) nearest to `t_ns`."""
        return min(self.joints, key=lambda joints: abs(joints.t_ns - t_ns)).q if self.joints else None


def _noted(events: tuple[Event, ...], step: Step, changed: bool) -> tuple[Event, ...]:
    """`events` after `step`. Reasons that come and go in turn go on side by side, each in its own event."""
    verdict = step.verdict
    if changed:
        events = (*events, Event(step.t_ns, step.t_ns, verdict.mode, verdict.decision, cause=step.mode_cause))
    reasons = frozenset(violation.reason for violation in verdict.violations) - RESTING
    if reasons:
        before = next((event for event in reversed(events) if event.continues(step, reasons)), None)
        if before is None:
            events = (*events, Event(step.t_ns, step.t_ns, verdict.mode, verdict.decision, reasons))
        else:
            longer = replace(before, until_ns=step.t_ns, ticks=before.ticks + 1)
            events = tuple(longer if event is before else event for event in events)
    return events[-KEPT_EVENTS:]
