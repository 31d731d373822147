"""Who may speak in a graph: each message a node acts on carries a seal made with a key of this run; one without is refused.

Names and GIDs of DDS are claims: any program that can reach the loopback interface can put the same bytes on it. So a run draws
a key, `run.keys` beside the run file, readable by its user alone, and the seal is a message authentication code (RFC 2104):

    header.frame_id = "<meaning> seal=<speaker>:<t_ns>:<tag>"
    tag             = the first 32 hex digits of HMAC-SHA256(key, head + "\\n" + body)
    head            = JSON (ASCII, no spaces) of [topic, speaker, t_ns, stamp_ns, meaning, names, sizes]
    t_ns, stamp_ns  = CLOCK_MONOTONIC when sealed; header.stamp; `topic` with its namespace

    JointState       names = name, sizes = lengths of position, velocity, effort; body = these, float64 little endian
    JointTrajectory  names = joint_names, sizes = numbers in each row; body = time_from_start of each row (int64 ns), then all
                     positions. Velocities, accelerations and efforts are not sealed: no node reads them
    Image            names = [encoding], sizes = [height, width, step, bytes]; body = data

Each speaker's `t_ns` only grows, so that no message counts twice, and one of a second run or of another topic fits nowhere.
A node speaks as GRAPH. A client named in `run.allow` has a key of its own and may send chunks and requests, nothing else.
What lets the arm move or says what it does (to arm, to reset, an instruction, where a log goes) takes a permit: a seal by itself
with the head [action, speaker, t_ns], in the parameter `permit` of that node ("/arm_node/reset", "/policy_node/instruction ...").
It does not hold against the user who started the run, or root: they can read the keys.
"""

import hmac
import json
import os
import re
import secrets
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robot_stack.data.wire_scalars import SEAL, meaning, stamp_ns
from robot_stack.errors import ConfigError, ContractError
from robot_stack.graph import POLICY_CHUNK, TELEOP_CHUNK
from robot_stack.secure.private import write_new
from robot_stack.types import Request

GRAPH = "graph"
"""What the nodes of a run call themselves."""
ANYONE = "anyone"
"""`run.allow=[anyone]`: seals are made, not asked for."""
KEYS = "run.keys"
FOR_CLIENTS = frozenset({POLICY_CHUNK, TELEOP_CHUNK})
"""Where a client may speak."""
WITH_PERMIT = frozenset({Request.ARM_POLICY, Request.ARM_TELEOP, Request.RESET})
"""What lets the arm move is granted to those with a key; anyone may disarm and stop it."""
KEY_BYTES, TAG_DIGITS = 32, 32
FRESH_NS = 10_000_000_000
"""An older seal is refused: a node that was started again does not know what it has heard before."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


@dataclass(frozen=True)
class Keys:
    """The keys of a run by speaker; `anyone`: messages without a seal are accepted."""

    known: Mapping[str, bytes]
    anyone: bool = False


def make_keys(folder: Path, clients: Sequence[str]) -> None:
    """Draw new keys for the run in `folder`: `run.keys` for its nodes and `<client>.key` for each of `clients` to be given.

    Raises ConfigError on a name that is none.
    """
    for name in clients:
        if not _NAME.fullmatch(name) or name == GRAPH:
            raise ConfigError(f"run.allow: found {name!r}, allowed names like my_client (a-z, 0-9, _), or {ANYONE}")
    keys = {name: secrets.token_hex(KEY_BYTES) for name in (GRAPH, *clients)}
    _write_private(folder / KEYS, "".join(f"{name} {key}\n" for name, key in keys.items()))
    for name in clients:
        if name != ANYONE:
            _write_private(folder / f"{name}.key", f"{name} {keys[name]}\n")


def invitation(folder: Path, client: str) -> str:
    """What the run in `folder` says of `client` when it starts."""
    if client == ANYONE:
        return "run.allow=[anyone]: whoever reaches this graph may move the arm within its limits"
    return f"run.allow: {client} may send chunks and arm; its key is {folder / f'{client}.key'}"


def read_keys(file: Path) -> Keys:
    """The keys in `file`. Raises ConfigError unless it is there, ours, and no other user may read or write it."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}; it is written beside the run file; next: start the graph again") from error
    with open(descriptor, encoding="ascii", errors="replace") as stream:
        about = os.fstat(descriptor)
        if about.st_uid != os.getuid() or stat.S_IMODE(about.st_mode) & 0o077:
            found = f"owner {about.st_uid}, mode {stat.S_IMODE(about.st_mode):o}"
            raise ConfigError(f"{file}: found {found}, allowed owner {os.getuid()}, mode 600: others could speak as this robot")
        lines = [line.split() for line in stream.read(1 << 16).splitlines()]
    if not lines or not all(len(line) == 2 and re.fullmatch(f"[0-9a-f]{{{2 * KEY_BYTES}}}", line[1]) for line in lines):
        raise ConfigError(f"{file}: found no lines '<speaker> <{2 * KEY_BYTES} hex digits>'; next: start the graph again")
    known = {name: bytes.fromhex(key) for name, key in lines}
    return Keys(known, ANYONE in known)


