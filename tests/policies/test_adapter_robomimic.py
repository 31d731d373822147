"""Policies that robomimic itself trains on a file of ours, as bundles."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'robot_stack[train]'")
pytest.importorskip("robomimic", reason="needs robomimic: pip install 'robot_stack[robomimic]'")

import h5py
import torch

from policies.adapters.foreign import export_foreign
from policies.adapters.operators import import_torchvision
from policies.adapters.robomimic_policy import load_robomimic, read_checkpoint
from policies.onnx_policy import OnnxPolicy
from policies.recorded import observation_at
from robot_stack.cli import main
from robot_stack.data.catalogue import Catalogue
from robot_stack.data.lerobot import read_lerobot
from robot_stack.data.log_source import write_log
from robot_stack.data.recording import ACTION, STATE, Pictures, Recording
from robot_stack.datasets.convert import convert
from robot_stack.errors import PolicyError

JOINTS, ROWS, SIDE = ("base", "elbow", "grip"), 24, 76


def demonstration(seed):
    """Three joints beyond 1 rad, and a camera that shows a bright square where the first of them is."""
    random = np.random.default_rng(seed)
    q = 2.0 * np.sin(np.linspace(0, 2, ROWS)[:, None] * random.uniform(0.5, 1.5, 3)).astype(np.float32)
    pictures = np.full((ROWS, SIDE, SIDE, 3), 60, np.uint8)
    for i, place in enumerate((SIDE / 2 + 15 * q[:, 0]).astype(int)):
        pictures[i, 30:40, place - 5 : place + 5] = 230
    action = np.concatenate([q[1:], q[-1:]])
    names = {STATE: JOINTS, ACTION: JOINTS}
    cameras = {"top": Pictures(pictures.__iter__, range(ROWS))}
    return Recording(f"demo {seed}", 20.0, {STATE: q, ACTION: action}, names, cameras, task="Go.", robot="made_up")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same four demonstrations for robomimic and as LeRobot's v3."""
    folder = tmp_path_factory.mktemp("demonstrations")
    for seed in range(4):
        write_log(demonstration(seed), folder / "logs" / str(seed))
    convert(Catalogue.open(folder / "logs"), folder / "demos.hdf5", "robomimic")
    convert(Catalogue.open(folder / "demos.hdf5"), folder / "v3", "lerobot-v3")
    return folder


@pytest.fixture(scope="module")
def episodes(files):
    return read_lerobot(files / "v3")


def trained(file, out, pictures=False, steps=2, statistics=None, **settings):
    """What robomimic's own training does, for a few steps: bc, recurrent and with a mixture unless told otherwise."""
    import_torchvision()
    from robomimic.algo import algo_factory
    from robomimic.config import config_factory
    from robomimic.utils import file_utils, obs_utils, train_utils

    torch.manual_seed(0)
    config = config_factory("bc")
    with config.values_unlocked():
        config.train.data, config.train.cuda = str(file), False
        config.train.seq_length = config.algo.rnn.horizon = 5
        config.observation.modalities.obs.low_dim = ["state"]
        config.observation.modalities.obs.rgb = ["top"] if pictures else []
        config.algo.rnn.enabled = config.algo.gmm.enabled = True
        config.algo.rnn.hidden_dim, config.algo.actor_layer_dims = 16, ()
        visual = config.observation.encoder.rgb
        visual.core_kwargs.feature_dimension, visual.core_kwargs.backbone_class = 8, "ResNet18Conv"
        visual.obs_randomizer_class = "CropRandomizer"
        visual.obs_randomizer_kwargs = {"crop_height": 68, "crop_width": 68, "num_crops": 1, "pos_enc": False}
        for name, value in settings.items():
            part, _, key = name.rpartition("__")
            target = config
            for word in part.split("__"):
                target = target[word]
            target[key] = value
    obs_utils.initialize_obs_utils_with_config(config)
    shapes = file_utils.get_shape_metadata_from_dataset(str(file), config.all_obs_keys)
    environment = file_utils.get_env_metadata_from_dataset(str(file))
    model = algo_factory("bc", config, shapes["all_shapes"], shapes["ac_dim"], torch.device("cpu"))
    data, _ = train_utils.load_data_for_training(config, obs_keys=shapes["all_obs_keys"])
    loader = torch.utils.data.DataLoader(data, batch_size=4, shuffle=True)
    if steps:
        train_utils.run_epoch(model, loader, epoch=0, num_steps=steps)
    with config.values_unlocked():
        config.train.hdf5_normalize_obs = statistics is not None
    train_utils.save_model(model, config, environment, shapes, str(out), obs_normalization_stats=statistics)
    return out


