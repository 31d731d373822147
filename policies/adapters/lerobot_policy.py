"""Policies that LeRobot saved (a folder with config.json, model.safetensors and its processors): ACT, Diffusion Policy, SmolVLA.

LeRobot's own classes build the network and read weights and processors; nothing is downloaded and nothing is unpickled. The graph
is the network between LeRobot's own normalisation of observations and of actions. A chunk is what `predict_action_chunk` gives.

* ACT: one chunk, the same for every candidate: at run time its latent is zero. `temporal_ensemble_coeff` is left to
  `run.seams=averaged`.
* Diffusion: a candidate is denoised from its own noise by DDIM. A policy that was trained for DDPM samples by DDIM too, in
  DDIM_STEPS: DDPM would need fresh noise at each of its steps. All rows from now on are kept, not `n_action_steps` alone; rows of
  the past, which LeRobot throws away, begin from noise that is drawn once. With `n_obs_steps` > 1 it sees earlier moments too; a
  decision is a function of one observation, so these are the joints as their speeds say they were, and the same pictures.
  `one_look_rad` in the manifest is the median distance from what LeRobot does with what was really seen then.
* SmolVLA: `smolvla`. The folder of its vision-language model (`vlm_model_name`: configuration, tokenizer and processor, no
  weights) has to be at hand.
* pi0 and pi0.5: refused, see NO_PI.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from policies.adapters.foreign import Floats, Foreign
from policies.adapters.lerobot_around import IMAGES, STATE, Around, camera_of, dataset_keys
from policies.adapters.operators import import_torchvision
from policies.adapters.smolvla import SmolVlaNetwork, prepare
from policies.recorded import check_alike, observation_at
from robot_stack.data.episode import Episode
from robot_stack.errors import PolicyError
from robot_stack.types import JointState, Observation

CONFIG, WEIGHTS, PROCESSOR, TRAINING = "config.json", "model.safetensors", "policy_preprocessor.json", "train_config.json"
KINDS = ("act", "diffusion", "smolvla")
NO_PI = (
    "LeRobot runs it only with its own branch of transformers (a released one has no transformers.models.siglip.check) and in no "
    "size that one ONNX file of 2 GB holds; next: LeRobot's smolvla, or `robot-stack train policy=vla`, on the same dataset"
)
DDIM_STEPS = 10


def is_checkpoint(folder: Path) -> bool:
    """`folder` is a policy as LeRobot saves one."""
    return (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file()


def load_lerobot(folder: Path, episodes: Sequence[Episode]) -> Foreign:
    """The policy in `folder` for the joints and cameras of `episodes`.

    Raises PolicyError on other kinds of policies, inputs the robot does not have, joints that do not fit, or, of SmolVLA, several
    instructions; ModuleNotFoundError without LeRobot.
    """
    os.environ |= {"HF_HUB_OFFLINE": "1"}
    _check_kind(folder)
    import_torchvision()
    config, policy = _policy(folder)
    network = _network(folder, config, policy, episodes)
    return Foreign(
        f"lerobot_{config.type}",
        network,
        network.original,
        network.around.cameras,
        network.rows,
        episodes[0].rate_hz,
        steps=network.steps,
        velocity=network.moments > 1,
        figures={"one_look_rad": one_look_error(network, episodes[-1])} if isinstance(network, DiffusionNetwork) else {},
    )


def _check_kind(folder: Path) -> None:
    kind = json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("type")
    if kind not in KINDS:
        why = f": {NO_PI}" if str(kind).startswith("pi0") else ""
        raise PolicyError(f"{folder / CONFIG}: type: found {kind!r}, allowed {', '.join(KINDS)}{why}")
    if not (folder / PROCESSOR).is_file():
        raise PolicyError(f"{folder / PROCESSOR}: missing: saved before LeRobot 0.4; next: its migrate_policy_normalization.py")


def _policy(folder: Path) -> tuple[Any, Any]:
    """Its configuration and the policy, ready to act."""
    from lerobot.configs.policies import PreTrainedConfig
    from lerobot.policies.factory import get_policy_class

    config: Any = PreTrainedConfig.from_pretrained(folder)
    config.device = "cpu"
    if config.type == "diffusion":
        config.n_action_steps = config.horizon - config.n_obs_steps + 1
    if config.type == "smolvla":
        prepare(folder / CONFIG, config)
    else:
        config.pretrained_backbone_weights = None  # the checkpoint has them
    return config, get_policy_class(config.type).from_pretrained(folder, config=config).eval()


def _network(
    folder: Path, config: Any, policy: Any, episodes: Sequence[Episode]
) -> "ActNetwork | DiffusionNetwork | SmolVlaNetwork":
    from lerobot.policies.factory import make_pre_post_processors

    device: dict[str, Any] = {"device_processor": {"device": "cpu"}}
    words = {"tokenizer_processor": {"tokenizer_name": config.vlm_model_name}} if config.type == "smolvla" else {}
    both = make_pre_post_processors(
        config, pretrained_path=str(folder), preprocessor_overrides=device | words, postprocessor_overrides=device
    )
    episode, named = episodes[0], dataset_keys(config, both[0])
    joints = len(episode.joint_names)
    state, action = config.robot_state_feature, config.action_feature
    sizes = [None if feature is None else list(feature.shape) for feature in (state, action)]
    strange = {camera_of(key) for key in named.values()} - set(episode.images)
    if strange or config.env_state_feature is not None or sizes != [[joints], [joints]]:
        raise PolicyError(
            f"{folder / CONFIG}: found state {sizes[0]}, action {sizes[1]}, inputs {sorted(config.input_features)}, allowed "
            f"{joints} joints and pictures of {', '.join(sorted(episode.images)) or 'no camera'}; next: a policy for this robot, "
            "or take out of input_features pictures that it was trained without"
        )
    around = Around(config, both, named, episode, _trained_names(folder, joints) or episode.joint_names)
    if config.type == "smolvla":
        check_alike(episodes)  # one instruction
        return SmolVlaNetwork(policy, around, episode)
    return DiffusionNetwork(policy, around) if config.type == "diffusion" else ActNetwork(policy, around)


def _trained_names(folder: Path, joints: int) -> tuple[str, ...]:
    """The joints of the dataset it was trained on, as far as that is still here; (): it is not."""
    if not (folder / TRAINING).is_file():
        return ()
    root = json.loads((folder / TRAINING).read_text(encoding="utf-8")).get("dataset", {}).get("root")
    info = Path(root or folder / "nowhere") / "meta/info.json"
    names = json.loads(info.read_text(encoding="utf-8"))["features"].get(STATE, {}).get("names") if info.is_file() else None
    return tuple(names) if isinstance(names, list) and len(names) == joints and isinstance(names[0], str) else ()


class ActNetwork(nn.Module):
    """Action Chunking Transformer (Zhao et al. 2023)."""

    steps, moments = 0, 1

    def __init__(self, policy: Any, around: Around) -> None:
        super().__init__()
        self.policy, self.around, self.rows = policy, around, int(around.config.chunk_size)

    def forward(self, pictures: list[Tensor], joints: Tensor, speeds: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Candidates (N, T, J), all the same, and the normalised chunk as features (N, T J)."""
        batch: dict[str, Any] = dict(self.around.normalised(self.around.looked(pictures, joints)))
        batch[IMAGES] = [batch[key] for key in self.around.keys]
        actions = self.policy.model(batch)[0] + 0.0 * noise
        return self.around.positions(actions), actions.flatten(1)

    @torch.no_grad()
    def original(self, observation: Observation, noise: Floats) -> Floats:
        """(N, T, J) by LeRobot."""
        actions = self.policy.predict_action_chunk(self.around.processed(observation))
        return np.repeat(self.around.finished(actions), len(noise), 0)


