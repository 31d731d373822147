"""Is the robot's eyesight to be trusted, and does what it sees lead to failure? Pure in the state, deterministic, no torch.

Named causes come first (default deny): a camera that is missing, old, frozen or torn (the same pixels under new stamps, in
the whole picture or in a band of it; a real sensor's noise never repeats), dark, overexposed, or of a brightness the classifier
was never trained on. Then the pseudo-count of the chosen chunk (`taco`): one that is no number, or several in a row below the
level that `monitor_training.calibrate_counts` wrote into the card; a card without it has no opinion on finite counts. Last the
classifier: the ONNX network of `monitor_training`, a probability that the state shown lies outside the V-OCBF safe set,
against the threshold whose missed-failure rate is bounded by `conformal`.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from robot_stack.clock import nanoseconds
from robot_stack.config.schema import MonitorSettings
from robot_stack.data.wire import ChoiceNote
from robot_stack.errors import PolicyError
from robot_stack.robot import RobotSpec
from robot_stack.size_limits import parse_json, read_text
from robot_stack.types import CameraFrame, FailureScore, Image

CARD = "monitor.json"
NETWORK = "monitor.onnx"


@dataclass(frozen=True, slots=True)
class Seen:
    """What is remembered of one camera: newest stamp, and of each band of rows its digest and how many stamps showed it."""

    t_ns: int
    digests: tuple[bytes, ...]
    repeats: tuple[int, ...]
    grey: float
    bright: float


@dataclass(frozen=True, slots=True)
class MonitorState:
    """All the memory of the monitor: one `Seen` a camera, and the last score with the stamps it belongs to.

    `judged`: `t_obs_ns` of the last choice judged; `unfamiliar`: how many in a row, up to that one, were.
    """

    seen: tuple[tuple[str, Seen], ...] = ()
    scored: tuple[int, ...] = ()
    score: float = 0.0
    judged: int | None = None
    unfamiliar: int = 0


@dataclass(frozen=True, slots=True)
class Familiarity:
    """`chunks` in a row whose pseudo-count is below `level` are an alarm. Level 0: any finite count is familiar."""

    level: float = 0.0
    chunks: int = 1


class Classifier:
    """The trained network and its card. Raises PolicyError when a file is missing, unreadable or not the one the card names."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime

        self.card = read_card(folder)
        self.threshold = float(self.card["threshold"])
        self.cameras: tuple[str, ...] = tuple(self.card["cameras"])
        self.familiarity = _familiarity(self.card, folder / CARD)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        path = str(folder / NETWORK)
        self._session: Any = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def score(self, pictures: Mapping[str, Image]) -> float:
        """Probability of failure shown by one picture (H, W, 3) a camera; NaN (an alarm) when a size is not the trained one."""
        wanted = tuple(self.card["shape"])
        if any(pictures[name].shape != wanted for name in self.cameras):
            return float("nan")
        (out,) = self._session.run(None, {name: pictures[name][None] for name in self.cameras})
        return float(out[0])


def read_card(folder: Path) -> dict[str, Any]:
    """The JSON beside the network, once the network's sha256 is the one in it. Raises PolicyError."""
    for name in (CARD, NETWORK):
        if not (folder / name).is_file():
            raise PolicyError(f"monitor.model: {folder / name} is missing; train the monitor, or leave monitor.model empty")
    try:
        card: dict[str, Any] = parse_json(read_text(folder / CARD))
        wanted = card["sha256"]
    except (OSError, ValueError, KeyError) as error:
        raise PolicyError(f"monitor.model: {folder / CARD} is no monitor card ({error}); train the monitor again") from error
    found = hashlib.sha256((folder / NETWORK).read_bytes()).hexdigest()
    if found != wanted:
        raise PolicyError(f"monitor.model: {folder / NETWORK} has sha256 {found[:12]}, the card says {wanted[:12]}; copy both")
    return card


def _familiarity(card: dict[str, Any], path: Path) -> Familiarity:
    """What the card says of counts; a card from before there was a level has no opinion. Raises PolicyError."""
    found = card.get("familiarity", asdict(Familiarity()))
    try:
        familiarity = Familiarity(float(found["level"]), int(found["chunks"]))
    except (TypeError, ValueError, KeyError):
        familiarity = Familiarity(math.nan, 0)
    if not (0.0 <= familiarity.level < math.inf and familiarity.chunks >= 1):
        raise PolicyError(
            f"monitor.model: {path}: familiarity: found {found}, allowed a finite level of 0 or more and chunks of 1 or more; "
            "calibrate again, or take the entry out"
        )
    return familiarity


