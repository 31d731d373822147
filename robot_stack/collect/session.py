"""The session around recording: what a key does when, what is said meanwhile. It knows no robot and no terminal.

    ready ──go──▶ recording ──go, success, failure, the robot──▶ looked through ──good, keep, mark──▶ next episode
      ▲               │ discard                                       │ redo
      └───────────────┴──────────── the log goes to the trash ────────┘

Keys come from an iterator that gives one or None each time it is asked, after waiting a little; a script can be one. Who asks the
recorder's services instead (a page, a gamepad) is noticed: a log that is open is recorded to its end, one that is gone is over.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from typing import Protocol

from robot_stack.config.collect import CollectSettings
from robot_stack.data.findings import Finding, write_findings
from robot_stack.episodes import Ended
from robot_stack.errors import RobotStackError


class Key(Enum):
    """What a key means. GO starts and stops; KEEP, MARK and REDO answer what to do with a bad episode."""

    GO = "go"
    SUCCESS = "success"
    FAILURE = "failure"
    DISCARD = "discard"
    KEEP = "keep"
    MARK = "mark"
    REDO = "redo"
    QUIT = "quit"


@dataclass(frozen=True, slots=True)
class News:
    """How the recording stands. `rates_hz` by topic; `over`: why the episode is at its end, as far as the robot knows ("": it is
    not); `fault`: what is wrong with the log."""

    recording: bool
    seconds: float = 0.0
    rates_hz: Mapping[str, float] = field(default_factory=dict)
    drops: int = 0
    free_bytes: int = -1
    over: str = ""
    fault: str = ""


class Rig(Protocol):
    """The robot and its recorder. What they refuse is a RobotStackError that says why."""

    def prepare(self, number: int, scenario: str) -> None:
        """A fresh start, and the recorder ready to write episode `number`."""
        ...

    def begin(self) -> str:
        """Record, unless somebody has started that already, and hand the arm to the human; what to say."""
        ...

    def news(self) -> News:
        """How it stands now; cheap enough to be asked twenty times a second."""
        ...

    def mark(self, label: str) -> None:
        """Note "success" or "failure" in the log that is open."""
        ...

    def end(self) -> Ended:
        """Bring the arm to rest, then close the log, unless somebody has."""
        ...

    def discard(self) -> str:
        """Move the last log to the trash; where it is."""
        ...

    def check(self, ended: Ended) -> Sequence[Finding]:
        """What is wrong with a finished episode."""
        ...


class Teller(Protocol):
    """Whoever shows the session to a person."""

    def say(self, text: str) -> None:
        """A line that stays."""
        ...

    def show(self, text: str) -> None:
        """How it stands, in place of what was shown before."""
        ...

    def prompt(self, word: str) -> None:
        """A word to act on, spoken or beeped where that is wanted."""
        ...


@dataclass
class Session:
    """Records `count` episodes, the first of them `first`; `scenarios` are gone through again and again."""

    rig: Rig
    settings: CollectSettings
    scenarios: Sequence[str]
    first: int
    count: int
    keys: Iterator[Key | None]
    teller: Teller
    clock: Callable[[], float]
    kept: int = 0
    quitting: bool = False

    def __post_init__(self) -> None:
        self._began = self._kept_at = self.clock()

    def episodes(self) -> Iterator[Ended]:
        """Each episode that is kept, as it ends; those redone or discarded are only spoken of."""
        while self.kept < self.count and not self.quitting:
            self._prepare()
            if not self._ready():
                return
            if not self._begun():
                continue
            ended = self._record()
            if ended is not None and (ended := self._judged(ended)) is not None:
                self.kept, self._kept_at = self.kept + 1, self.clock()
                yield ended

    def _prepare(self) -> None:
        self.rig.prepare(self.first + self.kept, self.scenarios[self.kept % len(self.scenarios)])

    def _ready(self) -> bool:
        """Until it is to start. False: it is not, the session ends."""
        ready, counted = self.clock() + self.settings.reset_s, 0
        self.teller.prompt("reset" if self.settings.reset_s else "ready")
        while True:
            left = ready - self.clock()
            if self.settings.unattended and left <= 0:
                return True
            if 0 < left <= 3 and (second := math.ceil(left)) != counted:
                counted = second
                self.teller.prompt(str(second))
            told = f"reset: {left:.0f} s" if left > 0 else f"ready: {_named(self.settings.go)} starts"
            self.teller.show(f"{self._head()}  {told}")
            match self._key():
                case Key.GO:
                    return True
                case Key.QUIT:
                    return False
                case Key.DISCARD if self.kept:
                    self._try(self.rig.discard)
                    self.kept -= 1
                    self._prepare()
            if self.rig.news().recording:
                return True

    def _begun(self) -> bool:
        """An attended session goes on when the robot refuses; else nobody could do anything about it."""
        try:
            said = self.rig.begin()
        except RobotStackError as error:
            if self.settings.unattended:
                raise
            self.teller.say(str(error))
            return False
        self.teller.say(said)
        self.teller.prompt("recording")
        return True

    def _record(self) -> Ended | None:
        """To the end of one episode; None: it was discarded."""
        while True:
            news = self.rig.news()
            self.teller.show(f"{self._head()}  {standing(news)}")
            key = self._key()
            if key in (Key.SUCCESS, Key.FAILURE):
                self._try(partial(self.rig.mark, key.value))
            if key is Key.DISCARD:
                self.rig.end()
                self._try(self.rig.discard)
                return None
            self.quitting = key is Key.QUIT
            if key in (Key.GO, Key.SUCCESS, Key.FAILURE, Key.QUIT) or news.over or news.fault or not news.recording:
                break
        if news.fault:
            self.teller.say(news.fault)
        ended = self.rig.end()
        if not ended.log.is_dir():
            self.teller.say(f"{ended.log.name}: discarded")
            return None
        return ended

    def _judged(self, ended: Ended) -> Ended | None:
        """The gate: a bad episode is kept, kept with its faults beside it, or redone (None)."""
        findings = self.rig.check(ended)
        answer = self._answer(ended, findings) if findings else Key.KEEP
        if answer is Key.REDO:
            self._try(self.rig.discard)
            return None
        if findings:
            self._try(partial(write_findings, ended.log, findings, accepted=answer is Key.KEEP))
        self.teller.prompt("kept")
        return replace(ended, findings=tuple(f.sentence for f in findings))

    def _answer(self, ended: Ended, findings: Sequence[Finding]) -> Key:
        for finding in findings:
            self.teller.say(f"{ended.log.name}: {finding.name}: {finding.sentence}")
        if self.settings.unattended or self.quitting:
            return Key.MARK
        keep, mark, redo = (_named(letter) for letter in (self.settings.keep, self.settings.mark, self.settings.redo))
        self.teller.prompt("bad")
        while True:
            self.teller.show(f"{keep} keeps it as good, {mark} keeps it with its faults, {redo} records it again")
            match self._key():
                case (Key.KEEP | Key.MARK | Key.REDO) as answer:
                    return answer
                case Key.DISCARD:
                    return Key.REDO
                case Key.QUIT:
                    self.quitting = True
                    return Key.MARK

    def _try(self, act: Callable[[], str | None]) -> None:
        """Say what came of it: who else asks the recorder may have been quicker, or the disk may be full."""
        try:
            said = act()
        except RobotStackError as error:
            said = str(error)
        if said:
            self.teller.say(said)

    def _key(self) -> Key | None:
        """The next key; where no more can come, what is under way is ended."""
        return next(self.keys, Key.QUIT)

    def _head(self) -> str:
        """ "episode 3/50, 00:41:20 to go": from how long those so far took."""
        head = f"episode {self.kept + 1}/{self.count}"
        if not self.kept:
            return head
        left = (self._kept_at - self._began) / self.kept * (self.count - self.kept) - (self.clock() - self._kept_at)
        return f"{head}, {clock_text(left)} to go"


def standing(news: News) -> str:
    """One line on a recording: seconds, rates, drops, disk."""
    rates = "  ".join(f"{topic} {rate:.0f} Hz" for topic, rate in sorted(news.rates_hz.items()))
    disk = f"{news.free_bytes / 2**30:.1f} GiB left" if news.free_bytes >= 0 else ""
    return "  ".join(part for part in (f"{news.seconds:.0f} s", rates, f"drops {news.drops}", disk) if part)


def clock_text(seconds: float) -> str:
    """hh:mm:ss"""
    whole = max(int(seconds), 0)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _named(letter: str) -> str:
    return "space" if letter == " " else letter
