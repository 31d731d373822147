"""`robot-stack calibrate` and `find-arms` on the simulated bus: a person who turns the simulated joints by hand."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

for _package in ("serial", "scservo_sdk", "dynamixel_sdk"):
    pytest.importorskip(_package, reason="needs the extra `servos`: pip install 'robot_stack[servos]'")

from drivers.calibration import load  # noqa: E402
from robot_stack import cli, find_arms  # noqa: E402
from robot_stack.calibrate import calibrate  # noqa: E402
from robot_stack.config import robot_file  # noqa: E402
from robot_stack.config.commands import CalibrateCommand  # noqa: E402
from robot_stack.errors import ConfigError, DriverError  # noqa: E402
from tests.drivers import servo_rig as rig  # noqa: E402

TICK = 2 * math.pi / 4096
HALF = 1220
"""How far each simulated joint turns either way, ticks; wrist_roll further."""


@pytest.fixture(params=["feetech", "dynamixel"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def servos(kind: str) -> Iterator[object]:
    simulator = rig.ServoSimulator(kind)
    yield simulator
    simulator.close()


@pytest.fixture
def robot_yaml(kind: str, servos, tmp_path: Path) -> Path:
    """An SO-101's file with this bus, these servos and a calibration of its own."""
    text = (robot_file.FOLDER / "so101.yaml").read_text(encoding="utf-8")
    bus = f"bus: {{port: {servos.path}, calibration: {tmp_path / 'calibration.json'}, reply_s: 0.05, lost_s: 3.0}}"
    lines = [bus if line.startswith("bus:") else line for line in text.splitlines()]
    path = tmp_path / "mine.yaml"
    slow = (
        "\n".join(lines).replace("driver: feetech", f"driver: {kind}").replace("control_rate_hz: 100.0", "control_rate_hz: 5.0")
    )
    path.write_text(slow, encoding="utf-8")
    return path


class Hands:
    """A person who does as asked: joints to their middle, from stop to stop, then each its positive way."""

    def __init__(self, servos, lazy: str = "", sign: int = 1) -> None:
        self.servos, self.lazy, self.sign = servos, lazy, sign
        self.middle = {i: 300.0 + 800.0 * i for i in servos.servos}
        self.asked: list[str] = []
        self.path: list[dict[int, float]] = []

    def ask(self, text: str) -> None:
        self.asked.append(text)
        if "middle" in text:
            self._turn(self.middle)
        if "whole range" in text:
            self.path = [{i: m + way * self._reach(i) for i, m in self.middle.items()} for way in (0, -0.5, -1, 0, 0.5, 1)]
        if "positive direction" in text:
            index = [j.name for j in robot_file.load_robot("so101").joints].index(text.split()[1])
            self.servos.servos[index + 1].encoder += self.sign * 150.0
            self.servos.advance()

    def done(self, text: str) -> bool:
        if self.path:
            self._turn(self.path.pop(0))
            return False
        return True

    def _reach(self, servo: int) -> float:
        if self.lazy and servo == 3 and len([a for a in self.asked if "whole range" in a]) == 1:
            return 100.0
        return 1850.0 if servo == 5 else HALF

    def _turn(self, encoders: dict[int, float]) -> None:
        for i, encoder in encoders.items():
            self.servos.servos[i].encoder = encoder
        self.servos.advance()


def test_an_arm_moved_by_hand_is_calibrated_and_then_drives(servos, robot_yaml: Path) -> None:
    hands = Hands(servos)
    calibrate(CalibrateCommand(robot=str(robot_yaml)), hands)
    robot = robot_file.load_robot(str(robot_yaml))
    found = load(robot)
    assert "let go" in hands.asked[0] and not any(s.get(s.table.torque) for s in servos.servos.values())
    assert found.joints["elbow_flex"].range_max - found.joints["elbow_flex"].range_min == pytest.approx(2 * HALF, abs=2)
    for i, middle in hands.middle.items():
        servos.servos[i].encoder = middle + 200.0
    servos.advance()
    arm = rig.connect(servos, robot, found)
    q = arm.read().q
    arm.close()
    assert q[:5] == pytest.approx([200 * TICK] * 5, abs=3 * TICK)


