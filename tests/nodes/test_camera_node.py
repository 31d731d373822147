"""camera_node, as a process, with a network camera that goes away: it lives, says so once, and publishes again."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: `make setup` installs its wheels, or source a system's")

import numpy as np
import rclpy
import yaml

from benchmarks.loopback_cameras import LoopbackCamera, stamp_in, stamped
from robot_stack import build
from robot_stack.camera_device import CameraDevice
from robot_stack.config.robot_file import FOLDER
from robot_stack.data.wire import frame_value
from robot_stack.domain import lease_domain
from robot_stack.graph import frames_topic
from robot_stack.nodes.messages import message_class
from robot_stack.nodes.qos import newest
from tests.drivers.image_publisher import ImagePublisher
from tests.ros_domain import own_domain

WAIT_S = 60.0


@pytest.fixture
def ros(tmp_path: Path) -> Iterator[dict[str, str]]:
    """What a process of an own domain needs in its environment."""
    with own_domain(tmp_path) as (_, env):
        yield env


class Ear:
    """Hears the frames of camera `scene` and keeps the newest."""

    def __init__(self, domain: int) -> None:
        self.sent_ns = 0
        self._context = rclpy.context.Context()
        rclpy.init(context=self._context, domain_id=domain)
        self._node = rclpy.create_node("ear", context=self._context)
        self._executor = rclpy.executors.SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        topic = frames_topic("scene")
        self._node.create_subscription(message_class(topic.type), topic.name, self._take, newest(topic))

    def _take(self, message: Any) -> None:
        self.sent_ns = stamp_in(frame_value(message).rgb)

    def hear_after(self, t_ns: int) -> bool:
        """A picture that was sent after `t_ns` came."""
        end = time.monotonic() + WAIT_S
        while self.sent_ns <= t_ns and time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.1)
        return self.sent_ns > t_ns

    def close(self) -> None:
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)


@contextmanager
def camera_node(folder: Path, ros: dict[str, str], device: CameraDevice, **size: int) -> Iterator[subprocess.Popen[bytes]]:
    """The node of camera `scene` of a robot like sim_arm, its words in `folder`/said."""
    robot = yaml.safe_load((FOLDER / "sim_arm.yaml").read_text())
    robot["cameras"] = [{**robot["cameras"][0], "width": 160, "height": 120, **size, "device": asdict(device)}]
    (folder / "robot.yaml").write_text(yaml.safe_dump(robot))
    build.save(build.Run(str(folder / "robot.yaml"), folder=str(folder)), folder / "run.yaml")
    command = [sys.executable, "-m", "robot_stack.nodes.camera_node", "--ros-args", "-p", "camera:=scene"]
    with open(folder / "said", "wb") as said:
        process = subprocess.Popen([*command, "-p", f"config:={folder}/run.yaml"], env=ros, stdout=said, stderr=said)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=60)


def waits_for(folder: Path, text: str) -> str:
    """All that was said, once `text` was."""
    end = time.monotonic() + WAIT_S
    while text not in (said := (folder / "said").read_text()) and time.monotonic() < end:
        assert "[ERROR]" not in said
        time.sleep(0.02)
    return said


def test_a_camera_that_goes_and_comes_back_never_ends_its_node(tmp_path: Path, ros: dict[str, str]) -> None:
    with closing(LoopbackCamera("mjpeg", 160, 120)) as server, closing(Ear(int(ros["ROS_DOMAIN_ID"]))) as ear:
        device = CameraDevice("mjpeg", server.url, silent_s=0.5, retry_s=0.05, retry_most_s=0.2)
        with camera_node(tmp_path, ros, device) as node:
            assert ear.hear_after(0), (tmp_path / "said").read_text()
            server.vanish()
            assert "cannot be opened" in waits_for(tmp_path, "cannot be opened")
            back_ns = time.monotonic_ns()
            server.appear()
            assert ear.hear_after(back_ns)
            said = waits_for(tmp_path, "well again")
            assert node.poll() is None
    assert said.count("the camera hung up") == 1
    assert said.count("cannot be opened") == 1, "once, however often it was tried"
    assert said.count("camera scene: well again, after") == 1


def test_a_foreign_camera_of_another_domain_is_heard_in_the_graphs(tmp_path: Path, ros: dict[str, str]) -> None:
    lease, picture = lease_domain(), stamped(np.zeros((120, 160, 3), np.uint8), 1)
    foreign = ImagePublisher("/foreign/image", lease.domain).start(picture)
    with closing(foreign), closing(Ear(int(ros["ROS_DOMAIN_ID"]))) as ear:
        with camera_node(tmp_path, ros, CameraDevice("ros", "/foreign/image", domain=lease.domain)):
            assert ear.hear_after(0), (tmp_path / "said").read_text()
    lease.release()


def test_a_camera_of_another_size_is_said_and_nothing_of_it_is_published(tmp_path: Path, ros: dict[str, str]) -> None:
    with closing(LoopbackCamera("mjpeg", 160, 120)) as server, closing(Ear(int(ros["ROS_DOMAIN_ID"]))) as ear:
        with camera_node(tmp_path, ros, CameraDevice("mjpeg", server.url), width=320) as node:
            said = waits_for(tmp_path, "dropped")
            assert "camera scene: dropped: found 160x120, allowed 320x120" in said
            assert node.poll() is None
        assert ear.sent_ns == 0
