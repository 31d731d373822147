"""The control loop of arm_node, its safety layer and an SO-101 on the simulated servo bus: what a bus fault does to the mode."""

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

for _package in ("serial", "scservo_sdk", "dynamixel_sdk"):
    pytest.importorskip(_package, reason="needs the extra `servos`: pip install 'robot_stack[servos]'")

from robot_stack.config.schema import SafetySettings  # noqa: E402
from robot_stack.nodes.arm_loop import ArmLoop  # noqa: E402
from robot_stack.types import (  # noqa: E402
    ActionChunk,
    Decision,
    Mode,
    Request,
    Step,
)
from safety.layer import SafetyLayer  # noqa: E402
from tests.drivers import servo_rig as rig  # noqa: E402
from tests.nodes.well_graph import everybody_speaks  # noqa: E402

PATIENT = SafetySettings(joints_stale_s=1.0, joints_lost_s=2.0, policy_silent_s=9.0, monitor_silent_s=9.0, hazards_stale_s=9.0)
PATIENCE_S = 60.0


class Cell:
    """The loop, ticked by hand, with everybody else in the graph well and a policy that moves the gripper."""

    def __init__(self, servos, kind: str) -> None:
        robot = rig.so101(kind, servos.path, lost_s=0.6)
        self.arm = rig.connect(servos, robot)
        self.steps: list[Step] = []
        self.said: list[str] = []
        self.loop = ArmLoop(self.arm, SafetyLayer(robot, PATIENT), self.steps.append, self.said.append)

    @property
    def mode(self) -> Mode:
        return self.steps[-1].verdict.mode

    def tick(self, request: Request | None = None) -> tuple[bool, str]:
        now = everybody_speaks(self.loop.inbox, np.zeros(6))
        rows = np.tile([0.0, 0.0, 0.0, 0.0, 0.0, 0.9], (16, 1))
        self.loop.inbox.put_chunk(ActionChunk(now, now, 50_000_000, rows, "flow"))
        question = self.loop.ask(request) if request else None
        self.loop.tick(0)
        time.sleep(0.01)
        return question.wait() if question else (True, "")

    def until(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, self.said[-1:]
            self.tick()


@pytest.fixture(params=["feetech", "dynamixel"])
def servos(request: pytest.FixtureRequest) -> Iterator[object]:
    simulator = rig.ServoSimulator(request.param)
    simulator.kind = request.param
    yield simulator
    simulator.close()


@pytest.fixture
def cell(servos) -> Iterator[Cell]:
    made = Cell(servos, servos.kind)
    made.tick()
    granted, why = made.tick(Request.ARM_POLICY)
    assert granted, why
    made.until(lambda: servos.servos[6].encoder > 2047 + 20)
    yield made
    made.arm.close()


def test_a_lost_servo_stops_the_arm_and_is_named(servos, cell: Cell) -> None:
    servos.servos[3].dropped = True
    cell.until(lambda: cell.mode is Mode.STOP)
    assert cell.steps[-1].verdict.decision is Decision.STOP
    assert any("servo 3 (elbow_flex)" in text for text in cell.said)
    decisions = [step.verdict.decision for step in cell.steps]
    assert Decision.HOLD in decisions[: decisions.index(Decision.STOP)], "it holds before it stops"


def test_an_overheated_servo_stops_the_arm_and_cooled_it_may_go_on(servos, cell: Cell) -> None:
    servos.servos[2].put(servos.table.temperature, 80)
    cell.until(lambda: cell.mode is Mode.STOP)
    assert any("servo 2 (shoulder_lift)" in text and "80 degC" in text for text in cell.said)
    assert not cell.tick(Request.ARM_POLICY)[0]
    servos.servos[2].put(servos.table.temperature, 40)
    cell.until(lambda: cell.steps[-1].inputs.joints is not None)
    assert cell.tick(Request.RESET)[0]
