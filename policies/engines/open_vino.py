"""OpenVINO: the fastest engine on x86 processors. Compiled for the number of candidates, whose shapes are then known.

Its default would be half precision where the processor has it, which no parity was measured for: products are done as the graph
says. Threads are not pinned: the control loop chose its core first.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from policies.engine import Value
from robot_stack.errors import PolicyError


class OpenVinoEngine:
    """An Engine. Another number of candidates than before compiles the graph again, once (a second or so)."""

    def __init__(self, model: Path, threads: int, candidates: int) -> None:
        """Raises PolicyError without the package `openvino`, or where it can't read the graph."""
        try:
            import openvino
        except ImportError as error:
            raise PolicyError(f"openvino can't be loaded ({error}); next: pip install 'robot_stack[openvino]'") from error
        self._core, self._model, self._requests = openvino.Core(), model, dict[int, Any]()
        self._properties = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
        }
        self._request(candidates)
        self.name = f"openvino {openvino.__version__.split('-')[0]} on {self._core.get_property('CPU', 'FULL_DEVICE_NAME')}"

    def run(self, outputs: Sequence[str], feed: Mapping[str, Value]) -> list[Value]:
        """`outputs` of the graph for `feed`."""
        request = self._request(len(feed["noise"]))
        request.infer(dict(feed), share_inputs=True, share_outputs=True)
        return [np.array(request.get_tensor(name).data) for name in outputs]

    def _request(self, candidates: int) -> Any:
        """What runs the graph for so many candidates."""
        if candidates not in self._requests:
            try:
                graph = self._core.read_model(self._model)
                shape = graph.input("noise").get_partial_shape()
                graph.reshape({"noise": [candidates, *(side.get_length() for side in list(shape)[1:])]})
                compiled = self._core.compile_model(graph, "CPU", self._properties)
            except RuntimeError as error:
                raise PolicyError(f"{self._model}: openvino can't read it: {error}; next: run.engine=onnxruntime") from error
            self._requests[candidates] = compiled.create_infer_request()
        return self._requests[candidates]
