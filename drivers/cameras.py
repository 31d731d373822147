"""The cameras that ship: which driver a camera's `device` means. Imports inside the branches: only its camera needs a package."""

from drivers.camera_capture import CapturedCamera, Retry, Source
from robot_stack.clock import nanoseconds
from robot_stack.errors import ConfigError, DriverError
from robot_stack.interfaces import Camera
from robot_stack.robot import CameraSpec

STEPS = {"ros": "source the setup file of a ROS 2, or `make setup`", "realsense": "pip install 'robot_stack[realsense]'"}


def open_camera(spec: CameraSpec) -> Camera:
    """The camera of `spec`, opened, with a first picture. Raises DriverError when it or its package is not there."""
    device = spec.device
    retry = Retry(nanoseconds(device.retry_s), nanoseconds(device.retry_most_s))
    return CapturedCamera(spec.name, lambda: _source(spec), device.silent_s, None if device.kind == "video" else retry)


def _source(spec: CameraSpec) -> Source:
    try:
        match spec.device.kind:
            case "v4l2":
                from drivers.opencv_camera import V4l2Source

                return V4l2Source(spec)
            case "mjpeg":
                from drivers.mjpeg_camera import MjpegSource

                return MjpegSource(spec.device)
            case "rtsp":
                from drivers.rtsp_camera import RtspSource

                return RtspSource(spec.device)
            case "video":
                from drivers.video_file import VideoSource

                return VideoSource(spec.device)
            case "realsense":
                from drivers.realsense import RealsenseSource

                return RealsenseSource(spec)
            case "ros":
                from drivers.ros_image import RosImageSource

                return RosImageSource(spec.device)
    except ImportError as error:
        step = STEPS.get(spec.device.kind, "`make setup`")
        raise DriverError(f"kind {spec.device.kind}: cannot be used ({error}); next: {step}, then start again") from error
    raise ConfigError(f"camera {spec.name}: device: found none, and no simulated world has it; next: robot-stack find-cameras")
