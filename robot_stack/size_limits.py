"""How large what comes from outside may be: text, messages, logs, weights. Beyond it is no robot, but a mistake or an attack.

All limits in one place. Each is far above what is used (the largest in use stands behind it), so that none is ever a setting.
"""

import errno
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from robot_stack.errors import ContractError

TEXT_BYTES = 16 << 20
"""One YAML or JSON file or line (a dataset's index: 2 MiB)."""
TEXT_VALUES = 200_000
"""Values in a YAML text, counted where they are used: an alias used twice counts twice."""
JOINTS = 128
"""Joints of a message (a humanoid with hands: 54)."""
CHUNK_ROWS = 2_000
"""Rows of a chunk (a second at 1 kHz; in use: 64)."""
SCALARS = 10_000
"""Named scalars of a message (a choice among 1,000 candidates)."""
WORDS = 4_096
"""Characters of a frame_id, a name or a cause."""
IMAGE_BYTES = 64 << 20
"""Pixels of one picture, 3 bytes each (4K: 25 MB)."""
LOG_RECORD_BYTES = 256 << 20
"""One record of a log as it lies in the file (chunks are closed at 2 MiB)."""
LOG_CHUNK_BYTES = 256 << 20
"""One chunk of a log, decompressed."""
WEIGHTS_HEADER_BYTES = 16 << 20
"""The JSON before the numbers of a safetensors file (in use: 60 kB)."""
BUNDLE_FILES, BUNDLE_BYTES = 1_000, 64 << 30
"""Files of a bundle, and bytes of each."""


def at_most(what: str, found: int, allowed: int) -> None:
    """Raises ContractError where `found` is more than `allowed`."""
    if found > allowed:
        raise ContractError(f"{what}: found {found}, allowed at most {allowed}")


def read_text(path: Path, most: int = TEXT_BYTES) -> str:
    """The UTF-8 text of `path`. Raises OSError (also where it is longer than `most` bytes) and UnicodeDecodeError."""
    with path.open("rb") as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"found more than {most} bytes, allowed at most that", str(path))
    return data.decode("utf-8")


def parse_yaml(text: str) -> Any:
    """`yaml.safe_load` of a text that unfolds to at most TEXT_VALUES values, however its aliases nest. Raises yaml.YAMLError."""
    if len(text) > TEXT_BYTES:
        raise yaml.YAMLError(f"found {len(text)} characters, allowed at most {TEXT_BYTES}")
    try:
        value = yaml.safe_load(text)
    except RecursionError as error:
        raise yaml.YAMLError("found lists too deep in each other") from error
    _count(value)
    return value


def parse_json(text: str) -> Any:
    """`json.loads`. Raises ValueError, also where lists are too deep in each other or `text` is too long."""
    if len(text) > TEXT_BYTES:
        raise ValueError(f"found {len(text)} characters, allowed at most {TEXT_BYTES}")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("found lists too deep in each other") from error


def check_weights(path: Path) -> None:
    """Raises OSError where the header of the safetensors file `path` is longer than WEIGHTS_HEADER_BYTES, or than the file."""
    with path.open("rb") as stream:
        claimed = int.from_bytes(stream.read(8), "little")
    if claimed > min(WEIGHTS_HEADER_BYTES, path.stat().st_size):
        raise OSError(errno.EFBIG, f"its header claims {claimed} bytes, allowed at most {WEIGHTS_HEADER_BYTES}", str(path))


def _count(value: Any) -> None:
    waiting, left = [value], TEXT_VALUES
    while waiting:
        each = waiting.pop()
        left -= 1
        if left < 0:
            raise yaml.YAMLError(f"found aliases that unfold to more than {TEXT_VALUES} values")
        if isinstance(each, Mapping):
            waiting += [*each.keys(), *each.values()]
        elif isinstance(each, list | tuple | set):
            waiting += each
