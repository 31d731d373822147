"""The neural tube against tubes with a closed form: x' = p with a constant p that may be anything in a range."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="tubes are trained with torch (extra `train`)")

from robot_stack.errors import ContractError, DataError, PolicyError  # noqa: E402
from robot_stack.types import Array  # noqa: E402
from safety.neural_tube import Loop, NeuralTube, Training, calibrated, train_tube  # noqa: E402
from safety.reachability import StateGrid, agreement  # noqa: E402

HORIZON_S = 2.0
SMALL = Training(width=48, depth=2, steps=300, batch=384, lr=2e-3)


def margin(x: Array) -> Array:
    """1 - |x|, clipped where the box ends, so that nothing outside it matters."""
    return np.maximum(1.0 - np.abs(x[:, 0]), -0.5)


def moving(x: Array) -> Array:
    """x' = p, p' = 0."""
    return np.column_stack([x[:, 1], np.zeros(len(x))])


def closed_form(x: Array, t: float) -> Array:
    """The margin is concave along the path up to the clip: its smallest value is at one of the ends."""
    end = np.column_stack([x[:, 0] + t * x[:, 1], x[:, 1]])
    return np.minimum(margin(x), margin(end))


def loop(drift: object = moving, **changes: object) -> Loop:
    given: dict[str, object] = {"lower": (-1.5, -0.4), "upper": (1.5, 0.4), "horizon_s": HORIZON_S}
    given |= {"drift": drift, "margin": margin}
    return Loop(**(given | changes))  # type: ignore[arg-type]


NODES = StateGrid((-1.5, -0.4), (1.5, 0.4), (121, 41)).nodes


@pytest.fixture(scope="module")
def tube() -> NeuralTube:
    torch.set_num_threads(1)
    return train_tube(loop(), SMALL)


def test_the_tube_of_every_parameter_is_the_closed_form(tube: NeuralTube) -> None:
    found = agreement(tube.value(NODES), closed_form(NODES, HORIZON_S))
    assert found.iou > 0.95 and found.false_safe < 0.03
    truth = closed_form(NODES, HORIZON_S)
    assert np.abs(tube.value(NODES) - truth)[truth > -0.3].mean() < 0.03


def test_a_shorter_horizon_is_the_tube_of_that_horizon(tube: NeuralTube) -> None:
    assert agreement(tube.value(NODES, 1.0), closed_form(NODES, 1.0)).iou > 0.93


def test_with_nothing_to_go_the_value_is_the_margin_exactly(tube: NeuralTube) -> None:
    assert np.array_equal(tube.value(NODES, 0.0), margin(NODES))


def test_an_adversary_makes_the_tube_larger_as_in_closed_form() -> None:
    torch.set_num_threads(1)
    found = train_tube(loop(spread=(0.2, 0.0)), SMALL).value(NODES)
    pushed = [NODES + np.array([0.0, push]) for push in (-0.2, 0.2)]
    assert agreement(found, np.minimum(*(closed_form(x, HORIZON_S) for x in pushed))).iou > 0.93


def test_the_calibrated_level_keeps_its_bound_on_fresh_states(tube: NeuralTube) -> None:
    rng = np.random.default_rng(5)
    states, fresh = tube.loop.draw(4000, rng), tube.loop.draw(20000, rng)
    level = calibrated(tube.value(states), closed_form(states, HORIZON_S), epsilon=0.01)
    truth = closed_form(fresh, HORIZON_S)
    assert level.bound <= 0.01 and agreement(tube.value(fresh) - level.level, truth).false_safe <= 0.012


def test_calibration_never_shrinks_the_tube() -> None:
    truth = -np.ones(500)
    assert calibrated(np.linspace(-2.0, -1.0, 500), truth, epsilon=0.05).level == 0.0
    assert calibrated(np.linspace(0.0, 1.0, 500), truth, epsilon=0.05).level > 0.9


def test_too_few_failing_states_are_refused() -> None:
    with pytest.raises(DataError, match="found 20 failing states"):
        calibrated(np.zeros(20), -np.ones(20), epsilon=0.01)


def test_a_tube_survives_a_file_and_no_other_loop_may_use_it(tube: NeuralTube, tmp_path: Path) -> None:
    file = tube.save(tmp_path / "tube.safetensors")
    assert np.array_equal(NeuralTube.load(file, loop()).value(NODES), tube.value(NODES))
    with pytest.raises(PolicyError, match="train again"):
        NeuralTube.load(file, loop(horizon_s=3.0))
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(PolicyError, match="can't be read"):
        NeuralTube.load(file, loop())


@pytest.mark.parametrize("changes", [{"lower": (2.0, -0.4)}, {"lower": (-1.0,)}, {"horizon_s": 0.0}, {"spread": (0.1,)}])
def test_a_box_that_is_none_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ContractError, match="lower < upper"):
        loop(**changes)


def test_a_state_of_another_shape_and_a_horizon_beyond_the_trained_one_are_refused(tube: NeuralTube) -> None:
    for states, horizon in ((NODES[:, :1], 1.0), (NODES, 9.0), (NODES, float("nan"))):
        with pytest.raises(ContractError, match="NeuralTube.value"):
            tube.value(states, horizon)


def test_a_drift_that_is_no_number_is_refused() -> None:
    with pytest.raises(ContractError, match="everywhere in the box"):
        train_tube(loop(drift=lambda x: np.full_like(x, np.nan)), SMALL)
