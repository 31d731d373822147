"""LSTM-GMM, the BC-RNN of robomimic (Mandlekar et al. 2021): each row is drawn from a mixture of Gaussians an LSTM describes.

    h_i = LSTM(c + E y_(i-1), h_(i-1)),   y_i ~ sum_m share_m(h_i) N(mean_m(h_i), std_m(h_i)^2),   y_0 = 0,   h_0 = S c

What differs from robomimic: there the LSTM runs over the observations of the last steps and one action is drawn at each. Here a
decision is a function of one observation (it can be replayed bit for bit), so the LSTM runs ahead over the rows of the chunk, or
over its cosine modes from slow to fast: it starts from the condition c of that observation, sees it at every step, and the row
drawn last in the place of the observation it would have led to. As there: 5 components, 2 layers of 400, std by softplus and, to
act, the mean of the component that was drawn (`noise_scale: 0`, "low-noise evaluation"). robomimic's least std of 1e-4 lets
joints that never move own the likelihood: nothing else is learned. `std_min` 0.05 is of a mode's variation over the data.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from policies.inpaint import Guide, as_is
from policies.mixture import Mixture, draw, log_likelihood, mixture_of, width_of
from robot_stack.config.schema import PolicySettings

LSTM_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class BcRnnHead(nn.Module):
    """The head of `bc_rnn`. The feature is the last hidden state, which has read all rows but the last one."""

    def __init__(self, rows: int, joints: int, settings: PolicySettings) -> None:
        super().__init__()
        width, depth = settings.width, settings.depth
        self.rows, self.joints, self.num_components = rows, joints, settings.mixture
        self.noise_scale, self.std_min = settings.noise_scale, settings.std_min
        self.enter = nn.Linear(joints, width)
        self.lstm = nn.LSTM(width, width, depth, batch_first=True, dropout=settings.dropout if depth > 1 else 0.0)
        self.start = nn.Linear(width, 2 * depth * width)
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, width_of(self.num_components, joints))

    def sample(self, condition: Tensor, noise: Tensor, guide: Guide = as_is) -> tuple[Tensor, Tensor]:
        """Modes (N, D), corrected by `guide` once all are drawn, and features (N, F), from `condition` and `noise` (N, D)."""
        noise = noise.reshape(-1, self.rows, self.joints)
        row, hidden, rows = torch.zeros_like(noise[:, 0]), condition, []
        state = list(zip(*self._begin(condition), strict=True))
        for i in range(self.rows):
            said, state = self._step(condition + self.enter(row), state)
            hidden = self.norm(said)
            row = draw(self._mixture(hidden), noise[:, i], self.noise_scale)
            rows.append(row)
        return guide(torch.cat(rows, dim=1)), hidden

    def loss(self, condition: Tensor, modes: Tensor, weight: Tensor) -> Tensor:
        """Negative log-likelihood a dimension of `modes` (N, D), each row given those before it; their repeats add nothing."""
        rows = modes[: len(condition)].reshape(-1, self.rows, self.joints)
        before = F.pad(rows, (0, 0, 1, 0))[:, :-1]
        said, _ = self.lstm(condition[:, None] + self.enter(before), self._begin(condition))
        return -log_likelihood(self._mixture(self.norm(said.flatten(0, 1))), rows.flatten(0, 1)).mean() / self.joints

    def _begin(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        """h_0, c_0 (layers, B, width) of conditions (B, width)."""
        begun = self.start(F.silu(condition)).reshape(condition.shape[0], 2, self.lstm.num_layers, -1).permute(1, 2, 0, 3)
        return begun[0].tanh().contiguous(), begun[1].contiguous()

    def _step(self, x: Tensor, state: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """One step of `lstm` for inputs (N, width) and h, c of each layer, spelt out: TensorRT makes a loop of an exported LSTM,
        which CUDA can't capture."""
        after = []
        for layer, (h, c) in enumerate(state):
            enter, recur, b_enter, b_recur = (getattr(self.lstm, f"{name}_l{layer}") for name in LSTM_WEIGHTS)
            i, f, g, o = (F.linear(x, enter, b_enter) + F.linear(h, recur, b_recur)).chunk(4, dim=-1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            x = o.sigmoid() * c.tanh()
            after.append((x, c))
        return x, after

    def _mixture(self, hidden: Tensor) -> Mixture:
        return mixture_of(self.leave(hidden), self.num_components, self.std_min)
