"""Faults on demand, as real devices have them: a camera that repeats, drops, tears, darkens or delays frames; an arm whose
sensors are noisy or jump, whose joint is stuck, whose bus is gone."""

from collections import deque
from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np

from robot_stack.clock import nanoseconds
from robot_stack.types import Array, CameraFrame, JointState


class FaultKind(Enum):
    """What goes wrong. CLEAR ends all faults (of one camera, when one is named)."""

    CLEAR = "clear"
    FREEZE = "freeze"
    DROP = "drop"
    DIM = "dim"
    LATENCY = "latency"
    TEAR = "tear"
    JOINT_NOISE = "joint_noise"
    STICK = "stick"
    ENCODER = "encoder"
    BUS = "bus"


@dataclass(frozen=True, slots=True)
class Fault:
    """`camera` "" means all; `joint` (STICK, ENCODER) "" means the first.

    `amount`: DIM the factor on the light (0..1), LATENCY s, TEAR the share of rows that are new (the others stay as they were),
    JOINT_NOISE rad (1 std), ENCODER rad (m) by which it is off from now on, else unused. BUS: nothing is heard of the arm, and
    its drives hear nothing.
    """

    kind: FaultKind
    camera: str = ""
    amount: float = 0.0
    joint: str = ""


@dataclass(slots=True)
class CameraFaults:
    """What is wrong with one camera now, and the frames it holds back."""

    frozen: bool = False
    dropped: bool = False
    light: float = 1.0
    latency_s: float = 0.0
    whole: float = 1.0
    last: CameraFrame | None = None
    _late: deque[CameraFrame] = field(default_factory=deque)

    def apply(self, fault: Fault) -> None:
        """Begin `fault`; again is no change."""
        match fault.kind:
            case FaultKind.CLEAR:
                self.frozen, self.dropped, self.light, self.latency_s, self.whole = False, False, 1.0, 0.0, 1.0
            case FaultKind.FREEZE:
                self.frozen = True
            case FaultKind.DROP:
                self.dropped = True
            case FaultKind.DIM:
                self.light = fault.amount
            case FaultKind.LATENCY:
                self.latency_s = fault.amount
            case FaultKind.TEAR:
                self.whole = fault.amount
            case _:
                pass

    @property
    def needs_no_picture(self) -> bool:
        """True while the next frame is made of the last one."""
        return self.last is not None and (self.frozen or self.dropped)

    def repeat(self, t_ns: int) -> CameraFrame:
        """The frame of a frozen camera (old picture, new stamp) or of one that drops frames (old picture, old stamp)."""
        assert self.last is not None
        if not self.dropped:
            self.last = CameraFrame(self.last.camera, t_ns, self.last.rgb)
        return self.last

    def deliver(self, frame: CameraFrame) -> CameraFrame:
        """The newest frame the camera hands over at the time of `frame`: that one, a torn one, or with latency an older one."""
        if self.whole < 1.0 and self.last is not None:
            first = round(self.whole * len(frame.rgb))
            frame = CameraFrame(frame.camera, frame.t_ns, np.concatenate((frame.rgb[:first], self.last.rgb[first:])))
        self._late.append(frame)
        due_ns = frame.t_ns - nanoseconds(self.latency_s)
        while len(self._late) > 1 and self._late[1].t_ns <= due_ns:
            self._late.popleft()
        if self.latency_s == 0.0:
            self._late.clear()
            self.last = frame
        elif self.last is None or self._late[0].t_ns <= due_ns:
            self.last = self._late[0]
        return self.last


@dataclass(slots=True)
class ArmFaults:
    """What is wrong with the arm now: sensor `noise` rad (1 std), how far encoders are `off` (rad or m, by joint), where joints
    are `stuck` (rad or m, by joint), and whether its bus is `gone`."""

    noise: float = 0.0
    off: dict[int, float] = field(default_factory=dict)
    stuck: dict[int, float] = field(default_factory=dict)
    gone: bool = False

    def apply(self, fault: Fault, joint: int, q: Array) -> None:
        """Begin `fault` of `joint` of an arm at `q` (J,); again is no change."""
        match fault.kind:
            case FaultKind.CLEAR:
                self.noise, self.off, self.stuck, self.gone = 0.0, {}, {}, False
            case FaultKind.JOINT_NOISE:
                self.noise = fault.amount
            case FaultKind.STICK:
                self.stuck.setdefault(joint, float(q[joint]))
            case FaultKind.ENCODER:
                self.off[joint] = fault.amount
            case FaultKind.BUS:
                self.gone = True
            case _:
                pass

    def measured(self, joints: JointState, rng: np.random.Generator) -> JointState:
        """What the sensors make of the true `joints`."""
        if self.off:
            q = joints.q.copy()
            for joint, by in self.off.items():
                q[joint] += by
            joints = replace(joints, q=q)
        return noisy(joints, self.noise, rng)


def noisy(joints: JointState, sigma: float, rng: np.random.Generator) -> JointState:
    """`joints` with Gaussian noise of 1 std `sigma` (rad or m) on q and ten times that (per s) on qd."""
    if sigma <= 0.0:
        return joints
    noise: Array = rng.normal(0.0, sigma, (2, joints.q.size))
    return JointState(joints.t_ns, joints.q + noise[0], joints.qd + 10.0 * noise[1], joints.tau)
