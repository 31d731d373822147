"""A program that nobody here wrote the DDS of: Eclipse CycloneDDS speaks to the graph on the wire. It imports nothing of ours.

python independent_client.py DOMAIN strange           commands without a seal on every topic that arm_node hears, until it ends
python independent_client.py DOMAIN forge KEY_FILE    chunks with seals that do not hold: made up, of other content, of another
python independent_client.py DOMAIN drive KEY_FILE    chunks sealed as robot_stack/seal.py says, until the arm moved; then STOP

Prints one line of JSON about what it saw once a second, and at its end. Names of types and topics: how ROS 2 maps them to DDS.
"""

import hashlib
import hmac
import json
import os
import signal
import struct
import sys
import time
from dataclasses import dataclass
from pathlib import Path

os.environ["CYCLONEDDS_URI"] = (
    "<CycloneDDS><Domain Id='any'><General><Interfaces><NetworkInterface name='lo' multicast='false'/></Interfaces>"
    "<AllowMulticast>false</AllowMulticast></General><Compatibility><IgnoreTypeInformation>1.15</IgnoreTypeInformation>"
    "</Compatibility><Discovery><ParticipantIndex>auto</ParticipantIndex><MaxAutoParticipantIndex>31</MaxAutoParticipantIndex>"
    "<Peers><Peer Address='127.0.0.1'/></Peers></Discovery></Domain></CycloneDDS>"
)

from cyclonedds.core import Policy, Qos
from cyclonedds.domain import DomainParticipant
from cyclonedds.idl import IdlStruct
from cyclonedds.idl.annotations import final
from cyclonedds.idl.types import byte, float64, int32, sequence, uint8, uint32
from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
from cyclonedds.util import duration


@dataclass
@final
class Time(IdlStruct, typename="builtin_interfaces.msg.dds_.Time_"):
    sec: int32
    nanosec: uint32


@dataclass
@final
class Duration(IdlStruct, typename="builtin_interfaces.msg.dds_.Duration_"):
    sec: int32
    nanosec: uint32


@dataclass
@final
class Header(IdlStruct, typename="std_msgs.msg.dds_.Header_"):
    stamp: Time
    frame_id: str


@dataclass
@final
class JointState(IdlStruct, typename="sensor_msgs.msg.dds_.JointState_"):
    header: Header
    name: sequence[str]
    position: sequence[float64]
    velocity: sequence[float64]
    effort: sequence[float64]


@dataclass
@final
class Point(IdlStruct, typename="trajectory_msgs.msg.dds_.JointTrajectoryPoint_"):
    positions: sequence[float64]
    velocities: sequence[float64]
    accelerations: sequence[float64]
    effort: sequence[float64]
    time_from_start: Duration


@dataclass
@final
class JointTrajectory(IdlStruct, typename="trajectory_msgs.msg.dds_.JointTrajectory_"):
    header: Header
    joint_names: sequence[str]
    points: sequence[Point]


@dataclass
@final
class Image(IdlStruct, typename="sensor_msgs.msg.dds_.Image_"):
    header: Header
    height: uint32
    width: uint32
    encoding: str
    is_bigendian: uint8
    step: uint32
    data: sequence[uint8]


@dataclass
@final
class KeyValue(IdlStruct, typename="diagnostic_msgs.msg.dds_.KeyValue_"):
    key: str
    value: str


@dataclass
@final
class Status(IdlStruct, typename="diagnostic_msgs.msg.dds_.DiagnosticStatus_"):
    level: byte
    name: str
    message: str
    hardware_id: str
    values: sequence[KeyValue]


@dataclass
@final
class DiagnosticArray(IdlStruct, typename="diagnostic_msgs.msg.dds_.DiagnosticArray_"):
    header: Header
    status: sequence[Status]


@dataclass
@final
class TriggerRequest(IdlStruct, typename="std_srvs.srv.dds_.Trigger_Request_"):
    structure_needs_at_least_one_member: uint8


@dataclass
@final
class TriggerResponse(IdlStruct, typename="std_srvs.srv.dds_.Trigger_Response_"):
    success: bool
    message: str


def quality(reliable: bool = True, depth: int = 10) -> Qos:
    reliability = Policy.Reliability.Reliable(duration(seconds=1)) if reliable else Policy.Reliability.BestEffort
    plain = Policy.DataRepresentation(use_cdrv0_representation=True, use_xcdrv2_representation=False)
    return Qos(reliability, Policy.Durability.Volatile, Policy.History.KeepLast(depth), plain)


def sealed(topic: str, message: JointTrajectory, speaker: str, key: bytes, t_ns: int) -> JointTrajectory:
    stamp = message.header.stamp
    said = message.header.frame_id
    sizes = [len(point.positions) for point in message.points]
    head = [topic, speaker, t_ns, stamp.sec * 10**9 + stamp.nanosec, said, list(message.joint_names), sizes]
    due = [point.time_from_start.sec * 10**9 + point.time_from_start.nanosec for point in message.points]
    numbers = [x for point in message.points for x in point.positions]
    body = struct.pack(f"<{len(due)}q", *due) + struct.pack(f"<{len(numbers)}d", *numbers)
    text = json.dumps(head, separators=(",", ":")).encode() + b"\n" + body
    message.header.frame_id = f"{said} seal={speaker}:{t_ns}:{hmac.new(key, text, hashlib.sha256).hexdigest()[:32]}"
    return message


