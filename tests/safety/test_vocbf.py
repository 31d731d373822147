"""The barrier learned from motion alone: on a river whose answer is known, and on the arm with hindsight obstacles."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import VocbfSettings
from robot_stack.errors import DataError
from robot_stack.types import Array
from safety.barrier import Barrier
from safety.hindsight import Transitions, join, place_obstacles, wander
from safety.vocbf import FittedBarrier, barrier_values, fails_soon, fit_barrier, train_vocbf

FAST = VocbfSettings(width=64, steps=800, batch=256, h_max=1.0, near=0.3, discount=0.95, holdout=0.4)


def river(count: int, length: int, stream: float) -> Transitions:
    """A boat x in [-1, 1] on a stream that carries it to the right by `stream` a step while the oars move it by at most 0.05; a
    rock is at x = 1: ``h = 1 - x``. Second coordinate: whether the stream runs here (1) or not (0)."""
    rng = np.random.default_rng(0)
    parts = []
    for k in range(count):
        runs = float(k % 2)
        x, rows = rng.uniform(-1, 1), []
        u = rng.uniform(-0.05, 0.05, length)
        for i in range(length):
            rows.append(x)
            x = x + u[i] + stream * runs
        s = np.column_stack([[*rows, x], np.full(length + 1, runs)])
        done = np.arange(length) == length - 1
        parts.append(Transitions(s[:-1], u[:, None], s[1:], 1 - s[:-1, 0], done, np.full(length, k)))
    return join(parts)


@pytest.fixture(scope="module")
def boat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return train_vocbf(river(500, 20, stream=0.1), tmp_path_factory.mktemp("boat") / "barrier.safetensors", FAST)


def test_still_water_is_as_safe_as_it_looks_and_a_stream_is_less_safe_than_it_looks(boat: Path) -> None:
    x = np.linspace(-0.5, 0.9, 15)
    still, _ = barrier_values(boat, np.column_stack([x, np.zeros(15)]))
    stream, _ = barrier_values(boat, np.column_stack([x, np.ones(15)]))
    assert np.abs(still - (1 - x)).max() < 0.15
    assert np.all(stream < still) and np.mean(still - stream) > 0.15


def test_the_file_is_what_the_filter_reads(boat: Path) -> None:
    barrier = Barrier.load(boat)
    states = np.array([[0.2, 0.0], [0.7, 1.0]])
    values, level = barrier_values(boat, states)
    assert barrier.level == level and barrier.dim == 2
    assert np.allclose([barrier.value_and_gradient(s)[0] for s in states], values)


def test_the_report_keeps_its_bound_on_held_out_motion(boat: Path) -> None:
    report = json.loads(boat.with_suffix(".json").read_text())
    assert report["false_safe"] <= FAST.epsilon and 0 < report["bound"] <= FAST.epsilon
    assert report["failing"] >= 59 and 0 <= report["unsafe_share"] < 0.7


def test_a_fitted_barrier_can_be_run_written_and_asked_about_actions(tmp_path: Path) -> None:
    fitted = fit_barrier(river(100, 20, stream=0.1), FAST)
    states = np.array([[0.2, 1.0], [0.6, 1.0], [0.85, 1.0]])
    values, gradients = fitted.barrier().values_and_gradients(states)
    again = Barrier.load(fitted.write(tmp_path / "b.safetensors", 0.1))
    assert again.level == 0.1 and np.allclose(again.values_and_gradients(states)[0], values)
    assert (np.diff(values) < 0).all() and (gradients[:, 0] < 0).all()
    upstream, downstream = (fitted.critic(states[:2], np.full((2, 1), u)) for u in (-0.05, 0.05))
    assert (upstream > downstream).all()
    kept = FittedBarrier.load(fitted.save(tmp_path / "all.safetensors"))
    np.testing.assert_array_equal(kept.critic(states[:2], np.full((2, 1), 0.05)), downstream)
    np.testing.assert_array_equal(kept.barrier().values_and_gradients(states)[0], values)


def test_the_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    data, settings = river(40, 20, 0.1), VocbfSettings(width=16, steps=20, batch=64, epsilon=0.5, confidence=0.5)
    one = train_vocbf(data, tmp_path / "one.safetensors", settings, seed=3)
    two = train_vocbf(data, tmp_path / "two.safetensors", settings, seed=3)
    assert one.read_bytes() == two.read_bytes()


def test_failing_soon_looks_ahead_within_its_trajectory_only() -> None:
    h = np.array([1.0, 1.0, 1.0, -1.0, 1.0, 1.0, -1.0])
    done = np.array([False, False, False, False, True, False, True])
    assert fails_soon(h, done, 2).tolist() == [False, True, True, True, False, True, True]
    assert fails_soon(h, done, 0).tolist() == (h < 0).tolist()


def test_data_without_failures_or_with_broken_numbers_is_refused(tmp_path: Path) -> None:
    safe, settings = river(10, 5, 0.0), VocbfSettings(width=8, steps=2, batch=8)
    calm = Transitions(safe.states, safe.actions, safe.next_states, safe.h + 5, safe.done, safe.motion)
    with pytest.raises(DataError, match="0 of 2 held-out"):
        train_vocbf(calm, tmp_path / "b.safetensors", settings)
    broken = Transitions(safe.states, safe.actions * np.nan, safe.next_states, safe.h, safe.done, safe.motion)
    with pytest.raises(DataError, match="actions is not finite"):
        train_vocbf(broken, tmp_path / "b.safetensors", settings)


def swings(count: int) -> list[Array]:
    """Smooth motions between random poses around home."""
    spec, rng = load_robot("sim_arm"), np.random.default_rng(0)
    reach = np.array([0.8, 0.3, 0.3, 0.15, 0.3, 0.5, 0.0])
    u = np.linspace(0, 1, 40)[:, None]
    s = 10 * u**3 - 15 * u**4 + 6 * u**5
    ends = np.array(spec.q_home) + reach * rng.uniform(-1, 1, (count, 2, 7))
    return [a + s * (b - a) for a, b in ends]


@pytest.mark.slow
def test_on_the_arm_few_failing_states_are_called_safe_and_far_states_are_free(tmp_path: Path) -> None:
    spec, settings, motions = load_robot("sim_arm"), VocbfSettings(steps=2000), swings(60)
    branches = wander(motions, spec, settings, seed=1)
    parts = [place_obstacles(m, (0.14, 0.14), 0.05, spec, settings, seed=2, every=60) for m in (motions, branches)]
    data = join(parts)
    path = train_vocbf(data, tmp_path / "barrier.safetensors", settings)
    report = json.loads(path.with_suffix(".json").read_text())
    values, level = barrier_values(path, data.states)
    assert report["false_safe"] <= settings.epsilon and level < 0.08
    assert np.mean(values[data.h > 0.12] < level) < 0.05
