"""How a trained policy answers to small changes of what it sees: gradients for an attack, a Lipschitz bound where there is one.

A product of layer norms bounds only plain chains. In the flow policy that is the way from the joints to the condition,
c = W_2 silu(W_1 [seen, joints] + b_1) + b_2, so there ``||dc|| <= ||W_2|| 1.0999 ||W_1 S|| ||dq||``. The denoiser multiplies two
functions of the condition in every block and normalises by a standard deviation that may be near zero: products of norms are no
finite bound for it, and none is claimed.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from policies.checkpoint import load_checkpoint
from policies.encoder import ObservationEncoder, Resize
from robot_stack.errors import PolicyError
from robot_stack.types import Array, Observation

SILU = 1.09984
"""The largest slope of silu."""


class Sensitivity:
    """The network of a `checkpoint`, seen through the noise of one candidate. `joint_names` and `cameras` as in the bundle."""

    def __init__(self, checkpoint: Path, joint_names: tuple[str, ...], rows: int) -> None:
        """Raises PolicyError on a checkpoint that can't be read or is not of the joints and rows of the bundle."""
        self._policy, card = load_checkpoint(checkpoint)
        if (card.joint_names, card.settings.rows) != (joint_names, rows):
            raise PolicyError(
                f"checkpoint {checkpoint}: found joints {card.joint_names}, {card.settings.rows} rows; allowed those of the "
                f"bundle, {joint_names}, {rows}; name the checkpoint it was exported from"
            )
        if card.settings.tokens:
            raise PolicyError(
                f"checkpoint {checkpoint}: found {card.settings.name}, allowed a policy that does not read the instruction"
            )
        self.cameras = tuple(name for name, _ in card.cameras)
        self._resize = [Resize(size, self._policy.size) for _, size in card.cameras]
        self._policy.requires_grad_(False)

    def gradient(self, observation: Observation, noise: Array, row: int, joint: int) -> tuple[Array, Mapping[str, Array]]:
        """Of action [row, joint] of the candidate drawn from `noise` (T, J): by q (J,) and by the pixels of each camera
        (H, W, 3), per rad and per grey level."""
        q = torch.tensor(observation.joints.q, dtype=torch.float32, requires_grad=True)
        pictures = [torch.tensor(observation.frames[n].rgb, dtype=torch.float32, requires_grad=True) for n in self.cameras]
        chunk = self._chunk(pictures, q, observation, torch.tensor(noise, dtype=torch.float32))
        found = torch.autograd.grad(chunk[row, joint], [q, *pictures])
        arrays = [g.numpy().astype(np.float64) for g in found]
        return arrays[0], dict(zip(self.cameras, arrays[1:], strict=True))

    def chunk(self, observation: Observation, noise: Array) -> Array:
        """The candidate (T, J) drawn from `noise` (T, J): what the graph of the bundle says too."""
        pictures = [torch.tensor(observation.frames[n].rgb, dtype=torch.float32) for n in self.cameras]
        q = torch.tensor(observation.joints.q, dtype=torch.float32)
        return self._chunk(pictures, q, observation, torch.tensor(noise, dtype=torch.float32)).numpy().astype(np.float64)

    def _chunk(self, pictures: list[Tensor], q: Tensor, observation: Observation, noise: Tensor) -> Tensor:
        policy = self._policy
        resized = [resize(picture[None]) for resize, picture in zip(self._resize, pictures, strict=True)]
        joints = policy.joint_inputs(q[None], self._speeds(observation))
        delta, _ = policy.sample(policy.encode(resized, joints), policy.centre(joints), noise[None])
        return q + delta[0]

    def _speeds(self, observation: Observation) -> Tensor | None:
        if not self._policy.settings.velocity:
            return None
        return torch.tensor(observation.joints.qd, dtype=torch.float32)[None]

    def condition_bound(self, sigma: Array) -> float:
        """Upper bound of ||dc|| / ||dq|| with q in units of `sigma` (J,): holds for all joints and all pictures."""
        first, last, scale = self._joint_path(sigma)
        return float(SILU * torch.linalg.matrix_norm(last.weight, 2) * torch.linalg.matrix_norm(scale, 2))

    def condition_slope(self, observation: Observation, sigma: Array) -> float:
        """The same ratio at one observation, exactly: the norm of the Jacobian there. Never above the bound."""
        first, last, scale = self._joint_path(sigma)
        policy = self._policy
        pictures = [torch.tensor(observation.frames[n].rgb, dtype=torch.float32) for n in self.cameras]
        seen = policy.encoder.look([resize(p[None]) for resize, p in zip(self._resize, pictures, strict=True)])
        q = torch.tensor(observation.joints.q, dtype=torch.float32)[None]
        entered = first(torch.cat([seen, policy.joint_inputs(q, self._speeds(observation))], dim=-1))[0].double()
        gate = torch.sigmoid(entered)
        slope = gate * (1.0 + entered * (1.0 - gate))
        return float(torch.linalg.matrix_norm((last.weight.double() * slope) @ scale, 2))

    def _joint_path(self, sigma: Array) -> tuple[nn.Linear, nn.Linear, Tensor]:
        """Both layers of the fusion, and W_1 S (width, J): what a joint, in units of `sigma`, puts into the first."""
        encoder = self._policy.encoder
        assert isinstance(encoder, ObservationEncoder)
        first, last = encoder.fuse[0], encoder.fuse[3]
        assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
        start = encoder.num_seen
        weight = first.weight[:, start : start + len(sigma)].double()
        return first, last, weight * torch.tensor(sigma / self._policy.joint_std.numpy().astype(np.float64))
