"""The newest values a node has heard, for loops that look when they want: frames by camera, the measured joints, the choice."""

import math
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from robot_stack.data.wire import ChoiceNote, command_value, frame_value, note_value, state_value
from robot_stack.graph import COMMAND, JOINTS, POLICY_CHOICE, frames_topic
from robot_stack.nodes.lifecycle import ManagedNode
from robot_stack.types import Array, CameraFrame, JointState

KEPT = 32
"""Joint states kept: those of the last third of a second at 100 Hz, longer than a picture may be old."""


class NewestFrames:
    """Hears the frames of `cameras` for as long as the job of `node` lives."""

    def __init__(self, node: ManagedNode, cameras: Iterable[str]) -> None:
        self._frames: dict[str, CameraFrame] = {}
        self._came_s = dict.fromkeys(cameras, -math.inf)
        self._coming = threading.Condition()
        for camera in self._came_s:
            node.subscribe(frames_topic(camera), partial(self._take, camera))

    def all(self) -> Mapping[str, CameraFrame]:
        """The newest frame of each camera heard so far."""
        return dict(self._frames)

    def fresh(self, period_s: float) -> Mapping[str, CameraFrame]:
        """The same, as soon as each camera's came less than half a `period_s` ago, at the latest after a whole one."""
        with self._coming:
            self._coming.wait_for(
                lambda: min(self._came_s.values(), default=math.inf) > time.monotonic() - period_s / 2, period_s
            )
        return self.all()

    def _take(self, camera: str, message: Any) -> None:
        with self._coming:
            self._frames[camera], self._came_s[camera] = frame_value(message), time.monotonic()
            self._coming.notify_all()


class NewestJoints:
    """Hears /joint_states and keeps the last `KEPT`."""

    def __init__(self, node: ManagedNode, joint_names: tuple[str, ...]) -> None:
        self._recent: deque[JointState] = deque(maxlen=KEPT)
        node.subscribe(JOINTS, lambda message: self._recent.append(state_value(message, joint_names)))

    @property
    def state(self) -> JointState | None:
        """The newest, or None before the first."""
        return self._recent[-1] if self._recent else None

    def recent(self) -> Sequence[JointState]:
        """The last joint states heard, oldest first."""
        return tuple(self._recent)


class NewestCommand:
    """Hears /arm/command: the positions `q` (J,) that were sent last (None: none yet)."""

    def __init__(self, node: ManagedNode, joint_names: tuple[str, ...]) -> None:
        self.q: Array | None = None
        self._names = joint_names
        node.subscribe(COMMAND, self._take)

    def _take(self, message: Any) -> None:
        self.q = command_value(message, self._names).q


class NewestChoice:
    """Hears /policy/choice: the last `note` (None: none yet)."""

    def __init__(self, node: ManagedNode) -> None:
        self.note: ChoiceNote | None = None
        node.subscribe(POLICY_CHOICE, self._take)

    def _take(self, message: Any) -> None:
        self.note = note_value(message)
