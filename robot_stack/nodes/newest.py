"""The newest values a node has heard, for loops that look when they want: frames by camera, the measured joints, the choice."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from robot_stack.data.wire import ChoiceNote, command_value, frame_value, note_value, state_value
from robot_stack.errors import ContractError
from robot_stack.graph import COMMAND, JOINTS, POLICY_CHOICE, frames_topic
from robot_stack.nodes.lifecycle import ManagedNode
from robot_stack.nodes.sayer import Sayer
from robot_stack.types import Array, CameraFrame, JointState

KEPT = 32
"""Joint states kept: those of the last third of a second at 100 Hz, longer than a picture may be old."""


class NewestFrames:
    """Hears the frames of `cameras` for as long as the job of `node` lives; an image that is no frame is said and dropped."""

    def __init__(self, node: ManagedNode, cameras: Iterable[str], sayer: Sayer) -> None:
        self._frames: dict[str, CameraFrame] = {}
        self._sayer = sayer
        for camera in cameras:
            topic = frames_topic(camera)
            node.subscribe(topic, self._taker(camera))

    def all(self) -> Mapping[str, CameraFrame]:
        """The newest frame of each camera heard so far."""
        return dict(self._frames)

    def _taker(self, camera: str) -> Any:
        def take(message: Any) -> None:
            try:
                frame = frame_value(message)
            except ContractError as error:
                self._sayer.say(camera, f"camera {camera}: dropped: {error}")
                return
            self._frames[camera] = frame

        return take


class NewestJoints:
    """Hears /joint_states and keeps the last `KEPT`; a message with other joints is said and dropped."""

    def __init__(self, node: ManagedNode, joint_names: tuple[str, ...], sayer: Sayer) -> None:
        self._recent: deque[JointState] = deque(maxlen=KEPT)
        self._names = joint_names
        self._sayer = sayer
        node.subscribe(JOINTS, self._take)

    @property
    def state(self) -> JointState | None:
        """The newest, or None before the first."""
        return self._recent[-1] if self._recent else None

    def recent(self) -> Sequence[JointState]:
        """The last joint states heard, oldest first."""
        return tuple(self._recent)

    def _take(self, message: Any) -> None:
        try:
            self._recent.append(state_value(message, self._names))
        except ContractError as error:
            self._sayer.say("joints", f"{JOINTS.name}: dropped: {error}")


class NewestCommand:
    """Hears /arm/command: the positions `q` (J,) that were sent last (None: none yet); other joints are said and dropped."""

    def __init__(self, node: ManagedNode, joint_names: tuple[str, ...], sayer: Sayer) -> None:
        self.q: Array | None = None
        self._names = joint_names
        self._sayer = sayer
        node.subscribe(COMMAND, self._take)

    def _take(self, message: Any) -> None:
        try:
            self.q = command_value(message, self._names).q
        except ContractError as error:
            self._sayer.say("command", f"{COMMAND.name}: dropped: {error}")


class NewestChoice:
    """Hears /policy/choice; a message that is no note on a choice is said and dropped."""

    def __init__(self, node: ManagedNode, sayer: Sayer) -> None:
        self.note: ChoiceNote | None = None
        self._sayer = sayer
        node.subscribe(POLICY_CHOICE, self._take)

    def _take(self, message: Any) -> None:
        try:
            self.note = note_value(message)
        except ContractError as error:
            self._sayer.say("choice", f"{POLICY_CHOICE.name}: dropped: {error}")
