"""Milliseconds from STOP pressed in the operator's page to arm_node's answer on it, in a real browser, on the running graph.

The policy has the arm and the page shows both cameras. It is what the operator waits for: keyboard, page, console, the next tick
of arm_node (at 100 Hz every 10 ms), its answer, and back; the verdict itself is earlier. Against it, in turn: the same from this
process through the console without a browser's keyboard, page and drawing, and to arm_node without a console.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from websockets.sync.client import connect
from websockets.typing import Origin

from benchmarks.chromium import Chromium
from benchmarks.harness import Result
from benchmarks.live import ARM_S, bundle_or_still, live_graph
from robot_stack.config.console import ConsoleCommand
from robot_stack.console.start import console
from robot_stack.supervisor import Graph
from robot_stack.types import Mode, Request

PRESSES = 60
FAILED = "$('stop').dataset.state === 'failed'"


def main(arguments: Sequence[str]) -> Result:
    """`arguments`: a bundle folder, optional."""
    with bundle_or_still(arguments[0] if arguments else None) as bundle, live_graph(bundle) as graph:
        return measure(graph)


def measure(graph: Graph) -> Result:
    """The figure on a running `graph`. Raises RuntimeError on a STOP that failed, or that the verdicts do not show."""
    pressed, sent, asked = [], [], []
    with (
        console(graph.directory, ConsoleCommand()) as (url, _),
        tempfile.TemporaryDirectory() as folder,
        Chromium(Path(folder)) as browser,
        _line(url) as line,
    ):
        browser.open(url)
        browser.wait("document.querySelectorAll('figure').length && $('stop').dataset.state === 'ready'")
        for _ in range(PRESSES):
            pressed.append(_press(graph, browser))
            sent.append(_timed(graph, lambda: (line.send("stop"), line.recv())))
            asked.append(_timed(graph, lambda: graph.operator.request(Request.STOP)))
    extra = {"control_hz": graph.run.robot.control_rate_hz, "failed": 0}
    return Result("console_stop", "ms", pressed, {"no browser": sent, "no console": asked}, extra)


def _line(url: str) -> connect:
    """The connection of the page for STOP."""
    address, _, token = url.partition("/#token=")
    return connect(f"{address.replace('http', 'ws')}/stop?token={token}", origin=Origin(address))


def _press(graph: Graph, browser: Chromium) -> float:
    _move(graph)
    browser.value("$('stop').dataset.ms = ''")
    browser.press(" ")
    if browser.wait(f"{FAILED} ? 'failed' : $('stop').dataset.ms") == "failed":
        raise RuntimeError(f"STOP: {browser.value('$(`stop-said`).textContent')}")
    if graph.operator.wait_for(lambda _: True, ARM_S).verdict.mode is not Mode.STOP:
        raise RuntimeError("STOP: acknowledged, and the verdicts do not show it")
    return float(browser.value("$('stop').dataset.ms"))


def _timed(graph: Graph, stop: Callable[[], object]) -> float:
    _move(graph)
    begin_ns = time.monotonic_ns()
    stop()
    return (time.monotonic_ns() - begin_ns) / 1e6


def _move(graph: Graph) -> None:
    graph.reset()
    graph.arm(timeout_s=ARM_S)
