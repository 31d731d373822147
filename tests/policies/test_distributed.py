"""Two processes that train together, over gloo on the loopback."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from policies.checkpoint import WEIGHTS, load_checkpoint
from policies.chunk_policy import ChunkPolicy
from policies.distributed import Team, team_of
from policies.frames import frames_of, set_statistics, shape_of
from policies.loader import Batch, Loader
from policies.train import loss_of
from robot_stack.errors import ConfigError, PolicyError
from tests.policies.training_process import SETTINGS, TRAIN, episodes, run, run_two

ROOT = Path(__file__).resolve().parents[2]
KILLED = -9


def farthest(a: Path, b: Path) -> float:
    """The largest difference of any weight."""
    first, second = load_file(a / WEIGHTS), load_file(b / WEIGHTS)
    assert first.keys() == second.keys()
    return max(float((first[name] - second[name]).abs().max()) for name in first)


def test_two_processes_train_what_one_trains_with_the_batch_in_two_parts(tmp_path: Path) -> None:
    assert run(tmp_path / "one", {"parts": 2}) == 0
    assert run_two(tmp_path / "two") == (0, 0)
    assert farthest(tmp_path / "one", tmp_path / "two") < 1e-6
    assert load_checkpoint(tmp_path / "two")[1].figures.keys() == {"one", "mean_of_16", "hold", "train_loss"}
    assert len(list((tmp_path / "two" / "events").iterdir())) == 1, "only one of them writes"


def test_shards_of_one_copy_train_the_same(tmp_path: Path) -> None:
    assert run(tmp_path / "one", {"parts": 2}) == 0
    assert run_two(tmp_path / "two", {"sharded": True}) == (0, 0)
    assert farthest(tmp_path / "one", tmp_path / "two") < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("sharded", [False, True])
def test_two_processes_killed_go_on_to_the_same_bits(tmp_path: Path, sharded: bool) -> None:
    assert run_two(tmp_path / "whole", {"sharded": sharded}) == (0, 0)
    assert run_two(tmp_path / "cut", {"sharded": sharded}, death="step 7")[0] == KILLED
    assert run_two(tmp_path / "cut", {"sharded": sharded}) == (0, 0)
    assert (tmp_path / "whole" / WEIGHTS).read_bytes() == (tmp_path / "cut" / WEIGHTS).read_bytes()


def test_the_parts_of_a_batch_have_the_gradients_of_the_whole() -> None:
    settings, train = replace(SETTINGS, name="bc", mixture=0), replace(TRAIN, parts=2)
    frames, policy = frames_of(episodes(), settings), ChunkPolicy(shape_of(episodes()), settings)
    weight = set_statistics(policy, frames)
    halves = [Loader(frames, train, range(part, part + 1)).batches(3)[0] for part in range(2)]
    for half in halves:
        (loss_of(policy, half, weight, train) / 2).backward()
    apart = [p.grad.clone() for p in policy.parameters() if p.grad is not None]
    policy.zero_grad()
    loss_of(policy, joined(*halves), weight, train).backward()
    together = [p.grad for p in policy.parameters() if p.grad is not None]
    assert len(apart) == len(together) > 10
    for a, b in zip(apart, together, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7)


def joined(a: Batch, b: Batch) -> Batch:
    """One batch of both."""
    names = ("q", "qd", "chunk", "ahead", "tokens", "jolt", "rows", "path", "liked", "other", "margin")
    rest = {name: torch.cat([getattr(a, name), getattr(b, name)]) for name in names}
    return Batch(pictures=[torch.cat(p) for p in zip(a.pictures, b.pictures, strict=True)], dice=a.dice, **rest)


def test_a_batch_the_processes_cannot_share_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(PolicyError, match=r"train.parts: found 3 of a batch of 8 for 3 processes, allowed a multiple"):
        with team_of(TRAIN):
            pass


def test_alone_a_team_is_this_process_and_leaves_everything_as_it_is() -> None:
    layer, value = torch.nn.Linear(2, 2), torch.ones(2)
    with team_of(replace(TRAIN, device="cpu")) as team:
        assert team == Team() and team.wrap(layer) is layer
        assert team.whole(value) is not None and team.part(value) is value
        assert (team.agreed(0.25), team.mean(0.5)) == (0.25, 0.5)
    with pytest.raises(ConfigError, match="train.device: found 'tpu', allowed auto, cpu"):
        replace(TRAIN, device="tpu")


@pytest.mark.gpu
def test_a_gpu_trains_what_the_processor_trains(tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA GPU")
    for device in ("cpu", "auto"):
        assert run(tmp_path / device, {"device": device, "steps": 1}) == 0
    assert farthest(tmp_path / "cpu", tmp_path / "auto") < 1e-3


@pytest.mark.slow
def test_torchrun_trains_on_a_robomimic_file_from_the_command_line(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="robomimic's files need h5py (extra `adroit`)")
    with h5py.File(tmp_path / "demos.hdf5", "w") as file:
        file.create_group("data").attrs["env_args"] = "{}"
        for k, episode in enumerate(episodes()):
            file[f"data/demo_{k}/actions"] = episode.action
            file[f"data/demo_{k}/obs/state"] = episode.q
            file[f"data/demo_{k}/obs/scene_image"] = episode.images["scene"]
    asked = ["dataset=demos.hdf5", "out=made", "policy=flow_sim", "train.steps=4", "train.batch=4", "train.holdout=1"]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "-m", "robot_stack", "train", *asked]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("checkpoint: made") == 1
    policy, card = load_checkpoint(tmp_path / "made")
    assert (card.steps_done, card.train.parts, card.cameras) == (4, 2, (("scene_image", (16, 16)),))
    assert np.isfinite(card.figures["one"]) and not list((tmp_path / "runs" / "cache").glob("*.partial"))
