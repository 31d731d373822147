import numpy as np
import pytest

from robot_stack.data.episode import Episode
from robot_stack.demo.train import nearest_hazard
from robot_stack.errors import DataError

SEEN = np.array([0.3, -0.1, 0.14])


def _episode(hazard_p: np.ndarray) -> Episode:
    q = np.zeros((len(hazard_p), 1))
    return Episode("episode_0007", 10.0, ("a",), q, q, {}, columns={"hazard_p": hazard_p})


def test_before_its_first_sight_the_obstacle_is_where_it_was_seen_first() -> None:
    nowhere = np.full(3, np.nan)
    p = np.array([nowhere, nowhere, SEEN, SEEN + 1.0])[:, None]
    assert np.array_equal(nearest_hazard(_episode(p)), [SEEN, SEEN, SEEN, SEEN + 1.0])


def test_a_log_in_which_the_obstacle_was_never_perceived_is_named() -> None:
    with pytest.raises(DataError, match="episode_0007: found no perceived hazard in 4 samples"):
        nearest_hazard(_episode(np.full((4, 1, 3), np.nan)))
