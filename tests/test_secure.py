"""Enclaves of DDS security: each node may say and hear what the graph has for it and no more; openssl accepts the signatures."""

import fnmatch
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as xml

import pytest

pytest.importorskip("cryptography", reason="keystores need it: pip install 'robot_stack[secure]'")

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from robot_stack.bringup import prepare
from robot_stack.cli import main
from robot_stack.config.commands import RecordCommand
from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import RunSettings
from robot_stack.data.log import LogMetadata, LogWriter
from robot_stack.errors import ConfigError
from robot_stack.graph import FALLBACK_COMMAND, POLICY_CHUNK, describe, topics
from robot_stack.secure.enclaves import SCHEMAS, Enclave, enclaves, governance, permissions
from robot_stack.secure.keystore import make_keystore
from robot_stack.secure.use import in_enclaves, own_arguments, require_security, secured_environment
from robot_stack.types import FailureScore

CAMERAS = [camera.name for camera in load_robot("sim_arm").cameras]
GRAPH = describe("run.yaml", CAMERAS, human=True)
LISTED = {enclave.name: enclave for enclave in enclaves(GRAPH, CAMERAS)}
BEGIN, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def keystore(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_keystore(tmp_path_factory.mktemp("keys") / "store", tuple(LISTED.values()), 30)


def may(patterns: tuple[str, ...], topic: str) -> bool:
    return any(fnmatch.fnmatchcase(topic, pattern) for pattern in patterns)


def test_there_is_an_enclave_for_each_node_for_the_operator_and_for_the_console() -> None:
    assert set(LISTED) == {f"/{process.node}" for process in GRAPH.nodes} | {"/operator", "/console"}


def test_each_topic_of_the_graph_may_be_written_by_its_publisher_alone() -> None:
    for topic in topics(CAMERAS):
        writers = {name for name, enclave in LISTED.items() if may(enclave.writes, f"rt{topic.name}")}
        assert writers == {f"/{topic.publisher}"}, topic.name


def test_no_node_but_the_arm_hears_a_command_and_only_people_call_services() -> None:
    for topic in (POLICY_CHUNK, FALLBACK_COMMAND):
        readers = {name for name, enclave in LISTED.items() if may(enclave.reads, f"rt{topic.name}")}
        assert readers <= {"/arm_node", "/recorder_node", "/console"}
    callers = {name for name, enclave in LISTED.items() if may(enclave.writes, "rq/arm_node/arm_policyRequest")}
    assert callers == {"/operator", "/console"}
    assert may(LISTED["/arm_node"].reads, "rq/arm_node/arm_policyRequest")
    assert not may(LISTED["/policy_node"].reads, "rq/arm_node/arm_policyRequest")


def test_an_arm_in_a_namespace_has_nothing_to_say_in_another() -> None:
    left = {e.name: e for e in enclaves(describe("run.yaml", CAMERAS, namespace="left"), CAMERAS, "left")}
    assert may(left["/left/policy_node"].writes, "rt/left/policy/chunk")
    for name in ("rt/policy/chunk", "rt/right/policy/chunk", "rq/right/arm_node/stopRequest"):
        assert not any(may(enclave.writes, name) for enclave in left.values())
    assert may(left["/left/operator"].writes, "rt/stop_all")


def test_governance_lets_nobody_in_without_a_certificate_and_encrypts_everything() -> None:
    root = xml.fromstring(governance())
    assert root.attrib["{http://www.w3.org/2001/XMLSchema-instance}noNamespaceSchemaLocation"] == f"{SCHEMAS}governance.xsd"
    (rule,) = root.findall("domain_access_rules/domain_rule")
    order = [child.tag for child in rule]
    assert order == [
        "domains",
        "allow_unauthenticated_participants",
        "enable_join_access_control",
        "discovery_protection_kind",
        "liveliness_protection_kind",
        "rtps_protection_kind",
        "topic_access_rules",
    ], "the schema is a sequence"
    assert (
        rule.findtext("allow_unauthenticated_participants") == "false" and rule.findtext("enable_join_access_control") == "true"
    )
    assert {rule.findtext(f"{kind}_protection_kind") for kind in ("discovery", "liveliness", "rtps")} == {"ENCRYPT"}
    (topic,) = rule.findall("topic_access_rules/topic_rule")
    assert [child.tag for child in topic][0] == "topic_expression" and topic.findtext("topic_expression") == "*"
    assert {child.text for child in topic if child.tag.startswith("enable_")} == {"true"} and len(topic) == 7


def test_permissions_follow_the_schema_name_their_enclave_and_deny_the_rest() -> None:
    grant = xml.fromstring(permissions(LISTED["/policy_node"], BEGIN, END)).find("permissions/grant")
    assert grant is not None and grant.attrib == {"name": "/policy_node"}
    assert [child.tag for child in grant] == ["subject_name", "validity", "allow_rule", "default"]
    assert (grant.findtext("subject_name"), grant.findtext("default")) == ("CN=/policy_node", "DENY")
    assert grant.findtext("validity/not_after") == "2027-01-01T00:00:00"
    assert [child.tag for child in grant.find("allow_rule") or ()] == ["domains", "publish", "subscribe"]
    written = {topic.text for topic in grant.findall("allow_rule/publish/topics/topic")}
    assert "rt/policy/chunk" in written and "rt/fallback/command" not in written
    assert not [text for text in written if text in ("*", "rt/*", "rq/*", "rr/*")]


def test_a_name_with_markup_stays_a_name() -> None:
    odd = Enclave('/a"><allow', ("rt/x&y",), ())
    grant = xml.fromstring(permissions(odd, BEGIN, END)).find("permissions/grant")
    assert grant is not None and grant.attrib["name"] == odd.name


def test_every_certificate_and_document_holds_under_openssl(keystore: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl program")
    for name in LISTED:
        place = keystore / "enclaves" / name.strip("/")
        check = ["openssl", "verify", "-CAfile", str(place / "identity_ca.cert.pem"), str(place / "cert.pem")]
        assert subprocess.run(check, capture_output=True, text=True).stdout.strip().endswith("OK")
        for document in ("governance", "permissions"):
            command = ["openssl", "smime", "-verify", "-text", "-in", str(place / f"{document}.p7s")]
            ended = subprocess.run([*command, "-CAfile", str(place / "permissions_ca.cert.pem")], capture_output=True, text=True)
            assert ended.returncode == 0, ended.stderr
            xml.fromstring(ended.stdout)
    wrong = subprocess.run([*command, "-CAfile", str(place / "identity_ca.cert.pem")], capture_output=True, text=True)
    assert wrong.returncode != 0, "who says who is who does not say what they may"


def test_certificates_name_their_enclave_and_end_and_keys_are_private(keystore: Path) -> None:
    for name in LISTED:
        place = keystore / "enclaves" / name.strip("/")
        certificate = x509.load_pem_x509_certificate((place / "cert.pem").read_bytes())
        assert certificate.subject.rfc4514_string() == f"CN={name}"
        span = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        assert timedelta(days=30) <= span <= timedelta(days=31)
        key = load_pem_private_key((place / "key.pem").read_bytes(), None)
        assert key.public_key() == certificate.public_key()
        assert (place / "key.pem").stat().st_mode & 0o777 == 0o600
    assert not list(keystore.rglob("*ca.key.pem")), "nobody can add to the keystore"
    with pytest.raises(ConfigError, match="never overwritten"):
        make_keystore(keystore, (), 1)


def test_a_secured_graph_starts_each_node_in_its_own_enclave() -> None:
    for process in in_enclaves(GRAPH).nodes:
        command = process.command("python")
        at = command.index("--enclave")
        assert command[at - 1 : at + 3] == ["--ros-args", "--enclave", f"/{process.node}", "--"]
        assert command.index("--ros-args", at) > at
    assert own_arguments(secured_environment("/k"), "/operator") == ["--ros-args", "--enclave", "/operator"]
    assert own_arguments({}, "/operator") == []


def test_where_ros_has_no_dds_security_nothing_starts_and_it_is_said_why(keystore: Path, tmp_path: Path) -> None:
    pytest.importorskip("rclpy", reason="needs ROS 2: `make setup` installs its wheels, or source a system's")
    try:
        prepared = prepare(RecordCommand(run=RunSettings(keystore=str(keystore))), 7, tmp_path)
        assert prepared.environment["ROS_SECURITY_STRATEGY"] == "Enforce"
    except ConfigError as error:
        assert "fails closed" in str(error) and not (tmp_path / "run.yaml").exists()
    with pytest.raises(ConfigError, match="has no enclave /left/operator"):
        require_security(keystore, {}, "left")


def test_a_log_changed_after_it_was_recorded_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with LogWriter(tmp_path / "log", LogMetadata("sim_arm", ("a",))) as writer:
        writer.write_value("/monitor/score", 5, FailureScore(5, 0.1, 1.0))
    assert main(["secure", "verify", f"log={tmp_path / 'log'}"]) == 0
    file = tmp_path / "log" / "log_0.mcap"
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "-c", "log_0.mcap.sha256"], cwd=file.parent, check=True, capture_output=True)
    content = bytearray(file.read_bytes())
    content[-12] ^= 1
    file.write_bytes(bytes(content))
    assert main(["secure", "verify", f"log={tmp_path / 'log'}"]) == 2
    assert "it was changed after it was recorded" in capsys.readouterr().err


def test_the_command_writes_a_keystore_for_a_robot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "store"
    assert main(["secure", "enclaves", "robot=so101", f"out={out}", "days=7"]) == 0
    made = {path.parent.name for path in out.glob("enclaves/*/permissions.p7s")}
    assert {"arm_node", "operator", "camera_node_wrist"} <= made
    assert f"run.keystore={out}" in capsys.readouterr().out
    assert main(["secure", "burn"]) == 2
