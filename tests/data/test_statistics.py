import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_stack.data.statistics import Moments, merged


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30), st.data())
def test_parts_merge_to_the_moments_of_the_whole(values, data):
    whole = np.array(values)
    at = data.draw(st.integers(1, len(values) - 1))
    found = Moments.of(whole[:at]).merge(Moments.of(whole[at:])).as_lists()
    expected = {"min": whole.min(), "max": whole.max(), "mean": whole.mean(), "std": whole.std(), "count": len(whole)}
    assert {k: v[0] for k, v in found.items()} == pytest.approx(expected, abs=1e-9)


def test_numbers_that_are_not_finite_do_not_count():
    found = Moments.of(np.array([[1.0, np.nan], [3.0, np.nan], [np.inf, np.nan]]))
    assert found.count.tolist() == [2, 0]
    assert found.as_lists() == {"min": [1, 0], "max": [3, 0], "mean": [2, 0], "std": [1, 0], "count": [2]}


def test_a_column_of_another_width_stays_as_it_was_first():
    first, other = Moments.of(np.zeros((2, 3))), Moments.of(np.ones((2, 2)))
    assert merged({"a": first}, {"a": other, "b": other})["a"] is first
