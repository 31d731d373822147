"""The operator's page in a real browser beside the real graph."""

import http.server
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import psutil
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: `make setup` installs its wheels, or source a system's")
pytest.importorskip("websockets", reason="needs the extra `console`")

from benchmarks.chromium import NAMES, Chromium, executable
from robot_stack.config.console import ConsoleCommand
from robot_stack.console.start import console
from robot_stack.types import Mode, Reason

if TYPE_CHECKING:
    from robot_stack.supervisor import Graph

PATIENCE_S = 60.0

pytestmark = pytest.mark.skipif(executable() is None, reason=f"needs a browser on the PATH: one of {', '.join(NAMES)}")


@pytest.fixture(scope="module")
def graph(start_graph: Callable[[], "Graph"]) -> Iterator["Graph"]:
    with start_graph() as graph:
        yield graph


@pytest.fixture(scope="module")
def url(graph: "Graph") -> Iterator[str]:
    with console(graph.directory, ConsoleCommand()) as (url, _):
        yield url


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def page(graph: "Graph", browser: Chromium, url: str) -> Chromium:
    """The console's page, showing a graph that is not stopped."""
    if graph.operator.step().verdict.mode is Mode.STOP:
        graph.reset()
    browser.open(url)
    browser.wait("document.querySelectorAll('figure').length && $('stop').dataset.state === 'ready'", PATIENCE_S)
    return browser


def mode(page: Chromium, wanted: str) -> None:
    page.wait(f"$('mode-box').dataset.mode === '{wanted}'", PATIENCE_S)


def test_the_page_shows_the_robot_and_stops_it_by_keyboard_whoever_else_is_stuck(graph: "Graph", page: Chromium) -> None:
    page.wait(
        "[...document.querySelectorAll('figure')].every((f) => f.dataset.shown > 3 && f.dataset.old === 'false')", PATIENCE_S
    )
    assert page.value("location.hash") == ""
    graph.director.reset(0, "nominal")
    page.value("document.querySelector('[data-do=arm]').focus()")
    page.press("Enter")
    mode(page, "policy")
    stuck = [psutil.Process(graph.processes.pid(name)) for name in ("policy_node", "camera_node_scene", "camera_node_wrist")]
    for process in stuck:
        process.suspend()
    page.value("cameras.forEach((camera) => camera.terminate())")
    before_ns = time.monotonic_ns()
    try:
        page.press(" ")
        stopped = graph.wait_for(lambda step: step.verdict.mode is Mode.STOP, PATIENCE_S, "STOP", before_ns)
        page.wait("$('stop').dataset.state === 'acked'", PATIENCE_S)
    finally:
        for process in stuck:
            process.resume()
    mode(page, "stop")
    assert page.value("[...document.querySelectorAll('#events li')].some((line) => line.textContent.includes('operator'))")
    assert Reason.OPERATOR in stopped.mode_cause


def test_the_instruction_may_have_spaces_and_escape_stops_even_there(graph: "Graph", page: Chromium) -> None:
    page.value("$('instruction').value = ''; $('instruction').focus()")
    for key in ("a", " ", "b"):
        page.press(key)
    assert page.value("$('instruction').value") == "a b"
    assert graph.operator.step().verdict.mode is not Mode.STOP
    page.press("Escape")
    mode(page, "stop")


def test_what_the_graph_refuses_is_shown_in_its_words(page: Chromium) -> None:
    page.value("document.querySelector('[data-do=finish]').focus()")
    page.press("Enter")
    page.wait("$('answers').textContent.includes('refused: no log is being written')", PATIENCE_S)


def test_a_wrong_token_gets_nothing_but_a_sentence(browser: Chromium, url: str) -> None:
    browser.open(url.partition("#")[0] + "#token=guessed")
    browser.wait("$('banner').textContent.includes('no valid token')", PATIENCE_S)
    assert not browser.value("document.querySelectorAll('figure').length")


def test_a_page_of_another_origin_stops_and_sees_nothing_even_with_the_token(graph: "Graph", browser: Chromium, url: str) -> None:
    address, _, token = url.partition("#token=")
    foreign = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=foreign.serve_forever, daemon=True).start()
    port = address.rstrip("/").rpartition(":")[2]
    try:
        browser.open(f"http://127.0.0.1:{foreign.server_port}/")
        for path in ("stop", "ask", "state", "camera/scene"):
            assert browser.value(f"({DIAL})('ws://127.0.0.1:{port}/{path}?token={token}')") == "refused"
        browser.open(f"http://rebound.test:{port}/")
        assert "Host: allowed" in browser.value("document.body.textContent")
    finally:
        foreign.shutdown()
    assert graph.operator.step().verdict.mode is not Mode.STOP


DIAL = """(url) => new Promise((done) => {
  const socket = new WebSocket(url);
  socket.onopen = () => { socket.send("stop"); done("open"); };
  socket.onclose = () => done("refused");
})"""
