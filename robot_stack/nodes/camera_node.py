"""Publishes what one camera sees, as soon as there is a new frame, stamped with the time of its capture."""

import sys
import time
from collections.abc import Iterable

from robot_stack import build
from robot_stack.data.wire import to_message
from robot_stack.diagnostics import Reading
from robot_stack.errors import ConfigError, DriverError
from robot_stack.graph import frames_topic
from robot_stack.interfaces import Camera
from robot_stack.nodes.frame_watch import FrameWatch
from robot_stack.nodes.lifecycle import ManagedNode, run_node
from robot_stack.nodes.messages import make

LOOKS_PER_FRAME = 4
"""A frame waits at most a quarter of the frame period before it is seen."""


class CameraJob:
    """Looks at the device more often than it has frames; `read` never returns one twice. A lost one is its driver's to reopen."""

    def __init__(self, node: ManagedNode, run: build.Run, camera: str) -> None:
        self._spec = run.robot.camera(camera)
        self._logger = node.get_logger()
        self._camera: Camera = build.camera(run, camera)
        self._late_s = run.monitor.frame_age_s
        self._watch = FrameWatch(self._spec, self._late_s, time.monotonic_ns())
        self._publisher = node.publisher(frames_topic(camera))
        self._loop = node.loop("looks", round(1e9 / (LOOKS_PER_FRAME * self._spec.rate_hz)), self._look)
        node.health.watch(self._readings)

    def activate(self) -> None:
        """Start looking."""
        self._watch = FrameWatch(self._spec, self._late_s, time.monotonic_ns())
        self._loop.start()

    def deactivate(self) -> None:
        """Stop looking."""
        self._loop.stop()

    def close(self) -> None:
        """Release the device."""
        self._camera.close()

    def _look(self, _: int) -> None:
        now_ns = time.monotonic_ns()
        try:
            frame = self._camera.read()
        except DriverError as error:
            return self._say(self._watch.gone(str(error)))
        if frame is None:
            return self._say(self._watch.nothing(now_ns))
        if frame.rgb.shape[:2] != (self._spec.height, self._spec.width):
            return self._say(self._watch.wrong_size(frame))
        self._publisher.publish(to_message(frame, make))
        self._say(self._watch.good(frame, now_ns))

    def _readings(self, now_ns: int, dt_ns: int) -> Iterable[Reading]:
        if self._loop.running:
            yield self._watch.reading(dt_ns)

    def _say(self, text: str | None) -> None:
        if text is not None:
            self._logger.warning(text)


def make_job(node: ManagedNode) -> CameraJob:
    """The job of a camera_node: parameter `camera` names the camera of the robot config."""
    camera = node.fixed("camera")
    if not camera:
        raise ConfigError("camera: found nothing, allowed the name of a camera of the robot config (-p camera:=NAME)")
    return CameraJob(node, build.load(node.fixed("config")), camera)


if __name__ == "__main__":
    sys.exit(run_node("camera_node", make_job))
