"""`robot-stack find-cameras`: the cameras there are, a picture of each, and the line that puts it into a robot's file."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import cv2

from drivers.cameras import open_camera
from robot_stack.camera_device import CameraDevice
from robot_stack.config.commands import FindCamerasCommand
from robot_stack.discovery import RANGE
from robot_stack.errors import DriverError
from robot_stack.interfaces import Camera
from robot_stack.robot import CameraSpec
from robot_stack.types import CameraFrame

BY_ID, DEVICES = Path("/dev/v4l/by-id"), Path("/dev")
LOOK_S = 2.0
_POLL_S = 0.002


@dataclass(frozen=True, slots=True)
class FoundCamera:
    """What the camera `device` shows: `rgb` size, pictures a second, how old the middle one of them was (s), and its file."""

    device: CameraDevice
    width: int
    height: int
    rate_hz: float
    age_s: float
    picture: Path


def main(settings: FindCamerasCommand) -> int:
    """The command. Exit code 0 when a camera shows a picture, 1 when none does."""
    notes: list[str] = []
    devices = [*_plugged_in(notes), *(_named(url) for url in settings.urls), *_topics(settings, notes)]
    out, found = Path(settings.out), 0
    for number, device in enumerate(devices):
        try:
            camera = look(device, settings, out / f"{number}_{_slug(device.at) or device.kind}.png")
        except DriverError as error:
            print(f"{device.at or device.kind}\n  no picture: {error}")
            continue
        found += 1
        print(told(camera), flush=True)
    print("\n".join(notes))
    if not found:
        print("no camera shows a picture; plug one in (may this user open it: group video?) or name one: urls=[http://...]")
    return 0 if found else 1


def look(device: CameraDevice, settings: FindCamerasCommand, picture: Path) -> FoundCamera:
    """Watch `device` for `LOOK_S` and save its last picture. Raises DriverError when it shows none."""
    width, height = settings.width, settings.height
    spec = CameraSpec(device.kind, -1, (0.0, 0.0, 0.0), (0.0, 0.0, 1.0), 1.0, width, height, 30.0, device=device)
    with closing(open_camera(spec)) as camera:
        frames, ages = _watched(camera)
    picture.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(picture), cv2.cvtColor(frames[-1].rgb, cv2.COLOR_RGB2BGR))
    span_s = (frames[-1].t_ns - frames[0].t_ns) / 1e9
    height, width, _ = frames[-1].rgb.shape
    rate_hz = (len(ages) - 1) / span_s if span_s > 0.0 else 0.0
    return FoundCamera(device, width, height, rate_hz, sorted(ages)[len(ages) // 2], picture)


def _watched(camera: Camera) -> tuple[list[CameraFrame], list[float]]:
    """The first and the last frame within `LOOK_S`, and how old each was when read, s. Raises DriverError when there was none."""
    frames, ages, until = list[CameraFrame](), list[float](), time.monotonic() + LOOK_S
    while time.monotonic() < until or not frames:
        try:
            frame = camera.read()
        except DriverError:
            if frames:
                break
            raise
        if frame is not None:
            ages.append((time.monotonic_ns() - frame.t_ns) / 1e9)
            frames = [*frames[:1], frame]
        time.sleep(_POLL_S)
    return frames, ages


def told(found: FoundCamera) -> str:
    """`found` as the lines that a person reads; the last belongs into the camera's entry in the robot's file."""
    device, domain = found.device, f", domain: {found.device.domain}" if found.device.domain >= 0 else ""
    return (
        f"{device.at or device.kind}\n"
        f"  {found.width}x{found.height}, {found.rate_hz:.1f} pictures a second, {found.age_s * 1e3:.0f} ms old when read; "
        f"{found.picture}\n"
        f"  width: {found.width}, height: {found.height}, rate_hz: {max(1, round(found.rate_hz)):.1f}, "
        f'device: {{kind: {device.kind}, at: "{device.at}"{domain}}}'
    )


def _plugged_in(notes: list[str]) -> Iterator[CameraDevice]:
    """UVC cameras by the names that stay (index0: the pictures, others are metadata), and RealSense cameras."""
    links = sorted(BY_ID.glob("*-video-index0"))
    named = {link.resolve().name for link in BY_ID.glob("*")}
    paths = [*links, *(path for path in sorted(DEVICES.glob("video[0-9]*")) if path.name not in named)]
    yield from (CameraDevice("v4l2", str(path)) for path in paths)
    if not paths:
        notes.append(f"no camera in {BY_ID} or {DEVICES}/video*")
    try:
        from drivers.realsense import serial_numbers

        serials = serial_numbers()
        yield from (CameraDevice("realsense", serial) for serial in serials)
        notes.extend([] if serials else ["no RealSense camera"])
    except ImportError as error:
        notes.append(f"RealSense cameras were not looked for: {error}; next: pip install 'robot_stack[realsense]'")


def _named(url: str) -> CameraDevice:
    """The camera at a URL, a video file, or a device's path."""
    scheme = url.partition("://")[0]
    if "://" not in url:
        return CameraDevice("v4l2" if url.startswith("/dev/") else "video", url)
    return CameraDevice("mjpeg" if scheme in ("http", "https") else "rtsp", url)


def _topics(settings: FindCamerasCommand, notes: list[str]) -> Iterator[CameraDevice]:
    """The image topics of `settings.domain`, on this computer unless the environment opens ROS 2 to others."""
    try:
        from drivers.ros_image import image_topics
    except ImportError as error:
        notes.append(f"ROS 2 topics were not looked at: {error}; next: source the setup file of a ROS 2, or `make setup`")
        return
    os.environ.setdefault(RANGE, "LOCALHOST")
    names = image_topics(settings.domain)
    notes.extend([] if names else [f"no ROS 2 topic with pictures in domain {settings.domain}"])
    yield from (CameraDevice("ros", name, domain=settings.domain) for name in names)


def _slug(text: str) -> str:
    """`text` as a file's name, without a password."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", re.sub(r"//[^/@]*@", "//", text)).strip("_")[-60:]
