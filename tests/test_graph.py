"""The one description of the graph."""

from robot_stack.data.wire import type_of
from robot_stack.graph import Process, describe

CAMERAS = ("scene", "wrist")


def test_every_topic_is_published_by_a_node_of_one_of_the_two_graphs() -> None:
    with_policy, with_human = describe("run.yaml", CAMERAS), describe("run.yaml", CAMERAS, human=True, policy=False)
    nodes = {process.node for process in (*with_policy.nodes, *with_human.nodes)}
    assert {topic.publisher for topic in with_policy.topics} == nodes - {"recorder_node"}


def test_topics_have_the_types_the_log_knows() -> None:
    assert {t.name: t.type for t in describe("run.yaml", CAMERAS).topics} == {
        t.name: type_of(t.name) for t in describe("run.yaml", CAMERAS).topics
    }


def test_each_node_gets_its_run_file_and_each_camera_node_its_camera() -> None:
    graph = describe("run.yaml", CAMERAS)
    assert all(("config", "run.yaml") in process.parameters for process in graph.nodes)
    cameras = [dict(p.parameters)["camera"] for p in graph.nodes if p.module.endswith("camera_node")]
    assert cameras == list(CAMERAS)


def test_a_human_takes_the_place_of_the_policy() -> None:
    names = {process.name for process in describe("run.yaml", CAMERAS, human=True, policy=False).nodes}
    assert "teleop_node" in names and "policy_node" not in names


def test_a_human_who_may_intervene_stands_beside_the_policy() -> None:
    names = {process.name for process in describe("run.yaml", CAMERAS, human=True).nodes}
    assert {"teleop_node", "policy_node"} <= names


def test_a_process_gives_way_to_others_only_when_told_to() -> None:
    assert Process("world", "drivers.world_process", arguments=("--name", "w")).command("py") == [
        "py", "-m", "drivers.world_process", "--name", "w",
    ]  # fmt: skip
    assert Process("p", "m", "p", nice=5).command("py")[:5] == ["nice", "-n", "5", "py", "-m"]
