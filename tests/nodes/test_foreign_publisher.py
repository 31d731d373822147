"""A peer that the run does not know commands the arm, which does not move; one that the run names drives it and stops it."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Any

import numpy as np
import psutil
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: `make setup` installs its wheels, or source a system's")

import rclpy
from rclpy.context import Context
from rclpy.node import Node

from robot_stack.errors import RobotStackError
from robot_stack.nodes.operator import Operator
from robot_stack.secure.enclaves import enclaves
from robot_stack.supervisor import Graph
from robot_stack.types import Mode, Request

PATIENCE_S = 60.0
CLIENT = Path(__file__).resolve().parents[1] / "faults" / "independent_client.py"
STILL = 0.01
"""rad: how far a joint of the held arm may be from where it was."""


@pytest.fixture(scope="module")
def graph(start_graph: Callable[..., Graph]) -> Iterator[Graph]:
    with start_graph("run.allow=[cyclone]", "run.respawn=[]", "safety.policy_silent_s=30") as graph:
        yield graph


@contextmanager
def silent_policy(graph: Graph) -> Iterator[None]:
    """The policy is armed and says nothing: whatever moves the arm now is somebody else's."""
    if graph.operator.step().verdict.mode is Mode.STOP:
        graph.reset()
    if graph.operator.step().verdict.mode is not Mode.DISARMED:
        graph.disarm()
    graph.director.reset(0, "nominal")
    policy = psutil.Process(graph.processes.pid("policy_node"))
    policy.suspend()
    try:
        graph.arm(timeout_s=PATIENCE_S)
        yield
    finally:
        policy.resume()


@contextmanager
def independent(graph: Graph, *arguments: str) -> Iterator[IO[str]]:
    """The CycloneDDS client, and what it prints."""
    pytest.importorskip("cyclonedds", reason="needs an independent DDS: pip install cyclonedds==11.0.1")
    command = [sys.executable, str(CLIENT), str(graph.domain), *arguments]
    client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=graph.processes.environment)
    assert client.stdout is not None
    try:
        yield client.stdout
    finally:
        client.terminate()
        client.wait(PATIENCE_S)


