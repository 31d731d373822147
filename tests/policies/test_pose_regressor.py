"""The pose regressor on pictures whose truth is drawn: where the bright square is."""

from pathlib import Path

import numpy as np
import pytest
import torch

from policies.pose_regressor import PoseRegressor, estimate, load_regressor, save_regressor, train_regressor
from robot_stack.errors import PolicyError
from robot_stack.types import Array, Image


def drawn(count: int, seed: int) -> tuple[Image, Array]:
    """Pictures 16 x 24 with a square at (row, column), in pixels."""
    rng = np.random.default_rng(seed)
    pictures = rng.integers(0, 40, (count, 16, 24, 3)).astype(np.uint8)
    place = np.stack([rng.integers(2, 14, count), rng.integers(2, 22, count)], axis=1)
    for picture, (row, column) in zip(pictures, place, strict=True):
        picture[row - 2 : row + 2, column - 2 : column + 2] = 230
    return pictures, place.astype(float)


@pytest.fixture(scope="module")
def trained() -> PoseRegressor:
    torch.set_num_threads(1)
    return train_regressor(*drawn(1000, 0), steps=200)


def test_it_learns_where_things_are_and_says_so_for_new_pictures(trained: PoseRegressor) -> None:
    pictures, place = drawn(200, 1)
    assert np.sqrt(((estimate(trained, pictures) - place) ** 2).mean()) < 0.8


def test_training_on_starts_from_what_was_learnt_and_leaves_it_alone(trained: PoseRegressor) -> None:
    before = {name: t.clone() for name, t in trained.state_dict().items()}
    pictures, place = drawn(300, 2)
    further = train_regressor(pictures, place, steps=3, start=trained, lr=1e-4)
    assert all((before[name] == t).all() for name, t in trained.state_dict().items())
    assert np.abs(estimate(further, pictures) - estimate(trained, pictures)).max() < 1.0


def test_the_same_seed_gives_the_same_network() -> None:
    pictures, place = drawn(100, 3)
    one, two = (estimate(train_regressor(pictures, place, steps=5, seed=4), pictures) for _ in range(2))
    assert (one == two).all()


def test_a_saved_network_says_the_same_and_another_picture_size_is_refused(trained: PoseRegressor, tmp_path: Path) -> None:
    pictures, _ = drawn(20, 5)
    save_regressor(trained, tmp_path / "eye.safetensors")
    assert (estimate(load_regressor(tmp_path / "eye.safetensors", (16, 24)), pictures) == estimate(trained, pictures)).all()
    with pytest.raises(PolicyError, match="not for pictures of 64 x 64"):
        load_regressor(tmp_path / "eye.safetensors", (64, 64))
    with pytest.raises(PolicyError, match="is missing"):
        load_regressor(tmp_path / "none.safetensors", (16, 24))


def test_pictures_and_targets_that_do_not_belong_together_are_refused() -> None:
    pictures, place = drawn(10, 6)
    for images, targets in ((pictures, place[:5]), (pictures.astype(float), place), (pictures, np.full_like(place, np.nan))):
        with pytest.raises(PolicyError, match="train_regressor: found pictures"):
            train_regressor(images, targets, steps=1)
