import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_stack.data.compare import difference
from robot_stack.data.rosbags_messages import deserialize_cdr, make, serialize_cdr
from robot_stack.data.wire import JointNamesError, chunk_key, from_message, to_message, type_of
from robot_stack.errors import ContractError, DataError
from robot_stack.types import ActionChunk, CameraFrame, Choice, JointState
from tests.data import strategies as values


def there_and_back(topic, value, joint_names=values.JOINTS, chunk_of=None):
    data = serialize_cdr(to_message(value, make, joint_names))
    return from_message(topic, deserialize_cdr(data, type_of(topic)), joint_names, chunk_of)


def assert_survives(topic, value, chunk_of=None):
    assert difference(there_and_back(topic, value, chunk_of=chunk_of), value) is None


@given(values.FRAMES)
def test_a_picture_survives_the_wire(frame):
    assert_survives(f"/{frame.camera}/image", frame)


@given(values.STATES)
def test_a_joint_state_survives_the_wire(state):
    assert_survives("/joint_states", state)


@given(values.COMMANDS)
def test_a_command_survives_the_wire(command):
    assert_survives("/fallback/command", command)
    assert_survives("/arm/command", command)


@given(values.CHUNKS)
def test_a_chunk_survives_the_wire(chunk):
    assert_survives("/policy/chunk", chunk)


@given(values.SCORES)
def test_a_failure_score_survives_the_wire(score):
    assert_survives("/monitor/score", score)


@given(values.HAZARDS)
def test_hazards_survive_the_wire(hazards):
    assert_survives("/monitor/hazards", hazards)


@given(values.NOTES)
def test_a_choice_survives_the_wire(note):
    assert_survives("/policy/choice", note)


@given(values.STEPS)
@settings(max_examples=300)
def test_a_tick_survives_the_wire_with_its_chunk_by_reference(step):
    chunk = step.inputs.chunk
    chunks = {} if chunk is None else {chunk_key(chunk): chunk}
    assert_survives("/arm/verdict", step, chunk_of=chunks.__getitem__)


def chunk(rows=None, source="flow"):
    return ActionChunk(5, 7, 50_000_000, np.arange(6.0).reshape(2, 3) if rows is None else rows, source)


def test_a_choice_with_its_latency_is_noted_on_the_topic():
    note = there_and_back("/policy/choice", (Choice(chunk(), 1, np.array([2.0, 3.0])), 0.04))
    assert (note.t_obs_ns, note.source, note.winner, note.latency_s, note.counts.tolist()) == (5, "flow", 1, 0.04, [2.0, 3.0])


def test_a_chunk_of_the_same_joints_in_another_order_is_refused_by_name():
    message = to_message(chunk(), make, ("elbow", "base", "grip"))
    with pytest.raises(JointNamesError, match="the same in another order"):
        from_message("/policy/chunk", message, values.JOINTS)


def test_a_chunk_with_a_short_row_is_refused():
    message = to_message(chunk(), make, values.JOINTS)
    message.points[1].positions = np.zeros(2)
    with pytest.raises(JointNamesError, match=r"rows of \[2, 3\] joints"):
        from_message("/policy/chunk", message, values.JOINTS)


def test_a_chunk_with_uneven_times_is_refused():
    message = to_message(chunk(np.zeros((3, 3))), make, values.JOINTS)
    message.points[2].time_from_start.nanosec += 1
    with pytest.raises(ContractError, match="evenly spaced"):
        from_message("/policy/chunk", message, values.JOINTS)


@pytest.mark.parametrize("frame_id", ["", "flow", "flow@", "flow@1.5", "flow@nan"])
def test_a_chunk_that_does_not_say_what_it_saw_is_refused(frame_id):
    message = to_message(chunk(), make, values.JOINTS)
    message.header.frame_id = frame_id
    with pytest.raises(ContractError, match="t_obs_ns"):
        from_message("/policy/chunk", message, values.JOINTS)


def test_an_empty_chunk_is_refused():
    message = to_message(chunk(), make, values.JOINTS)
    message.points = []
    with pytest.raises(ContractError, match="at least 2"):
        from_message("/policy/chunk", message, values.JOINTS)


def test_an_image_of_another_encoding_is_refused():
    message = make(
        type_of("/scene/image"),
        header=to_message(chunk(), make, values.JOINTS).header,
        height=1,
        width=1,
        encoding="bgr8",
        is_bigendian=0,
        step=3,
        data=np.zeros(3, np.uint8),
    )
    with pytest.raises(ContractError, match="found bgr8 1x1"):
        from_message("/scene/image", message)


@pytest.mark.parametrize("count", [np.nan, np.inf, -1.0, 0.5, 2.0])
def test_hazards_with_a_wrong_count_are_refused(count):
    message = to_message(JointState(1, np.zeros(1), np.zeros(1)), make, ("count",))
    message.position = np.array([count])
    with pytest.raises(ContractError, match="hazards: found count"):
        from_message("/monitor/hazards", message)


def test_a_score_without_a_threshold_is_refused():
    message = to_message(JointState(1, np.zeros(1), np.zeros(1)), make, ("score",))
    with pytest.raises(ContractError, match="threshold"):
        from_message("/monitor/score", message)


@given(st.integers(0, 5), st.integers(0, 5), st.sampled_from(["", "q", "q qd", "q qd tau", "tau"]))
def test_a_joint_state_of_any_lengths_is_a_value_or_refused(positions, velocities, frame_id):
    message = to_message(JointState(1, np.zeros(3), np.zeros(3)), make, values.JOINTS)
    message.header.frame_id = frame_id
    message.position, message.velocity = np.zeros(positions), np.zeros(velocities)
    try:
        command = from_message("/fallback/command", message, values.JOINTS)
    except ContractError as error:
        assert "one number for each" in str(error)
    else:
        assert command.q.shape == (3,)


def test_an_empty_image_is_refused():
    frame = to_message(CameraFrame("scene", 1, np.zeros((1, 1, 3), np.uint8)), make)
    frame.height, frame.data = 0, np.zeros(0, np.uint8)
    with pytest.raises(ContractError, match="not empty"):
        from_message("/scene/image", frame)


def test_a_value_of_the_wrong_number_of_joints_is_not_sent():
    with pytest.raises(ContractError, match="found 3 joints"):
        to_message(chunk(), make, ("base",))


def test_a_value_without_a_topic_is_not_sent():
    with pytest.raises(ContractError, match="found int"):
        to_message(3, make)


def test_an_unknown_topic_is_named():
    with pytest.raises(ContractError, match="'/foo'"):
        type_of("/foo")


def test_bytes_that_are_no_message_are_a_data_error():
    with pytest.raises(DataError, match="damaged"):
        deserialize_cdr(b"\x00\x01\x00\x00\xff", type_of("/arm/verdict"))
