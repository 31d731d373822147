"""Keys from a real pipe and a real pseudo-terminal, and what is shown there."""

import os
import pty
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
READ = """
from robot_stack.collect.terminal import Terminal, keys
from robot_stack.config.collect import CollectSettings
terminal, pressed, found = Terminal("beep"), keys(CollectSettings(go="b")), []
def take():
    if (key := next(pressed)) is not None:
        found.append(key.value)
take()  # now a key needs no Enter
terminal.show("ready " + "x" * 300)
while len(found) < 5:
    take()
pressed.close()
terminal.prompt("bad")
terminal.say(" ".join(found))
"""
TYPED, MEANT = b"bsx\ndq", "go success go discard quit"


def test_keys_of_a_pipe_mean_what_the_settings_say_and_others_nothing() -> None:
    ended = subprocess.run([sys.executable, "-c", READ], input=TYPED, capture_output=True, cwd=ROOT, check=True)
    assert ended.stdout.decode() == f"\a{MEANT}\n"


def test_at_a_terminal_no_enter_is_needed_and_a_line_is_written_over_no_longer_than_it() -> None:
    ours, theirs = pty.openpty()
    child = subprocess.Popen([sys.executable, "-c", READ], stdin=theirs, stdout=theirs, cwd=ROOT)
    said = os.read(ours, 4096)
    while b"ready" not in said:
        said += os.read(ours, 4096)
    os.write(ours, TYPED)
    while MEANT.encode() not in said:
        said += os.read(ours, 4096)
    assert child.wait() == 0
    os.close(ours)
    os.close(theirs)
    shown = said.decode().split("\033[K")[1].split("\r")[0]
    assert shown.startswith("ready xxx") and len(shown) < 300
