"""A reward learned from which of two clips is better: Bradley and Terry's model, in an ensemble that knows what it does not know.

    P(left > right) = sigma(w . (phi_left - phi_right)),   phi = mean over the clip's rows of  [x, sqrt(2 / F) cos(Omega x + b)]

x are joints, speeds and what is commanded beyond the measured, standardised; Omega, b random (Rahimi and Recht 2007). Each model
of the ensemble is a ridge-penalised logistic regression on its own bootstrap of the answers ("equal" counts 1/2); the next pair
asked is the one of `candidates` random ones whose P the models disagree on most (Christiano et al. 2017). A step's reward is the
models' mean of w . phi(x_t), scaled so that clips have mean 0 and deviation 1. Answers of people and of models are kept beside
the labels, and not asked for again.
"""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from robot_stack.config.relabel import PreferenceSettings
from robot_stack.data.catalogue import Catalogue
from robot_stack.data.labels import Labels, labels_folder
from robot_stack.data.recording import ACTION, STATE, Recording
from robot_stack.data.video import iterate
from robot_stack.errors import DataError
from robot_stack.relabel.labeller import Labeller
from robot_stack.relabel.raters import Answer, Rater, Scene, make_rater
from robot_stack.types import Array, Image

VALUE = {Answer.LEFT: 1.0, Answer.EQUAL: 0.5, Answer.RIGHT: 0.0}
ROWS = 64
"""The most rows of an episode that count for its clips."""

Clips = list[tuple[str, int, int]]
"""Episode, and from which row to which, not included."""


@dataclass(frozen=True, slots=True, eq=False)
class Reward:
    """The ensemble `w` (K, D + F) over features of standardised x; `counts` of the answers, `out_of_bag` accuracy (nan: none)."""

    mean: Array
    std: Array
    omega: Array
    phase: Array
    w: Array
    offset: float
    scale: float
    counts: Mapping[str, int]
    out_of_bag: float

    def features(self, x: Array) -> Array:
        """phi (n, D + F) of x (n, D)."""
        standard = (x - self.mean) / self.std
        random = np.sqrt(2.0 / max(len(self.phase), 1)) * np.cos(standard @ self.omega + self.phase)
        return np.concatenate([standard, random], axis=1)

    def rewards(self, x: Array) -> tuple[Array, Array]:
        """The models' mean (n,) and their disagreement, one std (n,)."""
        each = (self.features(x) @ self.w.T - self.offset) / self.scale
        return each.mean(axis=1), each.std(axis=1)


def reads(settings: PreferenceSettings) -> tuple[str, ...]:
    """What a rule goes by."""
    return (settings.prefer,) if settings.rater == "rule" else ()


def inputs(episode: Recording) -> Array:
    """x (n, D): joints, their speeds and how far each is commanded from where it is."""
    q = episode.numbers(STATE)
    qd = np.diff(q, axis=0, prepend=q[:1]) * episode.rate_hz
    action = episode.numbers(ACTION) if ACTION in episode.columns else q
    return np.concatenate([q, qd, action - q if action.shape == q.shape else action], axis=1)


def measure(episode: Recording, settings: PreferenceSettings) -> dict[str, Any]:
    """Some rows of x, which they are, and where clips of `seconds` lie."""
    rows = np.unique(np.round(np.linspace(0.0, len(episode) - 1.0, min(ROWS, len(episode)))).astype(int))
    length = min(max(round(settings.seconds * episode.rate_hz), 1), len(episode))
    return {
        "rows": rows,
        "x": inputs(episode)[rows],
        "clips": [(s, s + length) for s in range(0, len(episode) - length + 1, length)],
    }


