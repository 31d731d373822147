"""How far an exported graph is from PyTorch, on observations that were really recorded."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn

from policies.instruction import byte_tokens
from policies.recorded import velocities
from robot_stack.data.episode import Episode
from robot_stack.errors import PolicyError

TOLERANCE_RAD = 1e-3


def measure_parity(
    decision: nn.Module, model: Path, episodes: Sequence[Episode], observations: int = 24, candidates: int = 8
) -> dict[str, float]:
    """Over `observations` evenly spread samples: largest difference of any candidate (rad), of a feature, of a count (relative).

    `same_winner` is the share of samples where both chose the same candidate. Raises PolicyError without an episode.
    """
    if not episodes:
        raise PolicyError("parity: found no recorded episode, allowed at least 1; parity is measured on real observations")
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    inputs = {i.name: i.shape for i in session.get_inputs()}
    noise = np.random.default_rng(0).standard_normal((candidates, *inputs["noise"][1:])).astype(np.float32)
    spots = [(e, i) for e in episodes for i in range(len(e))]
    rows = []
    for n, k in enumerate(np.linspace(0, len(spots) - 1, min(observations, len(spots))).astype(int)):
        episode, i = spots[k]
        feed = _feed(episode, i, inputs) | {"noise": noise} | _plan(episode, i, n, inputs["plan"][0])
        rows.append(_differences(decision, session, feed))
    worst = np.max(np.array(rows)[:, :3], axis=0)
    return {
        "max_abs_rad": float(worst[0]),
        "max_abs_feature": float(worst[1]),
        "max_rel_count": float(worst[2]),
        "same_winner": float(np.mean([row[3] for row in rows])),
        "observations": float(len(rows)),
    }


def _feed(episode: Episode, index: int, inputs: Mapping[str, Sequence[int]]) -> dict[str, np.ndarray]:
    feed = {f"image_{name}": np.ascontiguousarray(images[index]) for name, images in episode.images.items()}
    feed["joints"] = episode.q[index].astype(np.float32)
    if "speeds" in inputs:
        feed["speeds"] = velocities(episode)[index].astype(np.float32)
    if "tokens" in inputs:
        feed["tokens"] = byte_tokens(episode.instruction, inputs["tokens"][0])
    return feed


def _plan(episode: Episode, index: int, number: int, rows: int) -> dict[str, np.ndarray]:
    """What was commanded next as the plan, with 0, 1, 2, ... of its rows given, in turn."""
    ahead = np.minimum(np.arange(index, index + rows), len(episode) - 1)
    given = np.array([number % (rows // 2 + 1)], dtype=np.int64)
    return {"plan": episode.action[ahead].astype(np.float32), "given": given}


@torch.inference_mode()
def _differences(
    decision: nn.Module,
    session: onnxruntime.InferenceSession,
    feed: dict[str, np.ndarray],
) -> tuple[float, float, float, bool]:
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in feed.items()}
    pictures = [tensors[i.name] for i in session.get_inputs() if i.name.startswith("image_")]
    numbers = [tensors.get(name) for name in ("joints", "speeds", "tokens", "plan", "given", "noise")]
    expected = decision(pictures, *numbers)
    _, winner, counts, features, actions = (t.numpy() for t in expected)
    found = session.run(["winner", "counts", "features", "candidates"], feed)
    relative = np.abs(found[1] - counts) / np.maximum(np.abs(counts), 1e-6)
    return (
        float(np.abs(found[3] - actions).max()),
        float(np.abs(found[2] - features).max()),
        float(relative.max()),
        int(found[0]) == int(winner),
    )
