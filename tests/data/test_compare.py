import numpy as np
import pytest

from robot_stack.data.compare import difference
from robot_stack.types import JointCommand


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.0, 1.5, "a", None, (1, 2.0), np.array([np.nan, -0.0])])
def test_a_value_equals_itself(value):
    assert difference(value, value) is None


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(0.0, -0.0), (1.0, np.nextafter(1.0, 2)), (1, 1.5), (1, 2), (1.0, None), ((1,), (1, 2)),
     (np.zeros(2), np.array([0.0, -0.0])), (np.zeros(2), np.zeros(3)), (np.zeros(1), None), (1.0, "1.0")],
)  # fmt: skip
def test_values_of_other_bits_differ(ours, theirs):
    assert difference(ours, theirs) is not None


def test_every_nan_equals_every_other():
    quiet, negative = np.array([np.nan]), -np.array([np.nan])
    assert difference(quiet, negative) is None
    assert difference(float(quiet[0]), float(negative[0])) is None


def test_the_first_difference_is_named_with_its_path():
    ours, theirs = JointCommand(1, np.array([1.0, 2.0])), JointCommand(1, np.array([1.0, 2.5]))
    assert difference(ours, theirs, "command") == "command.q[1]: 2.0 against 2.5 (1 of 2 differ)"
