"""What every Policy promises. A new engine or adapter adds one line to `POLICIES`."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from policies.export import export_bundle
from policies.onnx_policy import OnnxPolicy
from policies.recorded import observation_at
from policies.train import train_policy
from robot_stack.errors import PolicyError
from robot_stack.types import JointState
from tests.policies.conftest import SETTINGS, TRAIN, make_episodes

POLICIES = {kind: partial(OnnxPolicy, engine=kind) for kind in ("onnxruntime", "openvino", "tensorrt")}


@pytest.fixture(scope="module")
def episode():
    return make_episodes(1)[0]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    episodes, folder = make_episodes(), tmp_path_factory.mktemp("contract")
    checkpoint = train_policy(episodes, SETTINGS, replace(TRAIN, steps=5), folder / "checkpoint")
    return export_bundle(checkpoint, folder / "bundle", None, episodes)


@pytest.fixture(params=[pytest.param(kind, marks=pytest.mark.gpu if kind == "tensorrt" else ()) for kind in POLICIES])
def policy(request, bundle):
    if request.param == "openvino":
        pytest.importorskip("openvino", reason="needs the extra `openvino`")
    return POLICIES[request.param](bundle)


def test_it_says_which_joints_and_cameras_it_wants(policy, episode):
    assert policy.joint_names == episode.joint_names
    assert set(policy.cameras) == set(episode.images)


def test_a_choice_is_a_finite_chunk_of_its_joints_stamped_with_the_observation(policy, episode):
    observation = observation_at(episode, 2)
    choice = policy.decide(observation)
    assert choice.chunk.q.shape[1] == len(policy.joint_names)
    assert np.isfinite(choice.chunk.q).all()
    assert choice.chunk.t_obs_ns == observation.t_ns
    assert choice.chunk.t0_ns >= observation.t_ns
    assert choice.chunk.source not in ("", "teleop")


def test_the_winner_is_one_of_the_counted(policy, episode):
    choice = policy.decide(observation_at(episode, 2))
    assert choice.winner >= 0
    assert choice.counts is None or choice.winner < len(choice.counts)


def test_the_same_observation_gives_the_same_bits(policy, episode):
    first, second = (policy.decide(observation_at(episode, 2)) for _ in range(2))
    np.testing.assert_array_equal(first.chunk.q, second.chunk.q)


def test_a_decision_does_not_depend_on_the_decisions_before_it(policy, episode):
    expected = policy.decide(observation_at(episode, 7)).chunk.q
    policy.decide(observation_at(episode, 1))
    np.testing.assert_array_equal(policy.decide(observation_at(episode, 7)).chunk.q, expected)


def test_a_missing_camera_is_named(policy, episode):
    observation = observation_at(episode, 0)
    name = policy.cameras[0]
    frames = {camera: frame for camera, frame in observation.frames.items() if camera != name}
    with pytest.raises(PolicyError, match=name):
        policy.decide(replace(observation, frames=frames))


def test_the_wrong_number_of_joints_is_refused(policy, episode):
    extra = len(policy.joint_names) + 1
    with pytest.raises(PolicyError, match="joints"):
        policy.decide(replace(observation_at(episode, 0), joints=JointState(0, np.zeros(extra), np.zeros(extra))))


def test_joints_that_are_not_numbers_are_refused(policy, episode):
    broken = np.full(len(policy.joint_names), np.nan)
    with pytest.raises(PolicyError, match="joints"):
        policy.decide(replace(observation_at(episode, 0), joints=JointState(0, broken, np.zeros_like(broken))))
