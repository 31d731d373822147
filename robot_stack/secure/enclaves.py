"""What each node of the graph may say and hear on DDS, and nothing else, as SROS 2 policy documents.

The topics come from `robot_stack.graph`; only who reads which is said here, and a test holds it against the running graph. How
ROS 2 names things on DDS: topic /x is rt/x, a service /n/s is rq/n/sRequest and rr/n/sReply. The documents follow DDS Security
1.1 (OMG formal/2018-04-01), 9.4.1: governance, and permissions with default DENY.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from xml.etree import ElementTree as xml

from robot_stack.domain import FIRST, LAST
from robot_stack.graph import (
    DIAGNOSTICS,
    FALLBACK_COMMAND,
    HAZARDS,
    JOINTS,
    POLICY_CHOICE,
    POLICY_CHUNK,
    SCORE,
    STOP_ALL,
    TELEOP_CHUNK,
    VERDICT,
    GraphDescription,
    Topic,
    frames_topic,
    within,
)

OPERATOR, CONSOLE = "operator", "console"
EVERY_NODE = ("ros_discovery_info", "rt/parameter_events")
"""What rcl of every node both writes and reads."""
SCHEMAS = "http://www.omg.org/spec/DDS-SECURITY/20170901/omg_shared_ca_"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"


@dataclass(frozen=True, slots=True)
class Enclave:
    """Of one process: its `name` ("/arm_node") and the DDS topics it may write and read; `*` stands for any text."""

    name: str
    writes: tuple[str, ...]
    reads: tuple[str, ...]


def enclaves(description: GraphDescription, cameras: Sequence[str], namespace: str = "") -> tuple[Enclave, ...]:
    """One for each node of `description`, one for the operator in the starter's process, one for the console."""
    frames = tuple(frames_topic(camera) for camera in cameras)
    read = _readers(frames, description.topics)
    nodes = tuple(
        _node(
            within(namespace, process.node),
            [topic for topic in description.topics if topic.publisher == process.node],
            read[process.kind],
            namespace,
        )
        for process in description.nodes
    )
    return (*nodes, _person(OPERATOR, (VERDICT, DIAGNOSTICS), namespace), _person(CONSOLE, _shown(frames), namespace))


def _readers(frames: tuple[Topic, ...], everything: tuple[Topic, ...]) -> dict[str, tuple[Topic, ...]]:
    """What each kind of node hears."""
    return {
        "arm": (POLICY_CHUNK, TELEOP_CHUNK, FALLBACK_COMMAND, SCORE, HAZARDS, STOP_ALL),
        "camera": (),
        "fallback": (JOINTS,),
        "monitor": (*frames, POLICY_CHOICE),
        "policy": (*frames, JOINTS),
        "teleop": (JOINTS,),
        "recorder": everything,
    }


def _shown(frames: tuple[Topic, ...]) -> tuple[Topic, ...]:
    return (VERDICT, DIAGNOSTICS, POLICY_CHUNK, TELEOP_CHUNK, POLICY_CHOICE, *frames)


def _node(name: str, said: Sequence[Topic], heard: Sequence[Topic], namespace: str) -> Enclave:
    """A node answers its own services, and calls none."""
    own = ("rt/rosout", f"rt{name}/transition_event", f"rr{name}/*Reply")
    writes = (*_dds((*said, DIAGNOSTICS), namespace), *own, *EVERY_NODE)
    return Enclave(name, writes, (*_dds(heard, namespace), f"rq{name}/*Request", *EVERY_NODE))


def _person(name: str, heard: Sequence[Topic], namespace: str) -> Enclave:
    """A program of the operator's calls services of any node of this arm, and has none."""
    below = within(namespace, "*")
    writes = (*_dds((STOP_ALL, DIAGNOSTICS), namespace), "rt/rosout", f"rq{below}Request", *EVERY_NODE)
    return Enclave(within(namespace, name), writes, (*_dds(heard, namespace), f"rr{below}Reply", *EVERY_NODE))


def _dds(topics: Sequence[Topic], namespace: str) -> tuple[str, ...]:
    return tuple(f"rt{topic.wire_name(namespace)}" for topic in topics)


def governance() -> bytes:
    """Nobody without a certificate; discovery, liveliness and every message encrypted; each topic under access control."""
    root = _document("governance")
    rule = xml.SubElement(xml.SubElement(root, "domain_access_rules"), "domain_rule")
    _domains(rule)
    _texts(rule, allow_unauthenticated_participants="false", enable_join_access_control="true")
    kinds = ("discovery_protection_kind", "liveliness_protection_kind", "rtps_protection_kind")
    _texts(rule, **dict.fromkeys(kinds, "ENCRYPT"))
    topic = xml.SubElement(xml.SubElement(rule, "topic_access_rules"), "topic_rule")
    guarded = ("discovery_protection", "liveliness_protection", "read_access_control", "write_access_control")
    _texts(topic, topic_expression="*", **{f"enable_{name}": "true" for name in guarded})
    _texts(topic, metadata_protection_kind="ENCRYPT", data_protection_kind="ENCRYPT")
    return _bytes(root)


def permissions(enclave: Enclave, begin: datetime, end: datetime) -> bytes:
    """What `enclave` may do from `begin` to `end` (UTC); anything else is denied."""
    root = _document("permissions")
    grant = xml.SubElement(xml.SubElement(root, "permissions"), "grant", name=enclave.name)
    _texts(grant, subject_name=f"CN={enclave.name}")
    validity = xml.SubElement(grant, "validity")
    _texts(validity, not_before=begin.strftime("%Y-%m-%dT%H:%M:%S"), not_after=end.strftime("%Y-%m-%dT%H:%M:%S"))
    rule = xml.SubElement(grant, "allow_rule")
    _domains(rule)
    for verb, names in (("publish", enclave.writes), ("subscribe", enclave.reads)):
        listed = xml.SubElement(xml.SubElement(rule, verb), "topics")
        for name in sorted(set(names)):
            _texts(listed, topic=name)
    _texts(grant, default="DENY")
    return _bytes(root)


def _document(kind: str) -> xml.Element:
    xml.register_namespace("xsi", _XSI)
    return xml.Element("dds", {f"{{{_XSI}}}noNamespaceSchemaLocation": f"{SCHEMAS}{kind}.xsd"})


def _domains(parent: xml.Element) -> None:
    """Those a run may draw: `robot_stack.domain`."""
    _texts(xml.SubElement(xml.SubElement(parent, "domains"), "id_range"), min=str(FIRST), max=str(LAST))


def _texts(parent: xml.Element, **texts: str) -> None:
    for name, text in texts.items():
        xml.SubElement(parent, name).text = text


def _bytes(root: xml.Element) -> bytes:
    xml.indent(root)
    return bytes(xml.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"
