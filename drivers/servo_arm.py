"""An Arm of serial servos. One thread owns the bus: it sends the newest goals, reads all servos, watches for faults, and again.

Nothing is held silently. A servo that overheats, reports a fault or is gone is named by every `read` until it is well (gone: for
good, as it comes back without torque); no state is made up for it, so the filter brakes the others. When commands stop coming
the servos hold where they are.
"""

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from drivers.calibration import Angles, Calibration
from drivers.refusal import check_command
from drivers.servo_bus import TURN, Reading, ServoWire, model_of
from robot_stack.errors import DriverError
from robot_stack.robot import Joint, RobotSpec
from robot_stack.types import Array, JointState, SafeCommand

IDLE_S = 0.005
"""Without a new command the bus is read this often: the age of a state."""
_LOOK_EVERY, _START_S = 10, 1.0
_ROUNDS = 3
"""A servo is not lost because this computer paused: it has been asked so often in vain, too."""


@dataclass(frozen=True, slots=True)
class ServoHealth:
    """One servo, as last heard: `age_s` ago, None readings before the first; `missed`: exchanges without its answer so far."""

    joint: str
    servo: int
    age_s: float
    missed: int
    reading: Reading | None


class ServoArm:
    """The joints of `robot` on `wire`, in the order of its file. Torque comes with the first command, not before.

    Raises DriverError naming every servo that is missing, of another model, or not calibrated as `calibration` says.
    """

    def __init__(self, robot: RobotSpec, wire: ServoWire, calibration: Calibration) -> None:
        self.joint_names = robot.joint_names
        self._wire, self._bus, self._budget_ns = wire, robot.bus, robot.dt_ns
        self._joints: dict[int, Joint] = {joint.servo.id: joint for joint in robot.joints}
        self._ampere = np.array([j.servo.torque_per_ampere * calibration.joints[j.name].sign for j in robot.joints])
        self._command: deque[SafeCommand] = deque(maxlen=1)
        self._wake, self._ended = threading.Event(), threading.Event()
        self._fault = self._gone = ""
        self._powered = self._resting = False
        self._said_ns = self._cycle = 0
        self._missed, self._in_a_row = dict.fromkeys(self._joints, 0), dict.fromkeys(self._joints, 0)
        self._readings: dict[int, Reading] = {}
        self._heard_ns = dict.fromkeys(self._joints, time.monotonic_ns())
        try:
            self._angles = Angles(robot, calibration)
            check(robot, wire, calibration)
            for servo in self._joints:
                wire.prepare(servo, self._bus.p_gain)
            self._state = self._first_state()
        except BaseException:
            wire.port.close()
            raise
        self._thread = threading.Thread(target=self._run, name="servo bus", daemon=True)
        self._thread.start()

    def read(self) -> JointState:
        """The newest state of all joints. Raises DriverError once the bus is gone, and while a servo is, or has a fault."""
        self._require_open()
        if trouble := self._gone or self._fault:
            raise DriverError(trouble)
        return self._state

    def send(self, command: SafeCommand) -> None:
        """Goals for all servos; those that answer get them even when another is lost. Raises DriverError, never clamps."""
        check_command(command, self.joint_names, f"arm on {self._wire.port.path}")
        ticks = self._angles.ticks(command.q)
        if (outside := np.abs(ticks - self._angles.middle) >= TURN // 2).any():
            name = self.joint_names[int(outside.argmax())]
            raise DriverError(f"arm: {name} to {command.q[outside.argmax()]:.2f} rad is beyond the one turn its servo has")
        self._require_open()
        self._command.append(command)
        self._wake.set()

    def health(self) -> tuple[ServoHealth, ...]:
        """What each servo last said: for diagnostics."""
        now_ns = time.monotonic_ns()
        return tuple(
            ServoHealth(j.name, i, (now_ns - self._heard_ns[i]) / 1e9, self._missed[i], self._readings.get(i))
            for i, j in self._joints.items()
        )

    def close(self) -> None:
        """The servos hold where they are, or go limp (`bus.at_close`); the port is free. Closing twice is allowed."""
        if self._ended.is_set():
            return
        self._ended.set()
        self._wake.set()
        self._thread.join(timeout=2.0)
        try:
            self._leave()
        except Exception:  # the port is gone: nobody is left to be told
            pass
        self._wire.port.close()

    def _require_open(self) -> None:
        if self._ended.is_set():
            raise DriverError(f"arm on {self._wire.port.path}: closed; connect again")
        if not self._thread.is_alive():
            raise DriverError(self._gone or f"arm on {self._wire.port.path}: the thread of its bus has died; restart arm_node")

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                self._wake.wait(IDLE_S)
                self._wake.clear()
                self._exchange(time.monotonic_ns())
        except Exception as error:  # termios.error, an unplugged port, is none of OSError
            self._gone = f"servo bus {self._wire.port.path}: {error}; is it still plugged in? Then restart arm_node"

    def _exchange(self, now_ns: int) -> None:
        """One round on the bus, ended one control tick from `now_ns`."""
        limit_ns = now_ns + self._budget_ns
        if self._command:
            self._obey(self._command.popleft(), now_ns)
        elif self._powered and not self._resting and now_ns - self._said_ns > self._bus.silent_s * 1e9:
            self._rest()
        self._take(self._wire.read_all(list(self._joints), limit_ns), now_ns)
        self._cycle += 1
        if self._powered and self._cycle % _LOOK_EVERY == 0:
            self._look(list(self._joints)[self._cycle // _LOOK_EVERY % len(self._joints)], limit_ns)

    def _obey(self, command: SafeCommand, now_ns: int) -> None:
        if not self._powered:
            self._power()
        goals = self._angles.ticks(command.q) - self._turns
        self._wire.write_goals({i: int(goal) for i, goal in zip(self._joints, goals, strict=True)})
        self._said_ns, self._resting = now_ns, False

    def _power(self) -> None:
        """Torque on, each goal where its servo is: an old one left in a servo, behind a tripped watchdog too, would be a jump."""
        for servo in self._joints:
            self._wire.watchdog(servo, 0.0)
        self._rest()
        for servo in self._joints:
            self._wire.watchdog(servo, self._bus.watchdog_s)
            self._wire.torque(servo, True)
        self._powered = True

    def _rest(self) -> None:
        """Every servo to where it is."""
        self._wire.write_goals({i: reading.ticks for i, reading in self._readings.items()})
        self._resting = True

    def _take(self, found: Mapping[int, Reading], now_ns: int) -> None:
        """What the servos said becomes the new state, a fault, or the end of the arm."""
        for servo in self._joints:
            if servo in found:
                self._heard_ns[servo], self._readings[servo], self._in_a_row[servo] = now_ns, found[servo], 0
            else:
                self._missed[servo] += 1
                self._in_a_row[servo] += 1
        late = [i for i in self._joints if now_ns - self._heard_ns[i] > self._bus.lost_s * 1e9]
        silent = [i for i in late if self._in_a_row[i] >= _ROUNDS]
        if silent and not self._gone:
            names = ", ".join(self._name(i) for i in silent)
            self._gone = f"{names}: no answer for {self._bus.lost_s} s; check power and cables, then restart arm_node"
        faults = {i: self._complaints(reading) for i, reading in self._readings.items()}
        self._fault = "; ".join(f"{self._name(i)}: {', '.join(what)}" for i, what in faults.items() if what)
        if len(found) == len(self._joints):
            self._state = self._measured(found, now_ns)

    def _complaints(self, reading: Reading) -> list[str]:
        hot = reading.temperature > self._bus.hot
        return [*reading.faults, *([f"{reading.temperature:.0f} degC, allowed {self._bus.hot:.0f}"] if hot else [])]

    def _look(self, servo: int, limit_ns: int) -> None:
        """One servo a time is asked whether it still obeys: one that restarted, or let go to protect itself, does not."""
        if self._wire.holds(servo, limit_ns) is False and not self._gone:
            self._gone = f"{self._name(servo)}: its torque is off, it restarted or protects itself; restart arm_node"

    def _measured(self, found: Mapping[int, Reading], now_ns: int) -> JointState:
        ticks = np.array([found[i].ticks for i in self._joints]) + self._turns
        speeds = np.array([found[i].speed for i in self._joints])
        tau = np.array([found[i].current for i in self._joints]) * self._ampere if self._ampere.all() else None
        return JointState(now_ns, self._angles.positions(ticks), self._angles.speeds(speeds), tau)

    def _first_state(self) -> JointState:
        """Ask until all servos have answered. Servos that count turns may have started one off: within half of the middle."""
        until_ns = time.monotonic_ns() + round(_START_S * 1e9)
        while (now_ns := time.monotonic_ns()) < until_ns:
            found = self._wire.read_all(list(self._joints), now_ns + self._budget_ns)
            self._readings.update(found)
            self._heard_ns.update(dict.fromkeys(found, now_ns))
            if len(found) == len(self._joints):
                ticks = np.array([found[i].ticks for i in self._joints])
                self._turns: Array = np.rint((self._angles.middle - ticks) / TURN) * TURN
                return self._measured(found, now_ns)
        missing = ", ".join(self._name(i) for i in self._joints if i not in self._readings)
        raise DriverError(f"{missing or 'servos'}: do not answer in one tick's time; is the bus shared, or the adapter slow?")

    def _leave(self) -> None:
        if self._bus.at_close == "limp" or not self._powered:
            for servo in self._joints if self._powered else ():
                self._wire.torque(servo, False)
            return
        self._take(self._wire.read_all(list(self._joints), time.monotonic_ns() + self._budget_ns), time.monotonic_ns())
        self._rest()
        for servo in self._joints:
            self._wire.watchdog(servo, 0.0)

    def _name(self, servo: int) -> str:
        return f"servo {servo} ({self._joints[servo].name}) on {self._wire.port.path}"


def check(robot: RobotSpec, wire: ServoWire, calibration: Calibration) -> None:
    """Raises DriverError unless all servos of `robot` answer, are the calibrated models, and hold what calibration stored."""
    again = "next: robot-stack calibrate robot=..."
    models = {joint.name: model_of(wire, joint.servo.id) for joint in robot.joints}
    missing = [f"servo {joint.servo.id} ({joint.name})" for joint in robot.joints if models[joint.name] is None]
    if missing:
        raise DriverError(f"{wire.port.path}: no answer from {', '.join(missing)}; check power, cables and ids, then start again")
    for joint in robot.joints:
        wanted = calibration.joints[joint.name]
        if models[joint.name] != wanted.model:
            raise DriverError(
                f"servo {wanted.id} ({joint.name}): found model {models[joint.name]}, calibrated was {wanted.model}; {again}"
            )
        if (found := wire.homing(wanted.id)) != wanted.homing:
            raise DriverError(f"servo {wanted.id} ({joint.name}): found {found}, calibrated was {wanted.homing}; {again}")
