import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from policies.bundle import MANIFEST, MANIFEST_SUM, MODEL, load_bundle
from policies.export import export_bundle
from policies.onnx_policy import OnnxPolicy
from policies.recorded import observation_at
from robot_stack.errors import PolicyError


class Nearness(nn.Module):
    """A selector with the CFN's signature: features (N, F) to counts (N,)."""

    def forward(self, features):
        return 1.0 / (1e-6 + features.square().mean(-1))


@pytest.fixture
def copy(bundle, tmp_path):
    return shutil.copytree(bundle, tmp_path / "bundle")


def test_an_exported_bundle_agrees_with_pytorch(bundle):
    parity = load_bundle(bundle).manifest.parity
    assert parity["max_abs_rad"] < 1e-4 and parity["observations"] == 24


def test_a_model_cut_in_the_middle_is_refused(copy):
    (copy / MODEL).write_bytes((copy / MODEL).read_bytes()[:-100])
    with pytest.raises(PolicyError, match=r"model.onnx: found sha256"):
        OnnxPolicy(copy)


def test_one_changed_bit_is_refused(copy):
    content = bytearray((copy / MODEL).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / MODEL).write_bytes(bytes(content))
    with pytest.raises(PolicyError, match="sha256"):
        load_bundle(copy)


@pytest.mark.parametrize("name", [MODEL, MANIFEST, MANIFEST_SUM])
def test_a_missing_file_is_named(copy, name):
    (copy / name).unlink()
    with pytest.raises(PolicyError, match=f"{name}: missing"):
        load_bundle(copy)


def test_an_edited_manifest_is_refused(copy):
    (copy / MANIFEST).write_text((copy / MANIFEST).read_text().replace("joint_0", "joint_9"))
    with pytest.raises(PolicyError, match=r"manifest.yaml: found sha256"):
        load_bundle(copy)


def test_no_bundle_at_all_says_how_to_make_one(tmp_path):
    with pytest.raises(PolicyError, match="robot-stack export"):
        load_bundle(tmp_path / "nothing")


def test_a_bundle_for_another_arm_is_refused(bundle):
    with pytest.raises(PolicyError, match="another arm"):
        OnnxPolicy(bundle, joint_names=("joint_1", "joint_0", "joint_2"))


def test_export_refuses_outside_the_tolerance_and_leaves_nothing(checkpoint, episodes, tmp_path):
    with pytest.raises(PolicyError, match="parity"):
        export_bundle(checkpoint, tmp_path / "bundle", None, episodes, tolerance=-1.0)
    assert not list(tmp_path.iterdir())


def test_export_never_overwrites_what_is_no_bundle(checkpoint, episodes, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(PolicyError, match="no bundle"):
        export_bundle(checkpoint, tmp_path, None, episodes)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_the_selector_inside_the_graph_picks_the_candidate_with_the_largest_count(checkpoint, episodes, tmp_path):
    policy = OnnxPolicy(export_bundle(checkpoint, tmp_path / "bundle", Nearness(), episodes), candidates=7)
    observation = observation_at(episodes[0], 3)
    choice, candidates = policy.decide(observation), policy.sample(observation)
    assert choice.counts is not None and candidates.counts is not None
    assert choice.winner == int(np.argmax(choice.counts))
    np.testing.assert_allclose(choice.chunk.q, candidates.actions[choice.winner], atol=1e-5)
    expected = Nearness()(torch.tensor(candidates.features)).numpy()
    np.testing.assert_allclose(candidates.counts, expected, rtol=1e-4)


def test_joint_speeds_are_an_input_only_when_trained_on(episodes, settings, train, tmp_path):
    from policies.train import train_policy

    checkpoint = train_policy(episodes, replace(settings, velocity=True), replace(train, steps=10), tmp_path / "checkpoint")
    policy = OnnxPolicy(export_bundle(checkpoint, tmp_path / "bundle", None, episodes))
    fast = observation_at(episodes[0], 10)
    slow = replace(fast, joints=replace(fast.joints, qd=np.zeros(3)))
    assert not np.array_equal(policy.decide(fast).chunk.q, policy.decide(slow).chunk.q)
