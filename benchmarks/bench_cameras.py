"""Network cameras on the loopback, 640x480 at 30 Hz, through the drivers of `kind: mjpeg` and `rtsp` with their usual settings.

Unit: milliseconds from when the server (another process) begins to compress a picture until `read` gives it, looked for as often
as camera_node does. `extra`: how much later than that the picture is stamped, ms; the share of one core that this process needs;
pictures a second; and, s, how long it takes after a dropped connection, and after a second's absence, to the next new picture.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from benchmarks.harness import Result, summary
from benchmarks.loopback_cameras import LoopbackCamera, stamp_in
from drivers.cameras import open_camera
from robot_stack.camera_device import CameraDevice
from robot_stack.errors import DriverError
from robot_stack.interfaces import Camera
from robot_stack.robot import CameraSpec
from robot_stack.types import CameraFrame

WIDTH, HEIGHT, RATE_HZ = 640, 480, 30.0
SECONDS, SETTLING, TRIALS, AWAY_S = 20.0, 30, 10, 1.0
LOOK_S = 1.0 / (4 * RATE_HZ)
KINDS = ("mjpeg", "rtsp")


def opened(kind: str, url: str) -> Camera:
    """The camera at `url`, with the settings a robot's file begins with."""
    device = CameraDevice(kind, url)  # type: ignore[arg-type]
    return open_camera(CameraSpec("loopback", -1, (0, 0, 0), (0, 0, 1), 0.8, WIDTH, HEIGHT, RATE_HZ, device=device))


def following(camera: Camera, sent_ns: int) -> CameraFrame:
    """The next picture sent after `sent_ns`, however often the camera is lost until then."""
    while True:
        try:
            frame = camera.read()
        except DriverError:
            frame = None
        if frame is not None and stamp_in(frame.rgb) > sent_ns:
            return frame
        time.sleep(LOOK_S)


def watched(kind: str) -> tuple[list[float], dict[str, object]]:
    """Ages (ms) of `SECONDS` of pictures of a server in another process, what their stamps say, and what it costs."""
    command = [sys.executable, "-m", "benchmarks.loopback_cameras", kind, str(WIDTH), str(HEIGHT), str(RATE_HZ)]
    folder = Path(__file__).resolve().parent.parent
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder)
    assert server.stdin is not None and server.stdout is not None
    ages, lags = list[float](), list[float]()
    with closing(opened(kind, server.stdout.readline().strip())) as camera:
        for _ in range(SETTLING):
            following(camera, 0)
        begun, worked = time.monotonic(), time.process_time()
        while time.monotonic() < begun + SECONDS:
            frame = following(camera, 0)
            sent_ns = stamp_in(frame.rgb)
            ages.append((time.monotonic_ns() - sent_ns) * 1e-6)
            lags.append((frame.t_ns - sent_ns) * 1e-6)
        share = (time.process_time() - worked) / (time.monotonic() - begun)
    server.stdin.close()
    server.wait()
    return ages, {"stamp_after_sending": summary(lags), "core_share": share, "rate_hz": len(ages) / SECONDS}


def reconnected(kind: str, away_s: float) -> list[float]:
    """Seconds from when a server that hung up serves again until a new picture is there, `TRIALS` times."""
    waits = []
    with closing(LoopbackCamera(kind, WIDTH, HEIGHT, RATE_HZ)) as server, closing(opened(kind, server.url)) as camera:
        for _ in range(TRIALS):
            following(camera, time.monotonic_ns())
            server.vanish()
            time.sleep(away_s)
            back_ns = time.monotonic_ns()
            server.appear()
            following(camera, back_ns)
            waits.append((time.monotonic_ns() - back_ns) * 1e-9)
    return waits


def main(arguments: Sequence[str] = ()) -> list[Result]:
    """One result a kind of stream."""
    results = []
    for kind in arguments or KINDS:
        ages, extra = watched(kind)
        extra |= {"after_drop_s": summary(reconnected(kind, 0.0)), "after_absence_s": summary(reconnected(kind, AWAY_S))}
        results.append(Result(f"cameras_{kind}", "ms", ages, extra={**extra, "away_s": AWAY_S}))
    return results
