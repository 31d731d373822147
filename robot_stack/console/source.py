"""Where the page's web part gets what it shows, and whom it asks: the running graph, or anything that can do the same."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from robot_stack.console.view import View
from robot_stack.types import CameraFrame

COMMANDS = ("arm", "disarm", "stop", "reset", "record", "finish", "success", "failure", "discard", "instruction")
"""What the page may ask for."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Granted or not, and why, in the words of whoever was asked."""

    ok: bool
    said: str


class Source(Protocol):
    """A running robot, as the console sees it."""

    board: "Board"

    def ask(self, what: str, text: str) -> Answer:
        """Ask for one of COMMANDS (`text`: the instruction); may take seconds. Raises RobotStackError when nobody answers."""
        ...


class Board:
    """The newest `View`. One thread `put`s what it hears, any thread reads; whoever wants the next picture may wait for it."""

    def __init__(self) -> None:
        self._view = View()
        self._changed = threading.Condition()

    @property
    def view(self) -> View:
        """The newest."""
        return self._view

    def put(self, change: Callable[[View], View]) -> None:
        """Replace the view by what `change` makes of it."""
        with self._changed:
            self._view = change(self._view)

    def put_frame(self, frame: CameraFrame) -> None:
        """A new picture."""
        with self._changed:
            self._view = self._view.with_frame(frame)
            self._changed.notify_all()

    def next_frame(self, camera: str, after_ns: int, wait_s: float) -> CameraFrame | None:
        """The newest picture of `camera` unless it is the one of `after_ns`; waits for another up to `wait_s`, then None."""

        def newer() -> CameraFrame | None:
            frame = self._view.frames.get(camera)
            return frame if frame is not None and frame.t_ns != after_ns else None

        with self._changed:
            return self._changed.wait_for(newer, wait_s)
