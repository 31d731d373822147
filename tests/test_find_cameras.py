"""`robot-stack find-cameras` with a network camera, a film, and with nothing."""

import sys
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from benchmarks.loopback_cameras import LoopbackCamera
from robot_stack import cli, find_cameras
from robot_stack.camera_device import CameraDevice
from robot_stack.config.plain import build


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A computer with nothing plugged in and no ROS 2, looked at for a moment."""
    monkeypatch.setattr(find_cameras, "BY_ID", tmp_path / "by-id")
    monkeypatch.setattr(find_cameras, "DEVICES", tmp_path / "dev")
    monkeypatch.setattr(find_cameras, "LOOK_S", 0.3)
    monkeypatch.setitem(sys.modules, "drivers.ros_image", None)
    monkeypatch.setitem(sys.modules, "drivers.realsense", None)


def test_with_no_camera_it_says_where_it_looked_and_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["find-cameras", f"out={tmp_path}/out"]) == 1
    said = capsys.readouterr().out
    assert "no camera in" in said
    assert "RealSense cameras were not looked for" in said
    assert "ROS 2 topics were not looked at" in said
    assert "no camera shows a picture" in said


def test_each_camera_gets_a_picture_and_the_line_for_the_robots_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter.fourcc(*"MJPG"), 30.0, (64, 48))
    for _ in range(6):  # shorter than the look
        writer.write(np.full((48, 64, 3), (0, 0, 200), np.uint8))
    writer.release()
    with closing(LoopbackCamera("mjpeg", 160, 120)) as server:
        code = cli.main(["find-cameras", f"urls=[{server.url},{film},/nowhere.mp4]", f"out={tmp_path}/out"])
    said = capsys.readouterr().out
    assert code == 0
    assert "/nowhere.mp4\n  no picture: camera video: /nowhere.mp4: no such file" in said
    lines = [line for line in said.splitlines() if "device: {" in line]
    entries = [yaml.safe_load("{" + line.strip() + "}") for line in lines]
    assert [(entry["width"], entry["height"]) for entry in entries] == [(160, 120), (64, 48)]
    devices = [build(CameraDevice, entry["device"]) for entry in entries]
    assert devices == [CameraDevice("mjpeg", server.url), CameraDevice("video", str(film))]
    pictures = [cv2.imread(str(path)) for path in sorted((tmp_path / "out").glob("*.png"))]
    assert [picture.shape[:2] for picture in pictures] == [(120, 160), (48, 64)]
    assert pictures[1][..., 2].mean() > 180, "red stays red"
