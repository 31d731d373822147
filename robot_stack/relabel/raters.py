"""Who says which of two clips is better: a rule, a vision-language model behind a local server, or a person (`rater_page`)."""

import base64
import json
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

import numpy as np

from robot_stack.config.relabel import PreferenceSettings
from robot_stack.data.recording import Recording
from robot_stack.data.video import jpeg
from robot_stack.errors import ConfigError
from robot_stack.types import Image

QUALITY = 95
"""Of the JPEGs that are rated."""


class Answer(Enum):
    """Which clip is better; SKIP: cannot say, the pair is not used."""

    LEFT = "left"
    RIGHT = "right"
    EQUAL = "equal"
    SKIP = "skip"


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """Rows `start` to `stop` of `episode`, and how to get pictures of them: `pictures(k)` are k spread evenly, few at most."""

    episode: Recording
    start: int
    stop: int
    pictures: Callable[[int], list[Image]]


class Rater(Protocol):
    """Answers one pair at a time. `counts`: how many of each answer, and what went wrong."""

    counts: Counter[str]

    def rate(self, left: Scene, right: Scene) -> Answer:
        """Which is better. Never raises for a pair: what cannot be rated is skipped and counted."""
        ...

    def close(self) -> None:
        """No more pairs; twice is allowed."""
        ...


@dataclass
class RuleRater:
    """The clip with more of `prefer` (a column, its mean; or a number said once of the episode); ties are equal."""

    prefer: str
    counts: Counter[str] = field(default_factory=Counter)

    def rate(self, left: Scene, right: Scene) -> Answer:
        """By the numbers alone."""
        one, other = self._of(left), self._of(right)
        known = np.isfinite(one) and np.isfinite(other)
        answer = Answer.SKIP if not known else Answer.EQUAL if one == other else Answer.LEFT if one > other else Answer.RIGHT
        self.counts[answer.value] += 1
        return answer

    def _of(self, scene: Scene) -> float:
        if self.prefer in scene.episode.columns:
            return float(np.mean(np.asarray(scene.episode.columns[self.prefer], dtype=np.float64)[scene.start : scene.stop]))
        return float(scene.episode.constants.get(self.prefer, np.nan))

    def close(self) -> None:
        """Nothing to give back."""


WORDS = {"LEFT": Answer.LEFT, "RIGHT": Answer.RIGHT, "EQUAL": Answer.EQUAL}


@dataclass
class ModelRater:
    """A vision-language model behind an OpenAI-compatible endpoint (`url`/chat/completions), as RL-VLM-F (Wang et al. 2024) asks
    one: pictures of both clips, one word back. A server that errs or is silent, and an answer that is none, are skipped pairs."""

    url: str
    model: str
    question: str
    pictures: int = 4
    timeout_s: float = 30.0
    counts: Counter[str] = field(default_factory=Counter)

    def rate(self, left: Scene, right: Scene) -> Answer:
        """One request, one answer."""
        try:
            text = self._asked(left, right)
        except (OSError, ValueError, LookupError, TypeError) as error:  # refused, silent, or no such message
            self.counts[f"skip: {type(error).__name__}"] += 1
            return Answer.SKIP
        said = [answer for word, answer in WORDS.items() if word in text.upper().replace(".", " ").split()]
        if len(said) != 1:
            self.counts["skip: no answer"] += 1
            return Answer.SKIP
        self.counts[said[0].value] += 1
        return said[0]

    def _asked(self, left: Scene, right: Scene) -> str:
        content: list[dict[str, Any]] = [
            {"type": "text", "text": f"{self.question} The first {self.pictures} pictures are LEFT:"}
        ]
        content += [_picture(rgb) for rgb in left.pictures(self.pictures)]
        content.append({"type": "text", "text": "and these are RIGHT:"})
        content += [_picture(rgb) for rgb in right.pictures(self.pictures)]
        content.append({"type": "text", "text": "Answer with one word: LEFT, RIGHT or EQUAL."})
        body = {"model": self.model, "temperature": 0, "max_tokens": 8, "messages": [{"role": "user", "content": content}]}
        head = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/chat/completions", json.dumps(body).encode(), head)
        with urllib.request.urlopen(request, timeout=self.timeout_s) as reply:
            return str(json.load(reply)["choices"][0]["message"]["content"])

    def close(self) -> None:
        """Nothing to give back."""


def _picture(rgb: Image) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{encoded(rgb)}"}}


def encoded(rgb: Image) -> str:
    """A picture (H, W, 3) as base64 of its JPEG."""
    return base64.b64encode(jpeg(rgb, quality=QUALITY)).decode()


def make_rater(settings: PreferenceSettings) -> Rater:
    """The rater `settings` name. Raises ConfigError for a model's address that is none."""
    match settings.rater:
        case "browser":
            from robot_stack.relabel.rater_page import BrowserRater

            return BrowserRater(settings.question, settings.port)
        case "model":
            if not settings.url.startswith(("http://", "https://")):
                raise ConfigError(f"preferences.url: found {settings.url!r}, allowed http://HOST:PORT/v1")
            return ModelRater(settings.url.rstrip("/"), settings.model, settings.question, settings.pictures, settings.timeout)
        case _:
            return RuleRater(settings.prefer)
