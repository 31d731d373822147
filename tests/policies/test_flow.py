from dataclasses import replace

import numpy as np
import torch

from policies.chunk_policy import ChunkPolicy, ChunkShape, cosine_modes
from policies.encoder import Resize, area_weights
from policies.frames import frames_of, set_statistics, shape_of


def test_cosine_modes_are_orthonormal():
    basis = cosine_modes(16, 16)
    torch.testing.assert_close(basis @ basis.T, torch.eye(16), atol=1e-5, rtol=0)


def test_modes_and_chunks_are_inverse_of_each_other(episodes, settings):
    frames = frames_of(episodes, settings)
    policy = ChunkPolicy(shape_of(episodes), settings)
    set_statistics(policy, frames)
    delta, centre = frames.chunk - frames.q[:, None], policy.centre(policy.joint_inputs(frames.q, None))
    torch.testing.assert_close(policy.to_delta(policy.to_modes(delta, centre), centre), delta, atol=1e-5, rtol=0)


def test_resizing_averages_the_pixels_each_target_pixel_covers():
    torch.testing.assert_close(area_weights(6, 4).sum(1), torch.ones(4))
    image = torch.randint(0, 256, (1, 8, 8, 3), dtype=torch.uint8)
    expected = image.float().reshape(1, 4, 2, 4, 2, 3).mean((2, 4))
    torch.testing.assert_close(Resize((8, 8), (4, 4))(image), expected)


def test_zero_noise_scale_makes_all_candidates_alike(settings):
    policy = ChunkPolicy(ChunkShape(3, (("scene", (24, 32)),)), replace(settings, noise_scale=0.0)).eval()
    delta, features = policy.sample(torch.randn(1, settings.width), torch.zeros(1, 8, 3), torch.randn(5, 8, 3))
    assert delta.shape == (5, 8, 3) and features.shape == (5, settings.width)
    np.testing.assert_allclose(delta[0].detach(), delta[4].detach(), atol=1e-6)


def test_a_joint_that_never_moves_hardly_counts_in_the_loss(episodes, settings):
    policy = ChunkPolicy(shape_of(episodes), settings)
    weight = set_statistics(policy, frames_of(episodes, settings))
    assert weight[:, 0].sum() > 10.0 * weight[:, 1].sum()


def test_the_linear_prior_leaves_the_flow_only_what_the_joints_do_not_tell(episodes, settings):
    frames, shape = frames_of(episodes, settings), shape_of(episodes)
    plain, prior = ChunkPolicy(shape, settings), ChunkPolicy(shape, replace(settings, linear_prior=1e-3, velocity=True))
    set_statistics(plain, frames)
    set_statistics(prior, frames)
    assert prior.mode_std[0, 0] < 0.7 * plain.mode_std[0, 0]
    assert not plain.prior.any()
