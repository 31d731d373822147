import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from policies.export import export_bundle
from policies.onnx_policy import OnnxPolicy
from policies.train import train_policy
from robot_stack.data.lerobot import read_lerobot
from robot_stack.errors import DataError
from robot_stack.replay.baselines import Window, hold_command, hold_pose, mean_trajectory, ridge
from robot_stack.replay.chunk_error import chunk_errors, draw_chunks
from tests.policies.conftest import SETTINGS, TRAIN, make_episodes

WINDOW = Window(8, 20.0)
SHARED = Path(os.environ.get("ROBOT_STACK_SHARED", Path(__file__).parents[3] / "shared"))


@pytest.fixture(scope="module")
def episodes():
    return make_episodes(6)


@pytest.fixture(scope="module")
def policy(episodes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("chunk_error")
    checkpoint = train_policy(episodes, SETTINGS, replace(TRAIN, steps=10), folder / "checkpoint")
    return OnnxPolicy(export_bundle(checkpoint, folder / "bundle", None, episodes[-1:]))


def test_holding_predicts_the_same_row_again_and_again(episodes):
    episode = episodes[0]
    np.testing.assert_array_equal(hold_pose(WINDOW)(episode)[5], np.tile(episode.q[5], (8, 1)))
    np.testing.assert_array_equal(hold_command(WINDOW)(episode)[5], np.tile(episode.action[5], (8, 1)))


def test_ridge_finds_a_linear_motion_exactly(episodes):
    """action = q + 0.5 q is linear in the joints, so a small penalty leaves nothing over."""
    linear = [replace(e, action=1.5 * e.q) for e in episodes]
    single = Window(1, 20.0)
    predicted = ridge(linear, single, speeds=False, penalty=1e-9)(linear[0])
    np.testing.assert_allclose(predicted[:, 0], linear[0].action, atol=1e-6)


def test_the_mean_trajectory_knows_only_the_time_since_the_start(episodes):
    predict = mean_trajectory(episodes, WINDOW)
    np.testing.assert_array_equal(predict(episodes[0]), predict(episodes[1]))
    np.testing.assert_allclose(predict(episodes[0])[3, 2], np.mean([e.action[5] for e in episodes], axis=0))


def test_the_table_has_the_policy_and_every_baseline_at_every_length(policy, episodes):
    table = chunk_errors(policy, episodes[:-1], episodes[-1:], rows=(4, 8, 64))
    assert {line.rows for line in table.lines} == {4, 8}
    assert sum(line.learned for line in table.lines) == 4
    episode = episodes[-1]
    whole = np.abs(np.stack([episode.action[i : i + 8] - episode.q[i] for i in range(len(episode) - 7)])).mean()
    assert table.of("hold the last pose", 8) == pytest.approx(whole)
    assert "hold the last pose" in table.text()


def test_episodes_shorter_than_a_chunk_are_refused(policy):
    short = make_episodes(2, samples=6)
    with pytest.raises(DataError, match="allowed at least 8"):
        chunk_errors(policy, short, short)


def test_the_picture_is_drawn(policy, episodes, tmp_path):
    file = draw_chunks(policy, episodes[0], tmp_path / "deep" / "chunks.png")
    assert file.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "data" / "g1_bottle").is_dir(), reason="no g1_bottle data here: set ROBOT_STACK_SHARED")
def test_holding_the_pose_on_the_real_episodes_gives_the_published_figure():
    test = read_lerobot(SHARED / "data" / "g1_bottle", episodes=range(16, 20), height=12, width=16)
    window = Window(32, 30.0)
    held = np.concatenate([np.abs(hold_pose(window)(e) - window.of(e))[: len(e) - 31].mean(axis=(1, 2)) for e in test])
    assert held.mean() == pytest.approx(0.0454, abs=2e-4)