class DiffusionNetwork(nn.Module):
    """Diffusion Policy (Chi et al. 2023)."""

    past: Tensor

    def __init__(self, policy: Any, around: Around) -> None:
        from diffusers import DDIMScheduler

        super().__init__()
        self.policy, self.around = policy, around
        self.rows, self.moments = int(around.config.n_action_steps), int(around.config.n_obs_steps)
        model = policy.diffusion
        if around.config.noise_scheduler_type != "DDIM":
            model.noise_scheduler = DDIMScheduler.from_config(model.noise_scheduler.config)
            model.num_inference_steps = DDIM_STEPS
        self.steps = int(model.num_inference_steps)
        model.noise_scheduler.set_timesteps(self.steps)
        self.times = [int(t) for t in model.noise_scheduler.timesteps]
        draw = torch.randn(1, self.moments - 1, len(around.to_robot), generator=torch.Generator().manual_seed(0))
        self.register_buffer("past", draw)

    def started(self, noise: Tensor) -> Tensor:
        """(N, horizon, J): the rows of the past before those of `noise`."""
        return torch.cat([self.past.expand(noise.shape[0], -1, -1), noise[..., self.around.to_trained]], dim=1)

    def forward(self, pictures: list[Tensor], joints: Tensor, speeds: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Candidates (N, T, J); as features (N, F) the condition and their normalised actions: what was seen, what is done."""
        model, around = self.policy.diffusion, self.around
        ago = [k / around.rate_hz for k in range(self.moments - 1, -1, -1)]
        steps = [around.normalised(around.looked(pictures, joints - speeds * s)) for s in ago]
        images = torch.stack([steps[-1][key] for key in around.keys], dim=1)
        batch = {STATE: torch.stack([step[STATE] for step in steps], dim=1)}
        batch[IMAGES] = images[:, None].expand(-1, self.moments, -1, -1, -1, -1)
        condition = model._prepare_global_conditioning(batch).expand(noise.shape[0], -1)
        sample, scheduler = self.started(noise), model.noise_scheduler
        for t in self.times:
            time = torch.full((noise.shape[0],), t, dtype=torch.long)
            sample = scheduler.step(model.unet(sample, time, global_cond=condition), t, sample).prev_sample
        actions = sample[:, self.moments - 1 :]
        return around.positions(actions), torch.cat([condition, actions.flatten(1)], dim=1)

    @torch.no_grad()
    def original(self, observation: Observation, noise: Floats) -> Floats:
        """(N, T, J) by LeRobot, which is shown the moments before as the graph takes them to be."""
        now = observation.joints
        ago = [k / self.around.rate_hz for k in range(self.moments - 1, -1, -1)]
        at = [JointState(now.t_ns, now.q - now.qd * s, now.qd) for s in ago]
        return self.stepped([replace(observation, joints=joints) for joints in at], noise)

    @torch.no_grad()
    def stepped(self, seen: Sequence[Observation], noise: Floats) -> Floats:
        """(N, T, J) by LeRobot's own queue and sampler, on the moments `seen`, the oldest first."""
        from lerobot.policies.utils import populate_queues

        candidates = []
        for one in torch.from_numpy(noise):
            self.policy.reset()
            for observation in seen:
                batch = self.around.processed(observation)
                batch[IMAGES] = torch.stack([batch[key] for key in self.around.keys], dim=-4)
                self.policy._queues = populate_queues(self.policy._queues, batch)
            candidates.append(self.policy.predict_action_chunk(batch, noise=self.started(one[None])))
        return self.around.finished(torch.cat(candidates))


def one_look_error(network: DiffusionNetwork, episode: Episode, spots: int = 6) -> float:
    """The median distance (rad) between chunks from one look and from the moments that were really seen, in `episode`."""
    noise = np.random.default_rng(0).standard_normal((1, network.rows, len(episode.joint_names))).astype(np.float32)
    found = []
    for i in np.linspace(0, len(episode) - 1, min(spots, len(episode))).astype(int):
        seen = [observation_at(episode, max(int(i) - k, 0)) for k in range(network.moments - 1, -1, -1)]
        found.append(np.abs(network.stepped(seen, noise) - network.original(seen[-1], noise)))
    return float(np.median(np.concatenate(found)))
