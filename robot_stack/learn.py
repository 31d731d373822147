"""`robot-stack train` and `export`: recorded episodes -> checkpoint -> bundle."""

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from robot_stack import foreign
from robot_stack.config.commands import ExportCommand, TrainCommand
from robot_stack.config.schema import QRankSettings, TacoSettings
from robot_stack.data.episode import Episode
from robot_stack.data.findings import TRASH

if TYPE_CHECKING:
    from torch import nn

PICTURES = Path("runs/cache")
"""Decoded videos are kept here, keyed by the bytes they came from."""
FEATURE_SAMPLES = 1500
"""At most so many recorded samples are searched for features of the selector."""


def train(command: TrainCommand) -> Path:
    """Train on all but the last `train.holdout` episodes of the dataset; returns the checkpoint folder."""
    from policies.train import train_policy

    policy = command.policy
    episodes = load_episodes(Path(command.dataset), policy.rate_hz, (policy.image_height, policy.image_width))
    return train_policy(episodes, policy, command.train, Path(command.out))


def export(command: ExportCommand) -> Path:
    """Turn a checkpoint into a bundle, with a selector trained on what it was trained on; returns the bundle folder.

    One that robomimic or LeRobot saved is built by its own library."""
    import torch

    from policies.checkpoint import load_checkpoint

    checkpoint = Path(command.checkpoint)
    if (load := foreign.loader(checkpoint)) is not None:
        return foreign.export(load, command, load_episodes(Path(command.dataset), foreign.RATE_HZ, None), FEATURE_SAMPLES)
    card = load_checkpoint(checkpoint)[1]
    torch.set_num_threads(max(1, card.train.threads))
    sizes = {size for _, size in card.cameras}
    episodes = load_episodes(Path(command.dataset), card.settings.rate_hz, sizes.pop() if len(sizes) == 1 else None)
    taco = command.taco if command.selector == "taco" else None
    q_rank = command.q_rank if command.selector == "q_rank" else None
    return bundle_of(checkpoint, episodes, taco, Path(command.out), q_rank, command.precision, command.tolerance)


def bundle_of(
    checkpoint: Path,
    episodes: Sequence[Episode],
    taco: TacoSettings | None,
    out: Path,
    q_rank: QRankSettings | None = None,
    precision: str = "fp32",
    tolerance: float = 0.0,
) -> Path:
    """The bundle of `checkpoint` in `out`; `taco` or `q_rank`: with a selector learned on the `episodes` of the training.

    Parity is measured on the last `holdout` episodes, those the training kept out (on all, when it kept none out); what
    `precision` is scaled by comes from the others.
    """
    from policies.checkpoint import load_checkpoint
    from policies.export import export_bundle
    from policies.features import features_of
    from policies.q_rank import train_q_rank
    from safety.taco import train_cfn

    card = load_checkpoint(checkpoint)[1]
    selector: nn.Module | None = None
    kept = episodes[: len(episodes) - card.train.holdout]
    if taco is not None:
        features = features_of(checkpoint, kept, card.settings.candidates, feature_stride(kept))
        selector = train_cfn(features, taco, seed=card.train.seed)
    elif q_rank is not None:
        selector = train_q_rank(checkpoint, kept, q_rank)
    return export_bundle(checkpoint, out, selector, episodes[len(kept) :] or episodes, tolerance, precision, kept)


def feature_stride(episodes: Sequence[Episode]) -> int:
    """Every so many of their samples, at most FEATURE_SAMPLES are searched."""
    return ceil(sum(len(episode) for episode in episodes) / FEATURE_SAMPLES)


def load_episodes(folder: Path, rate_hz: float, size: tuple[int, int] | None, last: int = 0) -> list[Episode]:
    """The episodes of a LeRobot dataset (pictures at `size`, rows x columns), of a folder of episode logs (at `rate_hz`), or of
    a robomimic file.

    Of an edited dataset those that `robot-stack data ls` shows. `last` > 0: that many of the last ones only. Their pictures lie
    in mapped files below PICTURES. Raises DataError when `folder` is none of these.
    """
    lerobot = (folder / "meta" / "info.json").is_file()
    logs = [] if lerobot or (folder / "edits.jsonl").is_file() else log_folders(folder)
    if logs:
        return [_episode(path, rate_hz) for path in logs[-last:]]
    from robot_stack.data.lerobot import read_lerobot

    height, width = (size if lerobot else None) or (None, None)  # others' pictures are those the policy will see
    return read_lerobot(folder, height=height, width=width, cache=PICTURES, rate_hz=rate_hz)[-last:]


def log_folders(folder: Path) -> list[Path]:
    """The episode logs at or below `folder`, in the order of their names: folders that hold an .mcap file, the trash left out."""
    return sorted({path.parent for path in folder.rglob("*.mcap") if TRASH not in path.parts})


def _episode(path: Path, rate_hz: float) -> Episode:
    from robot_stack.config.robot_file import load_robot
    from robot_stack.data.from_log import episode_from_log
    from robot_stack.data.log_reader import read_log

    log = read_log(path)
    cameras = [camera.name for camera in load_robot(log.metadata.robot).cameras]
    return episode_from_log(log, rate_hz, cameras, cache=PICTURES)
