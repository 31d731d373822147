"""The newest values a node has heard, for loops that look when they want: frames by camera, and the measured joints."""

from collections.abc import Iterable, Mapping
from typing import Any

from robot_stack.data.wire import frame_value, state_value
from robot_stack.errors import ContractError
from robot_stack.graph import JOINTS, frames_topic
from robot_stack.nodes.lifecycle import ManagedNode
from robot_stack.nodes.sayer import Sayer
from robot_stack.types import CameraFrame, JointState


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
    """Hears /joint_states; a message with other joints is said and dropped."""

    def __init__(self, node: ManagedNode, joint_names: tuple[str, ...], sayer: Sayer) -> None:
        self.state: JointState | None = None
        self._names = joint_names
        self._sayer = sayer
        node.subscribe(JOINTS, self._take)

    def _take(self, message: Any) -> None:
        try:
            self.state = state_value(message, self._names)
        except ContractError as error:
            self._sayer.say("joints", f"{JOINTS.name}: dropped: {error}")