class Client:
    """Hears the joints and the verdicts, and speaks."""

    def __init__(self, domain: int) -> None:
        self.participant = DomainParticipant(domain)
        self.joints = self.reader("rt/joint_states", JointState)
        self.verdicts = self.reader("rt/arm/verdict", DiagnosticArray)
        self.chunks = self.writer("rt/policy/chunk", JointTrajectory)
        self.newest: JointState | None = None
        self.first: list[float] = []
        self.said = ""
        self.heard = {"joints": 0, "verdicts": 0, "chunks": 0}
        self.farthest = 0.0

    def reader(self, name: str, kind: type) -> DataReader:
        return DataReader(self.participant, Topic(self.participant, name, kind), qos=quality(depth=200))

    def writer(self, name: str, kind: type, reliable: bool = True) -> DataWriter:
        return DataWriter(self.participant, Topic(self.participant, name, kind), qos=quality(reliable))

    def listen(self) -> None:
        for state in self.joints.take(200):
            self.newest = state
            self.first = self.first or list(state.position)
            self.heard["joints"] += 1
            self.farthest = max(self.farthest, *(abs(q - q0) for q, q0 in zip(state.position, self.first, strict=True)))
        for verdict in self.verdicts.take(200):
            self.heard["verdicts"] += 1
            self.said = verdict.status[0].message

    def chunk(self, by: float, rows: int = 20, dt_ns: int = 50_000_000) -> JointTrajectory:
        """From where the arm is, each joint moves `by` rad in a second."""
        assert self.newest is not None
        now = time.monotonic_ns()
        at, n = list(self.newest.position), len(self.newest.name)
        points = []
        for i in range(rows):
            row = [q + by * i * dt_ns / 1e9 for q in at]
            points.append(Point(row, [0.0] * n, [0.0] * n, [0.0] * n, Duration(i * dt_ns // 10**9, i * dt_ns % 10**9)))
        header = Header(Time(now // 10**9, now % 10**9), f"cyclone@{now}")
        self.heard["chunks"] += 1
        return JointTrajectory(header, list(self.newest.name), points)

    def report(self, **more: object) -> None:
        print(json.dumps({**self.heard, "farthest": self.farthest, "said": self.said, **more}), flush=True)


def strange(client: Client) -> None:
    """A message without a seal on each topic that counts: a way to go, joints, that all is well, no hazards, a white picture."""
    assert client.newest is not None
    names, at = list(client.newest.name), list(client.newest.position)
    client.chunks.write(client.chunk(0.5))
    away, zeros = [q + 0.5 for q in at], [0.0] * len(at)
    now = time.monotonic_ns()

    def header(said: str) -> Header:
        return Header(Time(now // 10**9, now % 10**9), said)

    OTHERS["rt/fallback/command"].write(JointState(header("q qd"), names, away, zeros, zeros))
    OTHERS["rt/joint_states"].write(JointState(header("q qd tau"), names, away, zeros, zeros))
    OTHERS["rt/monitor/score"].write(JointState(header(""), ["score", "threshold"], [0.0, 1.0], [0.0] * 2, [0.0] * 2))
    OTHERS["rt/scene/image"].write(Image(header("scene"), 4, 4, "rgb8", 0, 12, [255] * 48))
    OTHERS["rt/monitor/hazards"].write(JointState(header("world"), ["count"], [0.0], [0.0], [0.0]))


def forge(client: Client, speaker: str, key: bytes) -> None:
    """A made-up key; a seal of another content; one of an earlier message; as the graph itself with the client's key."""
    now = time.monotonic_ns()
    client.chunks.write(sealed("/policy/chunk", client.chunk(0.5), "graph", b"\0" * 32, now))
    client.chunks.write(sealed("/policy/chunk", client.chunk(0.5), "graph", key, now))
    still = sealed("/policy/chunk", client.chunk(0.0), speaker, key, now)
    for point in still.points:
        point.positions = [q + 0.3 for q in point.positions]
    client.chunks.write(still)
    client.chunks.write(sealed("/teleop/chunk", client.chunk(0.5), speaker, key, now))


OTHERS: dict[str, DataWriter] = {}


def main(domain: str, mode: str, key_file: str = "") -> None:
    """See the module."""
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    client = Client(int(domain))
    speaker, key = Path(key_file).read_text().split() if key_file else ("", "")
    if mode == "strange":
        for name in ("rt/joint_states", "rt/fallback/command", "rt/monitor/score", "rt/monitor/hazards"):
            OTHERS[name] = client.writer(name, JointState, reliable=name != "rt/fallback/command")
        OTHERS["rt/scene/image"] = client.writer("rt/scene/image", Image, reliable=False)
    asked = client.writer("rq/arm_node/stopRequest", TriggerRequest)
    answers = client.reader("rr/arm_node/stopReply", TriggerResponse)
    told = time.monotonic()
    while not ended:
        time.sleep(0.05)
        client.listen()
        if client.newest is None:
            continue
        if mode == "strange":
            strange(client)
        elif mode == "forge":
            forge(client, speaker, bytes.fromhex(key))
        elif client.farthest < 0.1:
            client.chunks.write(sealed("/policy/chunk", client.chunk(0.4), speaker, bytes.fromhex(key), time.monotonic_ns()))
        else:
            return stop(client, asked, answers)
        if time.monotonic() - told > 1.0:
            told = time.monotonic()
            client.report()
    client.report(ended=True)


def stop(client: Client, asked: DataWriter, answers: DataReader) -> None:
    """Ask for STOP until it is answered."""
    while not (found := answers.take(1)):
        asked.write(TriggerRequest(0))
        time.sleep(0.2)
        client.listen()
    client.report(stopped=found[0].success, answer=found[0].message)


if __name__ == "__main__":
    main(*sys.argv[1:])
