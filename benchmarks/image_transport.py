"""One end of two cameras' way from process to process, for `bench_image_transport`.

`python -m benchmarks.image_transport write|read WAY SECONDS`; the reader prints one JSON object, the writer another.
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import rclpy
from rclpy.experimental.events_executor import EventsExecutor

from robot_stack.data.rosbags_messages import deserialize_cdr, serialize_cdr
from robot_stack.data.rosbags_messages import make as make_plain
from robot_stack.data.wire import frame_value, to_message
from robot_stack.graph import frames_topic
from robot_stack.nodes.messages import make, message_class
from robot_stack.nodes.periodic import Periodic
from robot_stack.nodes.qos import every, newest
from robot_stack.types import CameraFrame

WIDTH, HEIGHT, RATE_HZ = 640, 480, 30.0
CAMERAS = ("scene", "wrist")
WAYS = ("plain", "messages", "taken_raw", "raw")
"""`plain`: as rclpy's tutorials do it, reliable, ten deep. `messages`: newest only, best effort, data as array.array.
`taken_raw`: the same, but the reader takes bytes and rosbags reads them. `raw`: the writer's bytes are made by rosbags, too."""
SETTLING_S = 2.0


def _plain_message(frame: CameraFrame) -> Any:
    message = to_message(frame, make)
    message.data = frame.rgb.tobytes()
    return message


MESSAGE: dict[str, Callable[[CameraFrame], Any]] = {
    "plain": _plain_message,
    "messages": lambda frame: to_message(frame, make),
    "taken_raw": lambda frame: to_message(frame, make),
    "raw": lambda frame: serialize_cdr(to_message(frame, make_plain)),
}


def write(node: Any, way: str, seconds: float) -> dict[str, Any]:
    """Publish both cameras at their rate; how many pictures, and the share of a core it took."""
    message_of, kind = MESSAGE[way], message_class("sensor_msgs/msg/Image")
    topics = [frames_topic(camera) for camera in CAMERAS]
    out = {t: node.create_publisher(kind, t.name, 10 if way == "plain" else every(t)) for t in topics}
    while any(not node.count_subscribers(t.name) for t in topics):
        time.sleep(0.05)
    pixels = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    sent, done, last = [0], threading.Event(), round((seconds + SETTLING_S) * RATE_HZ)

    def look(_: int) -> None:
        for topic, camera in zip(topics, CAMERAS, strict=True):
            out[topic].publish(message_of(CameraFrame(camera, time.monotonic_ns(), pixels)))
        sent[0] += 1
        if sent[0] >= last:
            done.set()

    loop = Periodic("cameras", round(1e9 / RATE_HZ), look, lambda error: done.set())
    begin, spent = time.monotonic(), time.process_time()
    loop.start()
    done.wait()
    loop.stop()
    return {"sent": 2 * sent[0], "core_share": (time.process_time() - spent) / (time.monotonic() - begin)}


def read(node: Any, way: str, seconds: float) -> dict[str, Any]:
    """Hear both cameras, each picture as a value; its age (ms) then, how many came, and the share of a core it took."""
    kind, ages, raw = message_class("sensor_msgs/msg/Image"), list[float](), way in ("taken_raw", "raw")

    def take(message: Any) -> None:
        frame = frame_value(deserialize_cdr(message, "sensor_msgs/msg/Image") if raw else message)
        ages.append((time.monotonic_ns() - frame.t_ns) / 1e6)

    for topic in (frames_topic(camera) for camera in CAMERAS):
        node.create_subscription(kind, topic.name, take, 10 if way == "plain" else newest(topic), raw=raw)
    executor = EventsExecutor()
    executor.add_node(node)
    _spin(executor, lambda: bool(ages))
    begun = time.monotonic()
    _spin(executor, lambda: time.monotonic() > begun + SETTLING_S / 2)
    begun, spent, before = time.monotonic(), time.process_time(), len(ages)
    _spin(executor, lambda: time.monotonic() > begun + seconds)
    took, share = time.monotonic() - begun, (time.process_time() - spent) / (time.monotonic() - begun)
    return {"ages_ms": ages[before:], "rate_hz": (len(ages) - before) / took, "core_share": share}


def _spin(executor: Any, until: Callable[[], bool]) -> None:
    end = time.monotonic() + 60.0
    while not until() and time.monotonic() < end:
        executor.spin_once(timeout_sec=0.1)


def main(arguments: Sequence[str]) -> int:
    """Be one end, and print what there is to say."""
    role, way, seconds = arguments
    rclpy.init()
    node = rclpy.create_node(role)
    print(json.dumps({"write": write, "read": read}[role](node, way, float(seconds))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
