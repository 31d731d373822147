"""A person rates pairs of clips in a browser: a page of this computer alone, behind a token that is new for every run.

Served on 127.0.0.1 only; a request without the token, or by a name that is not this computer's (DNS rebinding), is refused.
GET /?token=T the page; GET /pair?token=T&after=N the pair after number N as JSON (204: not yet);
POST /answer?token=T {"number": N, "answer": "left" | "right" | "equal" | "skip"}.
"""

import hmac
import json
import queue
import secrets
import threading
from collections import Counter
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from robot_stack.errors import ConfigError
from robot_stack.relabel.raters import Answer, Scene, encoded

PAGE = Path(__file__).with_name("rater_page.html")
SHOWN = 24
"""Pictures of each clip."""
HOSTS = ("127.0.0.1", "localhost")
LONGEST = 1024
"""Bytes of an answer."""


class BrowserRater:
    """Serves the page until `close`; `rate` waits for the person, up to `patience_s` (0: for ever), then skips.

    Raises ConfigError when the port is taken.
    """

    def __init__(self, question: str, port: int = 0, patience_s: float = 0.0) -> None:
        self.question, self.token, self.counts = question, secrets.token_urlsafe(16), Counter[str]()
        self._patience_s = patience_s or None
        self._answers: queue.Queue[Answer] = queue.Queue()
        self._lock = threading.Lock()
        self._pair: dict[str, Any] | None = None
        self._number, self._closed = 0, False
        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), partial(_Handler, self))
        except OSError as error:
            raise ConfigError(f"preferences.port: {port}: {error.strerror}, allowed a free one, or 0 for any") from error
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="rater-page", daemon=True).start()
        print(f"rate the clips at {self.url}", flush=True)

    @property
    def url(self) -> str:
        """Where the page is, with its token."""
        return f"http://127.0.0.1:{self._server.server_port}/?token={self.token}"

    def rate(self, left: Scene, right: Scene) -> Answer:
        """Show the pair, wait for the answer."""
        sides = {name: {"name": s.episode.name, "pictures": _jpegs(s)} for name, s in (("left", left), ("right", right))}
        with self._lock:
            self._number += 1
            self._pair = {"number": self._number, "question": self.question, **sides}
        try:
            answer = self._answers.get(timeout=self._patience_s)
        except queue.Empty:
            answer = Answer.SKIP
        with self._lock:
            self._pair = None
        self.counts[answer.value] += 1
        return answer

    def close(self) -> None:
        """Nobody answers any more, and the page says that this was all."""
        if not self._closed:
            self._closed = True
            self._server.shutdown()
            self._server.server_close()

    def pair_after(self, number: int) -> dict[str, Any] | None:
        """The pair that waits for an answer, if its number is above `number`."""
        with self._lock:
            return self._pair if self._pair is not None and self._pair["number"] > number else None

    def take(self, said: Any) -> int:
        """HTTP status of an answer: it counts once, and only for the pair that is shown."""
        try:
            answer, number = Answer(said["answer"]), int(said["number"])
        except (ValueError, KeyError, TypeError):
            return 400
        with self._lock:
            if self._pair is None or self._pair["number"] != number:
                return 409
            self._pair = None
            self._answers.put(answer)
        return 200

    def allows(self, host: str, token: str) -> bool:
        """The request comes from this computer by its own name, and knows the token."""
        return host.rpartition(":")[0] in HOSTS and hmac.compare_digest(token.encode(), self.token.encode())


def _jpegs(scene: Scene) -> list[str]:
    return [encoded(rgb) for rgb in scene.pictures(SHOWN)]


class _Handler(BaseHTTPRequestHandler):
    """One request to the page of `rater`."""

    def __init__(self, rater: BrowserRater, *arguments: Any) -> None:
        self._rater = rater
        super().__init__(*arguments)

    def do_GET(self) -> None:
        place, asked = self._asked()
        if not self._rater.allows(self.headers.get("Host", ""), asked.get("token", "")):
            self._reply(403, b"no such token")
        elif place == "/pair":
            after = asked.get("after", "0")
            pair = self._rater.pair_after(int(after) if after.isdigit() else 0)
            self._reply(204 if pair is None else 200, b"" if pair is None else json.dumps(pair).encode(), "application/json")
        elif place == "/":
            self._reply(200, PAGE.read_bytes(), "text/html; charset=utf-8")
        else:
            self._reply(404)

    def do_POST(self) -> None:
        place, asked = self._asked()
        length = self.headers.get("Content-Length", "")
        if not self._rater.allows(self.headers.get("Host", ""), asked.get("token", "")):
            self._reply(403, b"no such token")
        elif place != "/answer" or not length.isdigit() or int(length) > LONGEST:
            self._reply(404 if place != "/answer" else 400)
        else:
            try:
                self._reply(self._rater.take(json.loads(self.rfile.read(int(length)))))
            except ValueError:
                self._reply(400)

    def _asked(self) -> tuple[str, dict[str, str]]:
        parts = urlsplit(self.path)
        return parts.path, {name: values[0] for name, values in parse_qs(parts.query).items()}

    def _reply(self, status: int, body: bytes = b"", kind: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Not on the user's screen: it would show the token."""