@pytest.fixture(scope="module")
def recurrent(files, tmp_path_factory):
    """BC-RNN-GMM on joints and pictures."""
    return trained(files / "demos.hdf5", tmp_path_factory.mktemp("recurrent") / "model_epoch_1.pth", pictures=True)


def test_actions_beyond_one_are_scaled_for_robomimic_and_come_back_exactly(files):
    with h5py.File(files / "demos.hdf5") as opened:
        demos = opened["data"]
        assert all(np.abs(demo["actions"][:]).max() <= 1.0 for demo in demos.values())
        said = json.loads(demos.attrs["env_args"])["robot_stack"]
        low, high = np.array(said["low"]), np.array(said["high"])
        first = low + (demos["demo_0"]["actions"][:] + 1) / 2 * (high - low)
    assert said["joint_names"] == list(JOINTS) and said["rate_hz"] == 20.0
    catalogues = [Catalogue.open(files / name) for name in ("logs", "demos.hdf5")]
    before, after = (catalogue.recording(next(iter(catalogue.entries()))) for catalogue in catalogues)
    assert np.array_equal(before.columns[ACTION], after.columns[ACTION]) and "robot_stack" not in after.about["env_args"]
    np.testing.assert_allclose(first, before.columns[ACTION], atol=1e-6)


def test_a_recurrent_mixture_that_robomimic_trained_runs_as_a_bundle(recurrent, files, episodes, tmp_path):
    assert main(["export", f"checkpoint={recurrent.parent}", f"dataset={files / 'v3'}", f"out={tmp_path / 'bundle'}"]) == 0
    found, bundle = load_robomimic(recurrent, episodes), OnnxPolicy(tmp_path / "bundle", joint_names=JOINTS)
    manifest = bundle.manifest
    assert (manifest.name, manifest.rows, manifest.rate_hz, bundle.cameras) == ("robomimic_bc_rnn_gmm", 5, 20.0, ("top",))
    assert (
        manifest.parity["max_abs_rad"] < 1e-4 and manifest.parity["observations"] == 12 and manifest.figures["open_loop_rad"] >= 0
    )
    seen = observation_at(episodes[1], 7)
    noise = np.random.default_rng(3).standard_normal((2, 5, 3)).astype(np.float32)
    np.testing.assert_allclose(bundle.sample(seen, noise).actions, found.original(seen, noise), atol=1e-4)
    choice, candidates = bundle.decide(seen), bundle.sample(seen)
    assert (manifest.selector, manifest.candidates, len(choice.counts)) == ("taco", 16, 16) and (choice.counts > 0).all()
    assert choice.counts[choice.winner] == choice.counts.max()
    np.testing.assert_array_equal(choice.chunk.q, candidates.actions[choice.winner])


def rollout(file):
    """robomimic's own policy for rollouts, which samples."""
    from robomimic.utils import file_utils

    return file_utils.policy_from_checkpoint(ckpt_dict=read_checkpoint(file), device=torch.device("cpu"))[0]


def raw(episode, index):
    """An observation as a robomimic environment gives it: pictures processed already."""
    from robomimic.utils import obs_utils

    picture = obs_utils.process_obs(episode.images["top"][index], obs_modality="rgb")
    return {"state": episode.q[index].astype(np.float32), "top": picture}


def scaled(actions, found):
    """As the arm would be told."""
    return (found.network.low + 0.5 * (torch.as_tensor(actions) + 1) * (found.network.high - found.network.low)).numpy()


