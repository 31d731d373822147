"""The console's web part over real sockets: who gets in, what he gets, and that STOP gets through whatever else is stuck."""

import http.client
import json
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("websockets", reason="needs the extra `console`")
pytest.importorskip("mujoco", reason="needs the extra `sim`")

from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from robot_stack.config.console import ConsoleCommand
from robot_stack.config.load import load
from robot_stack.console.start import graph_folder
from robot_stack.console.web import Console
from robot_stack.errors import ConfigError
from robot_stack.types import Mode
from tests.console.sim_source import RUN, SimSource

PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def source() -> Iterator[SimSource]:
    source = SimSource()
    yield source
    source.close()


@pytest.fixture(scope="module")
def console(source: SimSource) -> Iterator[Console]:
    console = Console(RUN, source, ConsoleCommand(camera_hz=100.0, state_hz=100.0))
    yield console
    console.close()


Open = Callable[..., ClientConnection]


@pytest.fixture
def dial(console: Console) -> Iterator[Open]:
    """Opens one of the console's WebSockets, as its own page does unless told otherwise."""
    opened = ExitStack()

    def dial(path: str, token: str | None = None, **headers: str) -> ClientConnection:
        own = console.address.rstrip("/")
        uri = f"{own.replace('http', 'ws')}{path}?token={console.token if token is None else token}"
        origin = headers.pop("Origin", own)
        return opened.enter_context(connect(uri, origin=origin or None, additional_headers=headers, open_timeout=PATIENCE_S))

    with opened:
        yield dial


def get(console: Console, path: str, host: str = "") -> http.client.HTTPResponse:
    own = console.address.removeprefix("http://").rstrip("/")
    connection = http.client.HTTPConnection(own, timeout=PATIENCE_S)
    connection.request("GET", path, headers={"Host": host or own})
    return connection.getresponse()


def refused(dial: Open, path: str, token: str | None = None, **headers: str) -> int:
    with pytest.raises(InvalidStatus) as info:
        dial(path, token, **headers)
    return info.value.response.status_code


@pytest.mark.parametrize("path", ["/stop", "/ask", "/state", "/camera/scene"])
def test_nothing_is_said_or_done_without_the_token(dial: Open, path: str) -> None:
    assert refused(dial, path, "") == 403
    assert refused(dial, path, "guessed") == 403


@pytest.mark.parametrize("origin", ["http://evil.test", "http://127.0.0.1:1", "null", "https://127.0.0.1", ""])
@pytest.mark.parametrize("path", ["/stop", "/ask"])
def test_no_command_is_taken_from_another_origin_even_with_the_token(dial: Open, path: str, origin: str) -> None:
    assert refused(dial, path, Origin=origin) == 403


def test_a_name_that_was_bound_to_us_by_somebody_else_reaches_nothing(console: Console) -> None:
    port = console.address.rstrip("/").rpartition(":")[2]
    for host in (f"evil.test:{port}", "evil.test", f"127.0.0.1:{int(port) - 1}"):
        for path in ("/", "/console.js", "/stop"):
            assert get(console, path, host).status == 421, host
    with socket.create_connection(("127.0.0.1", int(port))) as nameless:
        nameless.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert nameless.makefile().readline().startswith("HTTP/1.1 421")


def test_the_page_is_ours_alone_may_not_be_framed_and_loads_nothing_from_elsewhere(console: Console) -> None:
    for path in ("/", "/console.css", "/console.js", "/camera.js", "/plot.js"):
        answer = get(console, path)
        text = answer.read().decode()
        assert answer.status == 200 and "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff" and "no-store" in answer.headers["Cache-Control"]
        assert "http://" not in text and "https://" not in text and console.token not in text
    assert get(console, "/../web.py").status == 404


def test_it_listens_on_this_computer_alone(console: Console) -> None:
    assert console.address.startswith("http://127.0.0.1:") and console.url.startswith(f"{console.address}#token=")


def test_state_comes_as_fast_as_it_is_read_and_no_faster(dial: Open) -> None:
    with dial("/state") as link:
        known = json.loads(link.recv(PATIENCE_S))["facts"]
        assert known["robot"] == "sim_arm"
        link.send("next")
        assert json.loads(link.recv(PATIENCE_S))["mode"] in ("disarmed", "stop")
        with pytest.raises(TimeoutError):
            link.recv(0.1)


