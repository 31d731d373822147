"""TensorRT through either of its doors, `tensorrt` (Jetson, data centre) or `tensorrt_rtx` (desktop): one API.

Networks are strongly typed: every product is done in the type the ONNX graph says, so parity was measured for what runs. An
engine is built for one number of candidates N and kept by `cache`. Inputs lie side by side in one pinned block, so that pictures
and numbers go to the GPU in one copy; copies and network are one CUDA graph.
"""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from policies.bundle import Bundle
from policies.engine import Value
from policies.engines.cache import EngineKey, cache_folder, cached, write_atomic
from policies.engines.cuda import Block, captured, check, gpu, runtime
from robot_stack.errors import PolicyError

DOORS = ("tensorrt", "tensorrt_rtx")
ALIGN = 256
ELSEWHERE = "run.engine=onnxruntime, which runs the same bundle"


def library() -> ModuleType:
    """`tensorrt`, or `tensorrt_rtx`. Raises PolicyError without either."""
    reasons = []
    for name in DOORS:
        try:
            return importlib.import_module(name)
        except ImportError as error:
            reasons.append(str(error))
    raise PolicyError(f"{', '.join(reasons)}; next: pip install 'robot_stack[tensorrt]' or 'robot_stack[tensorrt-rtx]'")


def build_engine(model: Path, candidates: int, timings: Path | None = None) -> bytes:
    """The serialized engine of the graph `model` for N = `candidates`; no GPU needed with `tensorrt_rtx`.

    `timings`: where TensorRT keeps how long each kernel took, for the next build (RTX chooses its kernels on the robot). Raises
    PolicyError naming the node that TensorRT can't take.
    """
    trt = library()
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(model)):
        raise PolicyError(refusal(model, [parser.get_error(i) for i in range(parser.num_errors)]))
    profile, config = builder.create_optimization_profile(), builder.create_builder_config()
    noise = next(network.get_input(i) for i in range(network.num_inputs) if network.get_input(i).name == "noise")
    profile.set_shape("noise", *[(candidates, *list(noise.shape)[1:])] * 3)
    config.add_optimization_profile(profile)
    kept = timings if trt.__name__ == DOORS[0] else None
    if kept:
        config.set_timing_cache(config.create_timing_cache(kept.read_bytes() if kept.is_file() else b""), False)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise PolicyError(f"{model}: {trt.__name__} {trt.__version__} can't build it; its log above says why; next: {ELSEWHERE}")
    if kept:
        write_atomic(kept, bytes(config.get_timing_cache().serialize()))
    return bytes(engine)


def refusal(model: Path, errors: Sequence[Any]) -> str:
    """What the parser could not take, and what to do about it."""
    first = errors[0]
    node = f"node {first.node_name()!r} ({first.node_operator()})" if first.node() >= 0 else "the graph as a whole"
    more = f" and {len(errors) - 1} more" if len(errors) > 1 else ""
    return (
        f"{model}: TensorRT can't take {node}{more}: {' '.join(first.desc().split())}; allowed: what its table of ONNX operators "
        f"lists; next: write that step of the policy with others and export again, or {ELSEWHERE}"
    )


def engine_of(bundle: Bundle, candidates: int, name: str, capability: tuple[int, int], folder: Path | None = None) -> bytes:
    """The engine of `bundle` for N = `candidates` on the GPU `name`: kept, or built now."""
    trt, manifest, folder = library(), bundle.manifest, folder or cache_folder()
    builder, number = f"{trt.__name__} {trt.__version__}", f"{capability[0]}.{capability[1]}"
    key = EngineKey(manifest.files[bundle.model.name], name, number, builder, manifest.precision, candidates)
    timings = folder / f"{name} {builder}.timings".replace(" ", "_")
    return cached(key, lambda: build_engine(bundle.model, candidates, timings), folder)


class TensorRtEngine:
    """An Engine for one number of candidates."""

    def __init__(self, bundle: Bundle, candidates: int) -> None:
        """Raises PolicyError without TensorRT or a GPU, or where it can't build or load the engine."""
        (name, capability), self._cudart, trt = gpu(), runtime(), library()  # the GPU first: loading TensorRT takes a second
        self._runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
        self._engine = self._runtime.deserialize_cuda_engine(engine_of(bundle, candidates, name, capability))
        if self._engine is None:
            raise PolicyError(f"{trt.__name__} {trt.__version__} can't load its own engine on {name} (is the GPU supported?)")
        self._context = self._engine.create_execution_context()
        self._stream = check(self._cudart.cudaStreamCreate())
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        inputs = [n for n in names if self._engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
        self._context.set_input_shape("noise", (candidates, *list(self._engine.get_tensor_shape("noise"))[1:]))
        self._up, self._inputs = self._block(trt, inputs)
        self._down, self._outputs = self._block(trt, [n for n in names if n not in inputs])
        self._graph = captured(self._cudart, self._stream, self._enqueue)
        self._candidates = candidates
        self.name = f"{trt.__name__} {trt.__version__} on {name}"

    def run(self, outputs: Sequence[str], feed: Mapping[str, Value]) -> list[Value]:
        """`outputs` of the graph for `feed`."""
        if (found := len(feed["noise"])) != self._candidates:
            raise PolicyError(f"noise: found {found} candidates, allowed {self._candidates}: the engine was built for them")
        for name, place in self._inputs.items():
            np.copyto(place, feed[name], casting="no")
        check(self._cudart.cudaGraphLaunch(self._graph, self._stream))
        check(self._cudart.cudaStreamSynchronize(self._stream))
        return [self._outputs[name].copy() for name in outputs]

    def close(self) -> None:
        """Give the GPU back."""
        self._cudart.cudaGraphExecDestroy(self._graph)
        self._inputs, self._outputs = {}, {}
        self._up.close()
        self._down.close()
        self._cudart.cudaStreamDestroy(self._stream)

    def _enqueue(self) -> None:
        self._up.upload(self._stream)
        if not self._context.execute_async_v3(int(self._stream)):
            raise PolicyError("TensorRT: the network could not be started; its log above says why")
        self._down.download(self._stream)

    def _block(self, trt: ModuleType, names: Sequence[str]) -> tuple[Block, dict[str, Value]]:
        """One block for the tensors `names`, bound to the network, and each tensor's place in it."""
        kinds = {name: np.dtype(trt.nptype(self._engine.get_tensor_dtype(name))) for name in names}
        shapes = {name: tuple(self._context.get_tensor_shape(name)) for name in names}
        sizes = [-(-int(np.prod(shapes[name])) * kinds[name].itemsize // ALIGN) * ALIGN for name in names]
        block = Block(self._cudart, max(ALIGN, sum(sizes)))
        places = {}
        for name, begin in zip(names, np.cumsum([0, *sizes[:-1]]), strict=True):
            end = begin + int(np.prod(shapes[name])) * kinds[name].itemsize
            places[name] = block.host[begin:end].view(kinds[name]).reshape(shapes[name])
            self._context.set_tensor_address(name, block.device + int(begin))
        return block, places
