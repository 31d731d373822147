"""How far a policy's chunks are from what the demonstrator did, on episodes it never saw, next to predictors it has to beat.

The error is the mean of |predicted - recorded| (rad) over rows, joints and every sample whose chunk ends inside the episode.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tqdm import tqdm

from policies.onnx_policy import OnnxPolicy
from policies.recorded import observation_at, whole_chunks
from robot_stack.data.episode import Episode
from robot_stack.errors import DataError
from robot_stack.replay.baselines import Predict, Window, hold_command, hold_pose, mean_trajectory, ridge
from robot_stack.types import Array


@dataclass(frozen=True)
class ChunkError:
    """One line of the table: `error` (rad) of `method` over chunks of `rows`, a mean over `samples` chunks."""

    method: str
    rows: int
    error: float
    samples: int
    learned: bool


@dataclass(frozen=True)
class ChunkErrors:
    """The table, and what it was measured on."""

    lines: tuple[ChunkError, ...]
    trained_on: tuple[str, ...]
    tested_on: tuple[str, ...]

    def of(self, method: str, rows: int) -> float:
        """The error (rad) of `method` at `rows`. Raises KeyError when it isn't in the table."""
        return {(line.method, line.rows): line.error for line in self.lines}[method, rows]

    def text(self) -> str:
        """The table for a terminal, the smallest error first."""
        head = f"{'mean absolute chunk error (rad)':<52}{'rows':>6}{'error':>9}{'chunks':>8}"
        ordered = sorted(self.lines, key=lambda line: (line.rows, line.error))
        body = [f"{'* ' if x.learned else '  '}{x.method:<50}{x.rows:>6}{x.error:>9.4f}{x.samples:>8}" for x in ordered]
        return "\n".join([head, *body])


def chunk_errors(
    policy: OnnxPolicy, train: Sequence[Episode], test: Sequence[Episode], rows: Sequence[int] = (32, 64), stride: int = 1
) -> ChunkErrors:
    """The policy and the baselines on every `stride`-th sample of `test`; baselines are fitted on `train`.

    `rows` longer than the policy's chunk are left out. Raises DataError when no test episode is as long as a chunk.
    """
    most, rate_hz = policy.manifest.rows, policy.manifest.rate_hz
    wanted = [r for r in rows if r <= most] or [most]
    window = Window(max(wanted), rate_hz)
    recorded = [window.of(e) for e in test]
    predicted = [_sampled(policy, e, stride)[:, :, : window.rows] for e in tqdm(test, desc="policy", unit="episode", leave=False)]
    lines = []
    for r in wanted:
        counts = [len(range(0, whole_chunks(e, r, rate_hz), stride)) for e in test]
        if not sum(counts):
            raise DataError(
                f"test episodes: the longest has {max(map(len, test))} samples, allowed at least {r} rows at {rate_hz} Hz"
            )
        truth = [t[::stride][:n, :r] for t, n in zip(recorded, counts, strict=True)]
        for method, chunks in _policy_methods(predicted).items():
            lines.append(_line(method, r, chunks, truth, learned=True))
        for method, predict in _baselines(train, window).items():
            lines.append(_line(method, r, [predict(e)[::stride] for e in test], truth, learned=False))
    return ChunkErrors(tuple(lines), tuple(e.name for e in train), tuple(e.name for e in test))


def _sampled(policy: OnnxPolicy, episode: Episode, stride: int) -> Array:
    """Candidates (n, N, T, J) at every `stride`-th sample."""
    return np.stack([policy.sample(observation_at(episode, i)).actions for i in range(0, len(episode), stride)])


def _policy_methods(predicted: Sequence[Array]) -> dict[str, list[Array]]:
    number = predicted[0].shape[1]
    means = [p.mean(axis=1) for p in predicted]
    return {"policy, one sample": [p[:, 0] for p in predicted], f"policy, mean of {number}": means}


def _baselines(train: Sequence[Episode], window: Window) -> dict[str, Predict]:
    return {
        "hold the last pose": hold_pose(window),
        "ridge on joints, penalty 10": ridge(train, window, speeds=False, penalty=10.0),
        "ridge on joints, best penalty": ridge(train, window, speeds=False, penalty=None),
        "ridge on joints and speeds, best penalty": ridge(train, window, speeds=True, penalty=None),
        "mean trajectory": mean_trajectory(train, window),
        "hold the present command (no policy sees it)": hold_command(window),
    }


def _line(method: str, rows: int, predicted: Sequence[Array], truth: Sequence[Array], learned: bool) -> ChunkError:
    errors = [np.abs(p[: len(t), :rows] - t).mean(axis=(1, 2)) for p, t in zip(predicted, truth, strict=True)]
    every = np.concatenate(errors)
    return ChunkError(method, rows, float(every.mean()), len(every), learned)


def draw_chunks(policy: OnnxPolicy, episode: Episode, file: Path, pictures: int = 5, joints: int = 4) -> Path:
    """A PNG: frames of the first camera, and under them the recorded commands with the chunks predicted at those moments."""
    at = np.linspace(0, max(0, len(episode) - policy.manifest.rows), pictures).astype(int)
    moving = np.argsort(-episode.action.std(axis=0))[:joints]
    camera = policy.cameras[0]
    figure = Figure(figsize=(3.0 * pictures, 2.4 + 1.7 * len(moving)), layout="constrained")
    grid = figure.add_gridspec(1 + len(moving), pictures, height_ratios=[1.5, *[1.0] * len(moving)])
    for column, i in enumerate(at):
        axes = figure.add_subplot(grid[0, column])
        axes.imshow(episode.images[camera][i])
        axes.set_title(f"{i / episode.rate_hz:.1f} s")
        axes.set_axis_off()
    sampled = [policy.sample(observation_at(episode, int(i))).actions for i in at]
    for row, joint in enumerate(moving):
        _draw_joint(figure.add_subplot(grid[1 + row, :]), policy, episode, int(joint), at, sampled)
    figure.suptitle(f"{episode.name}: recorded commands (black), {len(sampled[0])} predicted chunks and their mean (colour)")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=90)
    return file


def _draw_joint(
    axes: Axes,
    policy: OnnxPolicy,
    episode: Episode,
    joint: int,
    at: np.ndarray[tuple[int], np.dtype[np.int64]],
    sampled: list[Array],
) -> None:
    axes.plot(np.arange(len(episode)) / episode.rate_hz, episode.action[:, joint], color="black", linewidth=1.5)
    ahead = np.arange(policy.manifest.rows) / policy.manifest.rate_hz
    for number, (i, actions) in enumerate(zip(at, sampled, strict=True)):
        time, colour = i / episode.rate_hz + ahead, f"C{number}"
        axes.plot(time, actions[:, :, joint].T, color=colour, alpha=0.25, linewidth=0.7)
        axes.plot(time, actions[:, :, joint].mean(axis=0), color=colour, linewidth=2.0)
        axes.axvline(time[0], color=colour, linestyle=":", linewidth=0.8)
    axes.set_ylabel(f"{episode.joint_names[joint]}\n(rad)", fontsize=8)
    axes.set_xlim(0.0, (len(episode) - 1) / episode.rate_hz)
    axes.margins(x=0)
