"""`robot-stack export` of a checkpoint that robomimic or LeRobot saved: its own library builds it, the bundle is as any other."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from robot_stack.config.commands import ExportCommand
from robot_stack.data.episode import Episode
from robot_stack.errors import ConfigError

if TYPE_CHECKING:
    from policies.adapters.foreign import Foreign

RATE_HZ = 30.0
"""Of episodes out of logs; a dataset has its own."""

Load = Callable[[Sequence[Episode]], "Foreign"]


def loader(checkpoint: Path) -> Load | None:
    """What loads the checkpoint of another library; None: it is one of ours, or none at all."""
    from policies.adapters import lerobot_policy, robomimic_policy

    for folder in (checkpoint, checkpoint / "pretrained_model"):
        if lerobot_policy.is_checkpoint(folder):
            return lambda episodes: lerobot_policy.load_lerobot(folder, episodes)
    file = robomimic_policy.checkpoint_file(checkpoint)
    return None if file is None else lambda episodes: robomimic_policy.load_robomimic(file, episodes)


def export(load: Load, command: ExportCommand, episodes: Sequence[Episode], samples: int) -> Path:
    """The bundle of what `load` gives in `command.out`, compared with its library on `episodes`; TACO learns from up to `samples`
    samples of them.

    Raises ConfigError on a critic's selector, PolicyError where it does not fit the robot or differs from the library.
    """
    from policies.adapters.foreign import CANDIDATES, export_foreign, familiar_features
    from safety.taco import train_cfn

    if command.selector == "q_rank":
        raise ConfigError(
            "selector: found 'q_rank', allowed taco or none for a checkpoint of another library: it has no critic's states"
        )
    found, out = load(episodes), Path(command.out)
    if command.selector == "none":
        return export_foreign(found, episodes, out, command.tolerance, command.precision)
    features, draws = familiar_features(found, episodes, samples)
    selector = train_cfn(features, command.taco, seed=0)
    return export_foreign(found, episodes, out, command.tolerance, command.precision, selector, CANDIDATES if draws else 1)
