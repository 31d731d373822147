"""ONNX Runtime: the common denominator. Asked for a provider that fails to load it takes the CPU in silence: checked."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnxruntime

from policies.engine import Value
from robot_stack.errors import PolicyError

CPU = "CPUExecutionProvider"
GPUS = ("TensorrtExecutionProvider", "CUDAExecutionProvider")


class OnnxRuntimeEngine:
    """An Engine. The number of candidates is free."""

    def __init__(self, model: Path, threads: int = 1, provider: str = CPU, precision: str = "fp32") -> None:
        """Raises PolicyError where `provider` is not there or not the one that is really used."""
        self._session = open_session(model, threads, provider, fused=precision != "fp8")
        self.name = f"onnxruntime {onnxruntime.__version__} on {provider.removesuffix('ExecutionProvider')}"

    def run(self, outputs: Sequence[str], feed: Mapping[str, Value]) -> list[Value]:
        """`outputs` of the graph for `feed`."""
        answers: list[Value] = self._session.run(list(outputs), dict(feed))
        return answers


def gpu_provider() -> str:
    """The best provider of a GPU that this ONNX Runtime was built with. Raises PolicyError without one."""
    for provider in GPUS:
        if provider in onnxruntime.get_available_providers():
            return provider
    raise PolicyError("no GPU provider; next: pip install 'robot_stack[gpu]' in place of [cpu]")


def open_session(model: Path, threads: int, provider: str, fused: bool = True) -> onnxruntime.InferenceSession:
    """A session that really uses `provider`. `fused`: a quantised product is one operation, which no processor has for fp8."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3  # errors: of half precision it warns node by node that a processor has no such product
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.disable_quant_qdq", "0" if fused else "1")
    available = onnxruntime.get_available_providers()
    if provider not in available:
        raise PolicyError(f"provider: found {provider!r}, allowed here {available}; install the runtime that has it")
    try:
        session = onnxruntime.InferenceSession(str(model), options, providers=[provider])
    except Exception as error:  # onnxruntime's errors share no public parent
        raise PolicyError(f"{model}: can't be opened: {error}; export again") from error
    if (used := session.get_providers()[0]) != provider:
        raise PolicyError(f"provider: asked for {provider}, the session uses {used}; check its driver libraries")
    return session
