"""What a key does when: the session over a real recorder that hears a made-up robot; keys and the clock come from a script."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from robot_stack.collect.quality import check
from robot_stack.collect.recorder import Recorder
from robot_stack.collect.session import Key, News, Session, clock_text, standing
from robot_stack.config.collect import CollectSettings, QualitySettings
from robot_stack.data.findings import Finding, read_findings
from robot_stack.data.log import read_log
from robot_stack.episodes import Ended
from robot_stack.errors import ConfigError, DriverError
from robot_stack.types import Mode
from tests.collect.small_robot import METADATA, episode, message, robot

SETTINGS = CollectSettings(codec="lossless")
LIMITS = QualitySettings(free_joints=[])
Script = Sequence[Key | None | Callable[[], None]]


@dataclass
class DeskRig:
    """The recorder of recorder_node, and an episode that is over in no time. `good`: which of them are."""

    folder: Path
    recorder: Recorder
    good: Callable[[int], bool] = lambda take: True
    refusals: list[str] = field(default_factory=list)
    over: str = ""
    taken: int = 0
    path: Path = Path()
    marked: str = ""

    def prepare(self, number: int, scenario: str) -> None:
        self.path, self.marked = self.folder / f"{number:03d}_{scenario}", ""

    def begin(self) -> str:
        if self.refusals:
            raise DriverError(self.refusals.pop())
        if not self.recorder.status()["path"]:
            self.recorder.start(self.path, METADATA)
        for topic, t_ns, value in episode(1.5 if self.good(self.taken) else 0.5):
            self.recorder.put(topic, t_ns, message(value))
        self.taken += 1
        return f"recording {self.path.name}"

    def news(self) -> News:
        status = self.recorder.status()
        return News(bool(status["path"]), status["seconds"], over=self.over if status["path"] else "", fault=status["fault"])

    def mark(self, label: str) -> None:
        self.recorder.mark(label)

    def end(self) -> Ended:
        status = self.recorder.status()
        said = self.recorder.stop() if status["path"] else "closed by somebody else"
        return Ended("nominal", self.path, Mode.DISARMED, 1.0, None, None, said, status["mark"])

    def discard(self) -> str:
        return self.recorder.discard()

    def check(self, ended: Ended) -> list[Finding]:
        return check(read_log(ended.log), LIMITS, robot())


@dataclass
class Told:
    """What the session said, showed and prompted."""

    lines: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.lines.append(text)

    def show(self, text: str) -> None:
        self.shown.append(text)

    def prompt(self, word: str) -> None:
        self.prompts.append(word)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[DeskRig]:
    recorder = Recorder(SETTINGS, print, print)
    yield DeskRig(tmp_path, recorder)
    recorder.close()


def run(
    rig: DeskRig, script: Script, count: int = 2, settings: CollectSettings = SETTINGS, first: int = 0
) -> tuple[list[Ended], Told]:
    """The session with the keys of `script`; what is callable there is done instead of pressing one. A second passes a key."""
    told, now = Told(), [0.0]

    def keys() -> Iterator[Key | None]:
        for item in script:
            now[0] += 1.0
            if callable(item):
                item()
            yield None if callable(item) else item

    session = Session(rig, settings, ["nominal", "obstacle"], first, count, keys(), told, lambda: now[0])
    return list(session.episodes()), told


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_go_starts_and_stops_and_scenarios_follow_each_other(rig: DeskRig, tmp_path: Path) -> None:
    kept, told = run(rig, [None, Key.GO, None, Key.GO, Key.GO, Key.GO, Key.GO, Key.GO], count=3)
    assert names(tmp_path) == ["000_nominal", "001_obstacle", "002_nominal"] and len(kept) == 3
    assert all(read_log(ended.log).complete for ended in kept) and told.lines[0] == "recording 000_nominal"
    assert told.prompts[:3] == ["ready", "recording", "kept"]


def test_success_and_failure_mark_the_log_and_end_it(rig: DeskRig) -> None:
    kept, _ = run(rig, [Key.GO, Key.SUCCESS, Key.GO, Key.FAILURE])
    assert [ended.mark for ended in kept] == ["success", "failure"]


def test_a_discarded_episode_goes_to_the_trash_and_its_number_is_recorded_again(rig: DeskRig, tmp_path: Path) -> None:
    kept, told = run(rig, [Key.GO, Key.DISCARD, Key.GO, Key.GO], count=1)
    assert [ended.log.name for ended in kept] == ["000_nominal"] and names(tmp_path / ".trash") == ["000_nominal"]
    assert any("discarded to" in line for line in told.lines)


def test_between_episodes_discard_takes_back_the_last_one(rig: DeskRig, tmp_path: Path) -> None:
    run(rig, [Key.GO, Key.GO, Key.DISCARD, Key.GO, Key.GO, Key.QUIT])
    assert names(tmp_path) == [".trash", "000_nominal"] and names(tmp_path / ".trash") == ["000_nominal"]


def test_a_bad_episode_is_asked_about_and_redone_kept_or_marked(rig: DeskRig, tmp_path: Path) -> None:
    rig.good = lambda take: False
    script = [Key.GO, Key.GO, None, Key.REDO, Key.GO, Key.GO, Key.KEEP, Key.GO, Key.GO, Key.MARK]
    kept, told = run(rig, script)
    assert names(tmp_path) == [".trash", "000_nominal", "001_obstacle"] and len(kept) == 2
    assert read_findings(kept[0].log) == [] and [f.name for f in read_findings(kept[1].log)] == ["too short"]
    assert kept[1].findings and "000_nominal: too short: armed for 0.29 s" in told.lines[1]


def test_unattended_nothing_need_be_pressed_and_a_bad_episode_is_kept_with_its_faults(rig: DeskRig) -> None:
    rig.good, rig.over = (lambda take: take == 0), "time is up"
    kept, _ = run(rig, [None] * 20, settings=CollectSettings(codec="lossless", unattended=True))
    assert [len(read_findings(ended.log)) for ended in kept] == [0, 1]


def test_the_reset_is_counted_down_before_an_unattended_start_and_a_key_need_not_wait_for_it(rig: DeskRig) -> None:
    settings = CollectSettings(codec="lossless", unattended=True, reset_s=5.0)
    rig.over = "time is up"
    _, told = run(rig, [None] * 20, count=1, settings=settings)
    assert told.prompts == ["reset", "3", "2", "1", "recording", "kept"]
    rig.over = ""
    _, told = run(rig, [Key.GO, Key.GO], count=1, settings=settings, first=5)
    assert told.prompts == ["reset", "recording", "kept"]


def test_a_log_that_somebody_else_starts_or_stops_is_part_of_the_session(rig: DeskRig, tmp_path: Path) -> None:
    def start() -> None:
        rig.recorder.start(rig.path, METADATA)

    def stop() -> None:
        rig.recorder.mark("success")
        rig.recorder.stop()

    kept, _ = run(rig, [None, start, None, stop], count=1)
    assert [ended.log.name for ended in kept] == ["000_nominal"] and kept[0].recorder == "closed by somebody else"


def test_a_log_that_somebody_else_discards_is_recorded_again(rig: DeskRig, tmp_path: Path) -> None:
    kept, told = run(rig, [Key.GO, lambda: print(rig.recorder.discard()), Key.GO, Key.GO], count=1)
    assert names(tmp_path) == [".trash", "000_nominal"] and len(kept) == 1 and "000_nominal: discarded" in told.lines


def test_quit_ends_the_session_and_keeps_what_was_being_recorded(rig: DeskRig, tmp_path: Path) -> None:
    kept, _ = run(rig, [Key.GO, Key.QUIT, Key.GO], count=5)
    assert len(kept) == 1 and names(tmp_path) == ["000_nominal"]
    assert run(rig, [Key.QUIT], first=1)[0] == []


def test_a_session_whose_keys_have_ended_ends_too(rig: DeskRig) -> None:
    assert run(rig, [])[0] == [] and len(run(rig, [Key.GO], first=1)[0]) == 1


def test_a_robot_that_refuses_is_said_and_tried_again_by_a_person_and_ends_what_is_unattended(rig: DeskRig) -> None:
    rig.refusals = ["the arm is in STOP"]
    kept, told = run(rig, [Key.GO, Key.GO, Key.GO], count=1)
    assert told.lines[0] == "the arm is in STOP" and len(kept) == 1
    rig.refusals = ["the arm is in STOP"]
    with pytest.raises(DriverError, match="in STOP"):
        run(rig, [None] * 5, settings=CollectSettings(unattended=True), first=1)


def test_a_key_that_comes_after_somebody_else_has_closed_the_log_is_answered_with_why(rig: DeskRig) -> None:
    def stop() -> None:
        rig.recorder.stop()

    news, rig.news = rig.news, lambda: News(True)  # type: ignore[method-assign]
    kept, told = run(rig, [Key.GO, stop, Key.SUCCESS], count=1)
    assert "no log is being written; start one first" in told.lines and kept[0].mark == "" and news().recording is False


def test_what_is_shown_has_the_number_the_time_to_go_rates_drops_and_the_disk(rig: DeskRig) -> None:
    _, told = run(rig, [Key.GO, None, Key.GO, Key.GO, Key.GO])
    assert told.shown[0] == "episode 1/2  ready: space starts"
    assert any(line.startswith("episode 2/2, 00:00:0") and "to go" in line for line in told.shown)
    news = News(True, 7.2, {"scene": 29.96, "joint_states": 100.2}, 3, 5 * 2**30)
    assert standing(news) == "7 s  joint_states 100 Hz  scene 30 Hz  drops 3  5.0 GiB left"
    assert clock_text(3723.9) == "01:02:03"


def test_two_keys_of_the_same_letter_are_refused() -> None:
    with pytest.raises(ConfigError, match="one letter each, none twice"):
        CollectSettings(keep="s")