def gather(facts: Mapping[str, dict[str, Any]], settings: PreferenceSettings, catalogue: Catalogue) -> Reward:
    """Ask for what is missing of `settings.pairs` answers, fit after each, and keep them. DataError on fewer than 2 clips."""
    blank = _blank(np.concatenate([fact["x"] for fact in facts.values()]), settings)
    clips: Clips = [(name, *clip) for name, fact in facts.items() for clip in fact["clips"]]
    if len(clips) < 2:
        raise DataError(f"preferences: found {len(clips)} clips, allowed 2 or more")
    phi = np.array([_of_clip(blank, facts[name], start, stop) for name, start, stop in clips])
    interview = _Interview(phi, clips, settings, catalogue)
    rater = make_rater(settings)
    try:
        for _ in tqdm(range(settings.pairs - len(interview.value)), desc="pairs", unit="pair", leave=False):
            interview.ask(rater)
    finally:
        rater.close()
    return interview.result(blank, rater)


def _blank(x: Array, settings: PreferenceSettings) -> Reward:
    """Features, and a reward of nothing."""
    random = np.random.default_rng(settings.seed)
    omega = random.normal(0.0, x.shape[1] ** -0.5, (x.shape[1], settings.features))
    phase = random.uniform(0.0, 2 * np.pi, settings.features)
    w = np.zeros((settings.models, x.shape[1] + settings.features))
    return Reward(x.mean(0), np.maximum(x.std(0), 1e-6), omega, phase, w, 0.0, 1.0, {}, float("nan"))


def _of_clip(blank: Reward, fact: dict[str, Any], start: int, stop: int) -> Array:
    inside = (fact["rows"] >= start) & (fact["rows"] < stop)
    if not inside.any():
        inside[np.abs(fact["rows"] - (start + stop) / 2).argmin()] = True
    return np.asarray(blank.features(fact["x"][inside]).mean(axis=0))


