"""The network of a robomimic policy over the steps of a chunk, by robomimic's own modules; and what robomimic itself answers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from policies.adapters.foreign import Cameras, Floats, order
from policies.encoder import Resize
from policies.recorded import observation_at
from robot_stack.data.episode import Episode
from robot_stack.types import Observation

ROWS = 10
"""Of a chunk of a policy without recurrence."""
LOW_NOISE = 1e-4
"""robomimic's standard deviation when it acts, `gmm.low_noise_eval`."""


class Unrolled(nn.Module):
    """The network of `algorithm` over `rows` steps. `inputs`: what each of its inputs is; `trained_on`: what `env_args` says."""

    low: Tensor
    high: Tensor
    to_trained: Tensor
    to_robot: Tensor

    def __init__(self, algorithm: Any, inputs: Mapping[str, str], episode: Episode, trained_on: Mapping[str, Any]) -> None:
        super().__init__()
        self.policy: Any = algorithm.nets["policy"]
        self.encoder: Any = self.policy.nets["encoder"].nets["obs"]
        self.inputs = dict(inputs)
        self.recurrent, self.mixture = "rnn" in self.policy.nets, hasattr(self.policy, "num_modes")
        recurrence = algorithm.algo_config.rnn
        self.rows = int(recurrence.horizon) if self.recurrent else ROWS
        self.open_loop = self.recurrent and bool(recurrence.get("open_loop", False))
        pictures = {key: episode.images[key].shape[1:3] for key, kind in inputs.items() if kind != "joints"}
        self.cameras: Cameras = tuple((key, (int(h), int(w))) for key, (h, w) in sorted(pictures.items()))
        wanted = {key: tuple(self.encoder.obs_shapes[key][1:]) for key in pictures}
        self.resize = nn.ModuleDict({key: Resize(size, wanted[key]) for key, size in self.cameras})
        count = len(episode.joint_names)
        self.register_buffer("low", torch.tensor(trained_on.get("low", [-1.0] * count), dtype=torch.float32))
        self.register_buffer("high", torch.tensor(trained_on.get("high", [1.0] * count), dtype=torch.float32))
        trained, robot = order(trained_on.get("joint_names") or episode.joint_names, episode.joint_names)
        self.register_buffer("to_trained", torch.tensor(trained))
        self.register_buffer("to_robot", torch.tensor(robot))

    def normalise(self, statistics: Mapping[str, Mapping[str, Any]]) -> None:
        """Mean and standard deviation of each input, where robomimic trained with `hdf5_normalize_obs`."""
        for key in self.inputs:
            found = statistics.get(key, {"mean": [0.0], "std": [1.0]})
            for name, values in found.items():
                array = torch.tensor(np.asarray(values), dtype=torch.float32)
                self.register_buffer(f"{name}_{key}", array[0] if key in statistics else array)

    def forward(self, pictures: list[Tensor], joints: Tensor, speeds: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Candidates (N, T, J) in the robot's order and unit, and the last step's inner features (N, F)."""
        count = noise.shape[0]
        seen = {
            key: self._picture(key, picture).expand(count, -1) for (key, _), picture in zip(self.cameras, pictures, strict=True)
        }
        place = 0.5 + 0.5 * torch.erf(noise[:, 0].mean(1, keepdim=True) * (noise.shape[2] / 2.0) ** 0.5)
        q = first = joints[self.to_trained].expand(count, -1)
        rows: list[Tensor] = []
        state, features = None, q
        for t in range(self.rows):
            known = first if self.open_loop else q
            features = torch.cat([self._joints(k, known) if kind == "joints" else seen[k] for k, kind in self._ordered()], dim=-1)
            outputs, state = self._step(features, state)
            q = self._position(self._action(outputs, place, noise[:, t]))
            rows.append(q[:, self.to_robot])
        return torch.stack(rows, dim=1), features

    def _ordered(self) -> list[tuple[str, str]]:
        return [(key, self.inputs[key]) for key in self.encoder.obs_shapes]

    def _normal(self, key: str, x: Tensor) -> Tensor:
        mean: Tensor = getattr(self, f"mean_{key}")
        std: Tensor = getattr(self, f"std_{key}")
        return (x - mean) / std

    def _picture(self, key: str, picture: Tensor) -> Tensor:
        pixels = self.resize[key](picture[None]).permute(0, 3, 1, 2) / 255.0
        return self._encoded(key, self._normal(key, pixels))

    def _joints(self, key: str, q: Tensor) -> Tensor:
        return self._encoded(key, self._normal(key, q))

    def _encoded(self, key: str, x: Tensor) -> Tensor:
        """One input's part of robomimic's ObservationEncoder."""
        randomizer, net = self.encoder.obs_randomizers[key], self.encoder.obs_nets[key]
        x = x if randomizer is None else randomizer.forward_in(x)
        if net is not None:
            x = net(x)
            x = x if self.encoder.activation is None else self.encoder.activation(x)
        x = x if randomizer is None else randomizer.forward_out(x)
        return x.flatten(1)

    def _step(self, features: Tensor, state: Any) -> tuple[dict[str, Tensor], Any]:
        nets = self.policy.nets
        if not self.recurrent:
            return nets["decoder"](nets["mlp"](features)), None
        if state is None:
            state = self.policy.get_rnn_init_state(features.shape[0], features.device)
        outputs, state = nets["rnn"].nets(features[:, None], state)
        found: dict[str, Tensor] = nets["rnn"].per_step_net(outputs[:, 0])
        return found, state

    def _action(self, outputs: Mapping[str, Tensor], place: Tensor, noise: Tensor) -> Tensor:
        if not self.mixture:
            return torch.tanh(outputs["action"]) + 0.0 * noise
        policy = self.policy
        mean = outputs["mean"] if policy.use_tanh else torch.tanh(outputs["mean"])
        std = policy.activations[policy.std_activation](outputs["scale"]) + policy.min_std
        std = torch.full_like(std, LOW_NOISE) if policy.low_noise_eval else std
        action = drawn(mean, std, torch.softmax(outputs["logits"], dim=-1), place, noise[:, self.to_trained])
        return torch.tanh(action) if policy.use_tanh else action

    def _position(self, action: Tensor) -> Tensor:
        """Actions (N, J) in [-1, 1] as joint positions."""
        return self.low + 0.5 * (action + 1.0) * (self.high - self.low)

    @torch.no_grad()
    def original(self, observation: Observation, noise: Floats) -> Floats:
        """Candidates (N, T, J) by robomimic's own networks, one step after the other, each begun from one observation."""
        return np.stack([self.stepped([observation], one) for one in noise])

    @torch.no_grad()
    def stepped(self, seen: Sequence[Observation], noise: Floats) -> Floats:
        """(T, J): row t by robomimic on `seen[t]`; past the last of them, on that with the joints where the row before led."""
        state, rows = None, list[Tensor]()
        drawn_by = torch.from_numpy(noise)[None]
        place = 0.5 + 0.5 * torch.erf(drawn_by[:, 0].mean(1, keepdim=True) * (noise.shape[1] / 2.0) ** 0.5)
        for t in range(self.rows):
            one = seen[0 if self.open_loop else min(t, len(seen) - 1)]
            q = torch.tensor(one.joints.q, dtype=torch.float32)[self.to_trained][None]
            if rows and t >= len(seen) and not self.open_loop:
                q = rows[-1]
            distribution, state = self._answer({key: self._raw(key, one, q) for key in self.inputs}, state)
            rows.append(self._position(self._taken(distribution, place, drawn_by[:, t])))
        found: Floats = torch.cat(rows)[:, self.to_robot].numpy()
        return found

    def _raw(self, key: str, one: Observation, q: Tensor) -> Tensor:
        """As robomimic's RolloutPolicy prepares it."""
        from robomimic.utils import obs_utils

        if self.inputs[key] == "joints":
            return self._normal(key, q)
        pixels = self.resize[key](torch.from_numpy(np.array(one.frames[key].rgb))[None])
        return self._normal(key, obs_utils.process_obs(pixels, obs_key=key))

    def _answer(self, inputs: dict[str, Tensor], state: Any) -> tuple[Any, Any]:
        """robomimic's own step: an action, or the distribution of one; and the next recurrent state."""
        if not self.recurrent:
            return (self.policy.forward_train(inputs) if self.mixture else self.policy(inputs)), None
        state = self.policy.get_rnn_init_state(1, torch.device("cpu")) if state is None else state
        step = self.policy.forward_train_step if self.mixture else self.policy.forward_step
        found: tuple[Any, Any] = step(inputs, rnn_state=state)
        return found

    def _taken(self, answer: Any, place: Tensor, noise: Tensor) -> Tensor:
        if not self.mixture:
            action: Tensor = answer
            return action
        mixed = getattr(answer, "base_dist", answer)  # tanh is wrapped around it
        inner = mixed.component_distribution.base_dist
        action = drawn(inner.loc, inner.scale, mixed.mixture_distribution.probs, place, noise[:, self.to_trained])
        return torch.tanh(action) if mixed is not answer else action


def drawn(mean: Tensor, std: Tensor, share: Tensor, place: Tensor, noise: Tensor) -> Tensor:
    """(N, J): of the mixture of `mean`, `std` (N, M, J) the component in whose `share` (N, M) `place` (N, 1) falls, and noise."""
    which = (place > share.cumsum(-1)[:, :-1]).sum(-1, keepdim=True)
    chosen = (which == torch.arange(mean.shape[1])).to(mean.dtype)[..., None]
    return (chosen * mean).sum(1) + (chosen * std).sum(1) * (noise - noise.mean(1, keepdim=True))


def open_loop_error(network: Unrolled, episode: Episode, starts: int = 8) -> float:
    """The median distance (rad) between a chunk and what robomimic does when it sees each of its steps, in `episode`."""
    noise = np.zeros((network.rows, len(episode.joint_names)), np.float32)
    last = max(len(episode) - network.rows, 1)
    found = []
    for start in np.linspace(0, last - 1, min(starts, last)).astype(int):
        seen = [observation_at(episode, i) for i in range(start, min(start + network.rows, len(episode)))]
        found.append(np.abs(network.stepped(seen, noise) - network.stepped(seen[:1], noise)))
    return float(np.median(np.concatenate(found)))
