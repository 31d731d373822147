"""A robot for the console's web part, in this process and without ROS: the simulated world, the real control loop and filter."""

import threading
import time

from drivers.scripted import ScriptedTeleoperator
from drivers.sim_world import SimWorld
from robot_stack.build import Run
from robot_stack.console.source import Answer, Board
from robot_stack.control import TELEOP_SOURCE
from robot_stack.errors import RobotStackError
from robot_stack.nodes.arm_loop import ArmLoop
from robot_stack.types import JointState, Request, SafeCommand, Step
from safety.layer import SafetyLayer

RUN = Run()
TICK_NS, TICKS_A_PICTURE, TICKS_A_CHUNK = RUN.robot.dt_ns, 10, 20


class _Arm:
    """The Arm of a SimWorld that is stepped by who reads it."""

    def __init__(self, world: SimWorld) -> None:
        self.joint_names = world.spec.joint_names
        self._world = world

    def read(self) -> JointState:
        self._world.advance(TICK_NS)
        self._world.skip(time.monotonic_ns() - self._world.t_ns)
        return self._world.joints()

    def send(self, command: SafeCommand) -> None:
        self._world.send(command)

    def close(self) -> None:
        self._world.close()


class SimSource:
    """A Source. The world lives in one thread of its own, as MuJoCo wants it; `heard` keeps what was asked."""

    def __init__(self) -> None:
        self.board = Board()
        self.heard: list[tuple[str, str]] = []
        self._loop: ArmLoop | None = None
        self._ready, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()
        assert self._ready.wait(60.0), "the simulated world did not start"

    def ask(self, what: str, text: str) -> Answer:
        self.heard.append((what, text))
        if what not in ("stop", "reset", "disarm") or self._loop is None:
            raise RobotStackError(f"{what}: no such service here")
        return Answer(*self._loop.ask(Request(what)).wait())

    def close(self) -> None:
        self._closing.set()
        self._thread.join(10.0)

    def _live(self) -> None:
        world = SimWorld(RUN.robot, RUN.task, time.monotonic_ns())
        arm = _Arm(world)
        self._loop = ArmLoop(arm, SafetyLayer(RUN.robot, RUN.safety), self._report, print)
        human = ScriptedTeleoperator(RUN.robot, world.truth, world.joints, 0, False)
        tick = 0
        while not self._closing.wait(TICK_NS / 1e9):
            self._loop.tick(0)
            if tick % TICKS_A_CHUNK == 0 and (chunk := human.act(time.monotonic_ns())) is not None:
                assert chunk.source == TELEOP_SOURCE
                self.board.put(lambda view, chunk=chunk: view.with_chunk(chunk))  # type: ignore[misc]
            if tick % TICKS_A_PICTURE == 0:
                for camera in world.cameras:
                    self.board.put_frame(world.render(camera))
                self._ready.set()
            tick += 1
        arm.close()

    def _report(self, step: Step) -> None:
        self.board.put(lambda view: view.with_step(step))