def reports(lines: IO[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        yield json.loads(line)


def first(lines: IO[str], enough: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    return next(report for report in reports(lines) if enough(report))


def commanded(graph: Graph) -> np.ndarray:
    step = graph.operator.step()
    assert step is not None
    return step.verdict.command.q


def refusals(graph: Graph, word: str) -> int:
    return graph.processes.log_file("arm_node").read_text(errors="replace").count(word)


@pytest.mark.parametrize("mode", ["strange", pytest.param("forge", marks=pytest.mark.slow)])
def test_an_independent_dds_client_without_a_key_does_not_move_the_arm_and_is_named(graph: Graph, mode: str) -> None:
    with silent_policy(graph):
        start = commanded(graph)
        key = [str(graph.directory / "cyclone.key")] if mode == "forge" else []
        with independent(graph, mode, *key) as lines:
            seen = first(lines, lambda report: report["chunks"] > 60)
        assert seen["joints"] > 0 and seen["verdicts"] > 0
        step = graph.operator.step()
        assert step.verdict.mode is Mode.POLICY and step.inputs.chunk is None
        assert np.abs(commanded(graph) - start).max() < STILL
    said = graph.processes.log_file("arm_node").read_text(errors="replace")
    assert "/policy/chunk: refused a message" in said and "publishing there now:" in said
    if mode == "strange":
        seen_elsewhere = {"fallback_node": "/joint_states", "monitor_node": "/scene/image"}
        assert all(f"{topic}: refused a message" in graph.processes.tail(node) for node, topic in seen_elsewhere.items())
        assert all(f"{topic}: refused a message" in said for topic in ("/fallback/command", "/monitor/score", "/monitor/hazards"))


@pytest.mark.slow
def test_a_ros_node_that_takes_the_name_of_the_policy_does_not_move_the_arm(graph: Graph) -> None:
    before = refusals(graph, "carries no seal")
    with silent_policy(graph):
        start = commanded(graph)
        with impostor(graph):
            graph.wait_for(lambda _: refusals(graph, "carries no seal") >= before + 2, PATIENCE_S, "two refusals")
        assert np.abs(commanded(graph) - start).max() < STILL


@contextmanager
def impostor(graph: Graph) -> Iterator[None]:
    """Chunks at 20 Hz of a ROS node that calls itself policy_node and has no key."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("impostor.py")), str(graph.directory / "run.yaml")],
        env={**graph.processes.environment, "PYTHONPATH": str(CLIENT.parents[2])},
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_whoever_has_no_key_may_stop_the_arm_but_not_arm_or_reset_it(graph: Graph) -> None:
    with silent_policy(graph):
        stranger = Operator(graph.domain)
        try:
            granted, _ = stranger.request(Request.STOP, PATIENCE_S)
            assert granted and graph.wait_for(lambda step: True, PATIENCE_S).verdict.mode is Mode.STOP
            for request in (Request.RESET, Request.ARM_POLICY):
                granted, why = stranger.request(request, PATIENCE_S)
                assert not granted and "no permit" in why
            assert graph.operator.step().verdict.mode is Mode.STOP
        finally:
            stranger.close()
        assert graph.reset().verdict.mode is Mode.DISARMED


def test_whoever_has_no_key_neither_tells_the_policy_what_to_do_nor_the_recorder_where_to_write(graph: Graph) -> None:
    stranger = Operator(graph.domain)
    try:
        with pytest.raises(RobotStackError, match="no permit"):
            stranger.instruct(graph.run.instruction, PATIENCE_S)
        with pytest.raises(RobotStackError, match="no permit"):
            stranger.start_log(Path("/tmp/x"), timeout_s=PATIENCE_S)
        graph.operator.instruct(graph.run.instruction, PATIENCE_S)
    finally:
        stranger.close()


def test_the_run_file_of_a_running_node_cannot_be_changed_by_a_parameter(graph: Graph) -> None:
    with pytest.raises(RobotStackError, match="config: refused"):
        graph.operator.set_text("arm_node", {"config": "/tmp/other.yaml"}, PATIENCE_S)


def test_no_node_says_or_hears_more_than_its_enclave_would_let_it(graph: Graph) -> None:
    cameras = [camera.name for camera in graph.run.robot.cameras]
    listed = {enclave.name.strip("/"): enclave for enclave in enclaves(graph.description, cameras)}
    context = Context()
    rclpy.init(context=context, domain_id=graph.domain, args=[])
    looker = Node("looker", context=context)
    try:
        for process in graph.description.nodes:
            node, enclave = process.node, listed[process.node]
            graph.wait_for(lambda _, node=node: node in looker.get_node_names(), PATIENCE_S, f"{node} to be seen")  # type: ignore[misc]
            heard = ["rt" + name for name, _ in looker.get_subscriber_names_and_types_by_node(node, "/")]
            said = ["rt" + name for name, _ in looker.get_publisher_names_and_types_by_node(node, "/")]
            served = [name for name, _ in looker.get_service_names_and_types_by_node(node, "/")]
            said += [f"rr{name}Reply" for name in served]
            heard += [f"rq{name}Request" for name in served]
            assert said and not [name for name in said if not any(fnmatchcase(name, may) for may in enclave.writes)], node
            assert not [name for name in heard if not any(fnmatchcase(name, may) for may in enclave.reads)], node
            assert not looker.get_client_names_and_types_by_node(node, "/"), node
    finally:
        looker.destroy_node()
        context.try_shutdown()


def test_an_independent_client_the_run_names_drives_the_arm_watches_it_and_stops_it(graph: Graph) -> None:
    with silent_policy(graph):
        began_ns = time.monotonic_ns()
        with independent(graph, "drive", str(graph.directory / "cyclone.key")) as lines:
            report = first(lines, lambda report: "stopped" in report)
        assert report["stopped"] and "stop" in report["answer"]
        assert report["farthest"] >= 0.1 and report["joints"] > 10 and report["verdicts"] > 10
        graph.wait_for(lambda step: step.verdict.mode is Mode.STOP, PATIENCE_S, "STOP", began_ns)
