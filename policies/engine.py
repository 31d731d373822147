"""What runs a bundle's graph: one Protocol, and the choice of the best engine this computer has.

`auto` takes the first of PREFERRED that opens: TensorRT where there is a GPU it supports, then ONNX Runtime on a GPU, OpenVINO
on x86 processors, and ONNX Runtime on the processor, which is always there. Which it was, and why not the others, is one line,
which policy_node logs. An engine that was asked for by name is used or refused, never replaced.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from policies.bundle import Bundle
from robot_stack.errors import PolicyError

Value = NDArray[np.generic]
PREFERRED = ("tensorrt", "onnxruntime_gpu", "openvino", "onnxruntime")


class Engine(Protocol):
    """Runs one graph; `name` is what the log calls it, with version and device."""

    name: str

    def run(self, outputs: Sequence[str], feed: Mapping[str, Value]) -> list[Value]:
        """The arrays of `outputs`, each its own copy, for `feed`: an array for each input of the graph.

        Raises PolicyError where the engine was built for another number of candidates.
        """
        ...


def open_engine(bundle: Bundle, wanted: str, candidates: int, threads: int = 1) -> tuple[Engine, str]:
    """The engine `wanted` (auto, or one of PREFERRED) of `bundle`, ready for `candidates`; and what to log about the choice.

    Raises PolicyError naming what is missing where it cannot be used here.
    """
    reasons = []
    for kind in PREFERRED[:-1] if wanted == "auto" else ():
        try:
            engine = _open(kind, bundle, candidates, threads)
            break
        except PolicyError as error:
            reasons.append(f"{kind}: {error}")
    else:
        engine = _open(PREFERRED[-1] if wanted == "auto" else wanted, bundle, candidates, threads)
    why = "asked for" if wanted != "auto" else "; ".join(reasons) or "the first choice"
    return engine, f"{engine.name}, {bundle.manifest.precision}, N = {candidates} ({why})"


def _open(kind: str, bundle: Bundle, candidates: int, threads: int) -> Engine:
    match kind:
        case "tensorrt":
            from policies.engines.tensor_rt import TensorRtEngine

            return TensorRtEngine(bundle, candidates)
        case "onnxruntime_gpu":
            from policies.engines.onnx_runtime import OnnxRuntimeEngine, gpu_provider

            return OnnxRuntimeEngine(bundle.model, threads, gpu_provider())
        case "openvino":
            from policies.engines.open_vino import OpenVinoEngine

            return OpenVinoEngine(bundle.model, threads, candidates)
        case "onnxruntime":
            from policies.engines.onnx_runtime import OnnxRuntimeEngine

            return OnnxRuntimeEngine(bundle.model, threads, precision=bundle.manifest.precision)
        case _:
            raise PolicyError(f"engine: found {kind!r}, allowed auto, {', '.join(PREFERRED)}")
