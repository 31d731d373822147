"""From tubes to a monitor: failures mined as pictures, a classifier of them, its conformal threshold, and what it is worth.

A picture fails when its state lies in the tube of the vision controller under the condition it was taken in. Four scores are
compared on the same pictures, each with a threshold calibrated in the same way:

* `monitor`: the classifier trained on tube labels (`safety.monitor_training`, the one of the arm);
* `error labels`: the same network trained on "the steering error is large", as often true as a failure (a baseline of the paper);
* `true error`: the steering error itself, which no robot knows;
* `ensemble`: how much controllers that differ in their seed disagree (a baseline of the paper).

The threshold is calibrated on one failing picture of each of many independent conditions, so that its bound is exact for a
failing picture of a new condition drawn alike; pictures of one condition are not independent of each other.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.taxi.tubes import Sample
from drivers import taxi
from robot_stack.config.schema import MonitorSettings
from robot_stack.types import Array, Image
from safety.conformal import certified_threshold, clopper_pearson_upper
from safety.monitor import Classifier
from safety.monitor_training import area_under_curve, train_monitor

ALPHA, CONFIDENCE = 0.05, 0.95
CAMERA = taxi.CAMERA
Mask = NDArray[np.bool_]


def steering_error(s: Sample) -> Array:
    """|phi of the estimate - phi of the truth| (K,) rad."""
    return np.abs(taxi.steering(s.estimates[0]) - taxi.steering(s.states))


def disagreement(s: Sample) -> Array:
    """Standard deviation (K,) rad of the steering angles of the ensemble."""
    return np.asarray(np.std([taxi.steering(e) for e in s.estimates], axis=0))


def joined(parts: Sequence[Sample], name: str) -> Any:
    """Field `name` of all samples, one after another."""
    return np.concatenate([getattr(s, name) for s in parts])


def train_classifier(parts: Sequence[Sample], labels: Mask, out: Path, steps: int) -> Path:
    """The arm's monitor network on the pictures of `parts`; whole conditions are held out for its own card."""
    pixels = min(parts[0].pictures.shape[1:3])
    settings = MonitorSettings(train_pixels=pixels, train_steps=steps, alpha=ALPHA, confidence=CONFIDENCE)
    groups = np.repeat(np.arange(len(parts)), [len(s.states) for s in parts])
    return train_monitor({CAMERA: joined(parts, "pictures")}, labels, out, settings, groups=groups)


def train_both(parts: Sequence[Sample], out: Path, steps: int) -> dict[str, Path]:
    """Classifiers of tube labels and of error labels, the latter as often true as the former."""
    failing, error = joined(parts, "failing"), np.concatenate([steering_error(s) for s in parts])
    large = error > np.quantile(error, 1.0 - failing.mean())
    return {
        "monitor": train_classifier(parts, failing, out / "monitor", steps),
        "error labels": train_classifier(parts, large, out / "error", steps),
    }


def score(classifier: Classifier, pictures: Image) -> Array:
    """Probability of failure (n,), picture by picture as the monitor node does."""
    return np.array([classifier.score({CAMERA: picture}) for picture in pictures])


def scores(parts: Sequence[Sample], folders: Mapping[str, Path]) -> list[dict[str, Array]]:
    """Every score at the pictures of each condition."""
    learnt = {name: Classifier(folder) for name, folder in folders.items()}
    return [
        {name: score(classifier, s.pictures) for name, classifier in learnt.items()}
        | {"true error": steering_error(s), "ensemble": disagreement(s)}
        for s in parts
    ]


def one_failing_each(parts: Sequence[Sample], found: Sequence[Mapping[str, Array]], name: str, seed: int) -> Array:
    """The score of one random failing picture of every condition that has any: independent draws."""
    rng = np.random.default_rng(seed)
    return np.array(
        [f[name][rng.choice(np.flatnonzero(s.failing))] for s, f in zip(parts, found, strict=True) if s.failing.any()]
    )


def calibrate(parts: Sequence[Sample], found: Sequence[Mapping[str, Array]]) -> dict[str, tuple[float, float]]:
    """(threshold, certified bound of the missed-failure rate) of every score."""
    return {name: certified_threshold(one_failing_each(parts, found, name, 0), ALPHA, CONFIDENCE) for name in found[0]}


def verify(parts: Sequence[Sample], found: Sequence[Mapping[str, Array]], name: str, threshold: float) -> dict[str, float]:
    """What a threshold does on conditions it has not seen. `missed` of one failing picture a condition, with the upper end of its
    95 % interval; `missed_all` of all failing pictures; `false_alarm` of the safe ones; AUC of all."""
    one = one_failing_each(parts, found, name, 1)
    values, failing = np.concatenate([f[name] for f in found]), joined(parts, "failing")
    missed = int(np.sum(one <= threshold))
    return {
        "missed": missed / len(one),
        "missed_upper": clopper_pearson_upper(missed, len(one), CONFIDENCE),
        "missed_all": float(np.mean(values[failing] <= threshold)),
        "false_alarm": float(np.mean(values[~failing] > threshold)),
        "auc": area_under_curve(values, failing),
        "conditions": len(one),
        "failing_pictures": int(failing.sum()),
        "pictures": len(failing),
    }


def roc(parts: Sequence[Sample], found: Sequence[Mapping[str, Array]], name: str) -> tuple[Array, Array]:
    """(false-alarm rate, detected rate) at 201 thresholds."""
    values, failing = np.concatenate([f[name] for f in found]), joined(parts, "failing")
    cuts = np.concatenate([[-np.inf], np.quantile(values, np.linspace(0.0, 1.0, 200)), [np.inf]])
    return (
        np.array([np.mean(values[~failing] > cut) for cut in cuts]),
        np.array([np.mean(values[failing] > cut) for cut in cuts]),
    )