class Monitor:
    """The failure monitor of one robot. `spec` names the cameras that must be there."""

    def __init__(self, settings: MonitorSettings, spec: RobotSpec) -> None:
        self._settings = settings
        self._cameras = tuple(camera.name for camera in spec.cameras)
        self._classifier = Classifier(Path(settings.model)) if settings.model else None
        self._familiarity = self._classifier.familiarity if self._classifier else Familiarity()
        strangers = set(self._classifier.cameras if self._classifier else ()) - set(self._cameras)
        if strangers:
            raise PolicyError(f"monitor.model: wants cameras {sorted(strangers)}, the robot has {list(self._cameras)}")

    def start(self) -> MonitorState:
        """The state before the first picture."""
        return MonitorState()

    @property
    def threshold(self) -> float:
        """A score above it is an alarm; 1 where there is no network."""
        return self._classifier.threshold if self._classifier else 1.0

    def update(
        self, state: MonitorState, frames: Mapping[str, CameraFrame], now_ns: int, choice: ChoiceNote | None = None
    ) -> tuple[MonitorState, FailureScore]:
        """The opinion at `now_ns` on the newest frame of each camera and the newest `choice` of the policy (None: none spoke).

        `t_ns` of the score is that of the oldest picture. Pure.
        """
        before = dict(state.seen)
        seen = {name: self._look(before.get(name), frames[name]) for name in self._cameras if name in frames}
        scored, score = self._classify(state, frames)
        judged, unfamiliar = self._judge(state, choice)
        cause = next((c for c in (self._cause(name, seen.get(name), now_ns) for name in self._cameras) if c), "")
        if not cause and unfamiliar >= self._familiarity.chunks:
            cause = "unfamiliar_chunk"
        if not cause and not score <= self.threshold:
            cause = "classifier"
        t_ns = min((s.t_ns for s in seen.values()), default=now_ns)
        after = MonitorState(tuple(seen.items()), scored, score, judged, unfamiliar)
        return after, FailureScore(t_ns, score, self.threshold, cause)

    def _look(self, last: Seen | None, frame: CameraFrame) -> Seen:
        if last is not None and frame.t_ns == last.t_ns:
            return last
        rgb = np.ascontiguousarray(frame.rgb)
        digests = tuple(blake2b(band.data, digest_size=16).digest() for band in np.array_split(rgb, self._settings.bands))
        before = [] if last is None else zip(digests, last.digests, last.repeats, strict=True)
        repeats = tuple(count + 1 if new == old else 1 for new, old, count in before) or (1,) * len(digests)
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        bright = cv2.countNonZero(cv2.inRange(grey, self._settings.bright_level, 255.0)) / grey.size
        return Seen(frame.t_ns, digests, repeats, float(cv2.mean(grey)[0]), float(bright))

    def _judge(self, state: MonitorState, choice: ChoiceNote | None) -> tuple[int | None, int]:
        """`judged` and `unfamiliar` after `choice`. A count that is no number is as bad as the whole row; none is no opinion."""
        if choice is None or choice.counts is None:
            return None, 0
        if choice.t_obs_ns == state.judged:
            return state.judged, state.unfamiliar
        count = choice.counts[choice.winner] if 0 <= choice.winner < len(choice.counts) else math.nan
        if not math.isfinite(count):
            return choice.t_obs_ns, self._familiarity.chunks
        return choice.t_obs_ns, state.unfamiliar + 1 if count < self._familiarity.level else 0

    def _classify(self, state: MonitorState, frames: Mapping[str, CameraFrame]) -> tuple[tuple[int, ...], float]:
        """Stamps and score of the pictures; the last one again where nothing is new, 0 without a network or some camera."""
        if self._classifier is None or any(name not in frames for name in self._classifier.cameras):
            return (), 0.0
        stamps = tuple(frames[name].t_ns for name in self._classifier.cameras)
        if stamps == state.scored:
            return stamps, state.score
        return stamps, self._classifier.score({name: frames[name].rgb for name in self._classifier.cameras})

    def _cause(self, name: str, seen: Seen | None, now_ns: int) -> str:
        """What is wrong with one camera, as ``what:camera``; empty when nothing is."""
        if seen is None:
            return f"missing:{name}"
        if not 0 <= now_ns - seen.t_ns <= nanoseconds(self._settings.frame_age_s):
            return f"stale:{name}"
        if max(seen.repeats) >= self._settings.frozen_frames:
            return f"{'frozen' if min(seen.repeats) > 1 else 'torn'}:{name}"
        if seen.grey < self._settings.dark_level:
            return f"dark:{name}"
        if seen.bright > self._settings.bright_share:
            return f"overexposed:{name}"
        return self._unfamiliar(name, seen.grey)

    def _unfamiliar(self, name: str, grey: float) -> str:
        ranges = self._classifier.card["grey"] if self._classifier else {}
        low, high = ranges.get(name, (0.0, 255.0))
        return "" if low <= grey <= high else f"unfamiliar_light:{name}"