def seal(message: Any, topic: str, keys: Keys, t_ns: int, speaker: str = GRAPH) -> None:
    """Put a seal of `speaker`, made at `t_ns`, on `message` (rclpy's or rosbags') of `topic`, in the place of any it has."""
    said = meaning(message)
    names, sizes, body = _content(message)
    tag = _tag(keys.known[speaker], [topic, speaker, t_ns, stamp_ns(message), said, names, sizes], body)
    message.header.frame_id = f"{said}{SEAL}{speaker}:{t_ns}:{tag}"


def permit(action: str, keys: Keys, t_ns: int, speaker: str = GRAPH) -> str:
    """A seal by itself: `speaker` may do `action` once."""
    return f"{speaker}:{t_ns}:{_tag(keys.known[speaker], [action, speaker, t_ns], b'')}"


class Doorkeeper:
    """Lets in what is sealed by somebody who may speak there, and each only once."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._last: dict[tuple[str, str], int] = {}

    def admit(self, message: Any, topic: str, now_ns: int, clients: bool = False) -> None:
        """Raises ContractError saying what is wrong with the seal of `message`, heard on `topic`, where `clients` may speak."""
        frame_id = message.header.frame_id
        if SEAL not in frame_id:
            if self._keys.anyone:
                return
            raise ContractError("it carries no seal of this run")
        said, _, sealed = frame_id.rpartition(SEAL)
        speaker, t_ns, tag = _parts(sealed)
        if speaker != GRAPH and not clients:
            raise ContractError(f"{speaker!r} may not speak there")
        names, sizes, body = _content(message)
        self._fits(speaker, tag, [topic, speaker, t_ns, stamp_ns(message), said, names, sizes], body)
        self._in_time(topic, speaker, t_ns, now_ns)

    def admit_request(self, action: str, permitted: str, now_ns: int) -> None:
        """Raises ContractError unless `permitted` is a permit for `action` that was not used."""
        if self._keys.anyone:
            return
        speaker, t_ns, tag = _parts(permitted)
        self._fits(speaker, tag, [action, speaker, t_ns], b"")
        self._in_time("permit", speaker, t_ns, now_ns)

    def _fits(self, speaker: str, tag: str, head: list[Any], body: bytes | memoryview) -> None:
        key = self._keys.known.get(speaker)
        if key is None:
            raise ContractError(f"it is sealed by {speaker!r}, of whom this run does not know")
        if not hmac.compare_digest(tag, _tag(key, head, body)):
            raise ContractError(f"its seal is not one of {speaker!r}, or its content was changed")

    def _in_time(self, what: str, speaker: str, t_ns: int, now_ns: int) -> None:
        if t_ns <= self._last.get((what, speaker), -1) or not now_ns - FRESH_NS <= t_ns <= now_ns:
            raise ContractError(f"its seal of {speaker!r} is used, old, or of a later time")
        self._last[what, speaker] = t_ns


def _tag(key: bytes, head: list[Any], body: bytes | memoryview) -> str:
    code = hmac.new(key, json.dumps(head, separators=(",", ":")).encode("ascii") + b"\n", "sha256")
    code.update(body)
    return code.hexdigest()[:TAG_DIGITS]


def _parts(sealed: str) -> tuple[str, int, str]:
    found = re.fullmatch(r"([a-z][a-z0-9_]{0,31}):(\d{1,19}):([0-9a-f]{32})", sealed)
    if found is None:
        raise ContractError("its seal is none: allowed <speaker>:<t_ns>:<32 hex digits>")
    return found[1], int(found[2]), found[3]


def _content(message: Any) -> tuple[list[str], list[int], bytes | memoryview]:
    """What of `message` is sealed beside its header: words, sizes, numbers."""
    if hasattr(message, "points"):
        rows = [point.positions for point in message.points]
        due = [int(p.time_from_start.sec) * 1_000_000_000 + int(p.time_from_start.nanosec) for p in message.points]
        times = b"".join(t.to_bytes(8, "little", signed=True) for t in due)
        return list(message.joint_names), [len(row) for row in rows], times + b"".join(row.tobytes() for row in rows)
    if hasattr(message, "encoding"):
        size = len(message.data)
        return [message.encoding], [message.height, message.width, message.step, size], memoryview(message.data)
    arrays = (message.position, message.velocity, message.effort)
    return list(message.name), [len(array) for array in arrays], b"".join(array.tobytes() for array in arrays)


def _write_private(file: Path, text: str) -> None:
    """`file` with `text`, made anew."""
    file.unlink(missing_ok=True)
    write_new(file, text.encode("ascii"))
