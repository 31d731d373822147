"""What the page is told: everything the robot said, no number that JSON has not, and each intervention once."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robot_stack.build import Run
from robot_stack.console.state import facts, state
from robot_stack.console.view import KEPT_EVENTS, KEPT_READINGS, Recording, View
from robot_stack.control import TELEOP_SOURCE
from robot_stack.data.log import read_log
from robot_stack.diagnostics import Level, Reading
from robot_stack.types import (
    ActionChunk,
    Decision,
    FailureScore,
    JointCommand,
    JointState,
    Mode,
    Reason,
    SafeCommand,
    SafetyVerdict,
    Step,
    TickInputs,
    Violation,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "frozen"
TICK_NS = 10_000_000
Q = np.zeros(7)


def step(tick: int, mode: Mode = Mode.POLICY, *reasons: Reason, cause: tuple[Reason, ...] = ()) -> Step:
    t_ns = tick * TICK_NS
    decision = Decision.LIMIT if reasons else Decision.PASS
    command = SafeCommand(JointCommand(t_ns, Q, Q))
    verdict = SafetyVerdict(t_ns, mode, decision, None, command, tuple(Violation(r, 0.01) for r in reasons))
    return Step(t_ns, 0, TickInputs(joints=JointState(t_ns, Q, Q)), verdict, cause)


def seen(*steps: Step) -> View:
    view = View()
    for each in steps:
        view = view.with_step(each)
    return view


def test_before_anything_was_heard_there_is_a_state_that_says_so() -> None:
    said = state(View(), 5)
    assert said["mode"] is None and said["q"] is None and said["ages"]["verdict"] is None
    json.dumps(said, allow_nan=False)


def test_a_recorded_episode_shows_its_modes_its_interventions_and_its_pictures_ages() -> None:
    view, said = View(), {}
    for topic, t_ns, value in read_log(GOLDEN).iterate():
        match topic:
            case "/arm/verdict":
                view = view.with_step(value)
            case "/policy/chunk":
                view = view.with_chunk(value)
            case "/policy/choice":
                view = view.with_note(value)
            case _ if topic.endswith("/image"):
                view = view.with_frame(value)
        said = state(view, t_ns)
    assert said["mode"] == "stop" and said["alarm"] and said["cause"]
    assert any(event["mode"] == "fallback" and "monitor alarm" in event["text"] for event in said["events"])
    assert said["events"][0]["ago_s"] <= said["events"][-1]["ago_s"]
    assert set(said["ages"]) >= {"verdict", "joints", "score", "chunk", "scene", "wrist"}
    json.dumps(said, allow_nan=False)


def test_numbers_that_are_not_finite_become_null() -> None:
    broken = step(1)
    inputs = TickInputs(joints=JointState(0, Q * np.nan, Q), score=FailureScore(0, float("nan"), float("inf")))
    said = state(View().with_step(replace(broken, inputs=inputs)), TICK_NS)
    assert said["margin"] is None and said["score"] is None and said["q"] == [None] * 7 and said["alarm"]
    json.dumps(said, allow_nan=False)


def test_the_same_intervention_tick_after_tick_is_told_once_with_its_length() -> None:
    view = seen(step(0), *(step(tick, Mode.POLICY, Reason.KEEP_OUT) for tick in range(1, 31)))
    told = [event for event in state(view, 40 * TICK_NS)["events"] if event["what"] != "mode"]
    assert [(event["text"], event["ticks"], event["for_s"]) for event in told] == [("keep out", 30, 0.29)]


def test_an_intervention_names_all_its_reasons_the_most_frequent_first() -> None:
    kinds = (Reason.KEEP_OUT, Reason.SLOWED, Reason.SLOWED)
    view = seen(step(0), *(step(tick, Mode.POLICY, kinds[tick % 3]) for tick in range(1, 31)))
    told = state(view, 31 * TICK_NS)["events"][0]
    assert (told["text"], told["ticks"]) == ("slowed along path, keep out", 30)


def test_the_header_names_each_reason_once() -> None:
    twice = step(1, Mode.POLICY, Reason.ACCELERATION, Reason.ACCELERATION, Reason.SLOWED)
    assert state(seen(twice), 0)["why"] == "limit: acceleration limit, slowed along path"


def test_only_what_is_not_well_and_what_is_recorded_are_told() -> None:
    well, unwell = Reading("process", Level.OK, "active"), Reading("mode", Level.ERROR, "stop")
    readings = {"arm_node: process": well, "arm_node: mode": unwell}
    said = state(View().with_readings(readings).with_recording(Recording("/runs/1", 2.5, "success")), 0)
    assert said["health"] == [{"name": "arm_node: mode", "level": "error", "said": "stop"}]
    assert said["recording"] == {"path": "/runs/1", "for_s": 2.5, "mark": "success", "fault": "", "dropped": 0}


def test_an_intervention_that_comes_back_after_a_second_is_told_again() -> None:
    view = seen(step(0), step(1, Mode.POLICY, Reason.KEEP_OUT), step(120, Mode.POLICY, Reason.KEEP_OUT))
    assert len([event for event in view.events if not event.is_change]) == 2


def test_a_change_of_mode_is_told_with_its_cause_and_begins_the_time_in_it() -> None:
    view = seen(step(0, Mode.DISARMED, Reason.DISARMED), step(1), step(2, Mode.STOP, Reason.STOPPED, cause=(Reason.OPERATOR,)))
    said = state(view, 102 * TICK_NS)
    assert [event["mode"] for event in said["events"]] == ["stop", "policy", "disarmed"]
    assert said["events"][0]["text"] == "because operator" and said["mode_s"] == pytest.approx(1.0)


def test_events_do_not_pile_up() -> None:
    view = seen(*(step(tick, (Mode.POLICY, Mode.FALLBACK)[tick % 2]) for tick in range(200)))
    assert len(view.events) == KEPT_EVENTS


def test_a_flood_of_names_on_diagnostics_does_not_pile_up() -> None:
    view = View()
    for number in range(2 * KEPT_READINGS):
        view = view.with_readings({f"stranger {number}": Reading("", Level.WARN, "")})
    assert len(view.readings) == KEPT_READINGS and f"stranger {2 * KEPT_READINGS - 1}" in view.readings


def test_the_instruction_shown_is_the_one_the_policy_says_it_has() -> None:
    assert state(View(), 0)["instruction"] is None
    told = {"left/policy_node: policy": Reading("policy", Level.OK, "", {"instruction": "Tidy up."})}
    assert state(View().with_readings(told), 0)["instruction"] == "Tidy up."


@pytest.mark.parametrize(
    ("mode", "shown"), [(Mode.POLICY, "policy"), (Mode.TELEOP, TELEOP_SOURCE), (Mode.STOP, "policy"), (Mode.DISARMED, "policy")]
)
def test_the_chunk_shown_is_of_whoever_has_the_arm(mode: Mode, shown: str) -> None:
    view = seen(step(1, mode))
    for source in ("policy", TELEOP_SOURCE):
        view = view.with_chunk(ActionChunk(0, 0, TICK_NS, np.zeros((2, 7)), source))
    assert view.chunk is not None and view.chunk.source == shown


def test_the_joints_of_a_picture_are_those_measured_when_it_was_taken() -> None:
    moving = [replace(s, inputs=TickInputs(joints=JointState(s.t_ns, Q + s.t_ns, Q))) for s in (step(t) for t in range(9))]
    at = seen(*moving).q_at(3 * TICK_NS + 1)
    assert at is not None and at[0] == 3 * TICK_NS


def test_the_facts_name_every_joint_camera_and_age() -> None:
    known = facts(Run())
    assert [camera["name"] for camera in known["cameras"]] == ["scene", "wrist"]
    assert len(known["joints"]) == 7 and known["joints"][6]["unit"] == "m"
    assert set(known["oldest"]) == {"verdict", "joints", "chunk", "score", "hazards", "scene", "wrist"}
    json.dumps(known, allow_nan=False)
