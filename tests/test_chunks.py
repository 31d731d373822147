"""The chunk that plays: rows have times, late rows are dropped."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_stack.chunks import ChunkBuffer
from robot_stack.types import ActionChunk, Reason

MS = 1_000_000


def _chunk(t0_ms: int, rows: int = 5, dt_ms: int = 50, start: float = 0.0, obs_ms: int | None = None) -> ActionChunk:
    q = start + np.arange(rows, dtype=float)[:, None] * np.array([1.0, -2.0])
    return ActionChunk((t0_ms if obs_ms is None else obs_ms) * MS, t0_ms * MS, dt_ms * MS, q, "policy")


def _pushed(chunk: ActionChunk, now_ms: int, buffer: ChunkBuffer | None = None) -> ChunkBuffer:
    buffer, why = (buffer or ChunkBuffer()).push(chunk, now_ms * MS)
    assert why is None
    return buffer


def test_between_rows_the_wish_is_linear_and_moves_with_the_slope() -> None:
    wish = _pushed(_chunk(100), 100).at(175 * MS)
    np.testing.assert_allclose(wish.q, [1.5, -3.0])
    np.testing.assert_allclose(wish.qd, [20.0, -40.0])
    assert wish.t_ns == 175 * MS


@given(now_ms=st.integers(100, 300))
def test_the_wish_is_the_straight_line_through_the_rows_to_the_last(now_ms: int) -> None:
    wish = _pushed(_chunk(100), 100).at(now_ms * MS)
    np.testing.assert_allclose(wish.q, np.array([1.0, -2.0]) * (now_ms - 100) / 50, atol=1e-12)


def test_before_the_first_row_and_after_the_last_there_is_no_wish() -> None:
    buffer = _pushed(_chunk(100, obs_ms=50), 50)
    assert buffer.at(99 * MS) is None and buffer.due(99 * MS) is None
    assert buffer.at(100 * MS) is not None and buffer.at(300 * MS) is not None
    assert buffer.at(300 * MS + 1) is None and buffer.due(300 * MS + 1) is None


def test_a_chunk_that_comes_late_starts_at_the_row_that_is_due() -> None:
    np.testing.assert_allclose(_pushed(_chunk(0), 120).at(120 * MS).q, [2.4, -4.8])


def test_a_chunk_whose_rows_are_all_late_is_refused() -> None:
    held = _pushed(_chunk(400, obs_ms=1), 500)
    assert held.push(_chunk(100, obs_ms=100), 301 * MS) == (held, Reason.CHUNK_STALE)


def test_a_chunk_of_an_older_or_the_same_observation_is_refused() -> None:
    held = _pushed(_chunk(100), 100)
    for obs_ms in (99, 100):
        assert held.push(_chunk(150, obs_ms=obs_ms), 150 * MS) == (held, Reason.CHUNK_OUT_OF_ORDER)


def test_a_chunk_of_an_observation_yet_to_come_is_refused_and_does_not_outrank_the_good_ones() -> None:
    held = _pushed(_chunk(100), 100)
    assert held.push(_chunk(150, obs_ms=151), 150 * MS) == (held, Reason.CHUNK_OUT_OF_ORDER)
    assert _pushed(_chunk(150, obs_ms=150), 150, held).playing is not held.playing


def test_the_playing_chunk_goes_on_until_the_next_one_is_due() -> None:
    buffer = _pushed(_chunk(200, start=100.0, obs_ms=150), 150, _pushed(_chunk(100), 100))
    np.testing.assert_allclose(buffer.at(190 * MS).q, [1.8, -3.6])
    np.testing.assert_allclose(buffer.at(200 * MS).q, [100.0, 100.0])
    assert buffer.turn(200 * MS).coming is None


def test_a_newer_chunk_replaces_the_coming_one() -> None:
    buffer = _pushed(_chunk(200, start=100.0, obs_ms=150), 150, _pushed(_chunk(100), 100))
    buffer = _pushed(_chunk(220, start=200.0, obs_ms=160), 160, buffer)
    np.testing.assert_allclose(buffer.at(230 * MS).q, [200.2, 199.6])


def test_the_chunk_that_is_due_is_the_one_that_plays() -> None:
    buffer = _pushed(_chunk(200, obs_ms=2), 100, _pushed(_chunk(100, obs_ms=1), 100))
    assert buffer.due(100 * MS) is buffer.playing and buffer.due(200 * MS) is buffer.coming


def test_pushing_leaves_the_old_buffer_as_it_was() -> None:
    empty = ChunkBuffer()
    _pushed(_chunk(100), 100, empty)
    assert empty.playing is None


@pytest.mark.filterwarnings("error")
def test_absurd_rows_make_a_wish_that_is_not_finite_without_a_warning() -> None:
    chunk = ActionChunk(0, 0, 1, np.array([[1e308], [-1e308]]), "policy")
    assert not np.isfinite(_pushed(chunk, 0).at(0).qd).all()
