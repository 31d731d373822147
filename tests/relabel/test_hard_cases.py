import re
import shutil

import numpy as np
import pytest

from robot_stack.cli import main
from robot_stack.config.labellers import HardCasesSettings
from robot_stack.data.catalogue import Catalogue
from robot_stack.data.log import LogMetadata, LogWriter
from robot_stack.data.log_reader import read_log
from robot_stack.data.wire import ChoiceNote
from robot_stack.relabel.hard_cases import REASONS, hard_cases, moments, rarities, signals_of, sizes
from robot_stack.types import (
    Decision,
    FailureScore,
    JointCommand,
    JointState,
    Mode,
    Reason,
    SafeCommand,
    SafetyVerdict,
    Step,
    TickInputs,
    Violation,
)

TICK, START, JOINTS = 10_000_000, 10**12, ("base", "elbow", "grip")


def write_run(folder, ticks=300, limited=(), stopped=None, alarm=(), strange=(), joints=JOINTS):
    """A log at 100 Hz, armed from tick 20 on, a decision every 20 ticks (count 50, or 0.5 when `strange`), a score every 10."""
    with LogWriter(folder, LogMetadata("sim_arm", joints, instruction="Go.")) as log:
        for i in range(ticks):
            t = START + i * TICK
            q = np.array([np.sin(i / 30), np.cos(i / 20), i / 1000])
            state = JointState(t - 1, q, np.zeros(3))
            log.write_value("/joint_states", t, state)
            if i % 20 == 0:
                counts = np.array([5.0, 0.5 if i in strange else 50.0 + i / 1000])
                log.write_value("/policy/choice", t, ChoiceNote(t, "p", 1, 0.01, counts))
            if i % 10 == 0:
                log.write_value("/monitor/score", t, FailureScore(t, 0.1, 1.0, "frozen camera" if i in alarm else ""))
            log.write_value("/arm/verdict", t, _step(t, i, state, limited, stopped))
    return folder


def _step(t, i, state, limited, stopped):
    decision, violations, cause = Decision.PASS, (Violation(Reason.AHEAD, 0.5),), ()
    mode = Mode.POLICY if i >= 20 else Mode.DISARMED
    if i in limited:
        decision, violations = Decision.LIMIT, (Violation(Reason.PROJECTED), Violation(Reason.KEEP_OUT, 0.02))
    if stopped is not None and i >= stopped:
        decision, mode, cause = Decision.STOP, Mode.STOP, (Reason.TRACKING,) if i == stopped else ()
    verdict = SafetyVerdict(t, mode, decision, None, SafeCommand(JointCommand(t, state.q, np.zeros(3))), violations)
    return Step(t, 0, TickInputs(joints=state), verdict, cause)


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    write_run(root / "calm")
    write_run(root / "limited", limited=[*range(100, 130), *range(140, 150), 250])
    write_run(root / "stopped", stopped=290)
    write_run(root / "strange", strange=[200], alarm=[60, 70])
    return root


def folders(root):
    return [(path.name, path) for path in sorted(root.iterdir())]


def test_each_signal_is_read_from_the_log(logs):
    found = signals_of(read_log(logs / "limited"))
    assert len(found) == 280 and found.filter.sum() == 41 and (found.count > 49).all() and not found.alarm.any()
    assert {REASONS[int(r)] for r in found.reason if r >= 0} == {Reason.KEEP_OUT}
    strange = signals_of(read_log(logs / "strange"))
    assert (strange.count == 0.5).sum() == 20 and (strange.alarm > 0).sum() == 20
    stopped = signals_of(read_log(logs / "stopped"))
    assert (stopped.filter == 3).sum() == 10 and REASONS[int(stopped.reason[270])] is Reason.TRACKING


def test_the_rarest_moments_come_first_with_episode_time_and_reason(logs):
    found, faults = hard_cases(folders(logs), 10, HardCasesSettings())
    assert not faults and [m.episode for m in found][:1] == ["stopped"]
    seen = {(m.episode, m.kind, m.why) for m in found}
    assert seen == {
        ("stopped", "filter", "stopped: tracking_lost, chunk_leads_out"),
        ("strange", "unfamiliar", "pseudo-count 0.5"),
        ("strange", "alarm", "frozen camera"),
        ("limited", "filter", "limited: keep_out"),
    }
    limited = [m for m in found if m.episode == "limited"]
    assert [(round(m.begin_s, 2), round(m.end_s, 2)) for m in sorted(limited, key=lambda m: m.begin_s)] == [
        (0.8, 1.29),
        (2.3, 2.3),
    ]
    assert [m.rarity for m in found] == sorted((m.rarity for m in found), reverse=True)
    assert limited[0].begin_ns in (START + 100 * TICK, START + 250 * TICK)


def test_the_limit_keeps_the_worst(logs):
    assert [m.episode for m in hard_cases(folders(logs), 1, HardCasesSettings())[0]] == ["stopped"]


def test_rarity_is_the_share_of_time_with_as_much_trouble():
    size = {"filter": np.array([0.0] * 90 + [1.0] * 9 + [3.0]), "unfamiliar": np.zeros(100), "alarm": np.zeros(100)}
    rarity = rarities([size])[0]["filter"]
    assert rarity[0] == 0 and rarity[95] == pytest.approx(1.0) and rarity[99] == pytest.approx(2.0)
    assert rarities([]) == [] and sizes([], HardCasesSettings()) == []


def test_a_log_that_was_never_armed_has_no_moment(tmp_path):
    found = signals_of(read_log(write_run(tmp_path / "short", ticks=10)))
    size = sizes([found], HardCasesSettings())
    assert len(found) == 0 and moments("short", tmp_path, found, rarities(size)[0], 0.5) == []


def test_the_command_prints_and_draws_them_and_names_a_damaged_log(logs, tmp_path, capsys):
    root = tmp_path / "runs"
    for name in ("stopped", "strange"):
        shutil.copytree(logs / name, root / name)
    (root / "damaged").mkdir()
    (root / "damaged" / "damaged_0.mcap").write_bytes(b"no log")
    page = tmp_path / "hard.html"
    assert main(["data", "hard", str(root), f"out={page}", "limit=5"]) == 1
    out = capsys.readouterr().out
    assert "stopped: tracking_lost" in out and "fault: damaged:" in out and f"page: {page}" in out
    text = page.read_text()
    assert (
        text.count('<section class="card episode"') == 3 and "3 moments of" in text and "filter: stopped: tracking_lost" in text
    )
    assert re.search(r'<a href="file:///[^"]*stopped">1\. stopped at', text)


def test_the_labeller_puts_signals_on_rows(logs, tmp_path, capsys):
    pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'robot_stack[train]'")
    root = tmp_path / "runs"
    for name in ("limited", "strange"):
        kwargs = {"limited": dict(limited=[*range(100, 130)]), "strange": dict(strange=[200], alarm=[60])}[name]
        write_run(root / name, **kwargs)
    assert main(["relabel", "hard_cases", f"dataset={root}", "rate_hz=50"]) == 0
    assert "rarest moments: strange" in capsys.readouterr().out
    found = {e.name: Catalogue.open(root, 50.0).recording(e) for e in Catalogue.open(root, 50.0).entries()}
    limited, strange = found["limited"], found["strange"]
    assert limited.columns["hard_filter"].sum() == 15 and strange.columns["hard_alarm"].sum() == 5
    assert (
        np.nanmin(strange.columns["hard_count"]) == 0.5 and strange.constants["hard_worst"] > limited.constants["hard_worst"] > 0
    )
    assert REASONS[int(limited.columns["hard_reason"][45])] is Reason.KEEP_OUT
