"""The GPUs of this computer, for diagnostics: by NVIDIA's `nvidia-ml-py` (extra `gpu`); none where it is missing."""

from functools import cache
from typing import Any

from robot_stack.diagnostics import Reading, gpu_reading


def readings() -> list[Reading]:
    """How warm, busy and full each GPU is now. A figure it does not give (a Jetson has no memory of its own) is left at 0."""
    return [_reading(number, *found) for number, found in enumerate(_handles())]


@cache
def _handles() -> tuple[tuple[Any, Any], ...]:
    """The library and a handle for each GPU; looked for once."""
    try:
        import pynvml
    except ModuleNotFoundError:
        return ()
    try:
        pynvml.nvmlInit()
        return tuple((pynvml, pynvml.nvmlDeviceGetHandleByIndex(i)) for i in range(pynvml.nvmlDeviceGetCount()))
    except pynvml.NVMLError:
        return ()


def _reading(number: int, nvml: Any, handle: Any) -> Reading:
    def asked(question: Any, *arguments: Any) -> Any:
        try:
            return question(handle, *arguments)
        except nvml.NVMLError:
            return None

    degrees = asked(nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU)
    load, memory = asked(nvml.nvmlDeviceGetUtilizationRates), asked(nvml.nvmlDeviceGetMemoryInfo)
    share = memory.used / memory.total if memory else 0.0
    return gpu_reading(f"gpu {number}", float(degrees or 0.0), load.gpu / 100.0 if load else 0.0, share)
