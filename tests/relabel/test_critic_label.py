"""The critic as a labeller: judged logs get advantages, advantages become weights, and weights train a policy."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'robot_stack[train]'")

from policies.bundle import load_bundle, sha256_of
from policies.checkpoint import WEIGHTS, load_checkpoint
from policies.critic import CRITIC, load_critic
from policies.train import train_policy
from robot_stack.cli import main
from robot_stack.config.schema import PolicySettings, TrainSettings
from robot_stack.data.log import LogMetadata, LogWriter
from robot_stack.learn import load_episodes
from robot_stack.types import Mode
from tests.relabel.written import JOINTS, START, write_ticks

POLICY = PolicySettings(rows=8, image_height=12, image_width=16, width=16, depth=1, steps=2, keypoints=4)
TRAIN = TrainSettings(steps=10, batch=16, holdout=0, repeats=1, warmup=2, shift=1)
LEARN = ["learn.steps=300", "learn.check_every=100", "learn.width=32", "learn.critics=2", "learn.lr=3e-3", "learn.holdout=0"]


def motion(end, ticks=150):
    """(n, J): joint 0 goes from 0 to `end`."""
    return np.linspace(0.0, end, ticks)[:, None] * np.array([1.0, 0.0, 0.0])


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """Six demonstrations: up does the task, down does not."""
    folder = tmp_path_factory.mktemp("logs")
    rgb = np.full((24, 32, 3), 90, dtype=np.uint8)
    for i in range(6):
        with LogWriter(folder / f"e{i}", LogMetadata("sim_arm", JOINTS, instruction="Go."), patient=True) as log:
            q = motion((1.0 if i % 2 else -1.0) * (1.0 + 0.02 * i))
            write_ticks(log, [Mode.TELEOP] * len(q), seed=i, rgb=rgb, q=q)
            log.mark("success" if i % 2 else "failure", START)
    return folder


@pytest.fixture(scope="module")
def labelled(logs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    assert main(["relabel", "rewards", f"dataset={logs}"]) == 0
    train_policy(load_episodes(logs, 20.0, None), POLICY, TRAIN, folder / "plain")
    words = [f"critic.checkpoint={folder / 'plain'}", f"critic.out={folder / 'critic'}", *(f"critic.{w}" for w in LEARN)]
    assert main(["relabel", "critic", "weights", f"dataset={logs}", "weights.by=critic", *words]) == 0
    return folder


def test_chunks_of_what_succeeded_have_the_advantage_and_the_weight(logs, labelled):
    found = load_episodes(logs, 30.0, None)
    mean = [{name: e.columns[name][:30].mean() for name in ("advantage", "chunk_q", "weight")} for e in found]
    for bad, good in zip(mean[::2], mean[1::2], strict=True):
        assert good["chunk_q"] > bad["chunk_q"] + 0.1
        assert good["advantage"] > bad["advantage"]
    assert np.mean([m["weight"] for m in mean[1::2]]) > 2.0 * np.mean([m["weight"] for m in mean[::2]])
    assert max(e.columns["weight"].max() for e in found) <= 100.0


def test_the_run_says_what_it_was_made_from_and_the_critic_can_be_read(logs, labelled):
    card = json.loads((logs / "labels" / "0002-critic" / "run.json").read_text())
    assert card["reads"] == ["success"] and card["settings"]["learn"]["steps"] == 300
    assert "fitting" in card["told"] and card["labels"] == ["advantage", "chunk_q", "chunk_v"]
    critic, about = load_critic(labelled / "critic")
    assert len(critic.a_mean) == 6 * 3 and [c["step"] for c in about["checks"]] == [0, 100, 200, 300]
    assert about["sha256"] == sha256_of(labelled / "plain" / WEIGHTS) and about["sha256"][:12] in card["told"]


def test_any_policy_trains_by_these_weights(logs, labelled, tmp_path):
    for name in ("flow", "bc"):
        settings = PolicySettings(**{**vars(POLICY), "name": name})
        train = TrainSettings(**{**vars(TRAIN), "weights": "weight"})
        train_policy(load_episodes(logs, 20.0, None), settings, train, tmp_path / name)


def test_a_policy_of_one_mean_is_held_to_what_the_critic_prefers(logs, labelled, tmp_path):
    words = [
        "policy=bc",
        "policy.mixture=0",
        *(f"policy.{name}={getattr(POLICY, name)}" for name in ("rows", "modes", "width", "depth")),
    ]
    words += [
        "policy.image_height=12",
        "policy.image_width=16",
        "policy.rate_hz=20",
        "train.steps=3",
        f"train.prdc={labelled / 'critic'}",
    ]
    assert main(["train", f"dataset={logs}", f"out={tmp_path / 'held'}", *words]) == 0
    card = load_checkpoint(tmp_path / "held")[1]
    assert card.critic_sha256 == sha256_of(labelled / "critic" / CRITIC)


def test_a_checkpoint_that_has_changed_in_its_place_labels_anew_and_the_same_one_does_not(logs, labelled, tmp_path, capsys):
    root, plain = shutil.copytree(logs, tmp_path / "logs"), shutil.copytree(labelled / "plain", tmp_path / "plain")
    words = [f"dataset={root}", f"critic.checkpoint={plain}", "critic.learn.steps=5", "critic.learn.width=8"]

    def said() -> str:
        assert main(["relabel", "critic", *words]) == 0
        return capsys.readouterr().out

    assert "6 episodes" in said()
    shutil.copytree(labelled / "plain", plain, dirs_exist_ok=True, copy_function=shutil.copyfile)
    assert "nothing to do, all 6 episodes" in said()
    before = load_episodes(root, 30.0, None)[0].columns["chunk_q"]
    train_policy(load_episodes(root, 20.0, None), POLICY, replace(TRAIN, seed=1), plain)
    assert "6 episodes" in said()
    assert not np.array_equal(load_episodes(root, 30.0, None)[0].columns["chunk_q"], before)
    cards = [json.loads(path.read_text())["files"] for path in sorted(root.glob("labels/*-critic/run.json"))[-2:]]
    assert cards[1] == {name: sha256_of(plain / name) for name in ("policy.yaml", WEIGHTS)}
    assert all(cards[0][name] != cards[1][name] for name in cards[1])


@pytest.mark.slow
def test_a_bundle_that_ranks_by_q_is_one_word_at_the_command_line(logs, labelled, tmp_path):
    words = [f"q_rank.critic.{w.removeprefix('learn.')}" for w in LEARN]
    at = [f"checkpoint={labelled / 'plain'}", f"dataset={logs}", f"out={tmp_path / 'bundle'}"]
    assert main(["export", *at, "selector=q_rank", *words]) == 0
    assert load_bundle(tmp_path / "bundle").manifest.selector == "q_rank"


def test_a_policy_that_is_not_there_is_named_for_every_episode(logs, labelled, tmp_path, capsys):
    assert main(["relabel", "critic", f"dataset={logs}", f"critic.checkpoint={tmp_path / 'nothing'}"]) == 1
    assert "critic.checkpoint: found" in capsys.readouterr().out


def test_weights_are_taken_back_before_the_advantages_they_read(logs, labelled, capsys):
    assert main(["relabel", "undo=0002-critic", f"dataset={logs}"]) != 0
    assert "0003-weights has read the labels" in "".join(capsys.readouterr())
    assert main(["relabel", "undo=0003-weights", f"dataset={logs}"]) == 0
    assert main(["relabel", "undo=0002-critic", f"dataset={logs}"]) == 0
    assert "advantage" not in load_episodes(logs, 30.0, None)[0].columns
