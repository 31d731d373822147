"""ROS 2 messages without ROS: the classes and the CDR coding of `rosbags`, for logs, replay and tests."""

from functools import cache
from typing import Any

from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from robot_stack.errors import DataError


@cache
def typestore() -> Typestore:
    """The message definitions of ROS 2 Jazzy; those used here are the same in Kilted."""
    return get_typestore(Stores.ROS2_JAZZY)


def make(typename: str, /, **fields: Any) -> Any:
    """A message of `typename` ("sensor_msgs/msg/Image"); array fields are numpy arrays."""
    return typestore().types[typename](**fields)


def serialize_cdr(message: Any) -> bytes:
    """The CDR bytes of `message`, as they travel between ROS nodes and lie in a log."""
    return bytes(typestore().serialize_cdr(message, message.__msgtype__))


def deserialize_cdr(data: bytes, typename: str) -> Any:
    """The message in `data`. Raises DataError when the bytes are not one `typename`."""
    try:
        return typestore().deserialize_cdr(data, typename)
    except Exception as error:  # the generated decoders raise whatever they stumble over
        raise DataError(f"message: found {len(data)} bytes that are no {typename} ({error}); the log is damaged here") from error


def definition(typename: str) -> bytes:
    """The text of the message definition, with all it depends on, as an MCAP schema of encoding ros2msg."""
    return typestore().generate_msgdef(typename, ros_version=2)[0].encode()


def type_hash(typename: str) -> str:
    """The REP-2011 type hash ("RIHS01_...")."""
    return typestore().hash_rihs01(typename)
