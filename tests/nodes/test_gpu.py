"""The GPUs of this computer, as NVIDIA's library tells."""

import shutil

import pytest

from robot_stack.diagnostics import Level
from robot_stack.nodes import gpu


def test_every_gpu_of_this_computer_has_a_reading_and_none_is_no_error() -> None:
    readings = gpu.readings()
    assert all(reading.part == f"gpu {number}" for number, reading in enumerate(readings))


@pytest.mark.gpu
def test_a_gpu_says_how_warm_and_full_it_is() -> None:
    pytest.importorskip("pynvml", reason="needs the extra `gpu`: pip install nvidia-ml-py")
    if shutil.which("nvidia-smi") is None:
        pytest.skip("needs an NVIDIA GPU")
    (reading, *_) = gpu.readings()
    assert reading.level in (Level.OK, Level.WARN) and 10.0 < float(reading.values["temperature_degC"]) < 100.0
    assert 0.0 <= float(reading.values["load"]) <= 1.0 and 0.0 < float(reading.values["memory"]) < 1.0