def test_every_row_is_robomimics_own_where_it_was_trained_to_act_from_one_look(files, episodes, tmp_path):
    file = trained(files / "demos.hdf5", tmp_path / "open.pth", algo__rnn__open_loop=True, algo__gmm__enabled=False)
    found = load_robomimic(file, episodes)
    bundle, theirs = OnnxPolicy(export_foreign(found, episodes, tmp_path / "bundle")), rollout(file)
    for start in (0, 9):
        theirs.start_episode()
        rows = scaled(np.stack([theirs({"state": raw(episodes[0], start + t)["state"]}) for t in range(5)]), found)
        np.testing.assert_allclose(bundle.decide(observation_at(episodes[0], start)).chunk.q, rows, atol=1e-5)
    assert found.figures["open_loop_rad"] == 0.0


def test_the_first_row_is_what_robomimic_draws_after_a_reset(recurrent, episodes):
    found, theirs = load_robomimic(recurrent, episodes), rollout(recurrent)
    noise = np.random.default_rng(0).standard_normal((64, 5, 3)).astype(np.float32)
    ours = found.original(observation_at(episodes[2], 4), noise)[:, 0]
    torch.manual_seed(0)
    for _ in range(8):
        theirs.start_episode()
        drawn = scaled(theirs(raw(episodes[2], 4)), found)
        assert np.abs(ours - drawn).max(1).min() < 5e-3, "one of the components that ours are drawn from"


PLAIN = {"algo__rnn__enabled": False, "algo__actor_layer_dims": (16, 16)}


def test_plain_behaviour_cloning_acts_as_robomimic_does_on_observations_that_were_normalised(files, episodes, tmp_path):
    statistics = {"state": {"mean": np.full((1, 3), 0.4, np.float32), "std": np.full((1, 3), 1.7, np.float32)}}
    file = trained(files / "demos.hdf5", tmp_path / "bc.pth", statistics=statistics, algo__gmm__enabled=False, **PLAIN)
    found, theirs = load_robomimic(file, episodes), rollout(file)
    bundle = OnnxPolicy(export_foreign(found, episodes, tmp_path / "bundle"))
    assert (bundle.cameras, bundle.manifest.name) == ((), "robomimic_bc") and bundle.manifest.parity["max_abs_rad"] < 1e-5
    theirs.start_episode()
    row = scaled(theirs({"state": episodes[3].q[6].astype(np.float32)}), found)
    np.testing.assert_allclose(bundle.decide(observation_at(episodes[3], 6)).chunk.q[0], row, atol=1e-5)


@pytest.mark.parametrize("settings", [PLAIN, {"algo__rnn__rnn_type": "GRU"}])
def test_mixtures_without_memory_and_other_memories_run_too(files, episodes, tmp_path, settings):
    found = load_robomimic(trained(files / "demos.hdf5", tmp_path / "model.pth", steps=1, **settings), episodes)
    bundle = OnnxPolicy(export_foreign(found, episodes, tmp_path / "bundle"))
    assert bundle.manifest.parity["max_abs_rad"] < 1e-5


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_narrower_network_is_still_near_robomimics(recurrent, episodes, tmp_path, precision):
    found = load_robomimic(recurrent, episodes)
    bundle = OnnxPolicy(export_foreign(found, episodes, tmp_path / "bundle", precision=precision))
    assert bundle.manifest.precision == precision and 0.0 < bundle.manifest.parity["max_abs_rad"] < 5e-3


def test_what_the_robot_does_not_have_is_refused(recurrent, files, episodes, make, tmp_path):
    with pytest.raises(
        PolicyError, match=r"found the inputs .*'top'.*allowed one of the 3 measured joints and pictures of scene"
    ):
        load_robomimic(recurrent, make(1))
    settings = {"algo__vae__enabled": True, "algo__rnn__enabled": False, "algo__gmm__enabled": False}
    file = trained(files / "demos.hdf5", tmp_path / "vae.pth", steps=0, **settings)
    with pytest.raises(PolicyError, match="found vae, allowed bc and bc_rnn"):
        load_robomimic(file, episodes)


def test_a_checkpoint_that_would_run_something_is_refused(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (Path.write_text, (tmp_path / "ran", "yes"))

    torch.save({"model": Harmful(), "config": "", "algo_name": "bc", "shape_metadata": {}}, tmp_path / "bad.pth")
    with pytest.raises(PolicyError, match="nothing is unpickled that could run"):
        read_checkpoint(tmp_path / "bad.pth")
    assert not (tmp_path / "ran").exists()
