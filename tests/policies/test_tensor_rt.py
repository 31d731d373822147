"""TensorRT on the tiny policy: built, kept, rebuilt, refused in words. Engines of every head: test_heads."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from policies.bundle import load_bundle
from policies.engines import tensor_rt
from policies.engines.tensor_rt import TensorRtEngine, build_engine, engine_of
from policies.onnx_policy import OnnxPolicy
from policies.recorded import observation_at
from robot_stack.errors import PolicyError

GPU = ("no GPU", (8, 9))


@pytest.fixture(autouse=True)
def installed():
    for name in tensor_rt.DOORS:
        try:
            __import__(name)
            return
        except ImportError:
            continue
    pytest.skip("needs the extra `tensorrt-rtx` or `tensorrt`")


def test_an_engine_is_kept_and_a_damaged_one_is_built_again(bundle, tmp_path, monkeypatch):
    opened = load_bundle(bundle)
    first = engine_of(opened, 4, *GPU, tmp_path)
    assert len(first) > 10_000
    with monkeypatch.context() as patched:
        patched.setattr(tensor_rt, "build_engine", None)
        assert engine_of(opened, 4, *GPU, tmp_path) == first
    kept = max(tmp_path.glob("*.engine"), key=lambda path: path.stat().st_size)
    kept.write_bytes(kept.read_bytes()[:-1])
    assert len(engine_of(opened, 4, *GPU, tmp_path)) > 10_000
    with monkeypatch.context() as patched:
        patched.setattr(tensor_rt, "build_engine", None)
        engine_of(opened, 4, *GPU, tmp_path)


def test_a_node_tensorrt_cannot_take_is_named_with_what_to_do(tmp_path):
    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("noise", "chunk")}
    nodes = [helper.make_node("Sigmoid", ["noise"], ["a"]), helper.make_node("Det", ["a"], ["chunk"], name="the_odd_one")]
    graph = helper.make_graph(nodes, "odd", [values["noise"]], [values["chunk"]])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), tmp_path / "model.onnx")
    with pytest.raises(PolicyError, match=r"can't take node 'the_odd_one' \(Det\).*next: write that.*run.engine=onnxruntime"):
        build_engine(tmp_path / "model.onnx", 1)


@pytest.mark.gpu
def test_an_engine_runs_for_the_number_of_candidates_it_was_built_for(bundle, episodes):
    opened, seen = load_bundle(bundle), observation_at(episodes[0], 3)
    engine = TensorRtEngine(opened, 4)
    policy, reference = OnnxPolicy(bundle, 4, engine=engine), OnnxPolicy(bundle, 4)
    np.testing.assert_allclose(policy.decide(seen).chunk.q, reference.decide(seen).chunk.q, atol=1e-3)
    with pytest.raises(PolicyError, match="found 5 candidates, allowed 4"):
        policy.sample(seen, np.zeros((5, 8, 3), np.float32))
    engine.close()
