"""Train the classifier of the failure monitor: pictures in, probability that the state lies outside the V-OCBF safe set out.

Labels come from ``V(q, obstacle) < delta`` of the learned barrier (the reachability label of arXiv 2309.13475 where there is no
model). Preprocessing is inside the exported graph: uint8 (n, H, W, 3) a camera in, score (n,) in [0, 1] out.

The threshold is the highest one whose missed-failure rate on held-out failing pictures is certified <= alpha
(`conformal.certified_threshold`). The bound speaks of pictures drawn like the held-out ones. Where `groups` (episodes) are
given, whole episodes are held out; their pictures follow one another, so the bound is then optimistic and the card says how
many episodes it rests on.
"""

import hashlib
import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from robot_stack.config.schema import MonitorSettings
from robot_stack.errors import DataError, PolicyError
from robot_stack.types import Array, Image
from safety.conformal import certified_threshold, familiar_level, samples_needed
from safety.monitor import CARD, NETWORK, Classifier, Familiarity, read_card

PARITY = 1e-4
_GREY_SLACK = 25.0


@dataclass(frozen=True, slots=True)
class MonitorFigures:
    """Counted on held-out pictures. `missed` of the failing at most the threshold; its certified `bound`."""

    threshold: float
    missed: float
    bound: float
    false_alarm: float
    accuracy: float
    auc: float
    failing: int
    pictures: int
    groups: int
    parity: float


