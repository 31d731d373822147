"""Publishes what one camera sees, as soon as there is a new frame, stamped with the time of its capture."""

import sys

from robot_stack import build
from robot_stack.data.wire import to_message
from robot_stack.errors import ConfigError, DriverError
from robot_stack.graph import frames_topic
from robot_stack.interfaces import Camera
from robot_stack.nodes.lifecycle import ManagedNode, run_node
from robot_stack.nodes.messages import make
from robot_stack.nodes.periodic import Periodic
from robot_stack.nodes.sayer import Sayer

LOOKS_PER_FRAME = 4
"""A frame waits at most a quarter of the frame period before it is seen."""


class CameraJob:
    """Looks at the device more often than it has frames; `read` never returns one twice."""

    def __init__(self, node: ManagedNode, run: build.Run, camera: str) -> None:
        spec = run.robot.camera(camera)
        topic = frames_topic(camera)
        self._sayer = Sayer(node.get_logger())
        self._camera: Camera = build.camera(run, camera)
        self._publisher = node.publisher(topic)
        self._loop = Periodic("camera", round(1e9 / (LOOKS_PER_FRAME * spec.rate_hz)), self._look, node.fail)

    def activate(self) -> None:
        """Start looking."""
        self._loop.start()

    def deactivate(self) -> None:
        """Stop looking."""
        self._loop.stop()

    def close(self) -> None:
        """Release the device."""
        self._camera.close()

    def _look(self, _: int) -> None:
        try:
            frame = self._camera.read()
        except DriverError as error:
            self._sayer.say("camera", str(error))
            return
        if frame is not None:
            self._publisher.publish(to_message(frame, make))


def make_job(node: ManagedNode) -> CameraJob:
    """The job of a camera_node: parameter `camera` names the camera of the robot config."""
    camera = node.text("camera")
    if not camera:
        raise ConfigError("camera: found nothing, allowed the name of a camera of the robot config (-p camera:=NAME)")
    return CameraJob(node, build.load(node.text("config")), camera)


if __name__ == "__main__":
    sys.exit(run_node("camera_node", make_job))
