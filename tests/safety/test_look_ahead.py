"""How fast the arm may follow its chunk so that it can stop on it."""

from dataclasses import replace

import numpy as np
import pytest

from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import SafetySettings
from robot_stack.control import ControlState
from robot_stack.types import ActionChunk
from safety.look_ahead import MOST, LookAhead, Path

SPEC = load_robot("sim_arm")
ARM = np.arange(6)
AHEAD = LookAhead(SPEC, SafetySettings(), ARM)
HOME = np.array(SPEC.q_home)
DT = SPEC.dt_ns * 1e-9
MS = 1_000_000
BETA = SafetySettings().look_ahead_share * SPEC.qdd_max[0]


def _chunk(speed: float = 1.0, rows: int = 16, dt_ms: int = 50, t0_ms: int = 0) -> ActionChunk:
    q = np.tile(HOME, (rows, 1))
    q[:, 0] += speed * np.arange(rows) * dt_ms * 1e-3
    return ActionChunk(0, t0_ms * MS, dt_ms * MS, q, "policy")


def _path(chunk: ActionChunk, now_ms: int, behind_ms: int = 0) -> Path | None:
    return AHEAD.path(ControlState(playing=chunk, behind_ns=behind_ms * MS), HOME, now_ms * MS)


def test_the_way_ahead_begins_at_the_command_and_goes_through_the_rows_still_to_come() -> None:
    path = _path(_chunk(), 120)
    assert path is not None
    np.testing.assert_array_equal(path.q[0], HOME)
    np.testing.assert_allclose(path.tau[:4], [0.0, 0.03, 0.08, 0.13])
    np.testing.assert_allclose(path.q[1:4, 0], HOME[0] + np.array([0.15, 0.2, 0.25]))


def test_an_arm_that_was_slowed_is_as_much_earlier_on_its_way() -> None:
    one, two = _path(_chunk(), 120), _path(_chunk(), 160, behind_ms=40)
    assert one is not None and two is not None
    np.testing.assert_array_equal(one.q, two.q)
    np.testing.assert_array_equal(one.tau, two.tau)


def test_everything_that_could_ask_for_braking_is_looked_at_and_no_more_states_than_allowed() -> None:
    horizon = float((SPEC.qd_max / (2 * 0.5 * SPEC.qdd_max))[ARM].max())
    for dt_ms in (1, 7, 50, 400):
        path = _path(_chunk(rows=1000, dt_ms=dt_ms), 0)
        assert path is not None and len(path.tau) <= MOST + 1
        assert path.tau[-1] >= horizon * (1 - 1 / MOST)


@pytest.mark.parametrize("now_ms", [750, 760, 5000])
def test_there_is_no_way_ahead_after_the_last_row(now_ms: int) -> None:
    assert _path(_chunk(), now_ms) is None


def test_there_is_no_way_ahead_without_a_chunk_or_with_one_of_another_arm() -> None:
    assert AHEAD.path(ControlState(), HOME, 0) is None
    assert AHEAD.path(ControlState(playing=_chunk()), HOME[:6], 0) is None


def test_before_the_first_row_all_rows_are_ahead() -> None:
    path = _path(_chunk(t0_ms=100), 60)
    assert path is not None and path.tau[1] == pytest.approx(0.04)


def test_absurd_rows_are_taken_inside_the_joint_limits() -> None:
    chunk = _chunk()
    wild = replace(chunk, q=np.where(np.arange(16)[:, None] > 2, 1e300, chunk.q))
    path = _path(wild, 0)
    assert path is not None and (path.q <= SPEC.q_max).all()


def _pace(out_s: float, speed: float = 1.0) -> float:
    """The pace towards a gap that falls as the arm moves and closes at path time `out_s`."""
    path = _path(_chunk(speed), 0)
    assert path is not None
    return AHEAD.pace(path, speed * (out_s - path.tau)[None]).share


@pytest.mark.parametrize("speed", [0.5, 1.0, 2.0])
def test_the_pace_is_the_largest_that_stops_before_the_gap_closes(speed: float) -> None:
    for out_s in (0.02, 0.05, 0.1, 0.15):
        pace = _pace(out_s, speed)
        stops = DT * speed * pace + (speed * pace) ** 2 / (2 * BETA)
        assert stops <= speed * out_s + 1e-3
        if pace < 1.0:
            assert pace == pytest.approx(np.sqrt(2 * (BETA / speed) * (out_s - DT)), rel=1e-3)


def test_a_gap_that_closes_later_than_braking_takes_changes_nothing() -> None:
    assert _pace(0.2) == 1.0 and _pace(0.19, 0.5) == 1.0 and _pace(50.0) == 1.0


def test_a_gap_that_closes_at_once_leaves_no_pace() -> None:
    assert _pace(0.0) == pytest.approx(0.0, abs=1e-2) and _pace(DT) == pytest.approx(0.0, abs=2e-2)


def test_an_arm_that_is_too_near_already_may_go_where_it_gets_no_nearer() -> None:
    path = _path(_chunk(), 0)
    assert path is not None
    away = -0.05 + 0.01 * path.tau
    assert AHEAD.pace(path, away[None]).share == 1.0
    nearer = AHEAD.pace(path, -away[None] - 0.1)
    assert nearer.share < 1.0 and nearer.row == 0


def test_the_first_gap_to_close_decides_and_is_named_with_how_deep_it_gets() -> None:
    path = _path(_chunk(), 0)
    assert path is not None
    h = np.stack([np.full(path.tau.size, 1.0), 0.18 - path.tau, 0.07 - path.tau])
    found = AHEAD.pace(path, h)
    assert found.row == 2 and found.depth == pytest.approx(0.03, abs=1e-5)
    assert found.share == pytest.approx(_pace(0.07))


def test_a_gap_that_is_no_number_counts_as_closed() -> None:
    path = _path(_chunk(), 0)
    assert path is not None
    h = np.full((1, path.tau.size), 0.5)
    h[0, 1:] = np.nan
    assert AHEAD.pace(path, h).share == 0.0
    lost = Path(np.where(np.arange(path.tau.size)[:, None] > 0, np.nan, path.q), path.tau)
    assert AHEAD.pace(lost, np.where(np.isnan(lost.q[:, 0]), np.nan, 1.0)[None]).share < 1e-6


def test_an_arm_that_does_not_move_is_not_slowed_by_what_comes() -> None:
    still = Path(np.tile(HOME, (3, 1)), np.array([0.0, 0.05, 0.1]))
    assert AHEAD.pace(still, np.array([[0.1, 0.05, -0.01]])).share == 1.0
