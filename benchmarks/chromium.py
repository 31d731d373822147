"""A real browser for the operator's page: headless Chromium with one page, driven over its DevTools protocol.

with Chromium(folder) as browser:
    browser.open(url)
    browser.wait("document.title")
    browser.press(" ")
"""

import base64
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from websockets.sync.client import connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
START_S, ANSWER_S, POLL_S = 60.0, 60.0, 0.05
KEYS = {" ": ("Space", 32), "Escape": ("Escape", 27), "Enter": ("Enter", 13), "Tab": ("Tab", 9)}


def executable() -> str | None:
    """Where Chromium is on the PATH; None: nowhere."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Chromium:
    """A browser with its profile in `folder`, a screen of `width` x `height`. Names under .test are this computer.

    Raises RuntimeError when there is none or it does not come up.
    """

    def __init__(self, folder: Path, width: int = 1920, height: int = 1080) -> None:
        found = executable()
        if found is None:
            raise RuntimeError(f"browser: found none of {', '.join(NAMES)} on the PATH")
        self._number = 0
        self._opened = ExitStack()
        self._log = (folder / "chromium.log").open("wb")
        self._process = subprocess.Popen(
            [found, *_arguments(folder / "profile", width, height)],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            port = self._port(folder / "profile" / "DevToolsActivePort")
            page = connect(_page(port), max_size=None, compression=None, open_timeout=ANSWER_S)
            self._page = self._opened.enter_context(page)
        except BaseException:
            self.close()
            raise

    def open(self, url: str) -> None:
        """Load `url` anew, also where only what is behind its `#` differs, and wait until it is there."""
        for each in ("about:blank", url):
            self._call("Page.navigate", url=each)
            bare = json.dumps(each.partition("#")[0])
            self.wait(f"document.readyState === 'complete' && location.href.split('#')[0] === {bare}")

    def value(self, expression: str) -> Any:
        """The value of a JavaScript `expression`, awaited. Raises RuntimeError on what it throws."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']['exception'].get('description', answer)}")
        return answer["result"].get("value")

    def wait(self, expression: str, timeout_s: float = ANSWER_S) -> Any:
        """The value of `expression` once it is true. Raises TimeoutError."""
        deadline = time.monotonic() + timeout_s
        while not (value := self.value(expression)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{expression}: {value!r} after {timeout_s:.0f} s")
            time.sleep(POLL_S)
        return value

    def press(self, key: str) -> None:
        """Press and let go a key of the keyboard."""
        code, number = KEYS.get(key, (f"Key{key.upper()}", ord(key.upper()[0])))
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        about = {"key": key, "code": code, "windowsVirtualKeyCode": number}
        down = {"type": "keyDown", "text": text} if text else {"type": "rawKeyDown"}
        self._call("Input.dispatchKeyEvent", **down, **about)
        self._call("Input.dispatchKeyEvent", type="keyUp", **about)

    def picture(self, file: Path) -> Path:
        """What the page looks like, as PNG."""
        file.write_bytes(base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"]))
        return file

    def close(self) -> None:
        """End the browser and all its processes."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._opened.close()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _port(self, file: Path) -> int:
        deadline = time.monotonic() + START_S
        while not (file.is_file() and (lines := file.read_text().splitlines())):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"browser: it did not come up; {self._log.name} says why")
            time.sleep(POLL_S)
        return int(lines[0])

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        self._page.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while (answer := json.loads(self._page.recv(ANSWER_S))).get("id") != self._number:
            pass  # events nobody asked for
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return dict(answer["result"])


def _arguments(profile: Path, width: int, height: int) -> list[str]:
    return [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
        "--hide-scrollbars",
        "--host-resolver-rules=MAP *.test 127.0.0.1",
        "--remote-debugging-port=0",
        f"--user-data-dir={profile}",
        f"--window-size={width},{height}",
        "about:blank",
    ]


def _page(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=ANSWER_S) as answer:
        pages = [target for target in json.load(answer) if target["type"] == "page"]
    return str(pages[0]["webSocketDebuggerUrl"])