def test_each_picture_is_newer_than_the_last_and_has_its_path_beside_it(dial: Open) -> None:
    shown = []
    with dial("/camera/scene") as link:
        for _ in range(3):
            link.send("next")
            packet = link.recv(PATIENCE_S)
            assert isinstance(packet, bytes)
            (length,) = struct.unpack(">I", packet[:4])
            drawn = json.loads(packet[4 : 4 + length])
            picture = cv2.imdecode(np.frombuffer(packet[4 + length :], np.uint8), cv2.IMREAD_COLOR)
            assert picture is not None and picture.shape == (128, 128, 3)
            shown.append(drawn)
    assert any(len(drawn["path"]) > 2 for drawn in shown)


def test_there_is_no_camera_the_robot_has_not(dial: Open) -> None:
    assert refused(dial, "/camera/nowhere") == 404


def test_stop_is_answered_by_the_control_loop_and_seen_in_the_state(dial: Open, source: SimSource) -> None:
    with dial("/stop") as link:
        link.send("stop")
        answer = json.loads(link.recv(PATIENCE_S))
    assert answer["ok"] and "operator" in answer["said"]
    step = source.board.view.step
    assert step is not None and step.verdict.mode is Mode.STOP
    with dial("/ask") as link:
        link.send(json.dumps({"do": "reset"}))
        assert json.loads(link.recv(PATIENCE_S))["ok"]


def test_stop_gets_through_while_the_video_connection_is_stalled(console: Console, dial: Open) -> None:
    """A browser that asks for pictures and reads none, until neither side's buffers take more."""
    host, _, port = console.address.removeprefix("http://").rstrip("/").partition(":")
    stalled = socket.socket()
    stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    stalled.connect((host, int(port)))
    uri = f"ws://{host}:{port}/camera/scene?token={console.token}"
    with connect(uri, sock=stalled, origin=console.address.rstrip("/"), max_queue=1) as video, dial("/stop") as link:
        done = threading.Event()

        def ask_on() -> None:
            while not done.is_set():
                video.send("next")
                done.wait(0.002)

        asking = threading.Thread(target=ask_on, daemon=True)
        asking.start()
        for _ in range(20):
            link.send("stop")
            assert json.loads(link.recv(PATIENCE_S))["ok"]
        done.set()
        stalled.shutdown(socket.SHUT_RDWR)
        asking.join(PATIENCE_S)


def test_what_nobody_answers_is_said_as_it_is(dial: Open, source: SimSource) -> None:
    with dial("/ask") as link:
        for do, text in (("success", ""), ("instruction", "Put the cube away.")):
            link.send(json.dumps({"do": do, "text": text}))
            answer = json.loads(link.recv(PATIENCE_S))
            assert not answer["ok"] and "no such service here" in answer["said"]
            assert source.heard[-1] == (do, text)


@pytest.mark.parametrize(
    "message", ["", "stop", "[]", "7", '{"do": 1}', '{"do": "fly"}', '{"do": "arm", "text": "%s"}' % ("x" * 501)]
)
def test_what_is_no_command_is_refused_and_passed_on_to_nobody(dial: Open, source: SimSource, message: str) -> None:
    before = len(source.heard)
    with dial("/ask") as link:
        link.send(message)
        answer = json.loads(link.recv(PATIENCE_S))
    assert not answer["ok"] and "allowed" in answer["said"]
    assert len(source.heard) == before


def test_a_message_without_end_is_not_read(dial: Open) -> None:
    with dial("/ask") as link:
        link.send("x" * 100_000)
        with pytest.raises(Exception, match="1009"):
            link.recv(PATIENCE_S)


@pytest.mark.parametrize("host", ["0.0.0.0", "localhost", "", "::"])
def test_a_host_that_is_no_single_address_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match=r"console\.host"):
        load(ConsoleCommand, [f"host={host}"])


def test_the_newest_graph_in_a_folder_is_taken(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="robot-stack run"):
        graph_folder(tmp_path)
    for t_s, name in enumerate(("graph-2", "graph-1", "graph-3")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.yaml").touch()
        os.utime(tmp_path / name / "run.yaml", (t_s % 2, t_s % 2))
    assert graph_folder(tmp_path).name == "graph-1"
    assert graph_folder(tmp_path / "graph-2").name == "graph-2"