class MonitorNetwork(nn.Module):
    """One small convolutional eye a camera, one head. Pictures uint8 (n, H, W, 3) in the order of the cameras -> score (n,)."""

    def __init__(self, num_cameras: int, shape: tuple[int, int], settings: MonitorSettings) -> None:
        super().__init__()
        w = settings.train_width
        self.stride = max(1, min(shape) // settings.train_pixels)
        self.eyes = nn.ModuleList(_eye(w) for _ in range(num_cameras))
        with torch.no_grad():
            size = sum(eye(self.shrink(torch.zeros(1, *shape, 3, dtype=torch.uint8))).shape[1] for eye in self.eyes)
        self.head = nn.Sequential(nn.Linear(size, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 1))

    def shrink(self, picture: Tensor) -> Tensor:
        """uint8 (n, H, W, 3) -> float (n, 3, H / s, W / s) about [-1, 1], averaged over s x s pixels."""
        x = picture.permute(0, 3, 1, 2).float() / 127.5 - 1.0
        return functional.avg_pool2d(x, self.stride) if self.stride > 1 else x

    def logits(self, shrunk: list[Tensor]) -> Tensor:
        """(n,) of pictures already shrunk."""
        out: Tensor = self.head(torch.cat([eye(x) for eye, x in zip(self.eyes, shrunk, strict=True)], dim=1))[:, 0]
        return out

    def forward(self, pictures: list[Tensor]) -> Tensor:
        """Score (n,) in [0, 1]."""
        return torch.sigmoid(self.logits([self.shrink(p) for p in pictures]))


def _eye(w: int) -> nn.Sequential:
    """Four stride-2 convolutions; positions are kept (no global pooling): where the arm is matters."""
    layers: list[nn.Module] = []
    for a, b in ((3, w), (w, 2 * w), (2 * w, 2 * w), (2 * w, 2 * w)):
        layers += [nn.Conv2d(a, b, 3, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten())


def train_monitor(
    images: Mapping[str, Image],
    labels: NDArray[np.bool_],
    out: Path,
    settings: MonitorSettings,
    seed: int = 0,
    groups: NDArray[np.int64] | None = None,
) -> Path:
    """Train on `images[camera]` uint8 (n, H, W, 3), all of one size, with `labels` (n,) True = failure; write network and card
    into the folder `out`. `groups` (n,): the episode of each picture; they are held out whole. Raises DataError when too few
    failing pictures are there to certify a threshold, PolicyError when the exported graph disagrees with PyTorch."""
    labels = np.asarray(labels, dtype=bool)
    shape = _check(images, labels)
    held = _held_out(len(labels), groups, settings.train_holdout, seed)
    _check_counts(labels, held, settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = MonitorNetwork(len(images), shape, settings)
        shrunk = [_shrink(network, pictures) for pictures in images.values()]
        _fit(network, [s[~held] for s in shrunk], torch.as_tensor(labels[~held]), settings)
    network.eval()
    scores = _scores(network, [s[held] for s in shrunk])
    out.mkdir(parents=True, exist_ok=True)
    export_network(network, list(images), shape, out / NETWORK)
    num_groups = len(np.unique(groups[held])) if groups is not None else int(held.sum())
    figures = _figures(scores, labels[held], num_groups, settings)
    _write_card(out, images, figures, settings)
    parity = _parity(out, images, np.flatnonzero(held)[:32], scores[:32])
    _write_card(out, images, MonitorFigures(**(asdict(figures) | {"parity": parity})), settings)
    return out


def calibrate_counts(folder: Path, runs: Sequence[Array], chunks: int = 15, alpha: float = 0.02) -> Familiarity:
    """Write into the card in `folder` the level below which `chunks` counts in a row are an alarm, in a share of runs <= alpha.

    `runs`: the counts (n,) of the chunks chosen in each held-out nominal episode that succeeded, in order: the share is of such
    ones. They, and so the level, belong to one bundle and its number of candidates.

    Raises DataError on too few runs, PolicyError when `folder` holds no monitor.
    """
    card = read_card(folder)
    familiarity = Familiarity(familiar_level(runs, chunks, alpha), chunks)
    card["familiarity"] = asdict(familiarity) | {"alpha": alpha, "runs": len(runs)}
    (folder / CARD).write_text(json.dumps(card, indent=2) + "\n")
    return familiarity


def _check(images: Mapping[str, Image], labels: NDArray[np.bool_]) -> tuple[int, int]:
    shapes = {name: pictures.shape for name, pictures in images.items()}
    first = next(iter(shapes.values()), (0,))
    if len(set(shapes.values())) != 1 or len(first) != 4 or first[0] != len(labels) or first[3] != 3:
        raise DataError(
            f"train_monitor: found pictures {shapes} and {len(labels)} labels; allowed (n, H, W, 3) of one size, n labels"
        )
    return first[1], first[2]


def _check_counts(labels: NDArray[np.bool_], held: NDArray[np.bool_], settings: MonitorSettings) -> None:
    needed, failing = samples_needed(settings.alpha, settings.confidence), int(labels[held].sum())
    if failing < needed or labels[~held].all() or not labels[~held].any() or labels[held].all():
        raise DataError(
            f"train_monitor: {failing} of {held.sum()} held-out and {labels[~held].sum()} of {(~held).sum()} training pictures "
            f"show failure; allowed both kinds in each, and at least {needed} failing held out for alpha {settings.alpha:g}"
        )


def _held_out(count: int, groups: NDArray[np.int64] | None, share: float, seed: int) -> NDArray[np.bool_]:
    """Rows (n,) kept for calibration: whole groups, or single pictures where no groups are given."""
    groups = np.arange(count) if groups is None else groups
    names = np.unique(groups)
    chosen = np.random.default_rng(seed).choice(names, max(1, round(share * len(names))), replace=False)
    return np.isin(groups, chosen)


def _shrink(network: MonitorNetwork, pictures: Image) -> Tensor:
    parts = [network.shrink(torch.as_tensor(np.ascontiguousarray(pictures[i : i + 256]))) for i in range(0, len(pictures), 256)]
    return torch.cat(parts)


def _fit(network: MonitorNetwork, shrunk: list[Tensor], labels: Tensor, settings: MonitorSettings) -> None:
    """Adam + OneCycle on cross-entropy, both kinds drawn equally often, brightness varied by a tenth."""
    kinds = [torch.nonzero(labels == kind)[:, 0] for kind in (False, True)]
    half = settings.train_batch // 2
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.train_lr, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.train_lr, total_steps=settings.train_steps)
    target = torch.cat([torch.zeros(half), torch.ones(half)])
    for _ in range(settings.train_steps):
        rows = torch.cat([kind[torch.randint(0, len(kind), (half,))] for kind in kinds])
        light = 1.0 + 0.1 * torch.randn(2 * half, 1, 1, 1)
        logits = network.logits([(s[rows] + 1.0) * light - 1.0 for s in shrunk])
        loss = functional.binary_cross_entropy_with_logits(logits, target)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()


def _scores(network: MonitorNetwork, shrunk: list[Tensor]) -> Array:
    with torch.inference_mode():
        parts = [torch.sigmoid(network.logits([s[i : i + 256] for s in shrunk])) for i in range(0, len(shrunk[0]), 256)]
    return torch.cat(parts).double().numpy()


def export_network(network: MonitorNetwork, cameras: list[str], shape: tuple[int, int], path: Path) -> None:
    """ONNX with one uint8 input a camera, named after it, and the output `score`; the number of pictures is dynamic."""
    example = [torch.zeros(2, *shape, 3, dtype=torch.uint8) for _ in cameras]
    batch = torch.export.Dim("pictures", min=1, max=4096)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (example,),
            str(path),
            input_names=cameras,
            output_names=["score"],
            opset_version=20,
            dynamo=True,
            dynamic_shapes=([{0: batch}] * len(cameras),),
            external_data=False,
            verbose=False,
        )


def area_under_curve(scores: Array, labels: NDArray[np.bool_]) -> float:
    """Area under the ROC curve: the probability that a failing picture scores above a harmless one, ties half (Mann-Whitney)."""
    order = np.sort(scores[~labels])
    below, upto = np.searchsorted(order, scores[labels], "left"), np.searchsorted(order, scores[labels], "right")
    return float(np.mean((below + upto) / 2) / len(order))


def _figures(scores: Array, labels: NDArray[np.bool_], groups: int, settings: MonitorSettings) -> MonitorFigures:
    threshold, bound = certified_threshold(scores[labels], settings.alpha, settings.confidence)
    return MonitorFigures(
        threshold=threshold,
        missed=float(np.mean(scores[labels] <= threshold)),
        bound=bound,
        false_alarm=float(np.mean(scores[~labels] > threshold)),
        accuracy=float(np.mean((scores > 0.5) == labels)),
        auc=area_under_curve(scores, labels),
        failing=int(labels.sum()),
        pictures=len(labels),
        groups=groups,
        parity=0.0,
    )


def _write_card(out: Path, images: Mapping[str, Image], figures: MonitorFigures, settings: MonitorSettings) -> None:
    """The JSON beside the network. `grey`: mean grey levels seen in training, with slack; outside is unfamiliar light."""
    grey = {}
    for name, pictures in images.items():
        level = np.array([p.mean() for p in pictures[:: max(1, len(pictures) // 500)]])
        grey[name] = (max(0.0, float(level.min()) - _GREY_SLACK), min(255.0, float(level.max()) + _GREY_SLACK))
    card = {
        "cameras": list(images),
        "shape": list(next(iter(images.values())).shape[1:]),
        "threshold": figures.threshold,
        "grey": grey,
        "sha256": hashlib.sha256((out / NETWORK).read_bytes()).hexdigest(),
        "alpha": settings.alpha,
        "confidence": settings.confidence,
        "figures": asdict(figures),
    }
    (out / CARD).write_text(json.dumps(card, indent=2) + "\n")


def _parity(out: Path, images: Mapping[str, Image], rows: NDArray[np.int64], scores: Array) -> float:
    """Largest difference between the exported graph, as the monitor runs it, and PyTorch. Raises PolicyError above PARITY."""
    classifier = Classifier(out)
    found = np.array([classifier.score({name: pictures[i] for name, pictures in images.items()}) for i in rows])
    worst = float(np.abs(found - scores).max())
    if not worst <= PARITY:
        raise PolicyError(
            f"train_monitor: ONNX and PyTorch differ by {worst:.1e}, allowed {PARITY:g}; no monitor is usable from {out}"
        )
    return worst
