"""Every engine says what the reference says, is refused in words where it can't be used, and the best one there is is chosen."""

import re
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest

from policies.bundle import load_bundle
from policies.checkpoint import load_checkpoint
from policies.engine import PREFERRED, open_engine
from policies.engines.cuda import gpu
from policies.engines.onnx_runtime import GPUS, OnnxRuntimeEngine
from policies.engines.torch_graphs import TorchEngine
from policies.export import OUTPUTS, Decision
from policies.onnx_policy import OnnxPolicy
from policies.parity import measure_parity
from policies.recorded import observation_at
from robot_stack.config.running import ENGINES
from robot_stack.errors import PolicyError


def has_gpu():
    try:
        return bool(gpu())
    except PolicyError:
        return False


def opened(kind, bundle):
    if kind == "openvino":
        pytest.importorskip("openvino", reason="needs the extra `openvino`")
    return open_engine(load_bundle(bundle), kind, 4)[0]


@pytest.mark.parametrize("kind", ["onnxruntime", "openvino", pytest.param("tensorrt", marks=pytest.mark.gpu)])
def test_an_engine_says_what_pytorch_says(kind, bundle, decision, example, episodes):
    parity = measure_parity(TorchEngine(decision, OUTPUTS), opened(kind, bundle), episodes, example, observations=8)
    assert parity.figures["max_abs_rad"] < 1e-4 and parity.figures["min_cosine"] > 0.999999


@pytest.mark.gpu
def test_the_cuda_graph_of_pytorch_says_what_pytorch_says(decision, checkpoint, example, episodes):
    other = Decision(load_checkpoint(checkpoint)[0], None).eval()
    parity = measure_parity(TorchEngine(decision, OUTPUTS), TorchEngine(other, OUTPUTS, "cuda"), episodes, example)
    assert parity.figures["max_abs_rad"] < 1e-3


@pytest.mark.parametrize("kind", ["onnxruntime", "openvino"])
def test_the_number_of_candidates_is_free_after_an_engine_is_open(kind, bundle, episodes):
    policy, seen = OnnxPolicy(bundle, engine=opened(kind, bundle)), observation_at(episodes[0], 3)
    noise = np.random.default_rng(1).standard_normal((9, 8, 3)).astype(np.float32)
    many, few = policy.sample(seen, noise).actions, policy.sample(seen, noise[:2]).actions
    np.testing.assert_allclose(many[:2], few, atol=1e-5)


@pytest.mark.parametrize("kind", ["onnxruntime", "openvino"])
def test_an_answer_is_not_overwritten_by_the_next_one(kind, bundle, episodes):
    engine = opened(kind, bundle)
    policy = OnnxPolicy(bundle, engine=engine)
    feeds = [policy.feed(observation_at(episodes[k], 5)) for k in (0, 1)]
    first = engine.run(["candidates"], feeds[0])[0]
    kept = first.copy()
    assert not np.array_equal(engine.run(["candidates"], feeds[1])[0], kept)
    np.testing.assert_array_equal(first, kept)


def test_which_engine_was_chosen_and_why_is_one_line(bundle):
    said = OnnxPolicy(bundle, 6, engine="auto").engine
    assert ", fp32, N = 6 (" in said and "\n" not in said
    assert has_gpu() or re.search(r"\(tensorrt: .+; onnxruntime_gpu: no GPU provider.+\)", said)
    assert OnnxPolicy(bundle, engine="onnxruntime").engine.endswith(" on CPU, fp32, N = 4 (asked for)")


def test_the_settings_allow_the_engines_there_are():
    assert ENGINES == ("auto", *PREFERRED)


@pytest.mark.skipif(has_gpu(), reason="there is a GPU here")
@pytest.mark.parametrize("kind", ["tensorrt", "onnxruntime_gpu"])
def test_an_engine_asked_for_by_name_is_never_replaced_by_another(kind, bundle):
    with pytest.raises(PolicyError, match="GPU|tensorrt|cuda"):
        OnnxPolicy(bundle, engine=kind)


def test_a_provider_that_is_not_there_lists_those_that_are(bundle):
    with pytest.raises(PolicyError, match="found 'NoSuchExecutionProvider', allowed here .*CPUExecutionProvider"):
        OnnxRuntimeEngine(load_bundle(bundle).model, provider="NoSuchExecutionProvider")


class FallenBack:
    """A session as ONNX Runtime gives it where the libraries of a GPU are missing."""

    def __init__(self, *_, **__):
        pass

    def get_providers(self):
        return ["CPUExecutionProvider"]


def test_a_provider_that_silently_fell_back_to_the_processor_is_refused(bundle, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [*GPUS, "CPUExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", FallenBack)
    with pytest.raises(PolicyError, match="asked for TensorrtExecutionProvider, the session uses CPUExecutionProvider"):
        open_engine(load_bundle(bundle), "onnxruntime_gpu", 4)


def test_a_graph_that_is_none_is_refused_by_every_engine(bundle, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"\x08\x0acut")
    broken = replace(load_bundle(bundle), folder=tmp_path)
    for kind in ("onnxruntime", "openvino"):
        if kind == "openvino":
            pytest.importorskip("openvino", reason="needs the extra `openvino`")
        with pytest.raises(PolicyError, match=r"model.onnx: .*can't"):
            open_engine(broken, kind, 4)
