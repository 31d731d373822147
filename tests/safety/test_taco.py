"""The coin-flip network counts: what is common counts more than what is rare, and that more than what was never seen."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from robot_stack.config.schema import TacoSettings
from robot_stack.errors import DataError
from robot_stack.types import Array
from safety.taco import CoinFlipNetwork, _update, train_cfn

SMALL = TacoSettings(width=64, batch=128, epochs=16)


def counts(cfn: CoinFlipNetwork, features: Array) -> Array:
    with torch.inference_mode():
        return cfn(torch.as_tensor(features, dtype=torch.float32)).double().numpy()


@pytest.fixture(scope="module")
def mixture() -> tuple[CoinFlipNetwork, Array, Array]:
    """Two clusters of spread 0.3, 90 : 10, at centres drawn from N(0, 1) in 32 dimensions, and the network fitted to both."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(2, 32))
    major = centres[0] + 0.3 * rng.normal(size=(2700, 32))
    minor = centres[1] + 0.3 * rng.normal(size=(300, 32))
    return train_cfn(np.vstack([major, minor]), SMALL, seed=0), centres[0], centres[1]


def test_a_common_mode_counts_more_than_a_rare_one_and_both_more_than_the_unseen(
    mixture: tuple[CoinFlipNetwork, Array, Array],
) -> None:
    cfn, major, minor = mixture
    rng = np.random.default_rng(1)
    fresh = 0.3 * rng.normal(size=(200, 32))
    common, rare, unseen = counts(cfn, major + fresh), counts(cfn, minor + fresh), counts(cfn, rng.normal(size=32) + fresh)
    assert np.mean(common[:, None] > rare[None]) > 0.93
    assert np.median(common) > 2 * np.median(rare)
    assert np.mean(rare[:, None] > unseen[None]) > 0.9


def test_the_choice_between_candidates_falls_on_the_common_mode(mixture: tuple[CoinFlipNetwork, Array, Array]) -> None:
    cfn, major, minor = mixture
    rng = np.random.default_rng(2)
    candidates = np.where(np.arange(8)[None, :, None] < 3, major, minor) + 0.3 * rng.normal(size=(100, 8, 32))
    winners = counts(cfn, candidates.reshape(-1, 32)).reshape(100, 8).argmax(1)
    assert np.mean(winners < 3) > 0.95


def test_pseudo_counts_follow_the_number_of_duplicates() -> None:
    rng = np.random.default_rng(3)
    items, times = rng.normal(size=(60, 16)), np.repeat([1, 4, 16, 64], 15)
    cfn = train_cfn(np.repeat(items, times, axis=0), TacoSettings(width=64, batch=64, epochs=60, dropout=0.0), seed=0)
    found = counts(cfn, items)
    typical = [np.median(found[times == n]) for n in (1, 4, 16, 64)]
    assert all(a < b for a, b in zip(typical, typical[1:], strict=False))
    assert all(n / 3 < t < n * 3 for n, t in zip((1, 4, 16, 64), typical, strict=True))


def test_the_same_seed_gives_the_same_network_and_leaves_the_global_generator_alone() -> None:
    x = np.random.default_rng(4).normal(size=(200, 8))
    before = torch.random.get_rng_state()
    one, two = (train_cfn(x, TacoSettings(width=32, batch=64, epochs=2), seed=5) for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert np.array_equal(counts(one, x), counts(two, x))


def test_running_standardisation_equals_the_sample_by_sample_rule() -> None:
    cfn = CoinFlipNetwork(4, SMALL)
    prior = torch.randn(50, SMALL.flips) + 0.5
    seen, total, square = 0, torch.zeros(SMALL.flips), torch.zeros(SMALL.flips)
    for rows in prior.split(16):
        seen, total, square = _update(cfn, rows, seen, total, square)
    m, v = torch.zeros(SMALL.flips), torch.full((SMALL.flips,), 0.01)
    for n, p in enumerate(prior, start=1):
        delta = p - m
        m, v = m + delta / n, v + (delta**2 - v) / n
    assert torch.allclose(cfn.prior_mean, m, atol=1e-5) and torch.allclose(cfn.prior_var, v, atol=1e-5)


def test_features_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(DataError, match="finite False"):
        train_cfn(np.full((10, 3), np.nan), SMALL, seed=0)


def test_the_exported_graph_counts_as_the_module_does(tmp_path: Path) -> None:
    x = np.random.default_rng(7).normal(size=(100, 8)).astype(np.float32)
    cfn = train_cfn(x, TacoSettings(width=32, batch=64, epochs=2), seed=0)
    batch = torch.export.Dim("batch")
    program = torch.onnx.export(
        cfn, (torch.as_tensor(x),), dynamo=True, dynamic_shapes=({0: batch},), opset_version=20, verbose=False
    )
    program.save(str(tmp_path / "cfn.onnx"))
    session = onnxruntime.InferenceSession(str(tmp_path / "cfn.onnx"), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: x[:7]})
    assert np.allclose(found, counts(cfn, x[:7]), rtol=1e-4)
