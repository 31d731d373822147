"""What is around the networks of LeRobot's policies: its own normalisation, and our pictures and order of joints."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from policies.adapters.foreign import Cameras, Floats, order
from policies.encoder import Resize
from robot_stack.data.episode import Episode
from robot_stack.types import Observation

OBSERVATION, STATE, IMAGES = "observation.", "observation.state", "observation.images"


def camera_of(key: str) -> str:
    """The camera of an image feature: "observation.images.top" is top, "observation.image" is image."""
    return key.removeprefix(f"{IMAGES}.").rpartition(".")[2]


def dataset_keys(config: Any, before: Any) -> dict[str, str]:
    """Each picture the network wants, and its name in the dataset, which training may have renamed by a `rename_map`.

    Pictures that are there to stay empty (`empty_cameras`) are left out.
    """
    from lerobot.processor import RenameObservationsProcessorStep

    maps = [step.rename_map for step in before.steps if isinstance(step, RenameObservationsProcessorStep)]
    named = {new: old for renamed in maps for old, new in renamed.items()}
    empty = {f"{IMAGES}.empty_camera_{i}" for i in range(getattr(config, "empty_cameras", 0))}
    return {key: named.get(key, key) for key in config.image_features if key not in empty}


class Around(nn.Module):
    """What is around every kind of network: LeRobot's normalisation, our pictures and order of joints."""

    to_trained: Tensor
    to_robot: Tensor

    def __init__(
        self, config: Any, both: tuple[Any, Any], named: Mapping[str, str], episode: Episode, names: Sequence[str]
    ) -> None:
        from lerobot.processor import NormalizerProcessorStep, UnnormalizerProcessorStep

        super().__init__()
        self.config, self.before, self.after = config, *both
        self.normal = [step for step in self.before.steps if isinstance(step, NormalizerProcessorStep)]
        self.back = [step for step in self.after.steps if isinstance(step, UnnormalizerProcessorStep)]
        self.named, self.rate_hz = dict(named), episode.rate_hz
        self.keys = {key: camera_of(name) for key, name in named.items()}
        seen = {camera: episode.images[camera].shape[1:3] for camera in self.keys.values()}
        self.cameras: Cameras = tuple((camera, (int(h), int(w))) for camera, (h, w) in seen.items())
        given = [size for _, size in self.cameras]
        trained_on = [tuple(config.input_features[key].shape[1:]) for key in named]
        wanted = given if config.type == "smolvla" else trained_on  # SmolVLA takes any and resizes by itself
        self.resize = nn.ModuleList(Resize(*sizes) for sizes in zip(given, wanted, strict=True))
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
        ready = self.before({self.named.get(key, key): value[0] for key, value in looked.items()} | {"task": seen.instruction})
        return {key: value for key, value in ready.items() if key.startswith(OBSERVATION)}

    def finished(self, actions: Tensor) -> Floats:
        """Actions (N, T, J) through the whole of LeRobot's postprocessor."""
        found: Floats = torch.stack([self.after(row) for row in actions.unbind(1)], 1)[..., self.to_robot].numpy()
        return found
