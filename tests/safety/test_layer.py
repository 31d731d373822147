"""The layer is the protocol, and starts without anything heavy."""

import subprocess
import sys

from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import SafetySettings
from robot_stack.control import ControlState
from robot_stack.interfaces import Safety
from robot_stack.types import Mode, Reason, Request
from safety.layer import SafetyLayer

SPEC = load_robot("sim_arm")


def test_the_layer_keeps_the_period_of_its_robot_and_the_protocol() -> None:
    layer: Safety = SafetyLayer(SPEC, SafetySettings())
    assert layer.dt_ns == 10_000_000
    mode, why = layer.arbitrate(ControlState(), Request.ARM_POLICY, 0)
    assert mode is Mode.DISARMED and why[0] is Reason.NOT_READY
    assert {Reason.JOINTS_STALE, Reason.FALLBACK_SILENT, Reason.MONITOR_SILENT, Reason.HAZARDS_STALE} == set(why[1:])


def test_the_arms_process_gets_no_torch_cvxpy_or_ros_from_it() -> None:
    heavy = {"torch", "cvxpy", "rclpy", "cv2", "mujoco"}
    code = f"import sys, safety.layer, safety.fallback; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
