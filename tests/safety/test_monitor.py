"""The run-time monitor: each thing that can be wrong with a camera has a name, and a network is only used when its card fits."""

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from robot_stack.config.schema import MonitorSettings
from robot_stack.data.wire import ChoiceNote
from robot_stack.errors import ConfigError, PolicyError
from robot_stack.robot import CameraSpec, Capsule, Joint, RobotSpec
from robot_stack.types import CameraFrame, FailureScore, Image
from safety.monitor import CARD, NETWORK, Monitor

MS = 1_000_000
RNG = np.random.default_rng(0)


def cell(cameras: tuple[str, ...] = ("scene", "wrist")) -> RobotSpec:
    joint = Joint("base", -1, (0, 0, 0), (0, 0, 1), -1, 1, 1, 1)
    views = tuple(CameraSpec(name, -1, (1, 0, 1), (0, 0, 0), 1.0, 32, 32, 30.0) for name in cameras)
    return RobotSpec(
        "cell", "none", 100, (joint,), (Capsule("c", 0, (0, 0, 0), (0, 0, 1), 0.1),), views, (0.0,), 0, (0, 0, 1), ()
    )


def noise(level: int = 120) -> Image:
    return np.clip(RNG.integers(level - 20, level + 20, (32, 32, 3)), 0, 255).astype(np.uint8)


def frames(t_ns: int, **pictures: Image) -> dict[str, CameraFrame]:
    return {name: CameraFrame(name, t_ns, rgb) for name, rgb in ({"scene": noise(), "wrist": noise()} | pictures).items()}


def play(monitor: Monitor, sequence: list[dict[str, CameraFrame]], now_ns: int | None = None) -> FailureScore:
    state = monitor.start()
    for seen in sequence:
        now = now_ns if now_ns is not None else max(f.t_ns for f in seen.values()) + 5 * MS
        state, score = monitor.update(state, seen, now)
    return score


def brightness_network(folder: Path, threshold: float = 0.5, grey: tuple[float, float] = (0.0, 255.0)) -> Path:
    """A network whose score is the mean of the scene picture / 255, with its card."""
    folder.mkdir(parents=True, exist_ok=True)
    inputs = [helper.make_tensor_value_info(n, TensorProto.UINT8, ["n", 32, 32, 3]) for n in ("scene", "wrist")]
    output = [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n"])]
    nodes = [
        helper.make_node("Cast", ["scene"], ["s"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["s", "axes"], ["m"], keepdims=0),
        helper.make_node("Div", ["m", "full"], ["score"]),
    ]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3]),
        helper.make_tensor("full", TensorProto.FLOAT, [], [255.0]),
    ]
    graph = helper.make_graph(nodes, "brightness", inputs, output, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, folder / NETWORK)
    card = {
        "cameras": ["scene", "wrist"],
        "shape": [32, 32, 3],
        "threshold": threshold,
        "grey": {"scene": grey, "wrist": (0.0, 255.0)},
        "sha256": hashlib.sha256((folder / NETWORK).read_bytes()).hexdigest(),
    }
    (folder / CARD).write_text(json.dumps(card))
    return folder


def test_fresh_pictures_raise_no_alarm() -> None:
    score = play(Monitor(MonitorSettings(), cell()), [frames(i * 33 * MS) for i in range(5)])
    assert not score.alarm and score.t_ns == 4 * 33 * MS


def test_the_same_pixels_under_new_stamps_are_a_frozen_camera_at_the_third_frame() -> None:
    monitor, still = Monitor(MonitorSettings(frozen_frames=3), cell()), noise()
    sequence = [frames(i * 33 * MS, scene=still) for i in range(3)]
    assert not play(monitor, sequence[:2]).alarm
    assert play(monitor, sequence).cause == "frozen:scene"


