"""An instruction as a network reads it: its UTF-8 bytes, so that no vocabulary has to be shipped."""

import numpy as np
from numpy.typing import NDArray

from robot_stack.errors import PolicyError


def byte_tokens(instruction: str, length: int) -> NDArray[np.int64]:
    """(length,): each byte plus 1, then zeros. Raises PolicyError on an instruction of more than `length` bytes."""
    found = np.frombuffer(instruction.encode(), np.uint8).astype(np.int64) + 1
    if len(found) > length:
        raise PolicyError(f"instruction: found {len(found)} bytes in {instruction!r}, allowed {length}; next: policy.tokens")
    return np.pad(found, (0, length - len(found)))
