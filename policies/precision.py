"""The types a network computes in, written into its ONNX graph: what every engine then runs, and what parity is measured of.

Only products (matrix products and convolutions) inside the networks are changed. Pictures, statistics, chunks in rad, norms,
softmax and the selector's counts stay in fp32: there a rounded bit is a grey level, a part of a joint's range, another winner.

fp16, bf16: operands are cast before a product and its result back after it. int8, fp8: ONNX Runtime's quantiser puts a
QuantizeLinear / DequantizeLinear pair before each operand, scaled by recorded observations; symmetric, without zero points and
without quantised biases, as TensorRT wants it. With bf16 and fp8 convolutions stay wide: ONNX at this opset has none of bf16.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from policies.engine import Value
from robot_stack.errors import PolicyError

PRECISIONS = ("fp32", "fp16", "bf16", "int8", "fp8")
PRODUCTS = ("MatMul", "Gemm", "Conv", "ConvTranspose")
NETWORKS = ("policy.encoder", "policy.head", "network")
"""The last is that of another library (`adapters.foreign`)."""
SCOPES = "pkg.torch.onnx.name_scopes"
HALVES = {"fp16": onnx.TensorProto.FLOAT16, "bf16": onnx.TensorProto.BFLOAT16}


def set_precision(model: Path, precision: str, observed: Iterable[Mapping[str, Value]]) -> Path:
    """Rewrite the graph in `model`. `observed`: inputs of recorded observations; only int8 and fp8 look at them.

    Returns the graph to measure parity of on a processor: the same, or, of bf16, whose products ONNX Runtime lacks there, one
    beside it that rounds the operands alike and multiplies them in fp32, as tensor cores do. Raises PolicyError on a precision
    that does not exist, or where there is nothing to set it of.
    """
    if precision not in PRECISIONS:
        raise PolicyError(f"precision: found {precision!r}, allowed {', '.join(PRECISIONS)}")
    if precision == "fp32":
        return model
    graph = onnx.load(model)
    products = PRODUCTS[:2] if precision in ("bf16", "fp8") else PRODUCTS
    names = [node.name for node in graph.graph.node if node.op_type in products and _inside(node)]
    if not names:
        raise PolicyError(f"{model}: found no product of {' or '.join(NETWORKS)}, allowed a graph that export wrote")
    if precision not in HALVES:
        _quantise(model, names, precision, observed)
        return model
    measured = model.with_suffix(".rounded.onnx") if precision == "bf16" else model
    for path, back in ((measured, precision == "bf16"), (model, False)):
        halved = onnx.ModelProto()
        halved.CopyFrom(graph)
        _halve(halved.graph, set(names), HALVES[precision], back)
        onnx.save(halved, path)
    return measured


def _inside(node: onnx.NodeProto) -> bool:
    """Does it come from one of NETWORKS? The exporter notes the modules of a node."""
    scopes = {entry.key: entry.value for entry in node.metadata_props}.get(SCOPES, "")
    return any(f"'{network}" in scopes for network in NETWORKS)


def _halve(graph: onnx.GraphProto, names: set[str], kind: int, back: bool) -> None:
    """Products `names` in the type `kind`; with `back` only their operands are rounded to it."""
    weights = {tensor.name: tensor for tensor in graph.initializer}
    halved: dict[str, str] = {}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        nodes += _cast_around(node, weights, halved, kind, back) if node.name in names else [node]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
    for name in halved.keys() & weights.keys():
        tensor = numpy_helper.to_array(weights[name]).astype(dtype)
        graph.initializer.append(numpy_helper.from_array(tensor.astype(np.float32) if back else tensor, halved[name]))
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    for unused in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(unused)


def _cast_around(
    node: onnx.NodeProto, weights: Mapping[str, onnx.TensorProto], halved: dict[str, str], kind: int, back: bool
) -> Iterator[onnx.NodeProto]:
    """The casts before `node`, those not yet in `halved`; itself; and the cast after it."""
    for name in node.input:
        if name and name not in halved:
            halved[name] = f"{name}.half"
            if name not in weights:
                rounded = f"{name}.rounded" if back else halved[name]
                yield onnx.helper.make_node("Cast", [name], [rounded], f"{rounded}.cast", to=kind)
                if back:
                    yield onnx.helper.make_node("Cast", [rounded], [halved[name]], f"{name}.wide", to=onnx.TensorProto.FLOAT)
    inputs, output = [halved.get(name, name) for name in node.input], node.output[0]
    del node.input[:]
    node.input.extend(inputs)
    if not back:
        node.output[0] = f"{output}.half"
    yield node
    if not back:
        yield onnx.helper.make_node("Cast", [f"{output}.half"], [output], f"{output}.wide", to=onnx.TensorProto.FLOAT)


class _Observed:
    """Recorded inputs as ONNX Runtime's calibration reads them: one after the other, then None."""

    def __init__(self, feeds: Iterable[Mapping[str, Value]]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> dict[str, Value] | None:
        """The next inputs."""
        feed = next(self._feeds, None)
        return None if feed is None else dict(feed)


def _quantise(model: Path, names: list[str], precision: str, observed: Iterable[Mapping[str, Value]]) -> None:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    kind = QuantType.QInt8 if precision == "int8" else QuantType.QFLOAT8E4M3FN
    logging.disable(logging.WARNING)  # it asks for a clean-up that the exporter has done
    try:
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
            calibrate_method=CalibrationMethod.MinMax if precision == "int8" else CalibrationMethod.Distribution,
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
                "OpTypesToExcludeOutputQuantization": list(PRODUCTS),
            },
        )
    finally:
        logging.disable(logging.NOTSET)