@pytest.mark.parametrize("band", range(4))
def test_a_band_of_old_pixels_in_new_pictures_is_a_torn_one_at_the_third_frame(band: int) -> None:
    monitor, still = Monitor(MonitorSettings(frozen_frames=3, bands=4), cell()), noise()

    def torn(t_ns: int) -> dict[str, CameraFrame]:
        picture = noise()
        picture[8 * band : 8 * (band + 1)] = still[8 * band : 8 * (band + 1)]
        return frames(t_ns, wrist=picture)

    sequence = [torn(i * 33 * MS) for i in range(3)]
    assert not play(monitor, sequence[:2]).alarm
    assert play(monitor, sequence).cause == "torn:wrist"
    assert not play(Monitor(MonitorSettings(bands=1), cell()), sequence).alarm


def test_a_monitor_that_looks_at_no_band_is_refused() -> None:
    with pytest.raises(ConfigError, match="monitor.bands"):
        MonitorSettings(bands=0)


def test_asking_twice_about_the_same_frame_is_not_a_frozen_camera() -> None:
    monitor, same = Monitor(MonitorSettings(), cell()), frames(0)
    assert not play(monitor, [same] * 10).alarm


def test_a_camera_that_thaws_clears_the_alarm() -> None:
    monitor, still = Monitor(MonitorSettings(), cell()), noise()
    sequence = [frames(i * 33 * MS, scene=still) for i in range(4)] + [frames(4 * 33 * MS)]
    assert not play(monitor, sequence).alarm


