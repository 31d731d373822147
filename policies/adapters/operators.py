"""torchvision beside a torch without CUDA. Its wheels are built for CUDA: their operators do not load then, and importing it
fails, because two of them have no schema. Declared without an implementation they let it import; nothing here calls them."""

import importlib
import sys
from types import ModuleType
from typing import Any

import torch

_declared: list[Any] = []
"""The declarations last as long as this does."""


def import_torchvision() -> ModuleType:
    """torchvision, with its operators declared where it does not import otherwise. Raises ModuleNotFoundError without it."""
    try:
        return importlib.import_module("torchvision")
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
    make: Any = torch.library.Library
    _declared.append(make("torchvision", "FRAGMENT"))
    for name in ("nms", "qnms"):
        _declared[0].define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return importlib.import_module("torchvision")
