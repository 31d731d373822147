"""Policies that LeRobot itself saves, small and with random weights, for the tests of its adapter. Nothing is downloaded."""

import json
import os

import numpy as np
import torch

from policies.adapters.operators import import_torchvision

SMALL = {
    "act": {"chunk_size": 6, "n_action_steps": 6, "dim_model": 32, "n_heads": 2, "dim_feedforward": 32, "n_encoder_layers": 1},
    "diffusion": {
        "horizon": 8,
        "n_action_steps": 4,
        "down_dims": (16, 32),
        "diffusion_step_embed_dim": 16,
        "spatial_softmax_num_keypoints": 4,
        "noise_scheduler_type": "DDIM",
        "num_inference_steps": 3,
        "n_groups": 4,
    },
    "smolvla": {
        "chunk_size": 6,
        "n_action_steps": 6,
        "max_state_dim": 8,
        "max_action_dim": 8,
        "resize_imgs_with_padding": (32, 32),
        "tokenizer_max_length": 24,
        "num_steps": 2,
        "num_vlm_layers": 2,
    },
}


def statistics(episodes):
    """As a LeRobot dataset has them."""
    found = {}
    for key, values in (("observation.state", [e.q for e in episodes]), ("action", [e.action for e in episodes])):
        rows = np.concatenate(values)
        found[key] = {"mean": rows.mean(0), "std": rows.std(0) + 0.1, "min": rows.min(0) - 0.1, "max": rows.max(0) + 0.1}
    for camera in episodes[0].images:
        colours = {"mean": 0.3, "std": 0.2, "min": 0.0, "max": 1.0}
        found[f"observation.images.{camera}"] = {name: np.full((3, 1, 1), value) for name, value in colours.items()}
    return {key: {name: torch.tensor(v, dtype=torch.float32) for name, v in part.items()} for key, part in found.items()}


def saved(folder, kind, episodes, names=None, renamed=None, shape=None, **settings):
    """A policy of LeRobot as its training saves one: the state in the order of `names`, pictures `renamed` (dataset: policy).

    `shape`: what it says of its pictures, which a policy fine-tuned from another has from there.
    """
    os.environ |= {"HF_HUB_OFFLINE": "1"}
    import_torchvision()
    from lerobot.configs.types import FeatureType, PolicyFeature
    from lerobot.policies.factory import get_policy_class, make_policy_config, make_pre_post_processors

    torch.manual_seed(0)
    joints = len(episodes[0].joint_names)
    inputs = {"observation.state": PolicyFeature(FeatureType.STATE, (joints,))}
    for camera, images in episodes[0].images.items():
        key = f"observation.images.{camera}"
        inputs[(renamed or {}).get(key, key)] = PolicyFeature(FeatureType.VISUAL, shape or (3, *images.shape[1:3]))
    config = make_policy_config(
        kind,
        device="cpu",
        input_features=inputs,
        output_features={"action": PolicyFeature(FeatureType.ACTION, (joints,))},
        push_to_hub=False,
        **({} if kind == "smolvla" else {"pretrained_backbone_weights": None}),
        **{**SMALL[kind], **settings},
    )
    policy = get_policy_class(kind)(config).eval()
    before, after = make_pre_post_processors(config, dataset_stats=statistics(episodes))
    before.steps[0].rename_map = renamed or {}
    for part in (policy, before, after):
        part.save_pretrained(folder)
    if names:
        (folder / "dataset/meta").mkdir(parents=True)
        (folder / "dataset/meta/info.json").write_text(json.dumps({"features": {"observation.state": {"names": list(names)}}}))
        (folder / "train_config.json").write_text(json.dumps({"dataset": {"root": str(folder / "dataset")}}))
    return folder


def library(folder):
    """LeRobot's own policy with its processors."""
    from lerobot.configs.policies import PreTrainedConfig
    from lerobot.policies.factory import get_policy_class, make_pre_post_processors

    config = PreTrainedConfig.from_pretrained(folder)
    policy = get_policy_class(config.type).from_pretrained(folder, config=config).eval()
    return policy, *make_pre_post_processors(config, pretrained_path=str(folder))


def batch(observation):
    """As LeRobot's robots give an observation."""
    found = {"observation.state": torch.tensor(observation.joints.q, dtype=torch.float32), "task": observation.instruction}
    for name, frame in observation.frames.items():
        found[f"observation.images.{name}"] = torch.from_numpy(frame.rgb.copy()).permute(2, 0, 1) / 255
    return found


def small_smolvlm(folder):
    """The folder of a SmolVLM without weights: a configuration of two layers, a tokenizer of letters, a processor."""
    os.environ |= {"HF_HUB_OFFLINE": "1"}
    import_torchvision()
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        PreTrainedTokenizerFast,
        SmolVLMConfig,
        SmolVLMImageProcessor,
        SmolVLMProcessor,
        SmolVLMVideoProcessor,
    )

    special = {"fake_image_token": "<fake>", "global_image_token": "<global>", "image_token": "<image>"}
    words = ["<pad>", "<unk>", *special.values(), *(chr(code) for code in range(32, 127)), "\n"]
    spelling = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    spelling.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=spelling, pad_token="<pad>", unk_token="<unk>", extra_special_tokens=special
    )
    text = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "vocab_size": len(words), "head_dim": 8}
    text |= {"model_type": "llama", "num_attention_heads": 4, "num_key_value_heads": 2}
    vision = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision |= {"image_size": 32, "patch_size": 4}
    ids = {"image_token_id": words.index("<image>"), "pad_token_id": 0}
    SmolVLMConfig(text_config=text, vision_config=vision, scale_factor=2, **ids).save_pretrained(folder)
    SmolVLMProcessor(SmolVLMImageProcessor(), tokenizer, SmolVLMVideoProcessor(), image_seq_len=16).save_pretrained(folder)
    return folder
