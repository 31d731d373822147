"""rclpy's message classes for `robot_stack.data.wire`, which knows the fields but imports no ROS."""

from array import array
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

_TYPECODES = {np.dtype(np.float64): "d", np.dtype(np.uint8): "B"}


@cache
def message_class(typename: str) -> Any:
    """The rclpy class of `typename` ("sensor_msgs/msg/Image")."""
    package, kind, name = typename.split("/")
    return getattr(import_module(f"{package}.{kind}"), name)


def make(typename: str, /, **fields: Any) -> Any:
    """A message of `typename`; numpy arrays become array.array, the only kind rclpy takes without looking at each element."""
    message = message_class(typename)()
    for name, value in fields.items():
        setattr(message, name, _field(name, value))
    return message


def _field(name: str, value: Any) -> Any:
    if isinstance(value, np.ndarray):
        packed = array(_TYPECODES[value.dtype])
        packed.frombytes(np.ascontiguousarray(value).data.cast("B"))
        return packed
    return bytes([value]) if name == "level" else value
