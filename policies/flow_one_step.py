"""One-step flow: the average velocity between two times (MeanFlow, Geng et al. 2025; as a policy OFQL, Nguyen and Yoo 2025).

With x_t = (1-t) x_0 + t x_1 and v = x_1 - x_0, u(x_t, t, s) is the mean of the velocity over [t, s], so that x_s = x_t + (s-t) u.
Its derivative along the flow gives u = v + (s-t) (v . d_x u + d_t u): the target, held fixed, whose bracket is one
Jacobian-vector product with the tangent (v, 1). A sample is x_0 + u(x_0, 0, 1): one call of the network. That derivative makes
some targets very long, so each sample's squared error e is weighted by 1 / (e + c)^p with p = 1, held fixed (MeanFlow, eq. 22);
here by that over the batch's mean of it, so that the loss is still an error.
The papers run time the other way, from data at 0 to noise at 1.
"""

import torch
from torch import Tensor, nn

from policies.denoiser import TimeEmbedding, for_rows
from policies.inpaint import Guide, as_is
from robot_stack.config.schema import PolicySettings

MOMENTARY = 0.5
"""Share of a batch with s = t, where the target is the velocity itself."""
SMALLEST = 1e-3
"""c of the weight of a sample."""


class OneStepHead(nn.Module):
    """The head of `flow_one_step`. More than one of `steps` cuts [0, 1] into as many spans."""

    def __init__(self, denoiser: nn.Module, settings: PolicySettings) -> None:
        super().__init__()
        self.denoiser, self.span = denoiser, TimeEmbedding(settings.width)
        self.steps, self.noise_scale = settings.steps, settings.noise_scale

    def average(self, x: Tensor, t: Tensor, s: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """u(x_t, t, s) (N, D) and its feature (N, F); `t` and `s` (N or 1, 1)."""
        velocity, feature = self.denoiser(x, t, for_rows(condition, x) + self.span(s - t))
        return velocity, feature

    def sample(self, condition: Tensor, noise: Tensor, guide: Guide = as_is) -> tuple[Tensor, Tensor]:
        """Modes (N, D) and features (N, F) of the last call, from `condition` and `noise` (N, D).

        `guide` corrects x_t + (1-t) u, the end that the velocity points at.
        """
        x, feature = noise * self.noise_scale, noise
        for step in range(self.steps):
            t = x.new_full((1, 1), step / self.steps)
            velocity, feature = self.average(x, t, t + 1.0 / self.steps, condition)
            rest = 1.0 - step / self.steps
            clean = x + rest * velocity
            x = x + (velocity + (guide(clean) - clean) / rest) / self.steps
        return x, feature

    def loss(self, condition: Tensor, x_1: Tensor, weight: Tensor) -> Tensor:
        """The identity's weighted squared error for modes `x_1` (N, D); `weight` (D,)."""
        x_0 = torch.randn_like(x_1)
        t, s = torch.rand(2, len(x_1), 1, device=x_1.device).sort(dim=0).values
        s = torch.where(torch.rand(len(x_1), 1, device=x_1.device) < MOMENTARY, t, s)
        u, target = self.identity(torch.lerp(x_0, x_1, t), t, s, x_1 - x_0, condition)
        error: Tensor = ((u - target).square() * weight).mean(1)
        trust = 1.0 / (error.detach() + SMALLEST)
        return (error * trust).mean() / trust.mean()

    def identity(self, x: Tensor, t: Tensor, s: Tensor, v: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """u (N, D) at `x` (N, D), and what it should be there, held fixed, when the momentary velocity is `v` (N, D)."""

        def along(x: Tensor, t: Tensor) -> Tensor:
            return self.average(x, t, s, condition)[0]

        pushed = torch.func.jvp(along, (x, t), (v, torch.ones_like(t)))
        u, change = pushed[0], pushed[1]
        return u, (v + (s - t) * change).detach()