@pytest.mark.parametrize(
    ("picture", "cause"),
    [(noise(0) // 4, "dark:wrist"), (np.full((32, 32, 3), 254, np.uint8), "overexposed:wrist")],
)
def test_a_dark_or_blinded_camera_is_named(picture: Image, cause: str) -> None:
    assert play(Monitor(MonitorSettings(), cell()), [frames(0, wrist=picture)]).cause == cause


def test_an_old_picture_is_named() -> None:
    monitor = Monitor(MonitorSettings(frame_age_s=0.25), cell())
    assert play(monitor, [frames(0)], now_ns=251 * MS).cause == "stale:scene"
    assert play(monitor, [frames(0)], now_ns=250 * MS).cause == ""


def test_a_picture_from_the_future_is_named() -> None:
    assert play(Monitor(MonitorSettings(), cell()), [frames(10)], now_ns=5).cause == "stale:scene"


def test_a_missing_camera_is_named() -> None:
    seen = frames(0)
    del seen["wrist"]
    assert play(Monitor(MonitorSettings(), cell()), [seen]).cause == "missing:wrist"
    assert play(Monitor(MonitorSettings(), cell()), [{}], now_ns=7) == FailureScore(7, 0.0, 1.0, "missing:scene")


def test_the_network_alarms_above_its_threshold_and_only_then(tmp_path: Path) -> None:
    monitor = Monitor(MonitorSettings(model=str(brightness_network(tmp_path))), cell())
    calm, bad = play(monitor, [frames(0, scene=noise(100))]), play(monitor, [frames(0, scene=noise(180))])
    assert not calm.alarm and calm.score == pytest.approx(100 / 255, abs=0.02)
    assert bad.alarm and bad.cause == "classifier" and bad.threshold == 0.5


def test_light_unlike_the_training_pictures_is_named(tmp_path: Path) -> None:
    monitor = Monitor(MonitorSettings(model=str(brightness_network(tmp_path, grey=(90.0, 110.0)))), cell())
    assert play(monitor, [frames(0, scene=noise(60))]).cause == "unfamiliar_light:scene"


def test_a_picture_of_another_size_is_an_alarm_not_a_crash(tmp_path: Path) -> None:
    monitor = Monitor(MonitorSettings(model=str(brightness_network(tmp_path))), cell())
    score = play(monitor, [frames(0, scene=np.full((16, 16, 3), 90, np.uint8))])
    assert score.alarm and math.isnan(score.score)


def test_the_same_history_gives_the_same_bits(tmp_path: Path) -> None:
    settings = MonitorSettings(model=str(brightness_network(tmp_path)))
    sequence = [frames(i * 33 * MS) for i in range(4)]
    assert play(Monitor(settings, cell()), sequence) == play(Monitor(settings, cell()), sequence)


def test_a_missing_or_altered_network_refuses_to_start(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="is missing"):
        Monitor(MonitorSettings(model=str(tmp_path / "nothing")), cell())
    folder = brightness_network(tmp_path / "cut")
    (folder / NETWORK).write_bytes((folder / NETWORK).read_bytes()[:-3])
    with pytest.raises(PolicyError, match="sha256"):
        Monitor(MonitorSettings(model=str(folder)), cell())


def test_a_network_for_cameras_the_robot_lacks_refuses_to_start(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="wrist"):
        Monitor(MonitorSettings(model=str(brightness_network(tmp_path))), cell(("scene",)))


def chosen(t_ns: int, count: float, winner: int = 1) -> ChoiceNote:
    return ChoiceNote(t_ns, "flow", winner, 0.04, np.array([9.0, count]))


def judge(monitor: Monitor, choices: Sequence[ChoiceNote | None]) -> list[str]:
    """The cause after each choice, on pictures that are in order."""
    state, causes = monitor.start(), []
    for i, choice in enumerate(choices):
        state, score = monitor.update(state, frames(i * 33 * MS), i * 33 * MS, choice)
        causes.append(score.cause)
    return causes


@pytest.fixture
def counting(tmp_path: Path) -> Monitor:
    """A monitor that takes three counts in a row below 2 for an alarm."""
    return Monitor(
        MonitorSettings(model=str(with_familiarity(brightness_network(tmp_path), {"level": 2.0, "chunks": 3}))), cell()
    )


def with_familiarity(folder: Path, familiarity: object) -> Path:
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps(card | {"familiarity": familiarity}))
    return folder


def test_the_third_unfamiliar_chunk_in_a_row_is_an_alarm_the_second_is_not(counting: Monitor) -> None:
    causes = judge(counting, [chosen(i, 1.0) for i in range(3)] + [chosen(3, 2.0)])
    assert causes == ["", "", "unfamiliar_chunk", ""]


def test_a_familiar_chunk_between_unfamiliar_ones_begins_the_row_again(counting: Monitor) -> None:
    assert not any(judge(counting, [chosen(i, count) for i, count in enumerate((1.0, 1.0, 2.0, 1.0, 1.0))]))


def test_one_choice_looked_at_often_is_one_choice(counting: Monitor) -> None:
    assert not any(judge(counting, [chosen(0, 1.0)] * 6))


@pytest.mark.parametrize("choice", [chosen(0, math.nan), chosen(0, math.inf), chosen(0, 5.0, -1), chosen(0, 5.0, 2)])
def test_a_count_that_is_no_number_is_an_alarm_at_once_until_the_next_choice(choice: ChoiceNote, counting: Monitor) -> None:
    for monitor in (counting, Monitor(MonitorSettings(), cell())):
        assert judge(monitor, [choice, choice, chosen(1, 5.0)]) == ["unfamiliar_chunk", "unfamiliar_chunk", ""]


def test_without_a_choice_or_a_selector_there_is_no_opinion_on_chunks(counting: Monitor) -> None:
    assert not any(judge(counting, [None] * 4 + [ChoiceNote(i, "flow", 0, 0.04, None) for i in range(4)]))


def test_a_card_without_a_level_has_no_opinion_on_counts(tmp_path: Path) -> None:
    old = Monitor(MonitorSettings(model=str(brightness_network(tmp_path))), cell())
    assert not any(judge(old, [chosen(i, 1e-9) for i in range(5)]))


@pytest.mark.parametrize("wrong", [{"level": math.nan, "chunks": 3}, {"level": 2.0, "chunks": 0}, {"level": 2.0}, 7])
def test_a_level_that_is_none_refuses_to_start(tmp_path: Path, wrong: object) -> None:
    folder = with_familiarity(brightness_network(tmp_path), wrong)
    with pytest.raises(PolicyError, match=r"monitor\.json: familiarity: found"):
        Monitor(MonitorSettings(model=str(folder)), cell())
