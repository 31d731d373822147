"""A pretrained vision model from a folder as the eye of a policy: one network for all cameras, frozen or trained along.

The folder is what the model hubs serve, copied by hand: `config.json`, which names the model (timm: "architecture"; transformers:
"model_type"), and `model.safetensors`. Nothing is downloaded, nothing unpickled, no code of the folder is run. Of a model for
pictures and text only the part for pictures is kept. The features are the mean over all places.
The checkpoint of a policy holds the tower's weights too; the folder still says what to build, and has to stay where it is.
"""

import contextlib
import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from policies.adapters.operators import import_torchvision
from robot_stack.errors import PolicyError
from robot_stack.size_limits import check_weights, read_text

CONFIG, WEIGHTS, PREPROCESSING = "config.json", "model.safetensors", "preprocessor_config.json"


class VisionTower(nn.Module):
    """Float picture (B, h, w, 3), 0..255, to (B, F).

    Raises PolicyError on a folder without the two files, a library that is not installed, or pictures of a size it can't read.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, size: tuple[int, int], folder: Path, frozen: bool) -> None:
        super().__init__()
        config = _read(folder / CONFIG)
        self.tower, mean, std = _timm(folder, config) if "architecture" in config else _transformers(folder, config)
        self.register_buffer("mean", 255.0 * torch.tensor(mean), persistent=False)
        self.register_buffer("std", 255.0 * torch.tensor(std), persistent=False)
        self.frozen = frozen
        self.tower.requires_grad_(not frozen).train(not frozen)
        try:
            with torch.no_grad():
                self.num_features = self(torch.zeros(1, *size, 3)).shape[1]
        except (RuntimeError, ValueError, AssertionError) as error:
            raise PolicyError(f"{folder}: can't read pictures of {size}: {error}; next: policy.image_height") from error

    def train(self, mode: bool = True) -> "VisionTower":
        """As every module; a frozen tower stays as it acts."""
        super().train(mode)
        self.tower.train(mode and not self.frozen)
        return self

    def forward(self, pixels: Tensor) -> Tensor:
        """The features."""
        said = self.tower(((pixels - self.mean) / self.std).permute(0, 3, 1, 2))
        places: Tensor = said if isinstance(said, Tensor) else said.last_hidden_state
        return places.flatten(2).mean(-1) if places.dim() == 4 else places.mean(1) if places.dim() == 3 else places


def _timm(folder: Path, config: Mapping[str, Any]) -> tuple[nn.Module, list[float], list[float]]:
    """The model of timm without its classifier."""
    model: nn.Module = _library("timm").create_model(config["architecture"], num_classes=0, **config.get("model_args", {}))
    missing = model.load_state_dict(load_file(_weights(folder)), strict=False).missing_keys
    if missing:
        raise PolicyError(f"{folder / WEIGHTS}: found no {missing[0]}, allowed all weights of {config['architecture']}")
    card = config.get("pretrained_cfg", {})
    return model, list(card.get("mean", [0.5] * 3)), list(card.get("std", [0.5] * 3))


def _transformers(folder: Path, config: Mapping[str, Any]) -> tuple[nn.Module, list[float], list[float]]:
    """The model of transformers, or its part for pictures."""
    _weights(folder)
    if "model_type" not in config:
        raise PolicyError(
            f"{folder / CONFIG}: found neither architecture nor model_type; allowed a model of timm or transformers"
        )
    load = _library("transformers").AutoModel.from_pretrained
    model: nn.Module = load(
        str(folder), local_files_only=True, use_safetensors=True, trust_remote_code=False, attn_implementation="eager"
    )
    card = _read(folder / PREPROCESSING) if (folder / PREPROCESSING).is_file() else {}
    part: nn.Module = getattr(model, "vision_model", model)
    return part, list(card.get("image_mean", [0.5] * 3)), list(card.get("image_std", [0.5] * 3))


def _weights(folder: Path) -> Path:
    path = folder / WEIGHTS
    if not path.is_file():
        raise PolicyError(f"{path}: missing, allowed the weights of a vision model as safetensors; nothing is unpickled")
    check_weights(path)
    return path


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(read_text(path))
    except (OSError, ValueError) as error:
        raise PolicyError(f"policy.tower: {path}: can't be read: {error}; allowed the folder of a vision model") from error
    return found


def _library(name: str) -> ModuleType:
    """timm needs torchvision, transformers only trips over one that does not import."""
    try:
        with contextlib.suppress(ModuleNotFoundError):
            import_torchvision()
        return importlib.import_module(name)
    except ImportError as error:
        raise PolicyError(f"{name}: can't be imported: {error}; next: pip install 'robot_stack[tower]'") from error
