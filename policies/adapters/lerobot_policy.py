"""Policies that LeRobot saved (a folder with config.json, model.safetensors and its processors): ACT and Diffusion Policy.

LeRobot's own classes build the network and read weights and processors; nothing is downloaded and nothing is unpickled. The graph
is the network between LeRobot's own normalisation of observations and of actions. A chunk is what `predict_action_chunk` gives.

* ACT: one chunk, the same for every candidate: at run time its latent is zero. `temporal_ensemble_coeff` is left to
  `run.seams=averaged`.
* Diffusion: a candidate is denoised from its own noise by DDIM. A policy that was trained for DDPM samples by DDIM too, in
  DDIM_STEPS: DDPM would need fresh noise at each of its steps. All rows from now on are kept, not `n_action_steps` alone; rows of
  the past, which LeRobot throws away, begin from noise that is drawn once. With `n_obs_steps` > 1 it sees earlier moments too; a
  decision is a function of one observation, so these are the joints as their speeds say they were, and the same pictures.
  `one_look_rad` in the manifest is the median distance from what LeRobot does with what was really seen then.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from policies.adapters.foreign import Cameras, Floats, Foreign, order
from policies.adapters.operators import import_torchvision
from policies.encoder import Resize
from policies.recorded import observation_at
from robot_stack.data.episode import Episode
from robot_stack.errors import PolicyError
from robot_stack.types import JointState, Observation

CONFIG, WEIGHTS, PROCESSOR, TRAINING = "config.json", "model.safetensors", "policy_preprocessor.json", "train_config.json"
KINDS = ("act", "diffusion")
STATE, IMAGES, ENVIRONMENT = "observation.state", "observation.images", "observation.environment_state"
DDIM_STEPS = 10


def is_checkpoint(folder: Path) -> bool:
    """`folder` is a policy as LeRobot saves one."""
    return (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file()


def load_lerobot(folder: Path, episodes: Sequence[Episode]) -> Foreign:
    """The policy in `folder` for the joints and cameras of `episodes`.

    Raises PolicyError on other kinds of policies, inputs the robot does not have, or joints that do not fit; ModuleNotFoundError
    without LeRobot.
    """
    os.environ |= {"HF_HUB_OFFLINE": "1"}
    import_torchvision()
    config, policy = _policy(folder)
    network = _network(folder, config, policy, episodes[0])
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


def _policy(folder: Path) -> tuple[Any, Any]:
    """Its configuration and the policy, ready to act."""
    from lerobot.configs.policies import PreTrainedConfig
    from lerobot.policies.factory import get_policy_class

    kind = json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("type")
    if kind not in KINDS:
        raise PolicyError(f"{folder / CONFIG}: type: found {kind!r}, allowed {', '.join(KINDS)}")
    if not (folder / PROCESSOR).is_file():
        raise PolicyError(f"{folder / PROCESSOR}: missing: saved before LeRobot 0.4; next: its migrate_policy_normalization.py")
    config: Any = PreTrainedConfig.from_pretrained(folder)
    config.device, config.pretrained_backbone_weights = "cpu", None  # the checkpoint has them
    if kind == "diffusion":
        config.n_action_steps = config.horizon - config.n_obs_steps + 1
    return config, get_policy_class(kind).from_pretrained(folder, config=config).eval()


def _network(folder: Path, config: Any, policy: Any, episode: Episode) -> "ActNetwork | DiffusionNetwork":
    from lerobot.policies.factory import make_pre_post_processors

    joints = len(episode.joint_names)
    cameras = {key: camera_of(key) for key in config.image_features}
    state, action = config.robot_state_feature, config.action_feature
    sizes = [None if feature is None else list(feature.shape) for feature in (state, action)]
    unknown = sorted(set(cameras.values()) - set(episode.images)) + [ENVIRONMENT] * (config.env_state_feature is not None)
    if unknown or sizes != [[joints], [joints]]:
        raise PolicyError(
            f"{folder / CONFIG}: found state {sizes[0]}, action {sizes[1]}, inputs {sorted(config.input_features)}, allowed "
            f"{joints} joints and pictures of {', '.join(sorted(episode.images)) or 'no camera'}"
        )
    device = {"device_processor": {"device": "cpu"}}
    both = make_pre_post_processors(
        config, pretrained_path=str(folder), preprocessor_overrides=device, postprocessor_overrides=device
    )
    around = Around(config, both, cameras, episode, _trained_names(folder, joints) or episode.joint_names)
    return DiffusionNetwork(policy, around) if config.type == "diffusion" else ActNetwork(policy, around)


def camera_of(key: str) -> str:
    """The camera of an image feature: "observation.images.top" is top, "observation.image" is image."""
    return key.removeprefix(f"{IMAGES}.").rpartition(".")[2]


def _trained_names(folder: Path, joints: int) -> tuple[str, ...]:
    """The joints of the dataset it was trained on, as far as that is still here; (): it is not."""
    if not (folder / TRAINING).is_file():
        return ()
    root = json.loads((folder / TRAINING).read_text(encoding="utf-8")).get("dataset", {}).get("root")
    info = Path(root or folder / "nowhere") / "meta/info.json"
    names = json.loads(info.read_text(encoding="utf-8"))["features"].get(STATE, {}).get("names") if info.is_file() else None
    return tuple(names) if isinstance(names, list) and len(names) == joints and isinstance(names[0], str) else ()


class Around(nn.Module):
    """What is around both kinds of networks: LeRobot's normalisation, our pictures and order of joints."""

    to_trained: Tensor
    to_robot: Tensor

    def __init__(
        self, config: Any, both: tuple[Any, Any], cameras: Mapping[str, str], episode: Episode, names: Sequence[str]
    ) -> None:
        from lerobot.processor import NormalizerProcessorStep, UnnormalizerProcessorStep

        super().__init__()
        self.config, self.before, self.after = config, *both
        self.normal = [step for step in self.before.steps if isinstance(step, NormalizerProcessorStep)]
        self.back = [step for step in self.after.steps if isinstance(step, UnnormalizerProcessorStep)]
        self.keys, self.rate_hz = dict(cameras), episode.rate_hz
        sizes = {key: episode.images[camera].shape[1:3] for key, camera in cameras.items()}
        self.cameras: Cameras = tuple((cameras[key], (int(h), int(w))) for key, (h, w) in sizes.items())
        shapes = [tuple(config.input_features[key].shape[1:]) for key in cameras]
        self.resize = nn.ModuleList(Resize(size, shape) for (_, size), shape in zip(self.cameras, shapes, strict=True))
        trained, robot = order(names, episode.joint_names)
        self.register_buffer("to_trained", torch.tensor(trained))
        self.register_buffer("to_robot", torch.tensor(robot))

    def looked(self, pictures: Sequence[Tensor], joints: Tensor) -> dict[str, Tensor]:
        """What LeRobot's processors get: (1, 3, H, W) in 0..1, and the state (1, J) in the trained order."""
        seen = {STATE: joints[self.to_trained][None]}
        for key, resize, picture in zip(self.keys, self.resize, pictures, strict=True):
            seen[key] = resize(picture[None]).permute(0, 3, 1, 2) / 255.0
        return seen

    def normalised(self, seen: dict[str, Tensor]) -> dict[str, Tensor]:
        """By LeRobot's own step."""
        from lerobot.processor.core import TransitionKey

        for step in self.normal:
            seen = step({TransitionKey.OBSERVATION: seen})[TransitionKey.OBSERVATION]
        return seen

    def positions(self, actions: Tensor) -> Tensor:
        """Normalised actions (N, T, J) as joint positions in the robot's order, by LeRobot's own step."""
        from lerobot.processor.core import TransitionKey

        for step in self.back:
            actions = step({TransitionKey.ACTION: actions})[TransitionKey.ACTION]
        return actions[..., self.to_robot]

    def processed(self, seen: Observation) -> dict[str, Tensor]:
        """`seen` through the whole of LeRobot's preprocessor."""
        pictures = [torch.from_numpy(np.array(seen.frames[camera].rgb)) for camera in self.keys.values()]
        looked = self.looked(pictures, torch.tensor(seen.joints.q, dtype=torch.float32))
        ready = self.before({key: value[0] for key, value in looked.items()})
        return {key: ready[key] for key in looked}

    def finished(self, actions: Tensor) -> Floats:
        """Actions (N, T, J) through the whole of LeRobot's postprocessor."""
        found: Floats = torch.stack([self.after(row) for row in actions.unbind(1)], 1)[..., self.to_robot].numpy()
        return found


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
        """Candidates (N, T, J) and their normalised actions as features (N, T J)."""
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
        return around.positions(actions), actions.flatten(1)

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
