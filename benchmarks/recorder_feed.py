"""What a robot with two 640x480 cameras at 30 Hz and joints at 250 Hz says, for a recorder: a process of its own.

Pictures are real ones (`g1_bottle`, forth and back) with the noise of a sensor put on them (2 grey levels), or where that data
is not there a moving pattern with as much. Everything is serialized beforehand and only stamped when it is sent, so that this
process takes little of the machine it shares with the recorder. Standard input ends it; then it saves the stamps it sent.
"""

import struct
import sys
import threading
import time
from pathlib import Path

import numpy as np
import rclpy
from rclpy.node import Node

from robot_stack.config.robot_file import load_robot
from robot_stack.data.rosbags_messages import make, serialize_cdr
from robot_stack.data.wire import to_message
from robot_stack.graph import COMMAND, JOINTS, VERDICT, Topic, frames_topic
from robot_stack.nodes.messages import message_class
from robot_stack.nodes.qos import every
from robot_stack.types import (
    CameraFrame,
    Decision,
    Image,
    JointCommand,
    JointState,
    Mode,
    SafeCommand,
    SafetyVerdict,
    Step,
    TickInputs,
)

CAMERAS, WIDTH, HEIGHT, CAMERA_HZ, JOINT_HZ = ("scene", "wrist"), 640, 480, 30, 250
PICTURES, NOISE = 45, 2.0
VIDEOS = Path(__file__).resolve().parents[2] / "shared/data/g1_bottle/videos/chunk-000/observation.images.cam_high"


def pictures(camera: int) -> list[Image]:
    """A second and a half of one episode for each camera."""
    video = VIDEOS / f"episode_{7 * camera:06d}.mp4"
    clean = _filmed(video) if video.is_file() else [_pattern(i) for i in range(PICTURES)]
    draw = np.random.default_rng(camera)
    noisy = [image + draw.normal(0, NOISE, image.shape).astype(np.float32) for image in clean]
    return [np.clip(np.round(image), 0, 255).astype(np.uint8) for image in noisy]


def _filmed(video: Path) -> list[Image]:
    import av

    with av.open(str(video)) as container:
        found = [frame.to_ndarray(format="rgb24") for frame, _ in zip(container.decode(video=0), range(PICTURES), strict=False)]
    return found


def _pattern(i: int) -> Image:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([(x + 3 * i) % 256, (y + i) % 256, (x * y // 97 + 5 * i) % 256], axis=2).astype(np.uint8)


def stamped(data: bytes, t_ns: int) -> bytes:
    """`data`, a message that begins with a header, with the stamp `t_ns`: after four bytes of encapsulation come s and ns."""
    return data[:4] + struct.pack("<iI", *divmod(t_ns, 10**9)) + data[12:]


class Feed:
    """The publishers, and what they have sent: stamps by topic."""

    def __init__(self, node: Node) -> None:
        names = load_robot("sim_arm").joint_names
        still = np.zeros(len(names))
        joints, command = JointState(0, still, still, still), SafeCommand(JointCommand(0, still, still))
        verdict = SafetyVerdict(0, Mode.TELEOP, Decision.PASS, command, command)
        values: dict[Topic, object] = {JOINTS: joints, COMMAND: command, VERDICT: Step(0, 0, TickInputs(joints=joints), verdict)}
        self._fixed = {topic: [serialize_cdr(to_message(value, make, names))] for topic, value in values.items()}
        for i, camera in enumerate(CAMERAS):
            frames = [serialize_cdr(to_message(CameraFrame(camera, 0, rgb), make)) for rgb in pictures(i)]
            self._fixed[frames_topic(camera)] = frames + frames[::-1]
        self._out = {topic: node.create_publisher(message_class(topic.type), topic.name, every(topic)) for topic in self._fixed}
        self.sent: dict[str, list[int]] = {topic.name: [] for topic in self._fixed}

    def send(self, topic: Topic) -> None:
        """The next message of `topic`, taken now."""
        sent, t_ns = self.sent[topic.name], time.monotonic_ns()
        choices = self._fixed[topic]
        self._out[topic].publish(stamped(choices[len(sent) % len(choices)], t_ns))
        sent.append(t_ns)


def main(out: Path) -> None:
    """Send until the standard input ends."""
    rclpy.init(args=[])
    feed, over = Feed(Node("robot", start_parameter_services=False)), threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    print("ready", flush=True)
    cameras = [frames_topic(camera) for camera in CAMERAS]
    tick, begin = 0, time.monotonic()
    while not over.is_set():
        time.sleep(max(0.0, begin + tick / JOINT_HZ - time.monotonic()))
        for topic in (JOINTS, COMMAND, VERDICT):
            feed.send(topic)
        for i, topic in enumerate(cameras):  # half a period apart, as cameras that know nothing of each other
            if (tick * CAMERA_HZ + i * JOINT_HZ // 2) % JOINT_HZ < CAMERA_HZ:
                feed.send(topic)
        tick += 1
    np.savez(out, **{topic.strip("/").replace("/", "."): np.array(stamps) for topic, stamps in feed.sent.items()})
    rclpy.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
