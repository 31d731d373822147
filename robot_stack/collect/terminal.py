"""A session at a terminal: keys in, lines, beeps and words out."""

import shutil
import subprocess
import sys
import time
from collections.abc import Generator, Iterator

from robot_stack.collect.session import Key
from robot_stack.config.collect import CollectSettings
from robot_stack.keyboard import pressed

POLL_S = 0.05
BEEPS = frozenset({"recording", "kept", "bad", "ready", "1", "2", "3"})


def keys(settings: CollectSettings) -> Generator[Key | None]:
    """What the keys pressed on the standard input mean; None where there was none, or it means nothing. Enter is `go` too."""
    meaning = {
        "\n": Key.GO,
        settings.go: Key.GO,
        settings.success: Key.SUCCESS,
        settings.failure: Key.FAILURE,
        settings.discard: Key.DISCARD,
        settings.keep: Key.KEEP,
        settings.mark: Key.MARK,
        settings.redo: Key.REDO,
        settings.quit: Key.QUIT,
    }
    with pressed() as read:
        while True:
            yield meaning.get(read(POLL_S))


def nobody() -> Iterator[Key | None]:
    """No key, ever: for a session that needs none."""
    while True:
        time.sleep(POLL_S)
        yield None


class Terminal:
    """Says what happens on standard output; how it stands is shown in one line that is written over, on a terminal alone."""

    def __init__(self, prompt: str = "none") -> None:
        self._prompt = prompt
        self._live = sys.stdout.isatty()
        self._voice = shutil.which("spd-say") if prompt == "speak" else None

    def say(self, text: str) -> None:
        """A line that stays."""
        print(f"\r\033[K{text}" if self._live else text, flush=True)

    def show(self, text: str) -> None:
        """In place of what was shown before, no longer than a line."""
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\033[K{text[:width]}", end="", flush=True)

    def prompt(self, word: str) -> None:
        """Spoken where spd-say is there, else beeped; nothing unless it is wanted."""
        if self._voice is not None:
            subprocess.Popen([self._voice, word], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        elif self._prompt != "none" and word in BEEPS:
            print("\a", end="", flush=True)
