"""Policies that robomimic trained, from its checkpoints (`model_epoch_N.pth`): bc and bc_rnn, each with one mean or a mixture.

robomimic steps: one observation, one action, and a recurrent state that it sets to zero every `rnn.horizon` steps. A decision of
ours begins where such a stretch does: with a state of zeros, and goes on for `rnn.horizon` rows (ROWS without recurrence) by its
own actions, taken for the joints that will be measured then, while the pictures stay. So row 0 is robomimic's own action after a
reset; with `rnn.open_loop` (actions from the first observation alone) all rows are robomimic's own. What the others lose is
measured: `open_loop_rad` in the manifest is the median distance from what robomimic does when it sees each step of a recorded
episode.

A mixture draws its component as `BcHead` does: by the mean z of the noise of row 0, where Phi(sqrt(J) z) falls among the shares;
the same place for all rows, so that a chunk does not change its mind.

Actions of robomimic lie in [-1, 1]; `robot-stack data convert to=robomimic` scales others and says so in `env_args`, which a
checkpoint carries: so this finds the way back, the joints' names and the rate.

A checkpoint is a pickle. It is read with torch's `weights_only`: tensors, numbers, texts and lists, nothing that runs. What
needs more is refused.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from policies.adapters.foreign import Foreign
from policies.adapters.operators import import_torchvision
from policies.adapters.robomimic_network import Unrolled, open_loop_error
from robot_stack.data.episode import Episode
from robot_stack.data.robomimic import TRAINED_ON
from robot_stack.errors import PolicyError


def checkpoint_file(path: Path) -> Path | None:
    """The robomimic checkpoint `path`, or the only one in that folder; None: there is none."""
    files = [path] if path.is_file() else sorted(path.glob("*.pth"))
    return files[0] if len(files) == 1 and files[0].suffix == ".pth" else None


def read_checkpoint(file: Path) -> dict[str, Any]:
    """The dictionary robomimic saved. Raises PolicyError when it holds anything but tensors and plain values, or is none."""
    try:
        found: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        found["config"], found["shape_metadata"], found["model"], found["algo_name"]
    except (OSError, RuntimeError, UnpicklingError, KeyError, TypeError) as error:
        raise PolicyError(
            f"{file}: cannot be read as robomimic's checkpoint: {str(error).splitlines()[0]}; allowed tensors, numbers, texts "
            "and lists only: nothing is unpickled that could run"
        ) from error
    return found


def load_robomimic(file: Path, episodes: Sequence[Episode]) -> Foreign:
    """The policy of the checkpoint `file`, for the joints and cameras of `episodes`.

    Raises PolicyError on other algorithms, inputs the robot does not have, or joints that do not fit; ModuleNotFoundError
    without robomimic.
    """
    import_torchvision()
    from robomimic.algo import algo_factory
    from robomimic.utils import file_utils, obs_utils

    saved = read_checkpoint(file)
    config, _ = file_utils.config_from_checkpoint(ckpt_dict=saved)
    _refuse_unknown(file, saved, config)
    obs_utils.initialize_obs_utils_with_config(config)
    shapes = saved["shape_metadata"]
    algorithm = algo_factory(saved["algo_name"], config, shapes["all_shapes"], shapes["ac_dim"], torch.device("cpu"))
    algorithm.deserialize(saved["model"])
    algorithm.set_eval()
    trained_on = saved.get("env_metadata", {}).get(TRAINED_ON, {})
    network = Unrolled(algorithm, _inputs(file, shapes["all_shapes"], episodes[0]), episodes[0], trained_on)
    network.normalise(saved.get("obs_normalization_stats") or {})
    return Foreign(
        f"robomimic_{saved['algo_name']}{'_rnn' if network.recurrent else ''}{'_gmm' if network.mixture else ''}",
        network,
        network.original,
        network.cameras,
        network.rows,
        float(trained_on.get("rate_hz") or episodes[0].rate_hz),
        figures={"open_loop_rad": open_loop_error(network, episodes[-1])},
        tidy=_restore_classes,
    )


def _restore_classes() -> None:
    """torch.export subclasses the modules it traces, and robomimic registers every subclass under its parent's name."""
    from robomimic.models import obs_core
    from robomimic.utils import obs_utils

    for registry in (obs_utils.OBS_ENCODER_CORES, obs_utils.OBS_RANDOMIZERS):
        registry.update({name: getattr(obs_core, name) for name in registry if hasattr(obs_core, name)})


def _refuse_unknown(file: Path, saved: Mapping[str, Any], config: Any) -> None:
    algo, extra = config.algo, []
    if saved["algo_name"] != "bc":
        extra.append(f"algorithm {saved['algo_name']}")
    extra += [part for part in ("gaussian", "vae", "transformer") if algo.get(part, {}).get("enabled", False)]
    if config.observation.modalities.goal.low_dim or config.observation.modalities.goal.rgb:
        extra.append("goals")
    if extra:
        raise PolicyError(f"{file}: found {', '.join(extra)}, allowed bc and bc_rnn, with or without a mixture (gmm)")


def _inputs(file: Path, shapes: Mapping[str, Sequence[int]], episode: Episode) -> dict[str, str]:
    """Each of the network's inputs: "joints", or the camera it is."""
    joints = len(episode.joint_names)
    found = {}
    for key, shape in shapes.items():
        if len(shape) == 3 and key in episode.images:
            found[key] = key
        elif list(shape) == [joints]:
            found[key] = "joints"
    strangers = {key: list(shape) for key, shape in shapes.items() if key not in found}
    if strangers or list(found.values()).count("joints") != 1:
        raise PolicyError(
            f"{file}: found the inputs {dict(shapes)}, allowed one of the {joints} measured joints and pictures of "
            f"{', '.join(episode.images) or 'no camera'}; a robot measures nothing else"
        )
    return found
