"""The types a network computes in, written into its ONNX graph: what every engine then runs, and what parity is measured of.

Only products (matrix products and convolutions) inside the networks are changed. Pictures, statistics, chunks in rad, norms, softmax and
the selector's counts stay in fp32: there a rounded bit is a grey level, a part of a joint's range, or another winner.

fp16, bf16: operands are cast before a product and its result back after it. int8, fp8: ONNX Runtime's quantiser puts a
QuantizeLinear / DequantizeLinear pair before each operand, scaled by recorded observations; symmetric, without zero points and
without quantised biases, as TensorRT wants it.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
from onnx import numpy_helper

from policies.engine import Value
from robot_stack.errors import PolicyError

PRECISIONS = ("fp32", "fp16", "bf16", "int8", "fp8")
PRODUCTS = ("MatMul", "Gemm", "Conv", "ConvTranspose")
NETWORKS = ("policy.encoder", "policy.head")
SCOPES = "pkg.torch.onnx.name_scopes"
HALVES = {"fp16": (onnx.TensorProto.FLOAT16, np.dtype(np.float16)), "bf16": (onnx.TensorProto.BFLOAT16, np.dtype(ml_dtypes.bfloat16))}


def set_precision(model: Path, precision: str, observed: Iterable[Mapping[str, Value]]) -> None:
    """Rewrite the graph in `model`. `observed`: inputs of recorded observations; only int8 and fp8 look at them.

    Raises PolicyError on a precision that does not exist, or where there is nothing to set it of.
    """
    if precision not in PRECISIONS:
        raise PolicyError(f"precision: found {precision!r}, allowed {', '.join(PRECISIONS)}")
    if precision == "fp32":
        return
    graph = onnx.load(model)
    names = [node.name for node in graph.graph.node if _inside(node)]
    if not names:
        raise PolicyError(f"{model}: found no product of {' or '.join(NETWORKS)}, allowed a graph that export wrote")
    if precision in HALVES:
        _halve(graph.graph, set(names), *HALVES[precision])
        onnx.save(graph, model)
    else:
        _quantise(model, names, precision, observed)


def _inside(node: onnx.NodeProto) -> bool:
    """Is it a product of one of NETWORKS? The exporter notes the modules a node came from."""
    scopes = {entry.key: entry.value for entry in node.metadata_props}.get(SCOPES, "")
    return node.op_type in PRODUCTS and any(f"'{network}" in scopes for network in NETWORKS)


def _halve(graph: onnx.GraphProto, names: set[str], kind: int, dtype: np.dtype[np.generic]) -> None:
    weights = {tensor.name: tensor for tensor in graph.initializer}
    halved: dict[str, str] = {}
    nodes = [each for node in graph.node for each in (_cast_around(node, weights, halved, kind) if node.name in names else [node])]
    for name in halved.keys() & weights.keys():
        graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(weights[name]).astype(dtype), halved[name]))
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)


def _cast_around(
    node: onnx.NodeProto, weights: Mapping[str, onnx.TensorProto], halved: dict[str, str], kind: int
) -> Iterator[onnx.NodeProto]:
    """The casts before `node`, those not yet in `halved`; itself; and the cast after it."""
    for name in node.input:
        if name and name not in halved:
            halved[name] = f"{name}.half"
            if name not in weights:
                yield onnx.helper.make_node("Cast", [name], [halved[name]], f"{name}.to_half", to=kind)
    inputs, output = [halved.get(name, name) for name in node.input], node.output[0]
    del node.input[:]
    node.input.extend(inputs)
    node.output[0] = f"{output}.half"
    yield node
    yield onnx.helper.make_node("Cast", [f"{output}.half"], [output], f"{output}.from_half", to=onnx.TensorProto.FLOAT)


class _Observed:
    """Recorded inputs as ONNX Runtime's calibration reads them: one after the other, then None."""

    def __init__(self, feeds: Iterable[Mapping[str, Value]]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> dict[str, Value] | None:
        """The next inputs."""
        feed = next(self._feeds, None)
        return None if feed is None else dict(feed)


def _quantise(model: Path, names: list[str], precision: str, observed: Iterable[Mapping[str, Value]]) -> None:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    kind = QuantType.QInt8 if precision == "int8" else QuantType.QFLOAT8E4M3FN
    quantize_static(
        model,
        model,
        _Observed(observed),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=list(PRODUCTS),
        per_channel=precision == "int8",
        activation_type=kind,
        weight_type=kind,
        nodes_to_quantize=names,
        extra_options={
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "QuantizeBias": False,
            "OpTypesToExcludeOutputQuantization": list(PRODUCTS),
        },
    )
