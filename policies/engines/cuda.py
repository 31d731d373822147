"""The little of CUDA's runtime that an engine needs, by NVIDIA's `cuda-bindings`: a GPU's name, memory, one stream, one graph."""

import ctypes
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_stack.errors import PolicyError


def runtime() -> ModuleType:
    """CUDA's runtime API. Raises PolicyError without the package or without a GPU."""
    try:
        from cuda.bindings import runtime as cudart
    except ImportError as error:
        raise PolicyError(f"cuda-bindings can't be loaded ({error}); next: pip install 'robot_stack[tensorrt]'") from error
    status, number = cudart.cudaGetDeviceCount()
    if status != cudart.cudaError_t.cudaSuccess or not number:
        raise PolicyError("no NVIDIA GPU, or no driver for it (nvidia-smi says which)")
    found: ModuleType = cudart
    return found


def gpu() -> tuple[str, tuple[int, int]]:
    """Name and compute capability of GPU 0. Raises PolicyError without one."""
    properties = check(runtime().cudaGetDeviceProperties(0))
    return properties.name.decode(), (properties.major, properties.minor)


def check(answer: tuple[Any, ...]) -> Any:
    """What a call answered beside its status: nothing, one value or several. Raises PolicyError naming the failure."""
    status, *values = answer
    if int(status):
        raise PolicyError(f"CUDA: {status!r}; next: robot-stack doctor, or run.engine=onnxruntime")
    return values[0] if len(values) == 1 else tuple(values)


class Block:
    """Bytes on the GPU and, pinned, as many in this computer's memory: copied one way or the other at once."""

    def __init__(self, cudart: ModuleType, num_bytes: int) -> None:
        self._cudart, self._num_bytes = cudart, num_bytes
        self.device = int(check(cudart.cudaMalloc(num_bytes)))
        host = check(cudart.cudaMallocHost(num_bytes))
        self.host: NDArray[np.uint8] = np.ctypeslib.as_array((ctypes.c_uint8 * num_bytes).from_address(int(host)))

    def upload(self, stream: Any) -> None:
        """To the GPU, in the order of `stream`."""
        self._copy(self.device, self.host.ctypes.data, self._cudart.cudaMemcpyKind.cudaMemcpyHostToDevice, stream)

    def download(self, stream: Any) -> None:
        """From the GPU, in the order of `stream`."""
        self._copy(self.host.ctypes.data, self.device, self._cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost, stream)

    def _copy(self, target: int, source: int, way: Any, stream: Any) -> None:
        check(self._cudart.cudaMemcpyAsync(target, source, self._num_bytes, way, stream))

    def close(self) -> None:
        """Give the memory back; `host` must not be touched after."""
        self._cudart.cudaFree(self.device)
        self._cudart.cudaFreeHost(self.host.ctypes.data)


def captured(cudart: ModuleType, stream: Any, work: Callable[[], None]) -> Any:
    """`work` as one graph that can be launched on `stream`: a single call instead of one for each kernel."""
    work()  # whatever is allocated or compiled at first use must not fall into the capture
    check(cudart.cudaStreamSynchronize(stream))
    check(cudart.cudaStreamBeginCapture(stream, cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal))
    try:
        work()
    finally:
        graph = check(cudart.cudaStreamEndCapture(stream))
    launchable = check(cudart.cudaGraphInstantiate(graph, 0))
    check(cudart.cudaGraphDestroy(graph))
    return launchable
