"""How fast the arm may follow its chunk so that it can stop on it."""

from dataclasses import replace

import numpy as np
import pytest

from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import SafetySettings
from robot_stack.control import ControlState
from robot_stack.types import ActionChunk, Array
from safety.look_ahead import DEEPER, MOST, LookAhead, Room

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


def _path(chunk: ActionChunk, now_ms: int, behind_ms: int = 0) -> Array | None:
    return AHEAD.path(ControlState(playing=chunk, behind_ns=behind_ms * MS), HOME, now_ms * MS)


def _way(speed: float = 1.0) -> Array:
    path = _path(_chunk(speed), 0)
    assert path is not None
    return path


def test_the_way_ahead_begins_at_the_command_and_goes_through_the_rows_still_to_come() -> None:
    path = _path(_chunk(), 120)
    assert path is not None
    np.testing.assert_array_equal(path[0], HOME)
    np.testing.assert_allclose(path[1:4, 0], HOME[0] + np.array([0.15, 0.2, 0.25]))


def test_an_arm_that_was_slowed_is_as_much_earlier_on_its_way() -> None:
    one, two = _path(_chunk(), 120), _path(_chunk(), 160, behind_ms=40)
    assert one is not None and two is not None
    np.testing.assert_array_equal(one, two)


def test_everything_that_could_ask_for_braking_is_looked_at_and_no_more_states_than_allowed() -> None:
    horizon = float((SPEC.qd_max / (2 * 0.5 * SPEC.qdd_max))[ARM].max())
    for dt_ms in (1, 7, 50, 400):
        path = _path(_chunk(0.5, rows=1000, dt_ms=dt_ms), 0)
        assert path is not None and len(path) <= MOST + 1
        assert path[-1, 0] - HOME[0] >= 0.5 * horizon * (1 - 1 / MOST)


@pytest.mark.parametrize("now_ms", [750, 760, 5000])
def test_there_is_no_way_ahead_after_the_last_row(now_ms: int) -> None:
    assert _path(_chunk(), now_ms) is None


def test_there_is_no_way_ahead_without_a_chunk_or_with_one_of_another_arm() -> None:
    assert AHEAD.path(ControlState(), HOME, 0) is None
    assert AHEAD.path(ControlState(playing=_chunk()), HOME[:6], 0) is None


def test_before_the_first_row_all_rows_are_ahead() -> None:
    path, chunk = _path(_chunk(t0_ms=100), 60), _chunk()
    assert path is not None
    np.testing.assert_array_equal(path[1], chunk.q[0])


def test_absurd_rows_are_taken_inside_the_joint_limits() -> None:
    chunk = _chunk()
    path = _path(replace(chunk, q=np.where(np.arange(16)[:, None] > 2, 1e300, chunk.q)), 0)
    assert path is not None and (path <= SPEC.q_max).all()


def _pace(out: float, speed: float = 1.0, path: Array | None = None) -> float:
    """The pace of a wish of `speed` towards a gap that closes when the base has turned by `out` rad."""
    path = _way() if path is None else path
    return AHEAD.pace(AHEAD.room(path, (HOME[0] + out - path[:, 0])[None]), speed * np.eye(7)[0])


@pytest.mark.parametrize("speed", [0.5, 1.0, 2.0])
def test_the_pace_is_the_largest_that_stops_before_the_gap_closes(speed: float) -> None:
    for out in (0.002, 0.02, 0.05, 0.1, 0.15):
        w = _pace(out, speed) * speed
        assert w * DT + w**2 / (2 * BETA) == pytest.approx(out, abs=1e-5) or w == speed
        way, v = 0.0, w
        while v > 0:
            way, v = way + v * DT, v - BETA * DT
        assert way <= out + 1e-5


def test_a_gap_that_closes_later_than_braking_takes_changes_nothing() -> None:
    assert _pace(0.12) == 1.0 and _pace(0.04, 0.5) == 1.0 and _pace(50.0) == 1.0
    assert _pace(0.1) < 1.0


def test_a_gap_that_closes_at_once_leaves_no_pace() -> None:
    assert _pace(0.0) == pytest.approx(0.0, abs=1e-3)


def test_a_wish_to_stay_is_never_slowed() -> None:
    assert _pace(0.0, 0.0) == 1.0


def test_a_detour_is_as_long_as_it_is() -> None:
    there_and_back = np.stack([HOME + np.eye(7)[0] * turn for turn in (0.0, 0.05, 0.0, 0.05, 0.1)])
    room = AHEAD.room(there_and_back, np.array([[1.0, 1.0, 1.0, 1.0, -1.0]]))
    assert room.length == pytest.approx((0.15 + 0.5 * 0.05) / SPEC.qdd_max[0], rel=1e-5)


def test_an_arm_that_is_too_near_already_may_go_where_it_gets_no_nearer() -> None:
    path = _way()
    away = 0.01 * path[:, 0] - 0.05
    assert AHEAD.room(path, away[None]).row == -1
    nearer = AHEAD.room(path, -away[None] - 0.1)
    assert nearer.row == 0 and AHEAD.pace(nearer, np.eye(7)[0]) < 1e-2


