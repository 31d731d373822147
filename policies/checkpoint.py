"""A training run on disk: `policy.safetensors` + `policy.yaml`, the result, and `resume.safetensors` to go on after a stop."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import yaml
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from policies.chunk_policy import ChunkPolicy, ChunkShape
from robot_stack.config.schema import PolicySettings, TrainSettings
from robot_stack.errors import PolicyError
from robot_stack.size_limits import check_weights, parse_yaml, read_text

WEIGHTS, CARD, RESUME = "policy.safetensors", "policy.yaml", "resume.safetensors"


@dataclass(frozen=True)
class Card:
    """What a checkpoint is: settings, joints, cameras with native (H, W), instruction, hash of the data, holdout figures.

    `critic_sha256`: of the critic it was trained with (`prdc`; "": without one). `weights_sha256`: of the file of weights it was
    written with ("": by a version that did not say).
    """

    settings: PolicySettings
    train: TrainSettings
    joint_names: tuple[str, ...]
    cameras: tuple[tuple[str, tuple[int, int]], ...]
    instruction: str
    data_sha256: str
    num_frames: int
    steps_done: int = 0
    figures: Mapping[str, float] = field(default_factory=dict)
    critic_sha256: str = ""
    weights_sha256: str = ""

    @property
    def shape(self) -> ChunkShape:
        """What the network is built for."""
        return ChunkShape(len(self.joint_names), self.cameras)


def write_atomic(path: Path, content: bytes) -> None:
    """The whole file or the old one: written beside, flushed to the disk, renamed. Raises PolicyError where the disk refuses."""
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        left = "the one before is whole; " if path.is_file() else ""
        raise PolicyError(
            f"{path}: {error.strerror}, {len(content) / 2**20:.1f} MiB to write; {left}free some space and start again: "
            "training goes on from what was saved"
        ) from error


def save_checkpoint(folder: Path, policy: ChunkPolicy, card: Card) -> Path:
    """Write the result of a training run into `folder`."""
    weights = save({k: v.contiguous() for k, v in policy.state_dict().items()})
    card = replace(card, weights_sha256=hashlib.sha256(weights).hexdigest())
    write_atomic(folder / WEIGHTS, weights)
    write_atomic(folder / CARD, yaml.safe_dump(json.loads(json.dumps(asdict(card))), sort_keys=False).encode())
    return folder


def load_checkpoint(folder: Path) -> tuple[ChunkPolicy, Card]:
    """The policy in evaluation mode and its card; flow's old names, from when it was the only head, are still read.

    Raises PolicyError when a file is missing, cut or of another version.
    """
    card = _read_card(folder)
    policy = ChunkPolicy(card.shape, card.settings)
    try:
        check_weights(folder / WEIGHTS)
        content = (folder / WEIGHTS).read_bytes()
        weights = load(content)
        policy.load_state_dict({re.sub(r"^denoiser\.", "head.denoiser.", name): t for name, t in weights.items()})
    except (OSError, SafetensorError, RuntimeError) as error:
        raise PolicyError(f"{folder / WEIGHTS}: can't be read: {error}; train again") from error
    if card.weights_sha256 not in ("", hashlib.sha256(content).hexdigest()):
        raise PolicyError(f"{folder / WEIGHTS}: not those of {CARD}: training was stopped between the two; start it again")
    return policy.eval(), card


def _read_card(folder: Path) -> Card:
    if not (folder / CARD).is_file():
        raise PolicyError(f"{folder / CARD}: missing, allowed a folder that training wrote; next: robot-stack train out={folder}")
    try:
        raw = parse_yaml(read_text(folder / CARD))
        return Card(
            PolicySettings(**raw.pop("settings")),
            TrainSettings(**raw.pop("train")),
            tuple(raw.pop("joint_names")),
            tuple((name, (size[0], size[1])) for name, size in raw.pop("cameras")),
            **raw,
        )
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise PolicyError(f"{folder / CARD}: can't be read: {error!r}; allowed: what train wrote; train again") from error


def save_resume(folder: Path, tensors: Mapping[str, Tensor], key: str, step: int) -> None:
    """Everything needed to go on at `step`; `key` identifies the run it belongs to."""
    content = save({k: v.detach().contiguous() for k, v in tensors.items()}, metadata={"key": key, "step": str(step)})
    write_atomic(folder / RESUME, content)


def load_resume(folder: Path, key: str) -> tuple[dict[str, Tensor], int] | None:
    """Tensors and step of an interrupted run with the same `key`; None when there is none or it is of another run."""
    path = folder / RESUME
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("key") != key:
                return None
            return {name: file.get_tensor(name) for name in file.keys()}, int(metadata["step"])
    except (OSError, SafetensorError) as error:
        raise PolicyError(f"{path}: can't be read: {error}; delete it to start over") from error


def named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`tensors` with `prefix.` before each name."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `named`."""
    return {name.removeprefix(prefix + "."): t for name, t in tensors.items() if name.startswith(prefix + ".")}
