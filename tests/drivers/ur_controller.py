"""A UR controller as `ur_rtde` sees one, in a process of its own: RTDE (30004), dashboard (29999), script (30003).

    python ur_controller.py ADDRESS

It follows servoJ at first order and stops when its watchdog is not fed. Lines on its standard input: `bits N` sets the safety
status bits, `freeze` stops time. It runs no script: it does what the registers ask, as the script of `ur_rtde` would.
Packets: size and type, then the payload, big-endian (Universal Robots' RTDE guide).
"""

import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable

STOP_SCRIPT, SERVO_J, NOTHING = 255, 11, 0
READY, DONE = 1, 2
FORMATS = {"DOUBLE": "d", "INT32": "i", "UINT32": "I", "UINT64": "Q", "VECTOR6D": "6d", "VECTOR3D": "3d", "VECTOR6INT32": "6i"}
KINDS = {
    "INT32": ("robot_mode", "safety_mode"),
    "UINT32": ("runtime_state", "robot_status_bits", "safety_status_bits"),
    "UINT64": ("actual_digital_input_bits", "actual_digital_output_bits"),
    "VECTOR6INT32": ("joint_mode",),
    "VECTOR3D": ("actual_tool_accelerometer", "payload_cog"),
    "DOUBLE": ("timestamp", "speed_scaling", "target_speed_fraction", "actual_momentum", "actual_main_voltage", "payload")
    + ("actual_robot_voltage", "actual_robot_current", "actual_execution_time"),
}
PERIOD_S = 0.008
ANSWERS = {
    "PolyscopeVersion": "URSoftware 5.11.0.108249",
    "get serial number": "20195500123",
    "is in remote control": "true",
    "stop": "Stopped",
}

state: dict[str, object] = {"actual_q": [0.1] * 6, "actual_qd": [0.0] * 6, "robot_status_bits": 1, "safety_status_bits": 1}
state |= {"runtime_state": 1, "robot_mode": 7, "safety_mode": 1, "speed_scaling": 1.0, "output_int_register_0": READY}
goal = [0.1] * 6
heard_s = 0.0
frozen = threading.Event()


def kind(name: str) -> str:
    """The RTDE type of a variable."""
    known = [k for k, names in KINDS.items() if name in names]
    if known:
        return known[0]
    return "INT32" if "int_register" in name else "DOUBLE" if "double_register" in name or "analog" in name else "VECTOR6D"


def layout(names: list[str]) -> str:
    return ">" + "".join(FORMATS[kind(name)] for name in names)


def obey(names: list[str], values: tuple[float, ...]) -> None:
    """What the script would do with the registers it was sent."""
    global heard_s
    command = int(values[names.index("input_int_register_0")])
    heard_s = time.monotonic()
    state["output_int_register_0"] = READY if command in (NOTHING, SERVO_J) else DONE
    if command == SERVO_J:
        first = names.index("input_double_register_0")
        goal[:] = values[first : first + 6]
    if command == STOP_SCRIPT:
        state.update(robot_status_bits=1, runtime_state=1)


def move(dt: float) -> None:
    """First order; a program that hears nothing for 0.5 s has been ended by its watchdog."""
    q = state["actual_q"]
    assert isinstance(q, list)
    still = int(str(state["safety_status_bits"])) != 1 or time.monotonic() - heard_s > 0.5
    before = list(q)
    for i in range(6):
        q[i] += 0.0 if still else (goal[i] - q[i]) * min(1.0, dt / 0.05)
    state["actual_qd"] = [(now - then) / dt for now, then in zip(q, before, strict=True)]


def data(names: list[str]) -> bytes:
    state["timestamp"] = time.monotonic()
    flat: list[object] = []
    for name in names:
        value = state.get(name, 0)
        size = FORMATS[kind(name)][0]
        flat += value if isinstance(value, list) else [value] * (int(size) if size.isdigit() else 1)
    return struct.pack(layout(names), *flat)


def rtde(connection: socket.socket) -> None:
    """One client: its recipes, then a packet of its outputs each period."""
    outputs: list[str] = []
    inputs: list[list[str]] = []
    running, buffer = False, b""
    connection.settimeout(PERIOD_S)

    def say(letter: str, payload: bytes) -> None:
        connection.sendall(struct.pack(">HB", len(payload) + 3, ord(letter)) + payload)

    while True:
        try:
            if not (found := connection.recv(4096)):
                return
            buffer += found
        except TimeoutError:
            pass
        while len(buffer) >= 3 and len(buffer) >= (end := struct.unpack(">H", buffer[:2])[0]):
            letter, payload, buffer = chr(buffer[2]), buffer[3:end], buffer[end:]
            if letter == "v":
                say("v", struct.pack(">4I", 5, 11, 0, 0))
            elif letter == "O":
                outputs = [name for name in payload[8:].decode().split(",") if name]
                say("O", b"\x01" + ",".join(map(kind, outputs)).encode())
            elif letter == "I":
                inputs.append([name for name in payload.decode().split(",") if name])
                say("I", bytes([len(inputs)]) + ",".join(map(kind, inputs[-1])).encode())
            elif letter == "U":
                names = inputs[payload[0] - 1]
                obey(names, struct.unpack(layout(names), payload[1:]))
            else:
                running = letter == "S" or (running and letter != "P")
                say(letter, b"\x01")
        if running and not frozen.is_set():
            say("U", b"\x01" + data(outputs))


def dashboard(connection: socket.socket) -> None:
    connection.sendall(b"Connected: Universal Robots Dashboard Server\n")
    while lines := connection.recv(1024):
        for line in lines.decode().splitlines():
            connection.sendall((ANSWERS.get(line, "ok") + "\n").encode())


def script(connection: socket.socket) -> None:
    """A program was sent: it runs."""
    while connection.recv(65536):
        state.update(robot_status_bits=3, runtime_state=2)


def listen(address: str, port: int, serve: Callable[[socket.socket], None]) -> None:
    server = socket.create_server((address, port))

    def guarded(connection: socket.socket) -> None:
        try:
            serve(connection)
        except OSError:
            pass

    def accept() -> None:
        while True:
            threading.Thread(target=guarded, args=(server.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def turn() -> None:
    while True:
        time.sleep(PERIOD_S)
        move(PERIOD_S)


def main() -> None:
    for port, serve in ((30004, rtde), (29999, dashboard), (30003, script)):
        listen(sys.argv[1], port, serve)
    threading.Thread(target=turn, daemon=True).start()
    print("ready", flush=True)
    for line in sys.stdin:
        if line.startswith("bits"):
            state["safety_status_bits"] = int(line.split()[1])
        if line.startswith("freeze"):
            frozen.set()
        print("done", flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
