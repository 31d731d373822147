"""`robot-stack certify` on a small policy with random weights: what is certified holds, and bad input is named."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the test bundle and the gradient attack need torch (extra `train`)")
pytest.importorskip("drivers.sim_world", reason="the observations are recorded in the simulated world (extra `sim`)")

import torch

from drivers.scenario import SCENARIOS
from policies.checkpoint import Card, save_checkpoint
from policies.chunk_policy import ChunkPolicy, ChunkShape
from policies.onnx_policy import OnnxPolicy
from policies.recorded import observation_at
from robot_stack import cli
from robot_stack.attack import Answers, Attacker, Shift, Sigma, noisy, nothing, shifted
from robot_stack.config.commands import CertifyCommand
from robot_stack.config.load import load
from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import PolicySettings, TrainSettings
from robot_stack.errors import ConfigError
from robot_stack.learn import load_episodes
from robot_stack.replay.crew import Setup, recording, teleoperated
from robot_stack.replay.lockstep import Episode
from robot_stack.types import Array, Observation

FEW = ["smoothing.samples=120", "smoothing.attack_samples=20", "smoothing.observations=1", "smoothing.radius=0.5"]


@pytest.fixture(scope="module")
def checkpoint(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint like the one of the test bundle, with other random weights."""
    manifest = OnnxPolicy(bundle).manifest
    shape = ChunkShape(len(manifest.joint_names), manifest.cameras)
    settings = PolicySettings(rows=16, image_height=32, image_width=32, width=32, depth=1, steps=2, candidates=4, keypoints=8)
    torch.manual_seed(1)
    policy = ChunkPolicy(shape, settings)
    torch.nn.init.normal_(policy.head.denoiser.leave.weight, std=0.1)
    card = Card(settings, TrainSettings(), manifest.joint_names, manifest.cameras, manifest.instruction, "0" * 64, 1)
    return save_checkpoint(tmp_path_factory.mktemp("checkpoint"), policy, card)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one short log."""
    folder, setup = tmp_path_factory.mktemp("logs"), Setup(load_robot("sim_arm"))
    with recording(folder / "one", setup, "nominal", {"seed": 1}) as sink:
        Episode(teleoperated(setup, seed=1), SCENARIOS["nominal"], 1, sink).run(0.6)
    return folder


@pytest.fixture(scope="module")
def seen(logs: Path) -> Observation:
    return observation_at(load_episodes(logs, 20.0, None, last=1)[0], 3)


@pytest.fixture(scope="module")
def sigma(seen: Observation) -> Sigma:
    return Sigma(np.full(len(seen.joints.q), 0.01), 4.0)


def test_certified_is_above_measured_and_the_file_says_the_same(
    bundle: Path, logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["certify", str(bundle), f"dataset={logs}", "holdout=1", f"out={tmp_path}", *FEW]) == 0
    said = capsys.readouterr().out
    found = json.loads((tmp_path / "certificate.json").read_text())
    figures, (spot,) = found["figures"], found["observations"]
    assert figures["held"] == 1.0 and figures["ratio_min"] >= 1.0
    assert spot["certified"] == sorted(spot["certified"]) and 0.0 < spot["damage"]["measured"] <= spot["certified"][-1]
    assert f"{figures['certified_0.5_max']:.4f}" in said and "held at 100 %" in said


def test_a_checkpoint_of_another_training_is_refused(
    bundle: Path, logs: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["certify", str(bundle), f"dataset={logs}", f"checkpoint={checkpoint}", f"out={tmp_path}", *FEW]
    assert cli.main(asked) == 2
    assert "not the one the bundle was exported from" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("holdout=0", "holdout: found 0, allowed 1 or more"),
        ("dataset=nowhere", "dataset nowhere: found no such file or folder, allowed a LeRobot dataset"),
        ("checkpoint=nowhere", "allowed a folder that training wrote"),
        ("bundle=nowhere", "no such bundle directory"),
        ("robot=no_such_robot", "no_such_robot"),
        ("smoothing.sigma=1", "smoothing.sigma: unknown key"),
    ],
)
def test_bad_input_is_named(bundle: Path, logs: Path, change: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["certify", f"bundle={bundle}", f"dataset={logs}", *FEW, change]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "allowed"),
    [
        ("joints=0", "1e-09 or more"),
        ("pixels=-1", "1e-09 or more"),
        ("samples=0", "1 or more"),
        ("confidence=1", "between 0 and 1"),
    ],
)
def test_a_setting_out_of_range_is_refused(change: str, allowed: str) -> None:
    with pytest.raises(ConfigError, match=rf"smoothing.{change.partition('=')[0]}: found .* {allowed}"):
        load(CertifyCommand, ["bundle=x", "dataset=x", f"smoothing.{change}"])


def test_a_damaged_bundle_is_refused(bundle: Path, logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut = tmp_path / "bundle"
    shutil.copytree(bundle, cut)
    (cut / "model.onnx").write_bytes((cut / "model.onnx").read_bytes()[:1000])
    assert cli.main(["certify", str(cut), f"dataset={logs}", *FEW]) == 2
    assert "the file was cut or changed" in capsys.readouterr().err


def length(shift: Shift, sigma: Sigma) -> float:
    pixels = sum(float(np.sum((p / sigma.pixels) ** 2)) for p in shift.pixels.values())
    return float(np.sqrt(np.sum((shift.q / sigma.q) ** 2) + pixels))


def test_every_attack_has_exactly_the_length_it_may_have(bundle: Path, checkpoint: Path, seen: Observation, sigma: Sigma) -> None:
    from policies.sensitivity import Sensitivity

    policy = OnnxPolicy(bundle)
    network = Sensitivity(checkpoint, policy.joint_names, policy.manifest.rows)
    answers = noisy(policy, seen, sigma, 12, (0,), nothing(sigma))
    rng = np.random.default_rng(0)
    shifts = list(Attacker(policy, sigma, 0.7, network).attacks(seen, answers, np.ptp(answers.actions, axis=0), rng))
    assert {s.name for s in shifts} == {"joints", "gradient", "random", "random joints"}
    assert all(length(shift, sigma) == pytest.approx(0.7, rel=1e-4) for shift in shifts)


def test_the_attack_on_the_joints_finds_the_direction_the_action_follows(seen: Observation, sigma: Sigma, bundle: Path) -> None:
    rng = np.random.default_rng(0)
    whitened = rng.standard_normal((300, len(sigma.q)))
    slope = np.zeros((len(sigma.q), 16 * len(sigma.q)))
    slope[:, 9] = [0.0, 3.0, 0.0, -4.0, 0.0, 0.0, 0.0]
    actions: Array = whitened @ slope
    attacker = Attacker(OnnxPolicy(bundle), sigma, 1.0, None)
    first = next(iter(attacker.attacks(seen, Answers(actions, whitened), np.abs(slope).sum(0), rng)))
    assert np.allclose(first.q / sigma.q, [0.0, 0.6, 0.0, -0.8, 0.0, 0.0, 0.0], atol=1e-6)


def test_a_shift_is_added_rounded_and_clipped_and_the_original_stays(seen: Observation, sigma: Sigma) -> None:
    name, frame = next(iter(seen.frames.items()))
    before = frame.rgb.copy()
    pixels = np.zeros(frame.rgb.shape)
    pixels[0, 0], pixels[0, 1], pixels[0, 2] = 300.0, -300.0, 0.4
    found = shifted(seen, Shift("test", np.full(len(sigma.q), 0.1), {name: pixels})).frames[name].rgb
    assert (found[0, 0] == 255).all() and (found[0, 1] == 0).all()
    assert np.array_equal(found[0, 2:], before[0, 2:]) and np.array_equal(frame.rgb, before)


def test_the_same_seed_draws_the_same_noise_under_every_shift(bundle: Path, seen: Observation, sigma: Sigma) -> None:
    policy = OnnxPolicy(bundle)
    away = replace(nothing(sigma), q=0.5 * sigma.q)
    quiet, moved = (noisy(policy, seen, sigma, 3, (7,), shift) for shift in (nothing(sigma), away))
    assert np.array_equal(quiet.whitened, moved.whitened) and not np.array_equal(quiet.actions, moved.actions)
