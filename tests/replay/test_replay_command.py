"""Replay and report as the command line runs them, on the golden log."""

import json
import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from robot_stack.cli import EXIT_MISMATCH, main
from robot_stack.config.commands import ReplayCommand, ReportCommand
from robot_stack.config.robot_file import FOLDER, load_robot
from robot_stack.errors import ConfigError, DataError
from robot_stack.learn import load_episodes, log_folders
from robot_stack.replay.command import replay, report

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


def test_every_golden_log_below_a_folder_is_replayed() -> None:
    said = replay(ReplayCommand(log=str(GOLDEN)))
    assert len(said.splitlines()) == len(log_folders(GOLDEN)) > 0
    assert all("bit-equal" in line for line in said.splitlines())


def test_a_report_is_one_file_that_needs_no_other(tmp_path: Path) -> None:
    page = report(ReportCommand(log=str(GOLDEN), out=str(tmp_path / "report.html")))
    text = page.read_text(encoding="utf-8")
    assert page == tmp_path / "report.html" and "<html" in text
    assert 'src="http' not in text and '<link rel="stylesheet"' not in text


def test_a_folder_without_logs_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no episode log"):
        replay(ReplayCommand(log=str(tmp_path)))
    with pytest.raises(DataError, match="allowed a LeRobot dataset"):
        load_episodes(tmp_path, 20.0, None)


def test_several_folders_are_replayed_as_one(tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copytree(GOLDEN / "frozen", tmp_path / name)
    said = replay(ReplayCommand(log=os.pathsep.join([str(tmp_path / "b"), str(tmp_path / "a"), str(tmp_path)])))
    assert [line.split(":")[0] for line in said.splitlines()] == ["b", "a"]


def answers(ray: str, logs: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> list[str | bytes | int]:
    """All a user gets of `logs` by the commands that take `ray`: exit codes, words and files."""
    found: list[str | bytes | int] = []
    for asked in (["replay"], ["replay", f"out={out}", "config=safety.keep_out_margin=0.06"], ["report", f"out={out}/page.html"]):
        found.append(main([*asked, f"log={logs}", f"ray={ray}"]))
        found += [text.replace(str(out), "OUT") for text in capsys.readouterr()]
    return found + [path.read_bytes() for path in sorted(out.iterdir())] + [path.name for path in sorted(out.iterdir())]


@pytest.mark.skipif(find_spec("ray") is None, reason="many logs at once need Ray (extra `scale`)")
@pytest.mark.parametrize("wrong", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["one differs", "as recorded"])
def test_ray_gives_the_same_answers_byte_for_byte(tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: bool) -> None:
    for name in ("c", "a", "b"):
        shutil.copytree(GOLDEN / "frozen", tmp_path / "logs" / name)
    if wrong:
        accepted = [{"reason": "a test", "accepted": "2026-01-01", "version": "0", "ticks": {"7": ["0" * 16, "other words"]}}]
        (tmp_path / "logs" / "b" / "accepted.json").write_text(json.dumps(accepted), encoding="utf-8")
    here, there = (answers(ray, tmp_path / "logs", tmp_path / f"out{ray}", capsys) for ray in ("", "local"))
    assert here == there and here[0] == (EXIT_MISMATCH if wrong else 0)


def test_replay_of_nothing_says_what_to_give() -> None:
    with pytest.raises(ConfigError, match="robot-stack replay log="):
        replay(ReplayCommand())


def test_a_log_of_a_robot_given_as_a_file_replays_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("drivers.sim_world", reason="the log is recorded in the simulated world (extra `sim`)")
    from drivers.scenario import SCENARIOS
    from robot_stack.replay.crew import Setup, recording, teleoperated
    from robot_stack.replay.lockstep import Episode

    shipped = (FOLDER / "sim_arm.yaml").read_text(encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(shipped.replace("name: sim_arm", "name: my_arm"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    setup = Setup(load_robot("mine.yaml"), robot_file="mine.yaml")
    assert setup.spec.name == "my_arm"
    with recording(tmp_path / "log", setup, "nominal", {"seed": 1}) as sink:
        Episode(teleoperated(setup, seed=1), SCENARIOS["nominal"], 1, sink).run(0.5)
    monkeypatch.chdir("/")
    assert "bit-equal" in replay(ReplayCommand(log=str(tmp_path / "log")))


def test_a_dataset_of_logs_becomes_one_episode_a_log(tmp_path: Path) -> None:
    pytest.importorskip("drivers.sim_world", reason="the logs are recorded in the simulated world (extra `sim`)")
    from drivers.scenario import SCENARIOS
    from robot_stack.replay.crew import Setup, recording, teleoperated
    from robot_stack.replay.lockstep import Episode

    setup = Setup(load_robot("sim_arm"))
    with recording(tmp_path / "a", setup, "nominal", {"seed": 1}) as sink:
        Episode(teleoperated(setup, seed=1), SCENARIOS["nominal"], 1, sink).run(0.8)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    episodes = load_episodes(tmp_path, 20.0, None)
    assert [(episode.name, episode.rate_hz) for episode in episodes] == [("a", 20.0), ("b", 20.0)]
    assert {camera.name for camera in setup.spec.cameras} == set(episodes[0].images)
