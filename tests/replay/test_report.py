import json
import re
from pathlib import Path

import numpy as np
import pytest

from robot_stack.data.log import LogMetadata, LogWriter, read_log
from robot_stack.data.wire import ChoiceNote
from robot_stack.errors import DataError
from robot_stack.replay.report import Contents, Training, figures, latencies, render, report_on_logs, write_report
from robot_stack.replay.views import episode_view
from robot_stack.types import ActionChunk, Decision

GOLDEN = Path(__file__).parents[1] / "golden" / "frozen"
ROW = {
    "variant": "+ filter",
    "scenario": "obstacle",
    "n": 20,
    "success": 11,
    "violation": 0,
    "stopped": 2,
    "limited": 0.25,
    "clearance_min": 0.013,
    "time_to_stop_s": None,
    "success_interval": (0.34, 0.74),
    "violation_interval": (0.0, 0.16),
}


@pytest.fixture(scope="module")
def view():
    return episode_view(read_log(GOLDEN))


def test_a_report_from_a_log_alone_says_how_it_went_and_that_it_replays(tmp_path):
    page = report_on_logs([GOLDEN], tmp_path / "out").read_text()
    found = json.loads((tmp_path / "out/report.json").read_text())
    (episode,) = found["episodes"]
    assert "verdicts bit-equal" in page and "fallback: monitor_alarm" in page
    assert (episode["final_mode"], episode["replay"]["ok"], episode["scenario"]) == ("stop", True, "frozen")
    assert [span["name"] for span in episode["modes"]] == ["disarmed", "teleop", "fallback", "stop"]
    assert episode["reasons"]["fallback_too_long"] == 1


def test_a_log_that_cannot_be_replayed_is_shown_with_a_note(tmp_path):
    log = read_log(GOLDEN)
    with LogWriter(tmp_path / "bare", LogMetadata("sim_arm", log.metadata.joint_names)) as copy:
        for raw in log.messages():
            copy.write(raw.topic, raw.t_ns, raw.data)
    page = report_on_logs([tmp_path / "bare"], tmp_path / "bare.html")
    assert page == tmp_path / "bare.html" and page.with_suffix(".json").is_file()
    assert "bare was not replayed" in page.read_text()


def test_the_page_needs_no_other_file(view):
    page = render(Contents("One file", [view]))
    links = re.findall(r'(?:src|href)="([^"]{1,40})', page) + re.findall(r"url\(([^)]{1,40})", page)
    assert links and all(link.startswith("data:image/") for link in links)
    assert "<script" not in page


def test_text_from_outside_is_escaped():
    page = render(Contents("<script>alert(1)</script>", trainings=[Training("a<b>", {"loss": "<i>"})], notes=["x < y"]))
    assert "<script>" not in page and "a&lt;b&gt;" in page and "x &lt; y" in page


def test_each_part_is_shown_only_when_there_is_something_to_show(view):
    assert "Each protection" not in render(Contents("Short", [view]))
    page = render(Contents("Long", [view], [ROW], [Training("flow", {"error, rad": 0.0312}, [(0, 1.0), (1, 0.5)])]))
    assert "Each protection" in page and "11/20" in page and "0.0312" in page


def test_figures_that_are_not_finite_are_null_in_json(view):
    row = ROW | {"clearance_min": float("inf"), "limited": np.float64("nan")}
    found = json.loads(json.dumps(figures(Contents("Odd", [view], [row])), allow_nan=False))
    assert (found["protections"][0]["clearance_min"], found["protections"][0]["limited"]) == (None, None)


def test_percentiles_are_of_all_episodes_together(view):
    table = {row.name: row for row in latencies(Contents("", [view, view], extra_latencies={"camera": np.arange(101) / 1e3}))}
    ticks = next(row for name, row in table.items() if name.startswith("tick"))
    assert ticks.n == 2 * len(view.t_s)
    assert (table["camera"].p50, table["camera"].p95, table["camera"].p99, table["camera"].max) == (50, 95, 99, 100)


def test_a_strip_has_ten_pictures_of_each_camera_in_order(view):
    assert set(view.strips) == {"scene", "wrist"}
    for strip in view.strips.values():
        times = [p.t_s for p in strip]
        assert len(strip) == 10 and times == sorted(times)
        assert all(p.jpeg.startswith(b"\xff\xd8") for p in strip)


def test_shares_are_of_the_time_the_arm_might_move(view):
    assert sum(view.share(d) for d in Decision) == pytest.approx(1.0)
    assert 0.05 < view.share(Decision.LIMIT) < 0.95


def test_the_alarm_that_led_to_fallback_is_named(view):
    (alarm,) = view.alarms
    fallback = next(span for span in view.modes if span.name == "fallback")
    assert alarm.begin_s <= fallback.begin_s and "frozen" in alarm.name


def test_latency_from_camera_to_command_and_counts_come_from_a_policys_log(tmp_path):
    log = read_log(GOLDEN)
    with LogWriter(tmp_path / "policy", log.metadata) as copy:
        for step in log.steps():
            t = step.t_ns
            chunk = ActionChunk(t - 45_000_000, t, 50_000_000, np.zeros((2, 7)), "flow")
            copy.write_value("/policy/chunk", t, chunk)
            copy.write_value("/policy/choice", t, ChoiceNote(chunk.t_obs_ns, "flow", 1, 0.04, np.array([1.0, 9.0])))
            inputs = type(step.inputs)(joints=step.inputs.joints, chunk=chunk)
            copy.write_value("/arm/verdict", t, type(step)(t, 0, inputs, step.verdict, step.mode_cause))
    view = episode_view(read_log(tmp_path / "policy"))
    table = {row.name.split(":")[0]: row.p50 for row in latencies(Contents("", [view]))}
    assert (round(table["camera to command"], 6), round(table["policy"], 6)) == (45.0, 40.0)
    assert view.counts[0].counts == (1.0, 9.0)
    assert "candidate 1 of 2" in render(Contents("", [view]))


def test_a_log_without_ticks_is_named(tmp_path):
    with LogWriter(tmp_path / "empty", LogMetadata("sim_arm", ("a",))):
        pass
    with pytest.raises(DataError, match="found no tick on /arm/verdict"):
        episode_view(read_log(tmp_path / "empty"))


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="name a folder that can be written to"):
        write_report(Contents("x"), tmp_path / "file")
