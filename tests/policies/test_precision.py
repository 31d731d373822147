"""Precisions are set in the graph: only the networks' products change, and parity says by how much that moves a chunk."""

import shutil
from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from policies.adapters.foreign import Foreign, ForeignDecision
from policies.bundle import load_bundle
from policies.engines.onnx_runtime import OnnxRuntimeEngine
from policies.engines.torch_graphs import TorchEngine
from policies.export import OUTPUTS, export_bundle, write_graph
from policies.parity import TOLERANCES_RAD, measure_parity, recorded_inputs
from policies.precision import PRECISIONS, PRODUCTS, set_precision
from robot_stack.errors import PolicyError

QUANTISED = {"int8": onnx.TensorProto.INT8, "fp8": onnx.TensorProto.FLOAT8E4M3FN}


@pytest.fixture(scope="module", params=PRECISIONS[1:])
def model(request, bundle, episodes, example, tmp_path_factory):
    """A precision, and the bundle's graph in it."""
    path = tmp_path_factory.mktemp("precision") / "model.onnx"
    shutil.copy(load_bundle(bundle).model, path)
    measured = set_precision(path, request.param, (feed for _, feed in recorded_inputs(episodes, example)))
    return request.param, path, measured


def test_the_chunks_stay_within_the_tolerance_of_the_precision(model, decision, example, episodes):
    precision, _, measured = model
    found = OnnxRuntimeEngine(measured, precision=precision)
    parity = measure_parity(TorchEngine(decision, OUTPUTS), found, episodes, example)
    if precision == "fp8":  # three bits of mantissa: near enough in rad, too far apart in direction for so small a network
        assert parity.figures["max_abs_rad"] < TOLERANCES_RAD[precision]
    else:
        parity.check(TOLERANCES_RAD[precision])
    assert parity.figures["max_abs_rad"] > 1e-6, "the graph computes as before"


def test_products_outside_the_networks_stay_in_full_precision(model, bundle):
    """The resizing of pictures, the cosine basis: products that no cast and no quantiser stands before."""
    before, after = onnx.load(load_bundle(bundle).model), onnx.load(model[1])

    def full(graph):
        changed = {n.output[0] for n in graph.graph.node if n.op_type in ("Cast", "DequantizeLinear")}
        return Counter(n.op_type for n in graph.graph.node if n.op_type in PRODUCTS and not {*n.input} & changed)

    assert full(after)["MatMul"] == full(before)["MatMul"] > 0 == full(after)["Gemm"] < full(before)["Gemm"]


def test_quantised_weights_are_stored_quantised(model):
    precision, path, _ = model
    kinds = Counter(tensor.data_type for tensor in onnx.load(path).graph.initializer if len(tensor.dims) > 1)
    assert precision not in QUANTISED or kinds[QUANTISED[precision]] > 5


class Blind(nn.Module):
    """A network of another library that sees joints alone."""

    def __init__(self):
        super().__init__()
        self.leave = nn.Linear(3, 8 * 3)

    def forward(self, pictures, joints, speeds, noise):
        features = self.leave(joints[None]).expand(noise.shape[0], -1)
        return joints + features.reshape(-1, 8, 3) + 0.01 * noise, features


class Other(nn.Module):
    """A network of another library: pictures and joints to a chunk, each of its candidates shifted by its noise."""

    def __init__(self, cameras):
        super().__init__()
        self.look, self.leave = nn.Conv2d(3 * cameras, 8, 4, 4), nn.Linear(8 + 3, 8 * 3)

    def forward(self, pictures, joints, speeds, noise):
        seen = self.look(torch.cat(pictures, -1).permute(2, 0, 1)[None].float() / 255.0).mean((2, 3))
        features = self.leave(torch.cat([seen, joints[None]], -1)).expand(noise.shape[0], -1)
        return joints + features.reshape(-1, 8, 3) + 0.01 * noise, features


@pytest.mark.parametrize("cameras", [(), ("scene", "wrist")], ids=["blind", "two cameras"])
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_graph_without_a_plan_is_measured_on_what_it_asks_for(precision, cameras, episodes, tmp_path):
    """As that of another library, which has fewer inputs."""
    torch.manual_seed(0)
    sizes, path = tuple((name, (32, 32)) for name in cameras), tmp_path / "model.onnx"
    network = Other(len(cameras)) if cameras else Blind()
    decision = ForeignDecision(Foreign("other", network, None, sizes, 8, 20.0), 3).eval()
    write_graph(decision, path)
    example = {name: value.numpy() for name, value in decision.example().items()}
    measured = set_precision(path, precision, (feed for _, feed in recorded_inputs(episodes, example)))
    parity = measure_parity(
        TorchEngine(decision, OUTPUTS), OnnxRuntimeEngine(measured, precision=precision), episodes, example, observations=8
    )
    parity.check(TOLERANCES_RAD[precision])
    assert parity.figures["max_abs_rad"] > 1e-6 and ("picture" in parity.where) == bool(cameras)


def test_an_export_in_half_precision_says_so_in_its_manifest(checkpoint, episodes, tmp_path):
    manifest = load_bundle(export_bundle(checkpoint, tmp_path / "bundle", None, episodes, precision="fp16")).manifest
    assert manifest.precision == "fp16" and manifest.parity["min_cosine"] >= 0.999


def test_an_unknown_precision_lists_those_that_exist(checkpoint, episodes, tmp_path):
    with pytest.raises(PolicyError, match="precision: found 'fp2', allowed fp32, fp16, bf16, int8, fp8"):
        export_bundle(checkpoint, tmp_path / "bundle", None, episodes, precision="fp2")


class Bent:
    """An engine that is wrong in one place while one camera sees anything but grey."""

    name = "bent"

    def __init__(self, engine):
        self._engine = engine

    def run(self, outputs, feed):
        answers = self._engine.run(outputs, feed)
        if "candidates" in outputs and feed["image_wrist"].std():
            answers[outputs.index("candidates")][2, 5, 1] += 0.25
        return answers


def test_a_refused_export_says_which_joint_row_and_camera_are_worst(decision, bundle, episodes, example):
    engine = OnnxRuntimeEngine(load_bundle(bundle).model)
    parity = measure_parity(engine, Bent(engine), episodes, example, observations=3)
    assert parity.figures["max_abs_rad"] == pytest.approx(0.25, abs=1e-3)
    with pytest.raises(PolicyError, match=r"joint joint_1, row 5, candidate 2; without the picture of wrist it would be 0"):
        parity.check(1e-3)


def test_a_chunk_that_is_not_a_number_is_never_within_a_tolerance(bundle, episodes, example):
    class Lost(Bent):
        def run(self, outputs, feed):
            return [np.full_like(answer, np.nan) if answer.dtype.kind == "f" else answer for answer in super().run(outputs, feed)]

    engine = OnnxRuntimeEngine(load_bundle(bundle).model)
    with pytest.raises(PolicyError, match="parity: found nan rad"):
        measure_parity(engine, Lost(engine), episodes, example, observations=2).check(1.0)
