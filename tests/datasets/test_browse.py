import re

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'robot_stack[train]'")

from robot_stack.cli import main
from robot_stack.data.recording import ACTION, STATE
from robot_stack.datasets.flags import flags
from tests.data.made_up import recording, write_teleop


def test_the_page_holds_everything_it_shows(tmp_path, capsys):
    for name in ("first", "second"):
        write_teleop(tmp_path / "logs" / name)
    assert main(["data", "show", str(tmp_path / "logs"), f"out={tmp_path / 'page.html'}", "thumbnails=4"]) == 0
    page = (tmp_path / "page.html").read_text()
    assert page.count('<section class="card episode"') == 2 and page.count("data:image/jpeg;base64,") == 8
    assert page.count('class="q"') == 6 and page.count('class="wish"') == 6
    assert 'aria-label="mode"' in page and ">teleop<" in page and ">disarmed<" in page
    assert not re.search(r'(?:src|href)="(?!data:)', page) and "http" not in page.replace("http-equiv", "")


def test_only_the_episodes_asked_for_are_shown(tmp_path):
    for name in ("first", "second", "third"):
        write_teleop(tmp_path / "logs" / name, camera=False)
    page = tmp_path / "page.html"
    main(["data", "show", str(tmp_path / "logs"), f"out={page}", "episodes=[second]"])
    assert re.findall("<h3>(.*)</h3>", page.read_text()) == ["second"]
    main(["data", "show", str(tmp_path / "logs"), f"out={page}", "limit=2"])
    assert re.findall("<h3>(.*)</h3>", page.read_text()) == ["first", "second"]


def test_names_cannot_write_the_page(tmp_path):
    pytest.importorskip("av", reason="needs av: pip install 'robot_stack[train]'")
    from robot_stack.data.lerobot_piece import write_piece
    from robot_stack.data.lerobot_write import write_v30

    write_v30([write_piece(recording('<script>"x"', task="<b>Stack</b>"), tmp_path / "p", "h264")], tmp_path / "set")
    main(["data", "show", str(tmp_path / "set"), f"out={tmp_path / 'page.html'}"])
    page = (tmp_path / "page.html").read_text()
    assert "<b>Stack" not in page and '<script>"x' not in page and "&lt;b&gt;Stack" in page


def changed(**columns):
    found = recording(camera=False, rows=200, dtype=np.float64)
    values = dict(found.columns)
    for name, change in columns.items():
        column = {"q": STATE, "action": ACTION}[name]
        values[column] = change(values[column].copy())
    return type(found)(found.name, found.rate_hz, values, found.names)


def jump(q):
    q[100:, 1] += 3.0
    return q


def lost(q):
    q[3, 2] = np.nan
    return q


@pytest.mark.parametrize(
    "found, said",
    [
        (changed(), None),
        (changed(q=np.zeros_like, action=np.zeros_like), "no motion"),
        (changed(q=jump, action=jump), "1 jumps, the first of elbow at 5.00 s"),
        (changed(action=lambda a: a + np.array([0, 0, 9.0])), "grip is 9"),
        (changed(q=lost), "row 3 grip is nan"),
        (changed(q=lambda q: np.where(np.arange(200)[:, None] < 150, q[:1], q)), "idle 75 % of the time"),
    ],
)
def test_flags_say_what_is_odd(found, said):
    assert flags(found) == [] if said is None else said in flags(found)[0]


def test_the_log_opens_in_rerun(tmp_path):
    pytest.importorskip("rerun", reason="needs rerun: pip install 'robot_stack[rerun]'")
    write_teleop(tmp_path / "logs" / "first")
    out = tmp_path / "logs.rrd"
    assert main(["data", "show", str(tmp_path / "logs"), "rerun=true", f"out={out}"]) == 0
    assert out.read_bytes()[:4] == b"RRF2"