def test_a_joint_that_was_hardly_moved_is_asked_for_again(servos, robot_yaml: Path) -> None:
    hands = Hands(servos, lazy="elbow_flex")
    calibrate(CalibrateCommand(robot=str(robot_yaml)), hands)
    again = [text for text in hands.asked if "Not moved far enough" in text]
    assert len(again) == 1 and "elbow_flex" in again[0] and "shoulder_pan" not in again[0]


@pytest.mark.parametrize("sign", [1, -1])
def test_the_direction_of_each_joint_is_found_on_request(servos, robot_yaml: Path, sign: int) -> None:
    calibrate(CalibrateCommand(robot=str(robot_yaml), directions=True), Hands(servos, sign=sign))
    assert {joint.sign for joint in load(robot_file.load_robot(str(robot_yaml))).joints.values()} == {sign}


def test_a_missing_servo_is_named_and_nothing_is_saved(servos, robot_yaml: Path, tmp_path: Path) -> None:
    servos.servos[2].dropped = True
    with pytest.raises(DriverError, match=r"2 \(shoulder_lift\)"):
        calibrate(CalibrateCommand(robot=str(robot_yaml)), Hands(servos))
    assert not (tmp_path / "calibration.json").exists()


def test_a_robot_without_servos_is_refused() -> None:
    with pytest.raises(ConfigError, match="feetech, dynamixel"):
        calibrate(CalibrateCommand(robot="sim_arm"))


def test_without_a_terminal_the_command_ends_with_a_sentence(robot_yaml: Path, capsys, monkeypatch) -> None:
    def nobody(text: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", nobody)
    assert cli.main(["calibrate", str(robot_yaml)]) == cli.EXIT_ERROR
    assert "terminal" in capsys.readouterr().err


@pytest.fixture
def quick(monkeypatch, kind: str) -> Callable[[], None]:
    """Only what answers here is asked: the other protocol's silence takes seconds."""
    monkeypatch.setattr(find_arms, "SPEEDS", {kind: (1_000_000,)})
    monkeypatch.setattr(find_arms, "IDS", range(1, 8))


def test_find_arms_lists_what_answers(servos, kind: str, quick, capsys) -> None:
    servos.servos[4].dropped = True
    assert cli.main(["find-arms", servos.path]) == 0
    said = capsys.readouterr().out
    name = {"feetech": "STS3215", "dynamixel": "XL430-W250"}[kind]
    assert servos.path in said and kind in said and f"3 {name}, 5 {name}" in said


def test_find_arms_says_why_a_port_was_not_looked_at(quick, capsys) -> None:
    assert cli.main(["find-arms", "/dev/no-such-port"]) == 0
    assert "not looked at" in capsys.readouterr().out


def test_find_arms_says_when_nobody_answers(servos, quick) -> None:
    for servo in servos.servos.values():
        servo.dropped = True
    assert "no servo answers" in find_arms.told(next(find_arms.find([servos.path])))


def test_a_robot_file_chooses_its_driver(servos, robot_yaml: Path) -> None:
    from drivers.servo_arm import ServoArm
    from robot_stack import build

    calibrate(CalibrateCommand(robot=str(robot_yaml)), Hands(servos))
    run = build.Run(robot_file=str(robot_yaml))
    servos_at = {i: 2047.0 for i in servos.servos}
    Hands(servos)._turn(servos_at)
    arm = build.arm(run)
    assert isinstance(arm, ServoArm)
    arm.close()


def test_an_uncalibrated_arm_is_refused_with_the_next_step(robot_yaml: Path) -> None:
    from robot_stack import build

    with pytest.raises(ConfigError, match="robot-stack calibrate"):
        build.arm(build.Run(robot_file=str(robot_yaml)))


def test_an_unknown_driver_is_refused_with_those_there_are(tmp_path: Path) -> None:
    from drivers.arms import open_arm

    with pytest.raises(ConfigError, match="feetech, dynamixel, ros2_control, ur"):
        open_arm(replace(robot_file.load_robot("so101"), driver="teleport"))
