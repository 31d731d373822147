"""A camera's picture on its way to the page: made small enough, as JPEG, with what is to be drawn over it."""

import json
import struct

import numpy as np

from robot_stack.config.console import ConsoleCommand
from robot_stack.console.overlay import overlay
from robot_stack.console.view import View
from robot_stack.data.video import jpeg
from robot_stack.kinematics import Kinematics
from robot_stack.robot import CameraSpec
from robot_stack.types import CameraFrame


def packet(frame: CameraFrame, spec: CameraSpec, kinematics: Kinematics, view: View, command: ConsoleCommand) -> bytes:
    """4 bytes length (big-endian), the overlay as that many bytes of JSON, the JPEG of `frame`."""
    q = view.q_at(frame.t_ns)
    drawn = {} if q is None or not np.isfinite(q).all() else overlay(spec, kinematics, q, view.chunk, view.hazards, frame.t_ns)
    header = json.dumps(drawn, allow_nan=False).encode()
    return struct.pack(">I", len(header)) + header + jpeg(frame.rgb, command.camera_width, command.jpeg_quality)
