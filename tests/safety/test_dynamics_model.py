"""f and g learned from a log: in true units, at the true dt."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from robot_stack.errors import DataError
from robot_stack.types import Array
from safety.dynamics_model import DynamicsModel, DynamicsSettings, train_dynamics

DT = 0.005
FAST = DynamicsSettings(width=32, steps=500, batch=256)


def log(count: int) -> tuple[Array, Array, Array]:
    """x' = sin(3 y) + 2 u1, y' = -x + (1 + y^2) u2"""
    rng = np.random.default_rng(0)
    s, u = rng.uniform(-1, 1, (count, 2)), rng.uniform(-1, 1, (count, 2))
    rate = np.stack([np.sin(3 * s[:, 1]) + 2 * u[:, 0], -s[:, 0] + (1 + s[:, 1] ** 2) * u[:, 1]], axis=1)
    return s, u, s + DT * rate


@pytest.fixture(scope="module")
def model() -> DynamicsModel:
    torch.set_num_threads(1)
    return train_dynamics(*log(8000), DT, FAST)


def test_f_and_g_come_out_in_units_of_true_time(model: DynamicsModel) -> None:
    s = np.random.default_rng(1).uniform(-0.9, 0.9, (200, 2))
    f, g = model.fields(s)
    assert np.abs(f - np.stack([np.sin(3 * s[:, 1]), -s[:, 0]], axis=1)).max() < 0.25
    assert np.abs(g[:, 0, 0] - 2).max() < 0.25 and np.abs(g[:, 1, 1] - 1 - s[:, 1] ** 2).max() < 0.25
    assert np.abs(g[:, 0, 1]).max() < 0.25 and np.abs(g[:, 1, 0]).max() < 0.25


def test_the_error_it_reports_is_what_held_out_rows_show(model: DynamicsModel) -> None:
    assert model.error.shape == (2,) and 0 < model.error.max() < 0.1


def test_a_saved_model_is_the_same_model(model: DynamicsModel, tmp_path: Path) -> None:
    again = DynamicsModel.load(model.save(tmp_path / "model.safetensors"))
    s = np.random.default_rng(2).normal(size=(5, 2))
    assert all(np.allclose(a, b, rtol=1e-12) for a, b in zip(model.fields(s), again.fields(s), strict=True))
    assert again.num_actions == 2 and np.array_equal(again.error, model.error)


def test_a_wrong_dt_scales_everything_the_trap_of_the_released_code() -> None:
    s = np.zeros((1, 2))
    slow = train_dynamics(*log(3000), 10 * DT, replace(FAST, steps=200))
    assert slow.fields(s)[1][0, 0, 0] == pytest.approx(0.2, abs=0.05)


def test_broken_rows_are_refused() -> None:
    s, u, after = log(10)
    with pytest.raises(DataError, match="not finite"):
        train_dynamics(s, u * np.nan, after, DT, FAST)