class _Interview:
    """Pairs asked so far, by the places of their clips, and the ensemble after them."""

    def __init__(self, phi: Array, clips: Clips, settings: PreferenceSettings, catalogue: Catalogue) -> None:
        self.phi, self.clips, self.settings, self.catalogue = phi, clips, settings, catalogue
        self.random = np.random.default_rng([settings.seed, 1])
        self.file = labels_folder(catalogue.root) / "preferences.jsonl"
        self.entries = {entry.name: entry for entry in catalogue.entries()}
        self.asked: list[tuple[int, int]] = []
        self.value: list[float] = []
        for left, right, answer in self._kept():
            self.asked.append((left, right))
            self.value.append(VALUE[answer])

    def ask(self, rater: Rater) -> None:
        """One more pair: of some random ones that the models disagree on most."""
        left, right = self._next()
        answer = rater.rate(self._scene(left), self._scene(right))
        self._keep(left, right, answer)
        if answer is not Answer.SKIP:
            self.asked.append((left, right))
            self.value.append(VALUE[answer])

    def result(self, blank: Reward, rater: Rater) -> Reward:
        """The reward after all answers. Its scale is that of the clips' rows."""
        w, drawn = self._fitted()
        each = self.phi @ w.mean(axis=0)
        accuracy = _out_of_bag(self._differences(), np.array(self.value), w, drawn)
        scale = float(each.std()) or 1.0
        counts = {**rater.counts, "used": len(self.value)}
        return Reward(blank.mean, blank.std, blank.omega, blank.phase, w, float(each.mean()), scale, counts, accuracy)

    def _next(self) -> tuple[int, int]:
        pairs = np.array([self.random.choice(len(self.clips), 2, replace=False) for _ in range(self.settings.candidates)])
        if not self.value:
            return int(pairs[0, 0]), int(pairs[0, 1])
        p = _sigmoid((self.phi[pairs[:, 0]] - self.phi[pairs[:, 1]]) @ self._fitted()[0].T)
        left, right = pairs[p.std(axis=1).argmax()]
        return int(left), int(right)

    def _differences(self) -> Array:
        pairs = np.array(self.asked, dtype=int).reshape(-1, 2)
        return np.asarray(self.phi[pairs[:, 0]] - self.phi[pairs[:, 1]])

    def _fitted(self) -> tuple[Array, list[NDArray[np.int64]]]:
        """w (K, D + F), and which answers each model saw."""
        difference, value = self._differences(), np.array(self.value)
        if not len(value):
            return np.zeros((self.settings.models, self.phi.shape[1])), []
        random = np.random.default_rng([self.settings.seed, 2])
        drawn = [random.integers(len(value), size=len(value)) for _ in range(self.settings.models)]
        return np.array([logistic(difference[some], value[some], self.settings.ridge) for some in drawn]), drawn

    def _scene(self, clip: int) -> Scene:
        name, start, stop = self.clips[clip]
        episode = self.catalogue.recording(self.entries[name])
        return Scene(episode, start, stop, partial(pictures, episode, start, stop, self.settings.camera))

    def _keep(self, left: int, right: int, answer: Answer) -> None:
        if self.settings.rater == "rule" or answer is Answer.SKIP:
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        line = {"left": self.clips[left], "right": self.clips[right], "answer": answer.value, "rater": self.settings.rater}
        line |= {"question": self.settings.question, "when": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
        with self.file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")

    def _kept(self) -> Iterator[tuple[int, int, Answer]]:
        """Earlier answers of this rater to this question, about clips that still are."""
        place = {clip: i for i, clip in enumerate(self.clips)}
        for line in _lines(self.file):
            left, right = place.get(tuple(line["left"])), place.get(tuple(line["right"]))
            same = (line["rater"], line["question"]) == (self.settings.rater, self.settings.question)
            if same and left is not None and right is not None:
                yield left, right, Answer(line["answer"])


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:  # a kill cut the last one short
            continue


def pictures(episode: Recording, start: int, stop: int, camera: str, count: int) -> list[Image]:
    """`count` at most, spread evenly over the rows, of `camera` ("": the first). Raises DataError where there is no such
    camera."""
    name = camera or next(iter(episode.cameras), "")
    if name not in episode.cameras:
        raise DataError(f"preferences.camera: episode {episode.name} has {', '.join(episode.cameras) or 'none'}, found {name!r}")
    clip = episode.cameras[name].pick(slice(start, stop, max((stop - start) // count, 1)))
    return list(iterate(clip))[:count]


def logistic(x: Array, y: Array, ridge: float, steps: int = 20) -> Array:
    """w (D,) of least cross-entropy of `y` (n,), 0..1, by sigma(x w), plus ridge |w|^2 / 2: Newton's steps, as the problem is
    convex and small."""
    w = np.zeros(x.shape[1])
    for _ in range(steps):
        p = _sigmoid(x @ w)
        gradient = x.T @ (p - y) + ridge * w
        step = np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + ridge * np.eye(len(w)), gradient)
        w = w - step
        if np.abs(step).max() < 1e-8:
            break
    return w


def _sigmoid(z: Array) -> Array:
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * z))


def _out_of_bag(difference: Array, value: Array, w: Array, drawn: list[NDArray[np.int64]]) -> float:
    """The share of decided answers that the models which did not see them get right; nan when all were seen."""
    right = [
        float((difference[i] @ model > 0) == (value[i] > 0.5))
        for model, some in zip(w, drawn, strict=True)
        for i in np.setdiff1d(np.flatnonzero(value != 0.5), some)
    ] if drawn else []  # fmt: skip
    return float(np.mean(right)) if right else float("nan")


def label(episode: Recording, settings: PreferenceSettings, gathered: Reward) -> Labels:
    """`preference_reward` and `preference_std` (n,)."""
    mean, std = gathered.rewards(inputs(episode))
    return {"preference_reward": mean.astype(np.float32), "preference_std": std.astype(np.float32)}


def tell(gathered: Reward) -> str:
    """The answers, and how well the models foretell those they have not seen."""
    counts = ", ".join(f"{name} {count}" for name, count in sorted(gathered.counts.items()))
    return f"answers: {counts}; {100 * gathered.out_of_bag:.0f} % of those a model had not seen are as it says"


LABELLER = Labeller("preferences", 1, label, reads, measure, gather, tell)