def test_the_first_gap_to_close_decides_and_is_named_with_how_deep_it_gets() -> None:
    path = _way()
    turned = path[:, 0] - HOME[0]
    found = AHEAD.room(path, np.stack([np.full(len(path), 1.0), 0.18 - turned, 0.07 - turned]))
    assert found.row == 2 and found.depth == pytest.approx(0.03, abs=1e-5)
    assert found.length == pytest.approx(0.07 / SPEC.qdd_max[0], abs=1e-6)


def test_a_gap_that_is_no_number_counts_as_closed() -> None:
    path, h = _way(), np.full((1, len(_way())), 0.5)
    h[0, 2:] = np.nan
    found = AHEAD.room(path, h)
    assert found.row == 0 and found.length == pytest.approx(0.05 / SPEC.qdd_max[0]) and found.depth == 0.0
    lost = np.where(np.arange(len(path))[:, None] > 0, np.nan, path)
    assert AHEAD.room(lost, np.where(np.isnan(lost[:, 0]), np.nan, 1.0)[None]).length == 0.0


@pytest.mark.parametrize(
    ("share", "dt_ms", "rows"),
    [
        (0.5, 27, [1, 3, 5, 7, 9]),  # nine rows to 208.3 ms, one more than MOST: every other one
        (0.5, 30, [1, 2, 3, 4, 5, 6, 7, 8]),
        (0.5, 208, [1, 2, 3]),  # the slowest joint to stop, 2.5 / 12 s, decides
        (0.5, 209, [1, 2]),
        (0.25, 208, [1, 2, 3, 4]),  # half the braking takes twice as long
    ],
)
def test_rows_are_looked_at_up_to_the_first_one_behind_the_time_it_takes_to_stop(share, dt_ms, rows) -> None:
    chunk = _chunk(0.1, rows=100, dt_ms=dt_ms)
    ahead = LookAhead(SPEC, replace(SafetySettings(), look_ahead_share=share), ARM)
    path = ahead.path(ControlState(playing=chunk), HOME, 0)
    assert path is not None
    np.testing.assert_array_equal(path[1:], chunk.q[rows])


def test_the_last_row_is_ahead_until_it_is_due() -> None:
    path = _path(_chunk(), 749)
    assert path is not None
    np.testing.assert_array_equal(path[1:], _chunk().q[15:])


def test_a_gap_closes_when_it_shrinks_by_more_than_a_millionth() -> None:
    for now in (0.5, -0.25):
        floor = min(now, 0.0) - DEEPER
        assert AHEAD.room(_way()[:2], np.array([[now, floor]])) == Room() == (np.inf, -1, 0.0)
        assert AHEAD.room(_way()[:2], np.array([[now, np.nextafter(floor, -1.0)]])).row == 0


def test_of_two_gaps_that_close_in_one_step_the_nearer_sets_the_room_and_the_deeper_is_named() -> None:
    step = 0.05 / SPEC.qdd_max[0]  # from one row to the next
    closing = np.array([[0.3, 0.1, -0.1], [0.9, 0.9, -0.6], [0.5, 0.1, -0.3]]) - DEEPER
    for h, row, depth, share in ((closing, 1, 0.6, 0.25), (closing[[0, 2]], 1, 0.3, 0.25), (closing[:2], 1, 0.6, 0.5)):
        found = AHEAD.room(_way()[:3], h)
        assert (found.row, found.depth) == (row, pytest.approx(depth))
        assert found.length == pytest.approx((1.0 + share) * step)


def test_a_gap_that_is_too_small_already_closes_from_where_it_is() -> None:
    found = AHEAD.room(_way()[:2], np.array([[-0.1, -0.3]]))
    assert found.depth == pytest.approx(0.2 - DEEPER, abs=1e-12)
    assert found.length == pytest.approx(DEEPER / 0.2 * 0.05 / SPEC.qdd_max[0], rel=1e-6)


def test_between_rows_the_way_is_shared_even_where_a_gap_closes_by_a_hair() -> None:
    found = AHEAD.room(_way()[:3], np.array([[1.0, 1e-12, -0.5e-12]]) - np.array([[0.0, DEEPER, DEEPER]]))
    assert found.length == pytest.approx((1.0 + 2.0 / 3.0) * 0.05 / SPEC.qdd_max[0], rel=1e-6)


def test_the_pace_is_the_same_whichever_way_a_joint_turns() -> None:
    for j in range(6):
        u = 0.8 * SPEC.qdd_max[j] * np.eye(7)[j]
        pace = (np.sqrt((0.5 * DT) ** 2 + 0.04) - 0.5 * DT) / 0.8
        assert AHEAD.pace(Room(0.04, 0), u) == AHEAD.pace(Room(0.04, 0), -u) == pytest.approx(pace)


def test_an_arm_at_rest_without_room_is_not_slowed() -> None:
    assert AHEAD.pace(Room(0.0, 0), np.zeros(7)) == 1.0 and AHEAD.pace(Room(0.0, 0), np.eye(7)[0]) == 0.0


def test_an_arm_told_to_keep_nothing_for_braking_keeps_a_thousandth() -> None:
    least = LookAhead(SPEC, replace(SafetySettings(), look_ahead_share=0.0), ARM)
    w = np.sqrt((1e-3 * DT) ** 2 + 2e-3 * 0.04) - 1e-3 * DT
    assert least.pace(Room(0.04, 0), 10.0 * np.eye(7)[0]) == pytest.approx(w, rel=1e-6)
