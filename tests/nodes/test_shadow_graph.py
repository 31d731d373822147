"""The real graph in shadow: the policy is armed, decides and is logged, and the arm does not move."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: `make setup` installs its wheels, or source a system's")

from robot_stack.config.commands import ReplayCommand
from robot_stack.data.log import read_log
from robot_stack.replay.command import replay
from robot_stack.types import Mode, Step

if TYPE_CHECKING:
    from robot_stack.supervisor import Graph

PATIENCE_S = 60.0


@pytest.mark.slow
def test_in_shadow_the_policy_decides_and_the_arm_stays_where_it_is(start_graph: Callable[..., "Graph"], tmp_path: Path) -> None:
    def wished(step: Step) -> bool:
        return step.verdict.mode is Mode.POLICY and step.verdict.proposed is not None

    with start_graph("shadow=true") as graph:
        graph.director.reset(0, "nominal")
        graph.start_log(tmp_path / "episode", "nominal")
        graph.arm(timeout_s=PATIENCE_S)
        first = graph.wait_for(wished, PATIENCE_S, "a wish of the policy")
        graph.wait_for(lambda step: wished(step) and step.t_ns > first.t_ns + 3_000_000_000, PATIENCE_S, "three seconds of them")
        graph.disarm()
        graph.stop_log()
    log = read_log(tmp_path / "episode")
    steps = [step for step in log.steps() if step.verdict.mode is Mode.POLICY]
    at = np.array([step.inputs.joints.q for step in steps if step.inputs.joints is not None])
    wanted = max(float(np.abs(s.inputs.chunk.q - at[0]).max()) for s in steps if s.inputs.chunk is not None)
    assert len(steps) > 100 and np.ptp(at, axis=0).max() < 0.005 < wanted
    assert log.metadata.shadow and "/arm/command" not in log.summary.messages and "/policy/chunk" in log.summary.messages
    assert "in shadow: nothing was sent" in replay(ReplayCommand(log=str(tmp_path / "episode")))
