"""Clients of a world process: an Arm, its Cameras, and the director who sets the stage. Talked to like hardware."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from drivers.faults import Fault
from drivers.refusal import check_command
from drivers.shared_block import SharedFile
from drivers.shared_layout import (
    pack_command,
    pack_json,
    unpack_frame,
    unpack_joints,
    unpack_json,
    unpack_truth,
)
from drivers.sim_world import Truth
from robot_stack.clock import nanoseconds, seconds
from robot_stack.errors import DriverError
from robot_stack.types import Array, CameraFrame, JointCommand, JointState, SafeCommand

T = TypeVar("T")
DEAD_S = 0.2
"""A world that has not spoken for this long is gone, for those who drive it."""
DIRECTOR_DEAD_S = 2.0
"""For who only looks on, a busy computer's pause is no reason to end an episode."""
START_S = 3.0
"""While the graph starts, the computer is busy: who connects to a world that pauses waits so long for it to go on."""
_POLL_S, _REPLY_S = 0.005, 3.0


def patiently(call: Callable[[], T], wait_s: float) -> T:
    """What `call` answers, asked again for up to `wait_s` while it raises DriverError. Raises the last one."""
    until_ns = time.monotonic_ns() + nanoseconds(wait_s)
    while True:
        try:
            return call()
        except DriverError:
            if time.monotonic_ns() >= until_ns:
                raise
            time.sleep(_POLL_S)


def connect(name: str, wait_s: float) -> SharedFile:
    """The shared memory of world `name`, waiting up to `wait_s` for it to start. Raises DriverError when it does not."""
    return patiently(lambda: SharedFile.connect(name), wait_s)


class _Link:
    """The connection all clients share: is the world there, and is it moving?"""

    def __init__(self, name: str, wait_s: float, dead_s: float) -> None:
        self.name, self._dead_s = name, dead_s
        self.shared = connect(name, wait_s)
        self._joints = self.shared.block("joints")
        self._last: JointState | None = None
        patiently(self.check, START_S)

    def joints(self) -> JointState:
        """The newest joint state. Raises DriverError when the process is dead, stopped, or this link closed."""
        if not self.shared.alive():
            raise DriverError(f"world {self.name}: its process is gone (or this client was closed); start it and connect again")
        found = self._joints.read()
        if found is not None:
            self._last = unpack_joints(found[1])
        age_s = self._age_s()
        if self._last is None or age_s > self._dead_s:
            raise DriverError(f"world {self.name}: silent for {age_s:.2f} s, allowed {self._dead_s} s; is its process stopped?")
        return self._last

    def check(self) -> None:
        """Raises DriverError where `joints` would; one that was read lately is not read again."""
        if not self.shared.alive() or self._age_s() > self._dead_s:
            self.joints()

    def _age_s(self) -> float:
        return seconds(time.monotonic_ns() - self._last.t_ns) if self._last else float("inf")


class SharedArm:
    """The Arm of a world process. `wait_s`: how long to wait for the process to start."""

    def __init__(self, name: str, wait_s: float = 0.0) -> None:
        self._link = _Link(name, wait_s, DEAD_S)
        self.joint_names: tuple[str, ...] = tuple(self._link.shared.header["joints"])
        self._command = self._link.shared.block("command")

    def read(self) -> JointState:
        """The newest measured state. Never blocks. Raises DriverError once the world is dead or 0.2 s silent."""
        return self._link.joints()

    def send(self, command: SafeCommand) -> None:
        """One command to the drives. Raises DriverError when non-finite, of the wrong length, or nobody is there."""
        check_command(command, self.joint_names, f"arm {self._link.name}")
        self._link.check()
        self._command.write(pack_command(command))

    def close(self) -> None:
        """Tell the drives to hold where they are and let go; closing twice is allowed."""
        try:
            joints = self._link.joints()
            self._command.write(pack_command(JointCommand(joints.t_ns, joints.q)))
        except DriverError:
            pass
        self._link.shared.close()


class SharedCamera:
    """A Camera of a world process. `wait_s`: how long to wait for the process to start."""

    def __init__(self, name: str, camera: str, wait_s: float = 0.0) -> None:
        self.name = camera
        self._link = _Link(name, wait_s, DEAD_S)
        self._block = self._link.shared.block(f"camera.{camera}")
        self._size: tuple[int, int] = tuple(self._link.shared.header["cameras"][camera])
        self._seen = 0

    def read(self) -> CameraFrame | None:
        """The newest frame not returned before, or None. Never blocks. Raises DriverError once the world is dead or silent."""
        self._link.check()
        found = self._block.read(self._seen)
        if found is None:
            return None
        self._seen = found[0]
        return unpack_frame(found[1], self.name, *self._size)

    def close(self) -> None:
        """Let go; closing twice is allowed."""
        self._link.shared.close()


class WorldDirector:
    """Sets the stage of a world process and sees the truth: for scoring, the scripted human and tests. One at a time a world."""

    def __init__(self, name: str, wait_s: float = 0.0) -> None:
        self._link = _Link(name, wait_s, DIRECTOR_DEAD_S)
        self._truth = self._link.shared.block("truth")
        self._request, self._reply = (self._link.shared.block(b) for b in ("request", "reply"))

    def reset(self, seed: int, scenario: str = "nominal", begin: bool = True) -> None:
        """A new start from `seed`. The scenario's clock begins now, or with `begin` False when `begin()` is called."""
        self._ask({"do": "reset", "seed": seed, "scenario": scenario, "begin": begin})

    def begin(self) -> None:
        """The scenario's clock begins now."""
        self._ask({"do": "begin"})

    def fault(self, fault: Fault) -> None:
        """Let a device fail."""
        named = {"camera": fault.camera, "amount": fault.amount, "joint": fault.joint}
        self._ask({"do": "fault", "kind": fault.kind.value, **named})

    def place_obstacle(self, p_W: Array) -> None:
        """Put the obstacle at `p_W` (3,) m."""
        self._ask({"do": "place_obstacle", "p_W": [float(x) for x in p_W]})

    def joints(self) -> JointState:
        """The newest measured state, as `SharedArm.read`."""
        return self._link.joints()

    def truth(self) -> Truth:
        """Where everything really is, at most 20 ms old. Raises DriverError once the world is dead or silent."""
        self._link.check()
        found = self._truth.read()
        if found is None:
            raise DriverError(f"world {self._link.name}: its truth cannot be read; start it and connect again")
        return unpack_truth(found[1])

    def alive(self) -> bool:
        """The world's process runs and is not stopped."""
        try:
            self._link.check()
        except DriverError:
            return False
        return True

    def _ask(self, request: dict[str, Any]) -> None:
        """Write the request, wait for the reply. Raises DriverError with the world's words when it refuses, or when it dies."""
        before = self._request.sequence
        self._request.write(pack_json(request))
        until_ns = time.monotonic_ns() + nanoseconds(_REPLY_S)
        while time.monotonic_ns() < until_ns:
            found = self._reply.read()
            reply = unpack_json(found[1]) if found else {}
            if reply.get("to", 0) > before:
                if reply["error"]:
                    raise DriverError(f"world {self._link.name}: {reply['error']}")
                return
            self._link.check()
            time.sleep(_POLL_S)
        raise DriverError(f"world {self._link.name}: no reply to {request['do']!r} within {_REPLY_S} s")

    def close(self) -> None:
        """Let go; closing twice is allowed."""
        self._link.shared.close()
