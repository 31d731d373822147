"""The exact value of an avoid game, against an answer on paper, against forward simulation, and against another solver."""

import numpy as np
import pytest

from drivers.boat import Boat
from robot_stack.errors import ContractError
from robot_stack.types import Array
from safety.affine_filter import AffineFilter
from safety.avoid_value import GridBarrier, avoid_value, directions
from safety.reachability import StateGrid

BOAT = Boat()
STREAM, ROCK = 2.0, 0.5


def exact(spacing: float, step: float, controls: int) -> GridBarrier:
    grid = StateGrid.over(BOAT.low, BOAT.high, spacing)
    move = lambda s, u: np.clip(s + step * (BOAT.fields(s)[0] + u), BOAT.low, BOAT.high)  # noqa: E731
    return GridBarrier(grid, avoid_value(grid, BOAT.margin(grid.nodes), move, directions(controls)))


@pytest.fixture(scope="module")
def value() -> GridBarrier:
    return exact(0.04, 0.04, 32)


def test_a_rock_in_an_even_stream_dooms_the_wedge_that_tangents_cut_off() -> None:
    """x' = 2 + u1, y' = u2: the boat can turn its course by asin(1 / 2), so the wedge starts ROCK / sin(30 deg) upstream."""
    grid = StateGrid.over((-2.0, -1.0), (1.0, 1.0), 0.025)
    move = lambda s, u: np.clip(s + 0.025 * (np.array([STREAM, 0.0]) + u), (-2, -1), (1, 1))  # noqa: E731
    h = np.linalg.norm(grid.nodes, axis=1) - ROCK
    barrier = GridBarrier(grid, avoid_value(grid, h, move, directions(32)))
    upstream = np.stack([np.linspace(-1.9, -0.55, 200), np.zeros(200)], axis=1)
    doomed = upstream[barrier.values_and_gradients(upstream)[0] < 0]
    assert doomed[0, 0] == pytest.approx(-ROCK / np.sin(np.pi / 6), abs=0.05)
    beside = np.array([[-0.7, 0.45], [0.6, 0.0]])
    assert (barrier.values_and_gradients(beside)[0] > 0).all(), "beside the wedge and behind the rock all is well"


def test_from_its_safe_set_the_filter_keeps_every_boat_off_the_rocks_and_from_outside_none(value: GridBarrier) -> None:
    states = BOAT.draw(1500, np.random.default_rng(0))
    B, h = value.values_and_gradients(states)[0], BOAT.margin(states)
    safe, doomed = states[(B > 0.02) & (h < 0.5)], states[(B < -0.04) & (h > 0)]
    assert len(safe) > 200 and len(doomed) > 2
    assert not sail(value, safe).any() and sail(value, doomed).all()


def sail(value: GridBarrier, states: Array) -> Array:
    check, touched = AffineFilter(value, BOAT), np.zeros(len(states), dtype=bool)
    for _ in range(200):
        states = BOAT.step(states, check.check(states, np.tile([1.0, 0.0], (len(states), 1))).u)
        touched |= BOAT.margin(states) < 0
    return touched


@pytest.mark.slow
def test_another_solver_finds_the_same_set(value: GridBarrier) -> None:
    hj = pytest.importorskip("hj_reachability", reason="needs the extra `reachability`")
    import jax.numpy as jnp

    class River(hj.ControlAndDisturbanceAffineDynamics):  # type: ignore[misc]
        def __init__(self) -> None:
            ball, none = hj.sets.Ball(jnp.zeros(2), 1.0), hj.sets.Box(jnp.zeros(1), jnp.zeros(1))
            super().__init__("max", "min", ball, none)

        def open_loop_dynamics(self, state, time):  # type: ignore[no-untyped-def]
            return jnp.array([2.0 - 0.5 * state[1] ** 2, 0.0])

        def control_jacobian(self, state, time):  # type: ignore[no-untyped-def]
            return jnp.eye(2)

        def disturbance_jacobian(self, state, time):  # type: ignore[no-untyped-def]
            return jnp.zeros((2, 1))

    grid, box = value.grid, hj.sets.Box(np.array(BOAT.low), np.array(BOAT.high))
    theirs = hj.Grid.from_lattice_parameters_and_boundary_conditions(box, grid.shape)
    settings = hj.SolverSettings.with_accuracy("high", hamiltonian_postprocessor=hj.solver.backwards_reachable_tube)
    h = BOAT.margin(grid.nodes).reshape(grid.shape)
    V = np.asarray(hj.step(settings, River(), theirs, 0.0, jnp.asarray(h), -1.5, progress_bar=False))
    unsafe, ours = V < 0, value.values < 0
    assert (unsafe & ours).sum() / (unsafe | ours).sum() > 0.95
    assert np.mean(unsafe) == pytest.approx(np.mean(ours), abs=0.002)


def test_between_nodes_value_and_gradient_are_those_of_a_multilinear_function() -> None:
    grid = StateGrid.over((0.0, 0.0, -1.0), (1.0, 2.0, 1.0), 0.25)
    x, y, z = grid.nodes.T
    barrier = GridBarrier(grid, (3 * x - y + x * y * z).reshape(grid.shape))
    states = np.array([[0.33, 1.21, -0.4], [1.0, 2.0, 1.0], [0.0, 0.0, -1.0]])
    x, y, z = states.T
    B, gradient = barrier.values_and_gradients(states)
    assert np.allclose(B, 3 * x - y + x * y * z)
    assert np.allclose(gradient, np.stack([3 + y * z, x * z - 1, x * y], axis=1))


def test_a_margin_of_another_shape_and_a_sweep_without_end_are_refused() -> None:
    grid = StateGrid.over((0.0, 0.0), (1.0, 1.0), 0.25)
    with pytest.raises(ContractError, match="allowed finite"):
        avoid_value(grid, np.zeros((5, 5)), lambda s, u: s, directions(4))
    with pytest.raises(ContractError, match="after 1 sweeps"):
        avoid_value(grid, grid.nodes[:, 0], lambda s, u: np.clip(s - 0.5, 0, 1), directions(4), most=1)
