"""The two message libraries against each other: what ROS serializes, rosbags reads, bit for bit, and the other way round."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="no ROS 2: neither wheels nor a sourced system")
from rclpy.serialization import deserialize_message, serialize_message

from robot_stack.data import rosbags_messages
from robot_stack.data.compare import difference
from robot_stack.data.wire import chunk_key, from_message, to_message, type_of
from robot_stack.nodes import messages
from robot_stack.types import ActionChunk, CameraFrame, FailureScore, Hazards, JointState, Step
from tests.data import strategies as values

ANYTHING = st.one_of(
    values.FRAMES, values.STATES, values.CHUNKS, values.SCORES, values.HAZARDS, values.NOTES, values.STEPS
)  # fmt: skip


def topic_of(value):
    topics = {
        CameraFrame: "/scene/image",
        JointState: "/joint_states",
        ActionChunk: "/policy/chunk",
        FailureScore: "/monitor/score",
        Hazards: "/monitor/hazards",
        Step: "/arm/verdict",
    }
    return topics.get(type(value), "/policy/choice")


def chunk_of(value):
    chunk = value.inputs.chunk if isinstance(value, Step) else None
    return ({} if chunk is None else {chunk_key(chunk): chunk}).__getitem__


@given(ANYTHING)
@settings(deadline=None)
def test_what_ros_sends_is_what_the_log_reads(value):
    topic = topic_of(value)
    data = serialize_message(to_message(value, messages.make, values.JOINTS))
    message = rosbags_messages.deserialize_cdr(data, type_of(topic))
    assert difference(from_message(topic, message, values.JOINTS, chunk_of(value)), value) is None


@given(ANYTHING)
@settings(deadline=None)
def test_what_a_log_holds_is_what_ros_reads(value):
    topic = topic_of(value)
    data = rosbags_messages.serialize_cdr(to_message(value, rosbags_messages.make, values.JOINTS))
    message = deserialize_message(data, messages.message_class(type_of(topic)))
    assert difference(from_message(topic, message, values.JOINTS, chunk_of(value)), value) is None
