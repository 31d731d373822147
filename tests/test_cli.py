"""What a user sees: help with an example, one clear line for an error, exit codes a script can use."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from robot_stack import cli, doctor
from robot_stack.command_table import COMMANDS, Command
from robot_stack.config import commands
from robot_stack.config.commands import DoctorCommand
from robot_stack.config.load import command_name, load
from robot_stack.errors import ConfigError, ReplayMismatch


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "robot_stack", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, check=False)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_command_shows_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"])
    assert ended.value.code == 0
    assert f"example:\n  robot-stack {name}" in capsys.readouterr().out


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if command.settings])
def test_each_example_is_a_command_line_that_loads(name: str) -> None:
    command = COMMANDS[name]
    for line in command.example.splitlines():
        program, said, *overrides = shlex.split(line)
        assert (program, said) == ("robot-stack", name)
        load(getattr(commands, command.settings), cli.as_overrides(overrides, command.main_key))


def test_commands_and_settings_belong_together() -> None:
    for name, command in COMMANDS.items():
        if command.settings:
            assert command_name(getattr(commands, command.settings)) == name


def test_the_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    said = capsys.readouterr().out
    wanted = ("run", "record", "train", "export", "replay", "report", "certify", "doctor", "bench", "demo")
    assert not [name for name in wanted if f"\n    {name} " not in said]


def test_a_misspelt_key_is_one_line_and_exit_code_2() -> None:
    answer = run("train", "datset=x")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr.startswith("robot-stack train: datset: unknown key") and answer.stderr.count("\n") == 1


def test_verbose_adds_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "-v", "datset=x"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_an_unknown_command_is_refused() -> None:
    assert run("fly").returncode == 2


def test_a_missing_dataset_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", str(tmp_path)]) == 2
    assert str(tmp_path) in (said := capsys.readouterr().err) and "LeRobot" in said


def test_a_bare_path_is_the_main_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["replay", str(tmp_path / "nothing here")]) == 2
    assert "nothing here" in capsys.readouterr().err


def test_an_unknown_scenario_is_refused_before_anything_starts(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["record", "run.episodes=[storm]"]) == 2
    assert "'storm'" in (said := capsys.readouterr().err) and "nominal" in said
    assert cli.main(["record", "run.episodes=[]"]) == 2
    assert "found none" in capsys.readouterr().err


def test_a_truncated_bundle_is_refused_before_anything_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", str(tmp_path), f"run.log_dir={tmp_path}/runs"]) == 2
    assert "the bundle is truncated" in capsys.readouterr().err and not (tmp_path / "runs").exists()


def test_an_unknown_figure_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "speed_of_light"]) == 2
    assert "'speed_of_light'" in capsys.readouterr().err


def replaced(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(_: object) -> int:
        raise error

    old = COMMANDS["doctor"]
    monkeypatch.setitem(COMMANDS, "doctor", Command(old.settings, old.main_key, old.summary, old.example, fail))


def test_ctrl_c_is_exit_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    replaced(monkeypatch, KeyboardInterrupt())
    assert cli.main(["doctor"]) == 130


def test_a_replay_that_differs_is_exit_code_3(monkeypatch: pytest.MonkeyPatch) -> None:
    replaced(monkeypatch, ReplayMismatch("tick 3"))
    assert cli.main(["doctor"]) == 3


def test_a_library_that_is_not_there_says_where_it_comes_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    replaced(monkeypatch, ModuleNotFoundError("No module named 'rclpy.node'", name="rclpy.node"))
    assert cli.main(["doctor"]) == 2
    assert "source the setup file" in capsys.readouterr().err


def test_an_unexpected_error_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    replaced(monkeypatch, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        cli.main(["doctor"])


def test_sigterm_ends_like_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    cleaned: list[bool] = []

    def wait(_: object) -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        finally:
            cleaned.append(True)
        return 0

    old = COMMANDS["doctor"]
    monkeypatch.setitem(COMMANDS, "doctor", Command(old.settings, old.main_key, old.summary, old.example, wait))
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert cli.main(["doctor"]) == 130
    finally:
        signal.signal(signal.SIGTERM, before)
    assert cleaned == [True]


def test_a_closed_pipe_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as out:
        answer = subprocess.run(
            [sys.executable, "-m", "robot_stack", "train", "--keys"], stdout=out, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (answer.returncode, answer.stderr) == (0, "")


def test_keys_lists_every_key_with_its_type(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "--keys"]) == 0
    assert "train.steps: int" in capsys.readouterr().out.splitlines()


def test_help_starts_without_loading_a_library() -> None:
    code = "import robot_stack.cli, sys; print([m for m in ('numpy', 'torch', 'hydra', 'rclpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_doctor_looks_at_everything_and_breaks_on_nothing() -> None:
    checks = doctor.examine(DoctorCommand())
    wanted = {"python", "packages", "names", "robot", "onnxruntime", "gpu", "ros 2", "discovery", "cameras", "disk", "real time"}
    assert wanted <= {check.name for check in checks}
    assert len(doctor.table(checks).splitlines()) >= len(checks)


def test_doctor_fails_on_a_robot_that_does_not_exist() -> None:
    checks = doctor.examine(DoctorCommand(robot="no_such_robot"))
    assert doctor.exit_code(checks) == 1
    assert "no_such_robot" in doctor.table(checks)


def test_doctor_warns_when_discovery_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROS_AUTOMATIC_DISCOVERY_RANGE", "ROBOT_STACK_NETWORK"):
        monkeypatch.delenv(name, raising=False)
    assert doctor.discovery().state is doctor.State.WARN
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    assert doctor.discovery().state is doctor.State.OK


def test_config_errors_are_robot_stack_errors() -> None:
    with pytest.raises(ConfigError):
        load(DoctorCommand, ["robbot=x"])
