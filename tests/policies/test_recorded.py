from dataclasses import replace

import numpy as np
import pytest

from policies.recorded import check_alike, chunks, data_hash, observation_at, velocities, whole_chunks
from robot_stack.errors import PolicyError


def test_a_chunk_starts_with_the_action_of_its_own_sample_and_ends_by_holding_the_last(episodes):
    episode = episodes[0]
    found = chunks(episode, 8, episode.rate_hz)
    np.testing.assert_array_equal(found[3], episode.action[3:11])
    np.testing.assert_array_equal(found[-2, 1:], np.repeat(episode.action[-1:], 7, axis=0))


def test_a_chunk_at_another_rate_is_interpolated_between_samples(episodes):
    episode = episodes[0]
    found = chunks(episode, 3, 2.0 * episode.rate_hz)
    np.testing.assert_allclose(found[4, 1], 0.5 * (episode.action[4] + episode.action[5]))
    np.testing.assert_allclose(found[4, 2], episode.action[5])


def test_whole_chunks_end_inside_the_episode(episodes):
    assert whole_chunks(episodes[0], 8, 20.0) == len(episodes[0]) - 7
    assert whole_chunks(episodes[0], 8, 10.0) == len(episodes[0]) - 14
    assert whole_chunks(episodes[0], 800, 20.0) == 0


def test_the_speed_of_an_observation_looks_only_at_the_past(episodes):
    episode = episodes[0]
    qd = observation_at(episode, 5).joints.qd
    np.testing.assert_allclose(qd, (episode.q[5] - episode.q[4]) * 20.0)
    np.testing.assert_allclose(velocities(episode)[5], qd)
    assert not observation_at(episode, 0).joints.qd.any()


def test_episodes_of_different_arms_are_refused_by_name(episodes):
    other = replace(episodes[1], joint_names=("a", "b", "c"))
    with pytest.raises(PolicyError, match="episode_1"):
        check_alike([episodes[0], other])
    with pytest.raises(PolicyError, match="found none"):
        check_alike([])


def test_the_data_hash_changes_with_one_pixel(episodes):
    picture = episodes[0].images["scene"].copy()
    picture[0, 0, 0, 0] += 1
    changed = replace(episodes[0], images={**episodes[0].images, "scene": picture})
    assert data_hash([episodes[0]]) == data_hash([replace(episodes[0])])
    assert data_hash([episodes[0]]) != data_hash([changed])
