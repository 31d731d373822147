"""A picture of divergence: how it grows over the recordings, and in which joints."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from robot_stack.replay.resim.divergence import Divergence
from robot_stack.types import Array

_FLOOR = 1e-6


def draw_divergence(found: Sequence[Divergence], path: Path, title: str) -> Path:
    """Left: rms over joints of each recording and their median, over its length. Right: median over recordings by joint.

    Zeros are drawn at 1e-6 rad. Returns `path`, a PNG.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    share = np.linspace(0.0, 1.0, 101)
    joints = np.stack([_spread(one.joints, share) for one in found])
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5), layout="constrained")
    curves = np.maximum(np.sqrt((joints**2).mean(axis=2)), _FLOOR)
    left.semilogy(100 * share, curves.T, color="#9db2c9", linewidth=0.8)
    left.semilogy(100 * share, np.median(curves, axis=0), color="#1c4f9c", linewidth=2.2, label="median")
    left.set(xlabel="% of the recording", ylabel="rad, rms over joints", title=f"{title}: {len(found)} recordings")
    left.legend()
    left.grid(alpha=0.3)
    by_joint = np.log10(np.maximum(np.median(joints, axis=0), _FLOOR)).T
    image = right.imshow(by_joint, aspect="auto", extent=(0, 100, len(by_joint), 0), vmin=-5, vmax=-0.5, cmap="viridis")
    names = found[0].recorded.joint_names
    right.set_yticks(np.arange(len(names)) + 0.5, names, fontsize=7 if len(names) > 12 else 9)
    right.set(xlabel="% of the recording", title="median over recordings, by joint")
    figure.colorbar(image, ax=right, label="log10 rad")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def _spread(joints: Array, share: Array) -> Array:
    """`joints` (n, J), finite, at those shares of its length (m, J), linearly between samples."""
    at = np.linspace(0.0, 1.0, len(joints))
    finite = np.minimum(joints, 1e3)
    return np.stack([np.interp(share, at, finite[:, j]) for j in range(joints.shape[1])], axis=1)
