from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from policies.checkpoint import CARD, RESUME, WEIGHTS, load_checkpoint
from policies.features import features_of
from policies.train import _Run, train_policy
from robot_stack.errors import PolicyError


def test_training_learns_what_the_pictures_tell(make, settings, train, tmp_path):
    long = replace(train, steps=400, lr=2e-3, holdout=4)
    _, card = load_checkpoint(train_policy(make(24), settings, long, tmp_path))
    assert card.figures["mean_of_16"] < 0.6 * card.figures["hold"]


def test_the_same_seed_gives_the_same_bits(episodes, settings, train, checkpoint, tmp_path):
    again = train_policy(episodes, settings, train, tmp_path)
    assert (again / WEIGHTS).read_bytes() == (checkpoint / WEIGHTS).read_bytes()
    other = train_policy(episodes, settings, replace(train, seed=1), tmp_path / "other")
    assert (other / WEIGHTS).read_bytes() != (checkpoint / WEIGHTS).read_bytes()


def test_an_interrupted_run_resumes_to_the_same_bits(episodes, settings, train, checkpoint, tmp_path, monkeypatch):
    whole = _Run._one

    def killed_at_45(run, *arguments):
        if run.step == 45:
            raise KeyboardInterrupt
        whole(run, *arguments)

    monkeypatch.setattr(_Run, "_one", killed_at_45)
    with pytest.raises(KeyboardInterrupt):
        train_policy(episodes, settings, train, tmp_path)
    assert (tmp_path / RESUME).exists()
    monkeypatch.setattr(_Run, "_one", whole)
    resumed = load_file(train_policy(episodes, settings, train, tmp_path) / WEIGHTS)
    for name, tensor in load_file(checkpoint / WEIGHTS).items():
        assert torch.equal(resumed[name], tensor), name
    assert not (tmp_path / RESUME).exists()


def test_holding_out_every_episode_is_refused(episodes, settings, train, tmp_path):
    with pytest.raises(PolicyError, match=r"train.holdout: found 5, allowed 0..4"):
        train_policy(episodes, settings, replace(train, holdout=5), tmp_path)


def test_a_cut_checkpoint_is_refused(checkpoint, tmp_path):
    (tmp_path / CARD).write_bytes((checkpoint / CARD).read_bytes())
    (tmp_path / WEIGHTS).write_bytes((checkpoint / WEIGHTS).read_bytes()[:1000])
    with pytest.raises(PolicyError, match="train again"):
        load_checkpoint(tmp_path)


def test_feature_search_keeps_one_feature_per_sample(checkpoint, episodes, settings):
    features = features_of(checkpoint, episodes[:1], samples=4)
    assert features.shape == (len(episodes[0]), settings.width)
    assert features.dtype.name == "float32"
