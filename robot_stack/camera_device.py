"""Where the pictures of a camera come from. Settings of `drivers/`, in SI."""

from dataclasses import dataclass, fields
from typing import Literal

from robot_stack.errors import ConfigError

ONLY = {"fourcc": ("v4l2",), "exposure_s": ("v4l2", "realsense"), "loop": ("video",), "speed": ("video",), "domain": ("ros",)}
"""Settings that mean something to some kinds of camera alone."""


@dataclass(frozen=True)
class CameraDevice:
    """The device of one camera: its `kind` and where it is, `at`.

    `world`: the simulated world has it. `v4l2`: a USB (UVC) camera, the path of its device; one of /dev/v4l/by-id stays the same
    after a reboot. `mjpeg`: http://, `rtsp`: rtsp://; a name and password go before the host: //name:password@host/.
    `video`: a file, played once or in a `loop`, `speed` times as fast as it was taken. `realsense`: its serial number ("": the
    first). `ros`: a topic of sensor_msgs/Image or CompressedImage in `domain` (-1: the graph's own).
    `fourcc`: the pixel format asked for ("": the camera's choice); `exposure_s` 0: the camera's own automatic.
    `delay_s`: how long before it arrives here a picture is taken, where it has no stamp of its own.
    Without a picture for `silent_s` the device is lost; it is opened again after `retry_s`, twice as much, ... `retry_most_s`.
    """

    kind: Literal["world", "v4l2", "mjpeg", "rtsp", "video", "realsense", "ros"] = "world"
    at: str = ""
    fourcc: str = "MJPG"
    exposure_s: float = 0.0
    loop: bool = False
    speed: float = 1.0
    domain: int = -1
    delay_s: float = 0.0
    silent_s: float = 1.0
    retry_s: float = 0.25
    retry_most_s: float = 5.0

    def __post_init__(self) -> None:
        if not self.at and self.kind in ("v4l2", "mjpeg", "rtsp", "video", "ros"):
            raise ConfigError(f"camera device.at: found nothing, kind {self.kind} needs it; next: robot-stack find-cameras")
        for name in ("speed", "silent_s", "retry_s", "retry_most_s"):
            if not getattr(self, name) > 0.0:
                raise ConfigError(f"camera device.{name}: found {getattr(self, name)}, allowed above 0")
        for field in fields(self):
            if self.kind not in ONLY.get(field.name, (self.kind,)) and getattr(self, field.name) != field.default:
                allowed = ", ".join(ONLY[field.name])
                raise ConfigError(f"camera device.{field.name}: found it for kind {self.kind}, allowed for {allowed} only")
