from dataclasses import replace

import numpy as np
import pytest
import torch

from policies.frames import Pictures, frames_of
from policies.loader import Batch, Loader, draw, seed_of
from tests.policies.training_process import SETTINGS, TRAIN, episodes


def same(a: Batch, b: Batch) -> bool:
    alike = all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("q", "qd", "chunk", "ahead", "jolt", "dice"))
    return alike and all(torch.equal(p, r) for p, r in zip(a.pictures, b.pictures, strict=True))


@pytest.fixture(scope="module")
def frames():
    return frames_of(episodes(), SETTINGS)


def test_the_batches_of_a_step_are_the_same_whatever_came_before_and_whoever_draws_them(frames):
    ahead, alone = Loader(frames, TRAIN, range(1)), Loader(frames, replace(TRAIN, prefetch=False), range(1))
    through = [ahead.batches(step)[0] for step in range(4)]
    assert all(same(batch, alone.batches(step)[0]) for step, batch in enumerate(through))
    resumed = Loader(frames, TRAIN, range(1))
    assert same(resumed.batches(2)[0], through[2]) and same(resumed.batches(3)[0], through[3])
    assert not same(through[0], through[1])
    for loader in (ahead, resumed):
        loader.close()


def test_parts_of_a_batch_are_drawn_apart_and_never_like_another_step(frames):
    halves = Loader(frames, replace(TRAIN, parts=2, prefetch=False), range(2)).batches(5)
    assert [len(half.q) for half in halves] == [4, 4] and not same(*halves)
    seeds = {seed_of(seed, step, part) for seed in range(3) for step in range(50) for part in range(4)}
    assert len(seeds) == 600 and all(seed < 2**63 for seed in seeds)


def test_the_network_s_own_draws_go_on_where_the_batch_s_ended(frames):
    torch.manual_seed(seed_of(0, 7, 0))
    drawn = draw(frames, 8, TRAIN, torch.default_generator)
    noise = torch.randn(5)
    (batch,) = Loader(frames, TRAIN, range(1)).batches(7)
    torch.manual_seed(123)
    batch.roll_on()
    assert same(drawn, batch) and torch.equal(torch.randn(5), noise)


def test_waiting_is_counted(frames):
    loader = Loader(frames, TRAIN, range(1))
    loader.batches(0)
    assert loader.waited_s > 0.0
    loader.close()


def test_a_fault_while_a_batch_is_drawn_ahead_is_raised_where_it_is_asked_for(frames):
    pieces = frames.pictures[0].pieces
    loader = Loader(frames, TRAIN, range(1))
    loader.batches(0)
    frames.pictures[0].pieces = []
    with pytest.raises(IndexError):
        for step in range(1, 3):
            loader.batches(step)
    frames.pictures[0].pieces = pieces
    loader.close()


def test_pictures_of_several_episodes_are_numbered_as_one():
    pieces = [
        np.full((n, 2, 2, 3), 10 * k, np.uint8) + np.arange(n, dtype=np.uint8)[:, None, None, None] for k, n in ((0, 3), (1, 2))
    ]
    pictures = Pictures(pieces)
    whole = torch.from_numpy(np.concatenate(pieces))
    assert len(pictures) == 5
    assert torch.equal(pictures[torch.tensor([4, 0, 3, 2, 2])], whole[[4, 0, 3, 2, 2]])
    assert torch.equal(pictures[1:4], whole[1:4])


def test_mapped_pictures_stay_mapped_and_resized_ones_are_kept_beside_them(tmp_path):
    plain = episodes()
    for k, episode in enumerate(plain):
        np.save(tmp_path / f"{k}.npy", episode.images["scene"])
    mapped = [replace(e, images={"scene": np.load(tmp_path / f"{k}.npy", mmap_mode="r")}) for k, e in enumerate(plain)]
    whole = frames_of(mapped, SETTINGS).pictures[0]
    assert all(isinstance(piece, np.memmap) for piece in whole.pieces) and len(list(tmp_path.iterdir())) == 3
    small = replace(SETTINGS, image_height=8, image_width=8)
    for _ in range(2):
        shrunk = frames_of(mapped, small).pictures[0]
        assert all(isinstance(piece, np.memmap) for piece in shrunk.pieces) and len(list(tmp_path.iterdir())) == 6
        assert torch.equal(shrunk[:], frames_of(plain, small).pictures[0][:])
