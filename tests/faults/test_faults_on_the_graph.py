"""Faults of the table on the real graph. Here: what comes of each; how soon is for `robot-stack bench faults` to say.

The graph's patience is that of all tests, so what only silence shows takes seconds; the fast ones run by default.
"""

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: `make setup` installs its wheels, or source a system's")

from robot_stack.config.commands import FaultCommand
from robot_stack.config.robot_file import load_robot
from robot_stack.errors import ConfigError
from robot_stack.faults.campaign import Campaign
from robot_stack.faults.command import main
from robot_stack.faults.plant import Plant, attached
from robot_stack.faults.table import Expect, Means, cases
from robot_stack.faults.trial import trial
from robot_stack.supervisor import Graph
from robot_stack.types import Mode

TABLE = cases(load_robot("sim_arm"))
CHUNKS = tuple(name for name, case in TABLE.items() if case.means is Means.CHUNK)
QUICK = (*CHUNKS, "frames_torn", "encoder_jumps", "disk_full", "folder_unwritable")
SAFE_MODES = (Mode.FALLBACK, Mode.STOP)
GOING_ON = (Expect.GOES_ON, Expect.REFUSED, Expect.SAID)
TRIES = 4
SLOW = tuple(name for name, case in TABLE.items() if name not in QUICK and not case.own_graph)


@pytest.fixture(scope="module")
def graph(start_graph: Callable[..., Graph]) -> Iterator[Graph]:
    with start_graph("run.respawn=[]", "run.namespace=left") as graph:
        yield graph


@pytest.fixture(scope="module")
def plant(graph: Graph) -> Iterator[Plant]:
    with closing(Plant.of(graph)) as plant:
        yield plant


def found(plant: Plant, name: str) -> None:
    """`name` comes out as the table says, and its logs are whole and without a command out of limits.

    Where the arm must go on it may be stopped because the test machine is busy: then once more, but not for ever.
    """
    case = TABLE[name]
    campaign = Campaign(plant, case, plant.folder)
    for _ in range(TRIES):
        (outcome,) = campaign.run(1)
        assert outcome.said and outcome.ticks
        if outcome.as_expected or case.expect not in GOING_ON or outcome.mode not in SAFE_MODES:
            break
    assert outcome.as_expected, outcome
    for verdict in campaign.verdicts:
        assert verdict.out_of_limits == 0 and verdict.missing == 0, verdict


@pytest.mark.parametrize("name", QUICK)
def test_what_comes_of_a_fault_is_what_the_table_says_and_the_log_shows_it(plant: Plant, name: str) -> None:
    found(plant, name)


def test_the_log_has_the_ticks_of_an_arm_node_that_was_started_again(plant: Plant) -> None:
    campaign = Campaign(plant, TABLE["kill_arm_node"], plant.folder)
    assert all(outcome.ticks for outcome in campaign.run(3))
    (verdict,) = campaign.verdicts
    assert verdict.missing == 0, verdict


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_what_comes_of_every_other_fault_is_what_the_table_says(plant: Plant, name: str) -> None:
    found(plant, name)


def test_a_fault_is_put_into_a_graph_that_another_program_runs(graph: Graph) -> None:
    with attached(graph.directory) as plant:
        assert plant.pid("world") == graph.processes.pid("world")
        outcome = trial(plant, TABLE["frames_black"])
    assert outcome.as_expected and outcome.mode in SAFE_MODES


def test_a_graph_that_does_not_run_is_named(graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> None:
    copied = tmp_path_factory.mktemp("graph")
    (copied / "run.yaml").write_bytes((graph.directory / "run.yaml").read_bytes())
    with pytest.raises(ConfigError, match="found no running graph"):
        main(FaultCommand(faults="frames_black", graph=str(copied)))
