"""The values hold what they promise."""

import dataclasses

import numpy as np
import pytest

from robot_stack.errors import ContractError
from robot_stack.types import ActionChunk, CameraFrame, Candidates, FailureScore, Hazards, JointCommand, JointState, lock


def test_arrays_are_copied_and_locked() -> None:
    q = np.zeros(3)
    state = JointState(0, q, np.zeros(3))
    q[0] = 1.0
    assert state.q[0] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        state.q[0] = 1.0


def test_a_locked_array_is_shared_not_copied() -> None:
    q = lock(np.zeros(3), (None,), "q")
    assert JointCommand(0, q).q is q


def test_pictures_are_shared_and_locked() -> None:
    rgb = np.zeros((2, 2, 3), np.uint8)
    frame = CameraFrame("c", 0, rgb)
    assert np.shares_memory(frame.rgb, rgb) and not frame.rgb.flags.writeable


def test_values_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        JointState(0, np.zeros(1), np.zeros(1)).t_ns = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    "make",
    [
        lambda: JointState(0, np.zeros(3), np.zeros(2)),
        lambda: JointState(0, np.zeros((3, 1)), np.zeros(3)),
        lambda: JointState(0, np.zeros(3), np.zeros(3), np.zeros(4)),
        lambda: JointCommand(0, np.zeros(3), np.zeros(2)),
        lambda: ActionChunk(0, 0, 0, np.zeros((4, 2)), "p"),
        lambda: ActionChunk(0, 0, 1, np.zeros((1, 2)), "p"),
        lambda: Candidates(np.zeros((2, 3, 4)), np.zeros((3, 5))),
        lambda: Hazards(0, np.zeros((2, 3)), np.zeros(2), np.zeros(1), np.zeros(2)),
        lambda: CameraFrame("c", 0, np.zeros((2, 2, 3))),
        lambda: CameraFrame("c", 0, np.zeros((2, 2), np.uint8)),
    ],
)
def test_wrong_shapes_are_refused_with_what_is_allowed(make) -> None:
    with pytest.raises(ContractError, match="found .* allowed"):
        make()


def test_a_score_that_is_no_number_is_an_alarm() -> None:
    assert FailureScore(0, float("nan"), 1.0).alarm and FailureScore(0, 2.0, 1.0).alarm
    assert FailureScore(0, 0.0, float("nan")).alarm and FailureScore(0, 0.0, 1.0, "camera_frozen").alarm
    assert not FailureScore(0, 1.0, 1.0).alarm
