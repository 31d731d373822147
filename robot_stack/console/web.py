"""The page's web server: its files, and one WebSocket a purpose, each served by a thread of its own.

    /stop            any message stops the arm; the answer is arm_node's. Nothing else travels here, so nothing is in its way
    /ask             {"do": ..., "text": ...} -> {"ok": ..., "said": ...}, one at a time
    /state           the facts, then the state, at a bounded rate
    /camera/NAME     pictures: 4 bytes length, that many of JSON (what to draw over it), the JPEG

A reader of the last two asks for each message by sending one, once it has shown the last: whoever is slow or stuck gets the
newest when he comes back, and nothing is ever queued for him.

Who may operate a robot: whoever has the token, which is new each time and stands in the printed address behind a `#`, where no
proxy or log sees it. A page of another origin is refused by its Origin, one that reaches us under a name of its own (DNS
rebinding) by its Host. The files themselves are no secret.
"""

import hmac
import json
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from importlib import resources
from urllib.parse import parse_qs, urlsplit

from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Origin

from robot_stack.build import Run
from robot_stack.config.console import ConsoleCommand
from robot_stack.console.picture import packet
from robot_stack.console.source import COMMANDS, Answer, Source
from robot_stack.console.state import facts, state
from robot_stack.errors import RobotStackError
from robot_stack.kinematics import Kinematics

FILES = {"/": "console.html"} | {f"/{name}": name for name in ("console.css", "console.js", "camera.js", "plot.js")}
KINDS = {"html": "text/html; charset=utf-8", "css": "text/css", "js": "text/javascript"}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
REQUEST_BYTES = 4096
TEXT_LENGTH = 500
FRAME_WAIT_S = 0.5
CLOSE_S = 1.0
"""How long a browser may take to answer that a connection is closed."""


class Console:
    """The page of `source`, served from construction until `close`. Raises OSError when host and port cannot be had."""

    def __init__(self, run: Run, source: Source, command: ConsoleCommand, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._source = source
        self._command = command
        self._now_ns = now_ns
        self._facts = facts(run)
        self._cameras = {camera.name: camera for camera in run.robot.cameras}
        self._kinematics = Kinematics(run.robot)
        self.token = secrets.token_urlsafe(24)
        listening = socket.create_server((command.host, command.port))
        host, port = listening.getsockname()[:2]
        self.address = f"http://{host}:{port}/"
        names = (host, "localhost") if host.startswith("127.") else (host,)
        self._hosts = {f"{name}:{port}" for name in names}
        self._server = serve(
            self._attend,
            sock=listening,
            origins=[Origin(f"http://{name}") for name in self._hosts],
            process_request=self._door,
            compression=None,
            server_header=None,
            max_size=REQUEST_BYTES,
            close_timeout=CLOSE_S,
        )
        self._thread = threading.Thread(target=self._server.serve_forever, name="console", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The address with the token: whoever has it may operate the robot."""
        return f"{self.address}#token={self.token}"

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._thread.join(CLOSE_S)

    def _door(self, connection: ServerConnection, request: Request) -> Response | None:
        """The answer to a request that is not to become a WebSocket: a file of the page, or a refusal."""
        url = urlsplit(request.path)
        named = request.headers.get_all("Host")
        if len(named) != 1 or named[0] not in self._hosts:
            return connection.respond(HTTPStatus.MISDIRECTED_REQUEST, f"Host: allowed {sorted(self._hosts)}\n")
        if url.path in FILES:
            return _file(FILES[url.path])
        if self._served(url.path) is None:
            return connection.respond(HTTPStatus.NOT_FOUND, "no such page\n")
        given = parse_qs(url.query).get("token", [""])[0]
        if not hmac.compare_digest(given.encode(), self.token.encode()):
            return connection.respond(HTTPStatus.FORBIDDEN, "token: not this console's; open the address it printed\n")
        return None

    def _served(self, path: str) -> Callable[[ServerConnection], None] | None:
        if path in ("/stop", "/ask"):
            return self._stop if path == "/stop" else self._answer
        if path == "/state":
            return self._tell_state
        name = path.removeprefix("/camera/")
        return partial(self._show, name) if path != name and name in self._cameras else None

    def _attend(self, connection: ServerConnection) -> None:
        attend = self._served(urlsplit(connection.request.path).path) if connection.request else None
        if attend is not None:
            with suppress(ConnectionClosed):
                attend(connection)

    def _stop(self, connection: ServerConnection) -> None:
        for _ in connection:
            connection.send(_json(self._ask("stop", "")))

    def _answer(self, connection: ServerConnection) -> None:
        for message in connection:
            connection.send(_json(self._asked(message)))

    def _asked(self, message: str | bytes) -> Answer:
        try:
            asked = json.loads(message)
            what, text = str(asked["do"]), str(asked.get("text", ""))
        except (ValueError, TypeError, KeyError, AttributeError):
            return Answer(False, 'found no request, allowed {"do": ..., "text": ...}')
        if what not in COMMANDS or len(text) > TEXT_LENGTH:
            allowed = f"{', '.join(COMMANDS)}, with up to {TEXT_LENGTH} letters"
            return Answer(False, f"found {what[:20]!r} with {len(text)} letters, allowed {allowed}")
        return self._ask(what, text)

    def _ask(self, what: str, text: str) -> Answer:
        try:
            return self._source.ask(what, text)
        except RobotStackError as error:
            return Answer(False, str(error))

    def _tell_state(self, connection: ServerConnection) -> None:
        connection.send(json.dumps({"facts": self._facts}))
        pace = Pace(1.0 / self._command.state_hz)
        for _ in connection:
            pace.wait()
            connection.send(json.dumps(state(self._source.board.view, self._now_ns()), allow_nan=False))

    def _show(self, camera: str, connection: ServerConnection) -> None:
        pace, shown_ns = Pace(1.0 / self._command.camera_hz), -1
        for _ in connection:
            pace.wait()
            frame = self._source.board.next_frame(camera, shown_ns, FRAME_WAIT_S)
            if frame is None:
                connection.send(struct.pack(">I", 0))
                continue
            shown_ns = frame.t_ns
            view = self._source.board.view
            connection.send(packet(frame, self._cameras[camera], self._kinematics, view, self._command))


class Pace:
    """`wait` returns `period_s` after it last did, or at once when that is over."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._next = 0.0

    def wait(self) -> None:
        """Sleep until it is time."""
        if (rest_s := self._next - time.monotonic()) > 0:
            time.sleep(rest_s)
        self._next = time.monotonic() + self._period_s


def _json(answer: Answer) -> str:
    return json.dumps({"ok": answer.ok, "said": answer.said})


def _file(name: str) -> Response:
    body = resources.files("robot_stack.console").joinpath("page", name).read_bytes()
    kind = KINDS[name.rpartition(".")[2]]
    headers = Headers([*HEADERS.items(), ("Content-Type", kind), ("Content-Length", str(len(body))), ("Connection", "close")])
    return Response(HTTPStatus.OK.value, HTTPStatus.OK.phrase, headers, body)
