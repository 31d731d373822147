"""A network of another library as a bundle: one graph with our inputs and outputs, compared with the library itself.

An adapter (`robomimic_policy`, `lerobot_policy`) gives the network, built and filled by the library's own code, as a module over
raw pictures and joints, and `original`: what the library answers to a recorded observation. A bundle holds no state between
decisions, so a policy that remembers begins anew at each of them; how each adapter does that is said there. TACO selects, by the
features the adapter names (`familiar_features`). There is no plan to go on from; `run.seams=averaged` joins the chunks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from policies.bundle import MODEL, VERSION, Manifest, sha256_of, write_manifest
from policies.engines.onnx_runtime import OnnxRuntimeEngine
from policies.export import OPSET, chosen, counted, new_bundle, write_graph
from policies.parity import TOLERANCES_RAD, recorded_inputs
from policies.precision import set_precision
from policies.recorded import chunks, data_hash, observation_at, spread
from robot_stack.data.episode import Episode
from robot_stack.errors import PolicyError
from robot_stack.types import Array, Observation

Floats = NDArray[np.float32]
Cameras = tuple[tuple[str, tuple[int, int]], ...]
OBSERVATIONS, COMPARED = 12, 3
"""On so many observations a graph is compared with the original; of so many candidates."""
CANDIDATES, SEARCHED = 16, 32
"""A selector chooses among so many candidates (of a policy that draws none, one); its features are searched among so many."""


@dataclass(frozen=True, eq=False)
class Foreign:
    """`network(pictures, joints, speeds, noise)` -> candidates (N, T, J), features (N, F); pictures uint8 (H, W, 3) as `cameras`
    has them, joints and speeds (J,), noise (N, T, J). `original(observation, noise)`: the candidates by the library itself.

    `steps`: of denoising; `velocity`: speeds are used; `figures` are kept in the manifest. `tidy` is called once the graph is
    written, for what torch.export leaves behind in the library.
    """

    name: str
    network: nn.Module
    original: Callable[[Observation, Floats], Floats]
    cameras: Cameras
    rows: int
    rate_hz: float
    steps: int = 0
    velocity: bool = False
    figures: Mapping[str, float] = field(default_factory=dict)
    tidy: Callable[[], None] = lambda: None


class ForeignDecision(nn.Module):
    """The exported graph, as `policies.export.Decision`, without a plan. Without a selector candidate 0 wins: nobody counts."""

    def __init__(self, found: Foreign, joints: int, selector: nn.Module | None = None) -> None:
        super().__init__()
        self.network, self.cameras, self.rows, self.selector = found.network, found.cameras, found.rows, selector
        self.velocity, self.joints = found.velocity, joints

    def example(self, candidates: int = 3) -> dict[str, Tensor]:
        """Every input by its name."""
        feed = {f"image_{name}": torch.zeros(*size, 3, dtype=torch.uint8) for name, size in self.cameras}
        feed |= {name: torch.zeros(self.joints) for name in ("joints", "speeds")[: 1 + self.velocity]}
        return feed | {"noise": torch.randn(candidates, self.rows, self.joints)}

    def forward(self, feed: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """Chunk, winner, counts, features, candidates."""
        pictures = [feed[f"image_{name}"] for name, _ in self.cameras]
        speeds = feed["speeds"] if self.velocity else feed["joints"]
        candidates, features = self.network(pictures, feed["joints"], speeds, feed["noise"])
        return chosen(candidates, counted(self.selector, features), features)


@torch.no_grad()
def familiar_features(found: Foreign, episodes: Sequence[Episode], samples: int, seed: int = 42) -> tuple[Array, bool]:
    """TACO's search (see `policies.features`) at up to `samples` recorded samples, spread evenly: features (M, F), float32, of
    the drawn chunk nearest to the demonstrated one, joints in standard deviations; and whether it draws more than one chunk."""
    decision = ForeignDecision(found, len(episodes[0].joint_names)).eval()
    scale = np.concatenate([e.action for e in episodes]).std(0).clip(1e-3)
    noise = torch.randn(SEARCHED, found.rows, len(scale), generator=torch.Generator().manual_seed(seed))
    kept, draws = [], False
    for episode, i in tqdm(spread(episodes, samples), desc="features", unit="frame"):
        feed = {name: torch.tensor(value) for name, value in _inputs(found, observation_at(episode, i)).items()}
        features, candidates = (value.numpy() for value in decision(feed | {"noise": noise})[3:])
        draws = draws or bool(np.ptp(candidates, axis=0).max() > 1e-6)
        wanted = chunks(episode, found.rows, found.rate_hz, [i])
        kept.append(features[np.square((candidates - wanted) / scale).sum((1, 2)).argmin()])
    return np.stack(kept), draws


def _inputs(found: Foreign, seen: Observation) -> dict[str, NDArray[np.generic]]:
    """What the graph is fed, but for the noise."""
    feed: dict[str, NDArray[np.generic]] = {f"image_{name}": seen.frames[name].rgb for name, _ in found.cameras}
    speeds = {"speeds": seen.joints.qd.astype(np.float32)} if found.velocity else {}
    return feed | {"joints": seen.joints.q.astype(np.float32)} | speeds


def export_foreign(
    found: Foreign,
    episodes: Sequence[Episode],
    out: Path,
    tolerance: float = 0.0,
    precision: str = "fp32",
    selector: nn.Module | None = None,
    candidates: int = 1,
) -> Path:
    """The bundle of `found` in the new or empty folder `out`, or in place of an old bundle; `precision` as in `export_bundle`.

    `selector` maps features (N, F) to pseudo-counts (N,); of so many `candidates`, unless run otherwise, the largest wins.
    Raises PolicyError, leaving `out` as it was, where the graph differs from the library by more than `tolerance` on `episodes`.
    """
    decision = ForeignDecision(found, len(episodes[0].joint_names), selector).eval()
    with new_bundle(out) as part:
        with torch.no_grad():
            write_graph(cast(Any, decision), part / MODEL)
            features = int(decision(decision.example())[3].shape[1])
            example = {name: value.numpy() for name, value in decision.example().items()}
        found.tidy()
        measured = set_precision(part / MODEL, precision, (feed for _, feed in recorded_inputs(episodes, example, 64)))
        parity = compared(found, episodes, OnnxRuntimeEngine(measured, precision=precision))
        _check(found, parity, tolerance or TOLERANCES_RAD[precision])
        if measured != part / MODEL:
            measured.unlink()
        manifest = _manifest(found, episodes, features, parity, {MODEL: sha256_of(part / MODEL)})
        chooses = "" if selector is None else "taco"
        write_manifest(part, replace(manifest, precision=precision, selector=chooses, candidates=candidates))
    return out


def _check(found: Foreign, parity: Mapping[str, float], tolerance: float) -> None:
    if not parity["max_abs_rad"] <= tolerance:
        raise PolicyError(
            f"parity: found {parity['max_abs_rad']:.2e} between the graph and {found.name} itself over "
            f"{parity['observations']:.0f} observations, allowed {tolerance:.0e}; no bundle was written; was it trained on "
            "this dataset?"
        )


def compared(found: Foreign, episodes: Sequence[Episode], engine: OnnxRuntimeEngine) -> dict[str, float]:
    """The graph in `engine` against the library, on evenly spread observations of `episodes`. Raises PolicyError without one."""
    if not (spots := spread(episodes, OBSERVATIONS)):
        raise PolicyError("parity: found no recorded episode, allowed at least 1; parity is measured on real observations")
    noise = np.random.default_rng(0).standard_normal((COMPARED, found.rows, len(episodes[0].joint_names))).astype(np.float32)
    worst = 0.0
    for episode, i in spots:
        seen = observation_at(episode, i)
        drawn = engine.run(["candidates"], _inputs(found, seen) | {"noise": noise})[0]
        difference = np.asarray(drawn, np.float64) - found.original(seen, noise)
        worst = float(np.maximum(worst, np.abs(difference).max()))  # keeps NaN
    return {"max_abs_rad": worst, "observations": float(len(spots))}


def _manifest(
    found: Foreign, episodes: Sequence[Episode], features: int, parity: dict[str, float], files: dict[str, str]
) -> Manifest:
    q = np.concatenate([episode.q for episode in episodes])
    return Manifest(
        version=VERSION,
        name=found.name,
        joint_names=episodes[0].joint_names,
        unit="rad (m for a prismatic joint), as in the dataset",
        cameras=found.cameras,
        instruction=episodes[0].instruction,
        rows=found.rows,
        dt_ns=round(1e9 / found.rate_hz),
        rate_hz=found.rate_hz,
        candidates=1,
        features=features,
        denoising_steps=found.steps,
        velocity=found.velocity,
        selector="",
        data_sha256=data_hash(episodes),
        train_frames=len(q),
        opset=OPSET,
        statistics={"joint_mean": q.mean(0).tolist(), "joint_std": q.std(0).tolist()},
        figures=dict(found.figures),
        parity=parity,
        files=files,
    )


def order(trained: Sequence[str], robot: Sequence[str]) -> tuple[list[int], list[int]]:
    """Where each trained joint is in the order of the robot, and the way back. Raises PolicyError on other joints."""
    if sorted(trained) != sorted(robot):
        raise PolicyError(f"joints: found {list(trained)} in the checkpoint, allowed those of the dataset, {list(robot)}")
    return [list(robot).index(name) for name in trained], [list(trained).index(name) for name in robot]
