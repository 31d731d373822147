"""SmolVLA (Shukor et al. 2025) between LeRobot's normalisations: a small vision-language model and a flow-matching action expert.

The model and its steps are LeRobot's own (`embed_prefix`, `denoise_step`). The prefix (pictures, instruction, joints) is computed
once; its keys and values serve every candidate at every step of the flow. The instruction is part of the graph: it is tokenised
here, once, so a bundle knows one instruction and `OnnxPolicy` refuses others. LeRobot pads actions to `max_action_dim`; the
noise of what is padded is drawn once, the same for all candidates. All `chunk_size` rows are kept.
"""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from policies.adapters.foreign import Floats
from policies.adapters.lerobot_around import Around
from policies.recorded import observation_at
from robot_stack.data.episode import Episode
from robot_stack.errors import PolicyError
from robot_stack.types import Observation

TOKENS, TOKENS_MASK = "observation.language.tokens", "observation.language.attention_mask"


def prepare(path: Path, config: Any) -> None:
    """Make `config`, read from `path`, one that builds offline and acts alone: the checkpoint has the weights, seams are ours.

    Raises PolicyError where its vision-language model is not at hand, or on Aloha's own joints.
    """
    from transformers import AutoConfig, AutoProcessor

    if config.adapt_to_pi_aloha:
        raise PolicyError(f"{path}: adapt_to_pi_aloha: found true, allowed false; next: fine-tune it on joints in rad")
    try:
        for kind in (AutoConfig, AutoProcessor):
            kind.from_pretrained(config.vlm_model_name)
    except (OSError, ValueError, ImportError) as error:
        raise PolicyError(
            f"{path}: vlm_model_name: found {config.vlm_model_name!r}: {str(error).strip().splitlines()[0]}; allowed the folder "
            "of a SmolVLM (config.json, tokenizer, processor, no weights) or a model in the hub's cache: nothing is downloaded; "
            "next: copy these files here and name their folder"
        ) from error
    config.load_vlm_weights, config.compile_model, config.rtc_config = False, False, None


class Patches(nn.Module):
    """The squares of a picture and their places, by the modules of `embeddings`.

    transformers computes the places from a mask of what of each picture is there. Here all of it always is, so that they are
    constant: those it gives for the first picture.
    """

    at: Tensor

    def __init__(self, embeddings: Any, size: tuple[int, int]) -> None:
        super().__init__()
        self.cut, self.place = embeddings.patch_embedding, embeddings.position_embedding
        shape = [side // embeddings.patch_size for side in size]
        found: list[Tensor] = []
        hook = self.place.register_forward_pre_hook(lambda _, given: found.append(given[0]))
        with torch.no_grad():
            embeddings(torch.zeros(1, 3, *size), torch.ones(1, *shape, dtype=torch.bool))
        hook.remove()
        self.register_buffer("at", found[0])

    def forward(self, pixel_values: Tensor, patch_attention_mask: Tensor) -> Tensor:
        """(B, squares, width) of pictures (B, 3, H, W)."""
        squares: Tensor = self.cut(pixel_values).flatten(2).transpose(1, 2) + self.place(self.at)
        return squares


class SmolVlaNetwork(nn.Module):
    """`policy` for the instruction of `episode`."""

    moments = 1
    rest: Tensor
    tokens: Tensor
    tokens_mask: Tensor

    def __init__(self, policy: Any, around: Around, episode: Episode) -> None:
        super().__init__()
        config = around.config
        self.policy, self.around = policy, around
        self.rows, self.steps, self.joints = int(config.chunk_size), int(config.num_steps), len(episode.joint_names)
        weights: dict[int, Any] = {id(part): part for part in policy.model.parameters()}
        self.model: Any = copy.deepcopy(policy.model, weights)  # the weights are shared
        seen = around.processed(observation_at(episode, 0))
        eye = self.model.vlm_with_expert.get_vlm_model().vision_model
        eye.embeddings = Patches(eye.embeddings, tuple(policy.prepare_images(seen)[0][0].shape[2:]))
        self.register_buffer("tokens", seen[TOKENS])
        self.register_buffer("tokens_mask", seen[TOKENS_MASK])
        padded = (1, self.rows, int(config.max_action_dim) - self.joints)
        self.register_buffer("rest", torch.randn(padded, generator=torch.Generator().manual_seed(0)))

    def started(self, noise: Tensor) -> Tensor:
        """(N, T, max_action_dim): `noise` in the trained order, then that of the padding."""
        return torch.cat([noise[..., self.around.to_trained], self.rest.expand(noise.shape[0], -1, -1)], dim=-1)

    def prefix(self, seen: dict[str, Tensor]) -> tuple[Tensor, dict[int, dict[str, Tensor]]]:
        """Which places of the prefix count (1, S), and keys and values of its layers, each (1, S, heads, size)."""
        from lerobot.policies.smolvla.modeling_smolvla import make_att_2d_masks

        images, masks = self.policy.prepare_images(seen)
        state = self.policy.prepare_state(seen)
        embedded, there, causal = self.model.embed_prefix(images, masks, self.tokens, self.tokens_mask, state=state)
        _, cache = self.model.vlm_with_expert.forward(
            attention_mask=make_att_2d_masks(there, causal),
            position_ids=torch.cumsum(there, dim=1) - 1,
            past_key_values=None,
            inputs_embeds=[embedded, None],
            use_cache=True,
            fill_kv_cache=True,
        )
        return there, cache

    def broadcast(self, cache: dict[int, dict[str, Tensor]], count: int) -> dict[int, dict[str, Tensor]]:
        """The cache for N candidates: of layers that join it to their own keys; those that only look at it do so as it is."""
        expert = self.model.vlm_with_expert
        every, looks = expert.self_attn_every_n_layers, "cross" in expert.attention_mode
        joined = {layer: not looks or (every > 0 and layer % every == 0) for layer in cache}
        return {
            layer: {name: part.expand(count, -1, -1, -1) for name, part in parts.items()} if joined[layer] else parts
            for layer, parts in cache.items()
        }

    def forward(self, pictures: list[Tensor], joints: Tensor, speeds: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Candidates (N, T, J); as features (N, F) the mean value of the prefix's last layer and their normalised actions."""
        count = noise.shape[0]
        there, cache = self.prefix(self.around.normalised(self.around.looked(pictures, joints)))
        seen = cache[max(cache)]["value_states"].mean(1).flatten(1).expand(count, -1)
        there, cache = there.expand(count, -1), self.broadcast(cache, count)
        sample, dt = self.started(noise), -1.0 / self.steps
        for step in range(self.steps):
            time = torch.tensor([1.0 + step * dt], dtype=torch.float32)  # of one: it is the same for all
            sample = sample + dt * self.model.denoise_step(there, cache, sample, time)
        actions = sample[..., : self.joints]
        return self.around.positions(actions), torch.cat([seen, actions.flatten(1)], dim=1)

    @torch.no_grad()
    def original(self, observation: Observation, noise: Floats) -> Floats:
        """(N, T, J) by LeRobot, one candidate after the other."""
        seen = self.around.processed(observation)
        starts = self.started(torch.from_numpy(np.array(noise)))
        return self.around.finished(torch.cat([self.policy.predict_action_chunk(dict(seen), noise=x[None]) for x in starts]))
