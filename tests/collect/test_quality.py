"""The quality gate: a good episode passes, and each fault is found by its name, with its figure."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robot_stack.collect.quality import check
from robot_stack.config.collect import QualitySettings
from robot_stack.data.findings import Finding
from robot_stack.data.log import LogWriter, read_log
from robot_stack.types import CameraFrame, JointCommand, JointState, Mode, SafeCommand, Step
from tests.collect.small_robot import METADATA, Said, episode, message, picture, robot, write

LIMITS = QualitySettings(free_joints=[])
Change = Callable[[Iterator[Said]], Iterator[Said]]


def findings(folder: Path, change: Change = lambda said: said, limits: QualitySettings = LIMITS) -> dict[str, Finding]:
    return {f.name: f for f in check(read_log(write(folder / "log", change(episode()))), limits, robot())}


def of_camera(change: Callable[[int, int, CameraFrame], Said | None]) -> Change:
    """The episode with each picture (its number, arrival, itself) changed or, None, left out."""

    def changed(said: Iterator[Said]) -> Iterator[Said]:
        number = 0
        for topic, t_ns, value in said:
            if isinstance(value, CameraFrame):
                if (other := change(number, t_ns, value)) is not None:
                    yield other
                number += 1
            else:
                yield topic, t_ns, value

    return changed


def of_joints(change: Callable[[JointState], JointState]) -> Change:
    return lambda said: ((t, n, change(v) if isinstance(v, JointState) else v) for t, n, v in said)


def of_commands(change: Callable[[JointCommand], JointCommand]) -> Change:
    return lambda said: ((t, n, change(v) if isinstance(v, JointCommand) else v) for t, n, v in said)


def test_a_good_episode_has_no_findings(tmp_path: Path) -> None:
    assert findings(tmp_path) == {}


def test_a_camera_that_gives_every_second_picture_is_too_slow(tmp_path: Path) -> None:
    found = findings(tmp_path, of_camera(lambda i, t, f: None if i % 2 else (f"/{f.camera}/image", t, f)))
    assert found.keys() == {"camera rate"}
    assert found["camera rate"].figure == pytest.approx(12.5, abs=0.7) and found["camera rate"].allowed == 22.5


def test_a_camera_whose_cable_is_pulled_is_a_gap_to_the_end(tmp_path: Path) -> None:
    found = findings(tmp_path, of_camera(lambda i, t, f: None if i > 25 else (f"/{f.camera}/image", t, f)))
    assert found.keys() == {"camera gap", "camera rate"}
    assert found["camera gap"].figure == pytest.approx(0.95, abs=0.05)
    assert "scene: no picture for 0.9" in found["camera gap"].sentence


def test_a_camera_that_never_spoke_is_named(tmp_path: Path) -> None:
    found = findings(tmp_path, of_camera(lambda i, t, f: None))
    assert found["camera rate"].where == "scene" and found["camera rate"].figure == 0


def test_pictures_that_are_the_same_are_frozen(tmp_path: Path) -> None:
    still = of_camera(lambda i, t, f: (f"/{f.camera}/image", t, replace(f, rgb=picture(0 if 10 < i < 20 else i))))
    found = findings(tmp_path, still)
    assert found.keys() == {"frozen"} and found["frozen"].figure == 9


def test_pictures_that_come_late_are_skewed_against_the_joints(tmp_path: Path) -> None:
    late = of_camera(lambda i, t, f: (f"/{f.camera}/image", t, replace(f, t_ns=f.t_ns - 300_000_000)))
    found = findings(tmp_path, late, replace(LIMITS, gap_s=0.5, rate_share=0.5))
    assert found.keys() == {"skew"} and found["skew"].figure == pytest.approx(0.3, abs=0.01)


def test_joints_that_do_not_follow_are_a_tracking_error(tmp_path: Path) -> None:
    found = findings(tmp_path, of_joints(lambda s: replace(s, q=0.2 * s.q)))
    assert found.keys() == {"tracking"} and found["tracking"].where == "base_yaw"


def test_following_late_is_no_tracking_error(tmp_path: Path) -> None:
    assert "tracking" in findings(tmp_path, limits=replace(LIMITS, tracking=0.001, tracking_s=0.01))
    assert findings(tmp_path / "wide", limits=replace(LIMITS, tracking=0.001, tracking_s=0.1)) == {}


@pytest.mark.parametrize(
    "change",
    [lambda c: replace(c, q=np.array([c.q[0], 1.595])), lambda c: replace(c, qd=np.array([0.0, -2.0]))],
    ids=["position", "speed"],
)
def test_commands_at_a_limit_are_saturation_unless_the_joint_may_rest_there(tmp_path: Path, change: object) -> None:
    at_limit: Change = of_commands(change)  # type: ignore[arg-type]
    wide = replace(LIMITS, tracking=9.0)
    found = findings(tmp_path, at_limit, wide)
    assert found.keys() == {"saturation"} and (found["saturation"].where, found["saturation"].figure) == ("shoulder", 1.0)
    assert findings(tmp_path / "free", at_limit, replace(wide, free_joints=["shoulder"])) == {}


@pytest.mark.parametrize(("shift_ns", "words"), [(10_000_000, "1 stamps twice"), (25_000_000, "1 going back")])
def test_stamps_that_stand_still_or_go_back_are_named_with_their_topic(tmp_path: Path, shift_ns: int, words: str) -> None:
    found = findings(tmp_path, of_joints(lambda s: replace(s, t_ns=s.t_ns - shift_ns) if s.t_ns == 1_500_000_000 else s))
    assert found.keys() == {"time"} and words in found["time"].sentence and found["time"].where == "/joint_states"


def test_an_episode_that_is_too_short_is_named(tmp_path: Path) -> None:
    found = findings(tmp_path, limits=replace(LIMITS, least_s=5.0))
    assert found.keys() == {"too short"} and found["too short"].figure == pytest.approx(1.79)


def test_an_arm_that_was_never_armed_is_too_short(tmp_path: Path) -> None:
    def disarmed(value: object) -> object:
        return replace(value, verdict=replace(value.verdict, mode=Mode.DISARMED)) if isinstance(value, Step) else value

    found = findings(tmp_path, lambda said: ((t, n, disarmed(v)) for t, n, v in said))
    assert found["too short"].figure == 0


def test_an_arm_that_rests_is_no_motion(tmp_path: Path) -> None:
    rest = np.array([0.1, 0.2])
    still = of_joints(lambda s: replace(s, q=rest))
    found = findings(tmp_path, lambda said: of_commands(lambda c: SafeCommand(replace(c, q=rest)))(still(said)))
    assert found.keys() == {"no motion"} and found["no motion"].figure == 0


def test_a_cut_log_and_dropped_messages_are_named(tmp_path: Path) -> None:
    with LogWriter(tmp_path / "log", METADATA, patient=True) as log:
        for topic, t_ns, value in episode():
            log.write(topic, t_ns, message(value))
        log.lost("/scene/image", 3)
    file = next((tmp_path / "log").glob("*.mcap"))
    assert [f.name for f in check(read_log(file), LIMITS, robot())] == ["drops"]
    file.write_bytes(file.read_bytes()[:-10])
    assert "cut" in {f.name for f in check(read_log(file), LIMITS, robot())}


def test_without_a_robot_only_what_the_log_itself_shows_is_judged(tmp_path: Path) -> None:
    half = of_camera(lambda i, t, f: None if i % 2 else (f"/{f.camera}/image", t, f))
    assert check(read_log(write(tmp_path / "log", half(episode()))), LIMITS) == []
