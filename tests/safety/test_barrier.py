"""The learned barrier as the arm process runs it."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from robot_stack.errors import ConfigError
from safety.barrier import Barrier


def write_barrier(path: Path, dim: int = 9, delta: str = "0.01", **change: np.ndarray) -> Path:
    rng = np.random.default_rng(0)
    sizes = (dim, 16, 16, 1)
    arrays = {f"W{i}": rng.normal(size=sizes[i : i + 2]) * 0.5 for i in range(3)}
    arrays |= {f"b{i}": rng.normal(size=sizes[i + 1]) * 0.1 for i in range(3)}
    arrays |= {"mean": rng.normal(size=dim), "std": rng.uniform(0.5, 2.0, dim)} | change
    save_file({k: v.astype(np.float32) for k, v in arrays.items()}, path, metadata={"delta": delta})
    return path


def test_gradient_is_the_slope_of_the_value(tmp_path: Path) -> None:
    barrier = Barrier.load(write_barrier(tmp_path / "b.safetensors"))
    rng = np.random.default_rng(1)
    for _ in range(20):
        x = rng.normal(size=9)
        value, gradient = barrier.value_and_gradient(x)
        steps = np.eye(9) * 1e-6
        slope = [(barrier.value_and_gradient(x + s)[0] - barrier.value_and_gradient(x - s)[0]) / 2e-6 for s in steps]
        np.testing.assert_allclose(gradient, slope, atol=1e-7)
        assert np.isfinite(value)


def test_the_level_comes_from_the_metadata(tmp_path: Path) -> None:
    barrier = Barrier.load(write_barrier(tmp_path / "b.safetensors", delta="0.125"))
    assert (barrier.level, barrier.dim) == (0.125, 9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"b1": np.zeros(3)}, "W1"),
        ({"std": np.zeros(9)}, "std > 0"),
        ({"W2": np.zeros((16, 2)), "b2": np.zeros(2)}, "one output"),
        ({"W0": np.full((9, 16), np.nan)}, "finite"),
        ({"extra": np.zeros(2)}, "found arrays"),
    ],
)
def test_a_barrier_of_the_wrong_make_is_refused_by_name(tmp_path: Path, change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Barrier.load(write_barrier(tmp_path / "b.safetensors", **change))


def test_a_barrier_without_level_missing_or_cut_is_refused(tmp_path: Path) -> None:
    path = write_barrier(tmp_path / "b.safetensors", delta="nan")
    with pytest.raises(ConfigError, match="delta"):
        Barrier.load(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ConfigError, match=r"safety\.barrier"):
        Barrier.load(path)
    with pytest.raises(ConfigError, match=r"safety\.barrier"):
        Barrier.load(tmp_path / "nothing.safetensors")


def test_many_states_at_once_give_what_each_gives_alone(tmp_path: Path) -> None:
    barrier = Barrier.load(write_barrier(tmp_path / "b.safetensors"))
    states = np.random.default_rng(5).normal(size=(4, barrier.dim))
    values, gradients = barrier.values_and_gradients(states)
    alone = [barrier.value_and_gradient(s) for s in states]
    assert np.allclose(values, [v for v, _ in alone]) and np.allclose(gradients, [g for _, g in alone])
