from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from policies.checkpoint import CARD, RESUME, WEIGHTS, load_checkpoint
from policies.features import features_of
from policies.frames import frames_of
from policies.recorded import data_hash
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


def weighted(episodes, weights):
    """`episodes` with a column `weight` that is one number in each."""
    return [replace(e, columns={**e.columns, "weight": np.full(len(e), w)}) for e, w in zip(episodes, weights, strict=True)]


def test_samples_of_weight_zero_are_never_drawn(episodes, settings, train, tmp_path):
    wrong = [replace(e, name=f"wrong_{e.name}", action=-e.action) for e in episodes]
    by_weight = replace(train, weights="weight", holdout=0, steps=5)
    _, card = load_checkpoint(train_policy(weighted([*episodes, *wrong], [1.0] * 5 + [0.0] * 5), settings, by_weight, tmp_path))
    assert card.train.weights == "weight"
    frames = frames_of(weighted([*episodes, *wrong], [2.0] * 5 + [0.0] * 5), settings, "weight")
    torch.manual_seed(0)
    drawn = torch.multinomial(frames.odds, 400, replacement=True)
    assert int(drawn.max()) < len(frames) // 2


def test_other_weights_make_another_policy_and_the_same_weights_the_same(episodes, settings, train, tmp_path):
    short = replace(train, steps=5, weights="weight", holdout=0)
    made = [
        (train_policy(weighted(episodes, weights), settings, short, tmp_path / name) / WEIGHTS).read_bytes()
        for name, weights in (("a", [1.0, 1, 1, 1, 1]), ("b", [1.0, 1, 1, 1, 1]), ("c", [9.0, 1, 1, 1, 1]))
    ]
    assert made[0] == made[1] != made[2]
    assert data_hash(weighted(episodes, [1.0] * 5), "weight") != data_hash(weighted(episodes, [2.0] * 5), "weight")


@pytest.mark.parametrize(
    ("weights", "allowed"),
    [([1.0, 1, 1, 1, -1], "0 or more, not all 0"), ([float("nan"), 1, 1, 1, 1], "finite"), ([0.0] * 5, "0 or more, not all 0")],
)
def test_weights_that_cannot_be_drawn_by_are_refused(episodes, settings, train, tmp_path, weights, allowed):
    with pytest.raises(PolicyError, match=f"allowed {allowed}"):
        train_policy(weighted(episodes, weights), settings, replace(train, weights="weight", holdout=0), tmp_path)


def test_a_column_that_is_not_there_is_refused_with_the_next_step(episodes, settings, train, tmp_path):
    with pytest.raises(PolicyError, match="next: robot-stack relabel"):
        train_policy(episodes, settings, replace(train, weights="weight"), tmp_path)
