"""Seals: what a run's own nodes and named clients say comes in, whatever else anybody puts on the wire does not."""

import hashlib
import hmac
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_stack.data.rosbags_messages import make
from robot_stack.data.wire import chunk_value, command_value, frame_value, score_value, to_message
from robot_stack.errors import ConfigError, ContractError
from robot_stack.seal import ANYONE, FRESH_NS, KEYS, Doorkeeper, Keys, invitation, make_keys, permit, read_keys, seal
from robot_stack.types import ActionChunk, CameraFrame, FailureScore, JointCommand

NOW = 50_000_000_000
NAMES = ("a", "b", "c")
KNOWN = Keys({"graph": b"\1" * 32, "cyclone": b"\2" * 32})
STRANGER = Keys({"graph": b"\3" * 32, "nobody": b"\4" * 32})
CHUNK = ActionChunk(NOW - 5, NOW, 50_000_000, np.arange(12.0).reshape(4, 3), "flow")
COMMAND = JointCommand(NOW, np.array([0.1, 0.2, 0.3]), np.zeros(3))
SCORE = FailureScore(NOW, 0.25, 1.0, "scene: frozen")
FRAME = CameraFrame("scene", NOW, np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
VALUES = {"/policy/chunk": CHUNK, "/fallback/command": COMMAND, "/monitor/score": SCORE, "/scene/image": FRAME}


def message_of(topic: str, keys: Keys = KNOWN, t_ns: int = NOW, speaker: str = "graph") -> Any:
    message = to_message(VALUES[topic], make, NAMES)
    seal(message, topic, keys, t_ns, speaker)
    return message


def refused(message: Any, topic: str, keeper: Doorkeeper | None = None, **how: Any) -> str:
    with pytest.raises(ContractError) as error:
        (keeper or Doorkeeper(KNOWN)).admit(message, topic, NOW, **how)
    return str(error.value)


@pytest.mark.parametrize("topic", VALUES)
def test_what_a_node_of_the_run_says_comes_in_and_means_what_it_meant(topic: str) -> None:
    message = message_of(topic)
    Doorkeeper(KNOWN).admit(message, topic, NOW)
    readers = {
        "/policy/chunk": lambda m: chunk_value(m, NAMES),
        "/fallback/command": lambda m: command_value(m, NAMES),
        "/monitor/score": score_value,
        "/scene/image": frame_value,
    }
    plain = to_message(VALUES[topic], make, NAMES)
    assert repr(readers[topic](message)) == repr(readers[topic](plain))


def test_what_has_no_seal_or_that_of_a_stranger_is_refused() -> None:
    assert "no seal" in refused(to_message(CHUNK, make, NAMES), "/policy/chunk")
    assert "not one of 'graph'" in refused(message_of("/policy/chunk", STRANGER), "/policy/chunk")
    assert "of whom this run does not know" in refused(
        message_of("/policy/chunk", STRANGER, speaker="nobody"), "/policy/chunk", clients=True
    )
    nonsense = to_message(CHUNK, make, NAMES)
    nonsense.header.frame_id += " seal=graph:1"
    assert "its seal is none" in refused(nonsense, "/policy/chunk")


def edited_position(message: Any) -> None:
    message.points[2].positions = message.points[2].positions + np.array([0.0, 1e-9, 0.0])


def edited_time(message: Any) -> None:
    message.points[1].time_from_start.nanosec += 1


def edited_stamp(message: Any) -> None:
    message.header.stamp.nanosec += 1


def edited_meaning(message: Any) -> None:
    message.header.frame_id = message.header.frame_id.replace("flow@", "flower@")


def edited_names(message: Any) -> None:
    message.joint_names = list(reversed(message.joint_names))


def edited_rows(message: Any) -> None:
    message.points = message.points[:-1]


def edited_seal_time(message: Any) -> None:
    message.header.frame_id = message.header.frame_id.replace(f"graph:{NOW}", f"graph:{NOW - 1}")


EDITS = (edited_position, edited_time, edited_stamp, edited_meaning, edited_names, edited_rows, edited_seal_time)


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
def test_a_message_changed_in_anything_that_is_read_is_refused(edit: Any) -> None:
    message = message_of("/policy/chunk")
    edit(message)
    assert "content was changed" in refused(message, "/policy/chunk")


def test_each_number_of_a_joint_state_and_each_pixel_is_under_the_seal() -> None:
    for field in ("position", "velocity", "effort"):
        message = message_of("/fallback/command")
        changed = np.array(getattr(message, field))
        changed[0] = 1e-12 if changed[0] == 0.0 or np.isnan(changed[0]) else np.nextafter(changed[0], 2.0)
        setattr(message, field, changed)
        assert "content was changed" in refused(message, "/fallback/command")
    picture = message_of("/scene/image")
    picture.data = np.array(picture.data)
    picture.data[17] ^= 1
    assert "content was changed" in refused(picture, "/scene/image")


def test_a_message_counts_once_and_on_its_own_topic_alone() -> None:
    keeper, message = Doorkeeper(KNOWN), message_of("/policy/chunk")
    keeper.admit(message, "/policy/chunk", NOW)
    assert "is used" in refused(deepcopy(message), "/policy/chunk", keeper)
    assert "is used" in refused(message_of("/policy/chunk", t_ns=NOW - 1), "/policy/chunk", keeper)
    assert "content was changed" in refused(message, "/left/policy/chunk")
    keeper.admit(message_of("/policy/chunk", t_ns=NOW + 1), "/policy/chunk", NOW + 1)


@pytest.mark.parametrize("t_ns", [NOW - FRESH_NS - 1, NOW + 1])
def test_a_seal_that_is_old_or_of_the_future_is_refused_by_a_node_that_just_began(t_ns: int) -> None:
    assert "old, or of a later time" in refused(message_of("/policy/chunk", t_ns=t_ns), "/policy/chunk")


def test_a_named_client_may_send_chunks_and_nothing_else() -> None:
    Doorkeeper(KNOWN).admit(message_of("/policy/chunk", speaker="cyclone"), "/policy/chunk", NOW, clients=True)
    assert "may not speak there" in refused(message_of("/fallback/command", speaker="cyclone"), "/fallback/command")
    own = Keys({"graph": KNOWN.known["cyclone"]})
    assert "not one of 'graph'" in refused(message_of("/fallback/command", own), "/fallback/command")


def test_anyone_may_speak_where_the_run_says_so() -> None:
    Doorkeeper(Keys(KNOWN.known, anyone=True)).admit(to_message(CHUNK, make, NAMES), "/policy/chunk", NOW)


def test_a_permit_is_for_one_call_of_one_service() -> None:
    keeper = Doorkeeper(KNOWN)
    granted = permit("/arm_node/arm_policy", KNOWN, NOW)
    for service, wrong in (
        ("/arm_node/reset", granted),
        ("/arm_node/arm_policy", ""),
        ("/arm_node/arm_policy", granted[:-1] + "?"),
    ):
        with pytest.raises(ContractError):
            keeper.admit_request(service, wrong, NOW)
    keeper.admit_request("/arm_node/arm_policy", granted, NOW)
    with pytest.raises(ContractError, match="is used"):
        keeper.admit_request("/arm_node/arm_policy", granted, NOW)


def test_a_seal_is_what_the_docstring_says_for_whoever_writes_a_client() -> None:
    said = ["/policy/chunk", "cyclone", NOW, NOW, f"flow@{NOW - 5}", list(NAMES), [3, 3, 3, 3]]
    times = b"".join((i * 50_000_000).to_bytes(8, "little") for i in range(4))
    text = json.dumps(said, separators=(",", ":")).encode() + b"\n" + times + CHUNK.q.astype("<f8").tobytes()
    tag = hmac.new(KNOWN.known["cyclone"], text, hashlib.sha256).hexdigest()[:32]
    message = message_of("/policy/chunk", speaker="cyclone")
    assert message.header.frame_id == f"flow@{NOW - 5} seal=cyclone:{NOW}:{tag}"


def test_keys_are_drawn_anew_for_each_run_and_only_their_user_can_read_them(tmp_path: Path) -> None:
    make_keys(tmp_path, ["cyclone"])
    first = read_keys(tmp_path / KEYS)
    assert set(first.known) == {"graph", "cyclone"} and not first.anyone
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in (KEYS, "cyclone.key")} == {0o600}
    assert str(tmp_path / "cyclone.key") in invitation(tmp_path, "cyclone") and "whoever" in invitation(tmp_path, ANYONE)
    assert read_keys(tmp_path / "cyclone.key").known == {"cyclone": first.known["cyclone"]}
    make_keys(tmp_path, [ANYONE])
    again = read_keys(tmp_path / KEYS)
    assert again.known["graph"] != first.known["graph"] and again.anyone


@pytest.mark.parametrize("name", ["graph", "Has Space", "", "../up", "x" * 33])
def test_a_client_that_has_no_proper_name_is_refused_at_start(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"run\.allow"):
        make_keys(tmp_path, [name])


def test_keys_that_others_may_read_or_that_are_none_are_refused(tmp_path: Path) -> None:
    file = tmp_path / KEYS
    with pytest.raises(ConfigError, match="start the graph again"):
        read_keys(file)
    make_keys(tmp_path, [])
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="mode 644, allowed owner"):
        read_keys(file)
    file.chmod(0o600)
    file.write_text("graph 1234\n")
    with pytest.raises(ConfigError, match="found no lines"):
        read_keys(file)
    link = tmp_path / "link"
    link.symlink_to(file)
    with pytest.raises(ConfigError):
        read_keys(link)
