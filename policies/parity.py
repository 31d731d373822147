"""How far one engine is from another, on observations that were really recorded: an exported graph from PyTorch above all."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from policies.engine import Engine, Value
from policies.instruction import byte_tokens
from policies.recorded import spread, velocities
from robot_stack.data.episode import Episode
from robot_stack.errors import PolicyError
from robot_stack.types import Array

TOLERANCES_RAD = {"fp32": 1e-3, "fp16": 5e-3, "bf16": 2e-2, "int8": 5e-2, "fp8": 5e-2}
"""The largest difference of any row of any candidate that export lets pass, by precision."""
COSINE = 0.999
"""And the least cosine between the chunks, relative to the joints, of one observation."""
COMPARED = ("winner", "counts", "features", "candidates")


@dataclass(frozen=True)
class Parity:
    """`figures` go into the manifest: the largest differences of a candidate (rad), of a feature, of a count (relative), the
    least cosine, the share of observations with the same winner. `where` says in words where the first is found."""

    figures: dict[str, float]
    where: str

    def check(self, tolerance: float) -> None:
        """Raises PolicyError beyond `tolerance` (rad) or below COSINE."""
        found, cosine = self.figures["max_abs_rad"], self.figures["min_cosine"]
        if not (found <= tolerance and cosine >= COSINE):
            raise PolicyError(
                f"parity: found {found:.2e} rad, cosine {cosine:.5f} over {self.figures['observations']:.0f} observations, "
                f"allowed at most {tolerance:.0e} rad, at least {COSINE}; the worst: {self.where}; no bundle was written; "
                "next: another precision, or with fp32: train again"
            )


def recorded_inputs(
    episodes: Sequence[Episode], example: Mapping[str, Value], observations: int = 24, candidates: int = 8
) -> Iterator[tuple[str, dict[str, Value]]]:
    """`observations` evenly spread samples of `episodes`: a name, and the graph's inputs. `example`: one of each it has.

    Raises PolicyError without an episode.
    """
    if not episodes:
        raise PolicyError("parity: found no recorded episode, allowed at least 1; parity is measured on real observations")
    noise = np.random.default_rng(0).standard_normal((candidates, *example["noise"].shape[1:])).astype(np.float32)
    for number, (episode, i) in enumerate(spread(episodes, observations)):
        seen = _seen(episode, i, number, example) | {"noise": noise}
        yield f"sample {i} of {episode.name}", {name: seen.get(name, value) for name, value in example.items()}


def _seen(episode: Episode, index: int, number: int, example: Mapping[str, Value]) -> dict[str, Value]:
    """What was recorded; as the plan, where there is one, what was commanded next, with 0, 1, 2, ... rows given, in turn."""
    seen: dict[str, Value] = {f"image_{name}": np.ascontiguousarray(images[index]) for name, images in episode.images.items()}
    seen["joints"] = episode.q[index].astype(np.float32)
    seen["speeds"] = velocities(episode)[index].astype(np.float32)
    if "tokens" in example:
        seen["tokens"] = byte_tokens(episode.instruction, len(example["tokens"]))
    if "plan" not in example:
        return seen
    rows = len(example["plan"])
    ahead = np.minimum(np.arange(index, index + rows), len(episode) - 1)
    return seen | {"plan": episode.action[ahead].astype(np.float32), "given": np.array([number % (rows // 2 + 1)])}


def measure_parity(
    reference: Engine, found: Engine, episodes: Sequence[Episode], example: Mapping[str, Value], observations: int = 24
) -> Parity:
    """`found` against `reference` on recorded observations. Raises PolicyError without an episode."""
    seen = list(recorded_inputs(episodes, example, observations))
    values = np.array([_figures(*_answers(reference, found, feed), feed["joints"].astype(np.float64)) for _, feed in seen])
    name, feed = seen[int(np.argmax(np.nan_to_num(values[:, 0], nan=np.inf)))]
    where = f"{name}, {_place(reference, found, feed, episodes[0].joint_names)}"
    return Parity(
        {
            "max_abs_rad": float(values[:, 0].max()),
            "min_cosine": float(values[:, 1].min()),
            "max_abs_feature": float(values[:, 2].max()),
            "max_rel_count": float(values[:, 3].max()),
            "same_winner": float(values[:, 4].mean()),
            "observations": float(len(values)),
        },
        where,
    )


def _figures(expected: Sequence[Array], found: Sequence[Array], joints: Array) -> tuple[float, ...]:
    (winner, counts, features, actions), (its, their_counts, their_features, theirs) = expected, found
    return (
        float(np.abs(theirs - actions).max()),
        _cosine((actions - joints).ravel(), (theirs - joints).ravel()),
        float(np.abs(their_features - features).max()),
        float((np.abs(their_counts - counts) / np.maximum(np.abs(counts), 1e-6)).max()),
        float(int(winner) == int(its)),
    )


def _cosine(a: Array, b: Array) -> float:
    """1 where neither moves at all."""
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / length if length else float(not a.any() and not b.any())


def _answers(reference: Engine, found: Engine, feed: Mapping[str, Value]) -> tuple[list[Array], list[Array]]:
    expected, answer = ([a.astype(np.float64) for a in engine.run(COMPARED, feed)] for engine in (reference, found))
    return expected, answer


def _place(reference: Engine, found: Engine, feed: Mapping[str, Value], joint_names: Sequence[str]) -> str:
    """Joint, row and candidate of the largest difference, and the camera, if any, without whose picture it is smallest."""

    def apart(feed: Mapping[str, Value]) -> Array:
        expected, answer = _answers(reference, found, feed)
        difference: Array = np.nan_to_num(np.abs(answer[3] - expected[3]), nan=np.inf)
        return difference

    difference = apart(feed)
    candidate, row, joint = (int(i) for i in np.unravel_index(int(difference.argmax()), difference.shape))
    grey = {name: apart({**feed, name: np.full_like(feed[name], 128)}).max() for name in feed if name.startswith("image_")}
    where = f"joint {joint_names[joint]}, row {row}, candidate {candidate}"
    if not grey:
        return where
    camera = min(grey, key=lambda name: float(grey[name]))
    return f"{where}; without the picture of {camera.removeprefix('image_')} it would be {grey[camera]:.1e} rad"
