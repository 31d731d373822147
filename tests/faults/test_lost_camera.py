"""A network camera of the real graph goes away and comes back: the arm falls back, no process ends, the policy goes on."""

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import yaml

pytest.importorskip("rclpy", reason="needs ROS 2: `make setup` installs its wheels, or source a system's")

from benchmarks.loopback_cameras import LoopbackCamera
from robot_stack.config.robot_file import FOLDER
from robot_stack.supervisor import Graph
from robot_stack.types import Mode, Reason

PATIENCE_S = 60.0


def sim_arm_with(url: str, folder: Path) -> Path:
    """The file of a sim_arm whose wrist camera is the network camera at `url`."""
    robot = yaml.safe_load((FOLDER / "sim_arm.yaml").read_text())
    for camera in robot["cameras"]:
        if camera["name"] == "wrist":
            camera["device"] = {"kind": "mjpeg", "at": url}
    path = folder / "robot.yaml"
    path.write_text(yaml.safe_dump(robot))
    return path


@pytest.mark.slow
def test_a_camera_that_goes_makes_the_arm_fall_back_and_one_that_comes_back_lets_it_go_on(
    start_graph: Callable[..., Graph], tmp_path: Path
) -> None:
    with closing(LoopbackCamera("mjpeg", 128, 128)) as server:
        with start_graph(f"robot={sim_arm_with(server.url, tmp_path)}", "safety.stop_after_s=100") as graph:
            graph.arm(timeout_s=PATIENCE_S)
            gone_ns = time.monotonic_ns()
            server.vanish()
            fallback = graph.wait_for(lambda step: step.verdict.mode is Mode.FALLBACK, PATIENCE_S, "FALLBACK", gone_ns)
            assert fallback.mode_cause[0] in (Reason.MONITOR_ALARM, Reason.POLICY_SILENT)
            assert not graph.processes.dead()
            assert "camera wrist: " in graph.processes.tail("camera_node_wrist")
            back_ns = time.monotonic_ns()
            server.appear()
            graph.wait_for(lambda step: step.verdict.mode is Mode.POLICY, PATIENCE_S, "POLICY", back_ns)
            assert not graph.processes.dead()
            assert "well again" in graph.processes.tail("camera_node_wrist")
