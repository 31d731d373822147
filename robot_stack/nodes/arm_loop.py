"""The control loop of arm_node, without ROS: newest values in, `control_step`, one command out, one Step reported, each tick."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from robot_stack.control import HUMAN_SOURCES, TELEOP_SOURCE, ControlState, control_step, handover, unsent, wants
from robot_stack.data.wire import JointNamesError, chunk_value
from robot_stack.data.wire_step import sentence
from robot_stack.errors import ContractError, DriverError
from robot_stack.graph import TELEOP_CHUNK
from robot_stack.interfaces import Arm, Safety
from robot_stack.shadow import ShadowArm
from robot_stack.types import (
    ActionChunk,
    FailureScore,
    Hazards,
    JointCommand,
    JointState,
    Mode,
    Reason,
    Request,
    Step,
    TickInputs,
)

T = TypeVar("T")

ANSWER_S = 0.25
"""A request is answered by the tick that takes it, the next one. A loop silent for this long answers nothing more."""
REST = 1e-4
"""rad/s (m/s for a gripper): slower than this the arm is at rest."""

_GRANTED = {
    Request.ARM_POLICY: lambda mode: mode is Mode.POLICY,
    Request.ARM_TELEOP: lambda mode: mode is Mode.TELEOP,
    Request.DISARM: lambda mode: mode is Mode.DISARMED,
    Request.STOP: lambda mode: mode is Mode.STOP,
    Request.RESET: lambda mode: mode is not Mode.STOP,
}


class Inbox:
    """The newest value of each kind: put by any thread, taken once by the loop; a newer one replaces what waits."""

    def __init__(self) -> None:
        self.policy_chunk: deque[ActionChunk] = deque(maxlen=1)
        self.teleop_chunk: deque[ActionChunk] = deque(maxlen=1)
        self.fallback: deque[JointCommand] = deque(maxlen=1)
        self.score: deque[FailureScore] = deque(maxlen=1)
        self.alarm: deque[FailureScore] = deque(maxlen=1)
        self.hazards: deque[Hazards] = deque(maxlen=1)
        self.refused: deque[Reason] = deque(maxlen=1)
        self.asked: deque[Question] = deque()

    def put_chunk(self, chunk: ActionChunk) -> None:
        """The newest chunk of its source."""
        (self.teleop_chunk if chunk.source in HUMAN_SOURCES else self.policy_chunk).append(chunk)

    def put_chunk_message(self, message: Any, joint_names: tuple[str, ...], human: bool) -> None:
        """Put the chunk in `message`, heard where a `human` or where a policy speaks.

        Raises ContractError, and leaves the reason for the next tick, when it is no chunk of these joints from there.
        """
        try:
            chunk = chunk_value(message, joint_names)
            if (chunk.source in HUMAN_SOURCES) is not human:
                raise ContractError(f"chunk: found source {chunk.source!r}; {TELEOP_SOURCE!r} is for {TELEOP_CHUNK.name} alone")
        except ContractError as error:
            self.refused.append(Reason.CHUNK_JOINTS if isinstance(error, JointNamesError) else Reason.CHUNK_MALFORMED)
            raise
        self.put_chunk(chunk)

    def put_score(self, score: FailureScore) -> None:
        """The newest score; an alarm waits in a slot of its own, where calm scores cannot overwrite it."""
        (self.alarm if score.alarm else self.score).append(score)


class Question:
    """One operator request on its way to the loop, and the tick that answered it."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.step: Step | None = None
        self._answered = threading.Event()

    def answer(self, step: Step) -> None:
        """Called by the loop with the tick that took the request."""
        self.step = step
        self._answered.set()

    def wait(self) -> tuple[bool, str]:
        """Granted or not, and why, in the words of the verdict."""
        if not self._answered.wait(ANSWER_S) or self.step is None:
            return False, f"{self.request.value}: no answer of the control loop within {ANSWER_S} s; look at its log"
        return _GRANTED[self.request](self.step.verdict.mode), sentence(self.step)


def _newest(slot: deque[T]) -> T | None:
    try:
        return slot.popleft()
    except IndexError:
        return None


class ArmLoop:
    """Runs `arm` behind `safety`. `tick` is called on the deadlines; `report` gets each Step with the joints measured in it.

    With a ShadowArm (`sends` is False) each tick is decided from where the arm is measured: the commands go nowhere.
    """

    def __init__(self, arm: Arm, safety: Safety, report: Callable[[Step], None], say: Callable[[str], None]) -> None:
        self.inbox = Inbox()
        self.state = ControlState()
        self.sends = not isinstance(arm, ShadowArm)
        self._arm = arm
        self._safety = safety
        self._report = report
        self._say = say
        self._read_ns = -1

    def tick(self, lateness_ns: int) -> None:
        """One control tick. A device that is gone is a value (no joints, so STOP); any other exception is the caller's.

        Nothing is decided before the arm has said where it is for the first time.
        """
        joints = self._measure()
        if joints is None and self.state.joints is None:
            return
        now_ns = time.monotonic_ns()
        question = _newest(self.inbox.asked)
        inputs = self._inputs(joints, question)
        self.state, step = control_step(self.state, inputs, now_ns, lateness_ns, self._safety)
        try:
            self._arm.send(step.verdict.command)
        except DriverError as error:
            self._say(str(error))
        if not self.sends:
            self.state = unsent(self.state)
        self._report(step)
        if question is not None:
            question.answer(step)

    def at_rest(self) -> bool:
        """True when the last command asks for no motion."""
        command = self.state.commanded
        return command is None or command.qd is None or bool((np.abs(command.qd) < REST).all())

    def ask(self, request: Request) -> Question:
        """Put `request` to the loop."""
        question = Question(request)
        self.inbox.asked.append(question)
        return question

    def withdraw(self, question: Question) -> bool:
        """Take back a request no tick has taken; False when it is too late."""
        try:
            self.inbox.asked.remove(question)
        except ValueError:
            return False
        return True

    def _inputs(self, joints: JointState | None, question: Question | None) -> TickInputs:
        chunks = (_newest(self.inbox.teleop_chunk), _newest(self.inbox.policy_chunk))
        return TickInputs(
            joints=joints,
            chunk=next((c for c in chunks if c is not None and wants(self.state, c)), None),
            fallback=_newest(self.inbox.fallback),
            score=_newest(self.inbox.alarm) or _newest(self.inbox.score),
            hazards=_newest(self.inbox.hazards),
            request=handover(self.state, chunks[0]) if question is None else question.request,
            refused=_newest(self.inbox.refused),
        )

    def _measure(self) -> JointState | None:
        try:
            joints = self._arm.read()
        except DriverError as error:
            self._say(str(error))
            return None
        if joints.t_ns == self._read_ns:
            return None
        self._read_ns = joints.t_ns
        return joints
