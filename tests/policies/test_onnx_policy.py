import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from policies.onnx_policy import OnnxPolicy
from policies.recorded import observation_at
from robot_stack.errors import PolicyError
from robot_stack.types import CameraFrame


@pytest.fixture
def policy(bundle):
    return OnnxPolicy(bundle)


def test_torch_is_never_imported_at_run_time(bundle):
    code = (
        f"import sys; from policies.onnx_policy import OnnxPolicy; OnnxPolicy({str(bundle)!r}); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("candidates", [1, 4, 32])
def test_the_number_of_candidates_is_free(bundle, episodes, candidates):
    sampled = OnnxPolicy(bundle, candidates).sample(observation_at(episodes[0], 0))
    assert sampled.actions.shape == (candidates, 8, 3)


def test_candidate_zero_does_not_depend_on_how_many_others_there_are(bundle, episodes):
    observation, noise = observation_at(episodes[0], 4), np.random.default_rng(0).standard_normal((6, 8, 3)).astype(np.float32)
    policy = OnnxPolicy(bundle)
    np.testing.assert_allclose(
        policy.sample(observation, noise).actions[0], policy.sample(observation, noise[:1]).actions[0], atol=1e-6
    )


def test_rows_are_due_from_the_time_of_the_observation(policy, episodes):
    chunk = policy.decide(observation_at(episodes[0], 6)).chunk
    assert (chunk.t_obs_ns, chunk.t0_ns, chunk.dt_ns, chunk.source) == (300_000_000, 300_000_000, 50_000_000, "flow")


def test_rows_go_on_from_the_joints_even_where_the_pictures_are_older(policy, episodes):
    observation = observation_at(episodes[0], 6)
    newer = replace(observation, joints=replace(observation.joints, t_ns=observation.t_ns + 30_000_000))
    chunk = policy.decide(newer).chunk
    assert (chunk.t_obs_ns, chunk.t0_ns) == (300_000_000, 330_000_000)


def test_without_a_selector_there_are_no_counts_and_the_first_wins(policy, episodes):
    choice = policy.decide(observation_at(episodes[0], 6))
    assert choice.winner == 0 and choice.counts is None


def test_noise_of_the_wrong_shape_is_refused(policy, episodes):
    with pytest.raises(PolicyError, match="noise"):
        policy.sample(observation_at(episodes[0], 0), np.zeros((2, 9, 3), dtype=np.float32))


def test_an_unknown_engine_lists_the_ones_there_are(bundle):
    with pytest.raises(PolicyError, match=r"engine: found 'abacus', allowed auto, tensorrt, onnxruntime_gpu"):
        OnnxPolicy(bundle, engine="abacus")


def test_another_instruction_is_refused(policy, episodes):
    with pytest.raises(PolicyError, match="instruction: found 'dance'"):
        policy.decide(replace(observation_at(episodes[0], 0), instruction="dance"))


def test_a_picture_of_another_size_is_refused(policy, episodes):
    observation = observation_at(episodes[0], 0)
    small = CameraFrame("scene", 0, np.zeros((16, 16, 3), dtype=np.uint8))
    with pytest.raises(PolicyError, match=r"camera scene: found a picture of \(16, 16\)"):
        policy.decide(replace(observation, frames={**observation.frames, "scene": small}))
