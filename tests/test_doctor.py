"""The doctor's table has a line for everything a robot computer needs, and its exit code is 1 when one of them failed."""

import os
from pathlib import Path

import pytest

from robot_stack import doctor
from robot_stack.config.commands import DoctorCommand
from robot_stack.doctor import Check, State
from robot_stack.errors import DriverError

WANTED = {
    "gpu",
    "tensorrt",
    "onnxruntime",
    "openvino",
    "ros 2",
    "cameras",
    "arms",
    "teleop",
    "receive buffer",
    "disk",
    "real time",
    "robot",
}


def test_there_is_a_line_for_everything_a_robot_computer_needs() -> None:
    checks = doctor.examine(DoctorCommand())
    assert {check.name for check in checks} >= WANTED
    text = doctor.table(checks)
    assert all(f"{check.name} " in text and check.found.splitlines()[0] in text for check in checks)


@pytest.mark.parametrize(("states", "code"), [("ok warn", 0), ("ok FAIL warn", 1)])
def test_the_exit_code_says_whether_a_check_failed(states: str, code: int) -> None:
    assert doctor.exit_code([Check("x", State(state), "") for state in states.split()]) == code


def test_a_check_that_breaks_is_a_failed_line_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks() -> Check:
        raise DriverError("the lid is open")

    monkeypatch.setattr(doctor, "disk", breaks)
    checks = doctor.examine(DoctorCommand())
    assert [(check.state, check.found) for check in checks if check.name == "breaks"] == [(State.FAIL, "the lid is open")]
    assert checks[-1].name == "robot"


@pytest.mark.parametrize(("device", "look", "group"), [("ttyACM0", doctor.arms, "dialout"), ("video0", doctor.cameras, "video")])
def test_a_device_this_user_may_not_open_is_named_with_the_group_that_may(
    device: str, look: object, group: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / device).touch()
    monkeypatch.setattr(doctor, "DEV", tmp_path)
    assert callable(look)
    assert look().state is State.OK and device in look().found
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert look().state is State.WARN and device in look().found and f"`{group}`" in look().next


def test_the_line_of_a_gpu_has_its_driver_capability_memory_and_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "NVIDIA H200, 580.1, 9.0, 143771 MiB"
    monkeypatch.setattr(doctor.shutil, "which", lambda _: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(doctor, "_run", lambda command: "CUDA Version: 13.0 " if len(command) == 1 else said)
    assert doctor.gpu().state is State.OK and said in doctor.gpu().found and "CUDA 13.0" in doctor.gpu().found
