"""The monitor's classifier on pictures whose truth is drawn: failure is a red dot near a white one in one of two cameras."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from robot_stack.config.schema import MonitorSettings
from robot_stack.errors import DataError
from robot_stack.robot import CameraSpec, Capsule, Joint, RobotSpec
from robot_stack.types import CameraFrame, Image
from safety.monitor import CARD, NETWORK, Classifier, Familiarity, Monitor
from safety.monitor_training import area_under_curve, calibrate_counts, train_monitor

SETTINGS = MonitorSettings(train_pixels=16, train_width=6, train_steps=150, train_batch=64, alpha=0.1)


def drawn(count: int, seed: int) -> tuple[dict[str, Image], NDArray[np.bool_]]:
    """Pictures 32 x 32 of two cameras; True where the dots of the scene are closer than 8 pixels."""
    rng = np.random.default_rng(seed)
    pictures = {name: rng.integers(90, 110, (count, 32, 32, 3)).astype(np.uint8) for name in ("scene", "wrist")}
    white = rng.integers(4, 26, (count, 2))
    red = np.where(rng.random((count, 1)) < 0.5, white + rng.integers(-5, 6, (count, 2)), rng.integers(4, 26, (count, 2)))
    red = np.clip(red, 2, 28)
    for i in range(count):
        pictures["scene"][i, white[i, 0] - 2 : white[i, 0] + 3, white[i, 1] - 2 : white[i, 1] + 3] = 255
        pictures["scene"][i, red[i, 0] - 2 : red[i, 0] + 3, red[i, 1] - 2 : red[i, 1] + 3] = (230, 20, 20)
    return pictures, np.linalg.norm(white - red, axis=1) < 8


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    pictures, labels = drawn(1500, seed=0)
    return train_monitor(pictures, labels, tmp_path_factory.mktemp("monitor"), SETTINGS, seed=0, groups=np.arange(1500) // 10)


def cell() -> RobotSpec:
    joint = Joint("base", -1, (0, 0, 0), (0, 0, 1), -1, 1, 1, 1)
    cameras = tuple(CameraSpec(name, -1, (1, 0, 1), (0, 0, 0), 1.0, 32, 32, 30.0) for name in ("scene", "wrist"))
    link = Capsule("link", 0, (0, 0, 0), (0, 0, 1), 0.1)
    return RobotSpec("cell", "none", 100, (joint,), (link,), cameras, (0.0,), 0, (0, 0, 1), ())


def test_the_card_holds_figures_of_held_out_pictures_and_a_certified_bound(trained: Path) -> None:
    figures = json.loads((trained / CARD).read_text())["figures"]
    assert figures["auc"] > 0.9 and figures["parity"] < 1e-4
    assert figures["missed"] <= SETTINGS.alpha and 0 < figures["bound"] <= SETTINGS.alpha
    assert figures["groups"] == 45 and figures["pictures"] == 450


def test_on_new_pictures_the_monitor_misses_no_more_than_alpha_and_does_not_cry_wolf(trained: Path) -> None:
    pictures, labels = drawn(400, seed=1)
    monitor = Monitor(MonitorSettings(model=str(trained)), cell())
    alarms = []
    for i in range(400):
        frames = {name: CameraFrame(name, i, p[i]) for name, p in pictures.items()}
        alarms.append(monitor.update(monitor.start(), frames, i)[1].cause == "classifier")
    assert np.mean(~np.array(alarms)[labels]) <= SETTINGS.alpha + 0.03
    assert np.mean(np.array(alarms)[~labels]) < 0.5


def test_the_same_seed_gives_the_same_threshold(tmp_path: Path) -> None:
    pictures, labels = drawn(400, seed=2)
    settings = MonitorSettings(train_pixels=16, train_width=4, train_steps=5, train_batch=16, alpha=0.1)
    folders = [train_monitor(pictures, labels, tmp_path / name, settings, seed=3) for name in ("one", "two")]
    one, two = (json.loads((folder / CARD).read_text()) for folder in folders)
    assert one["threshold"] == two["threshold"]
    assert (folders[0] / NETWORK).stat().st_size == (folders[1] / NETWORK).stat().st_size


def test_too_few_failures_to_certify_are_refused_with_the_number_needed(tmp_path: Path) -> None:
    pictures, labels = drawn(60, seed=3)
    with pytest.raises(DataError, match="at least 29"):
        train_monitor(pictures, labels, tmp_path, SETTINGS)


def test_pictures_of_different_sizes_are_refused(tmp_path: Path) -> None:
    pictures = {"scene": np.zeros((4, 32, 32, 3), np.uint8), "wrist": np.zeros((4, 16, 16, 3), np.uint8)}
    with pytest.raises(DataError, match="one size"):
        train_monitor(pictures, np.zeros(4, dtype=bool), tmp_path, SETTINGS)


def test_area_under_the_curve_counts_ties_as_half() -> None:
    labels = np.array([True, True, False, False])
    assert area_under_curve(np.array([0.9, 0.8, 0.1, 0.2]), labels) == 1.0
    assert area_under_curve(np.array([0.5, 0.5, 0.5, 0.5]), labels) == 0.5


def test_calibration_writes_a_level_the_monitor_reads(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "calibrated"
    shutil.copytree(trained, folder)
    runs = [np.array([9.0, 5.0 + i, 1.0, 4.0, 9.0]) for i in range(49)]
    assert calibrate_counts(folder, runs, chunks=2) == Familiarity(4.0, 2)
    assert Classifier(folder).familiarity == Familiarity(4.0, 2)
    assert Classifier(trained).familiarity == Familiarity()
