"""`robot-stack demo`: from nothing to a report, on the simulated robot. What was learned from the same inputs is kept."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from policies.bundle import load_bundle
from robot_stack.config.commands import DemoCommand
from robot_stack.data.log import read_log
from robot_stack.demo import live
from robot_stack.demo.learned import Learned, School, setup_of
from robot_stack.replay.lockstep import Rates
from robot_stack.replay.protections import Cell, Condition, Trial, as_rows, cells, run_table
from robot_stack.replay.report import Contents, Training, write_report
from robot_stack.replay.verdicts import replay_verdicts, safety_of
from robot_stack.replay.views import EpisodeView, episode_view

FIRST_TABLE_SEED = 100
"""Evaluations start at other seeds than demonstrations, recorded or live."""
DECISION = "policy: one decision"


def run_demo(command: DemoCommand) -> Path:
    """Collect, learn, launch, replay, compare, report; returns the page. What went wrong on the way is in the report's notes."""
    begin = time.monotonic()
    root = Path(command.demo.root)
    learned = School(command).learn()
    command = protected(command, learned)
    with _timed("the ROS 2 graph: nominal, obstacle in the path, camera frozen"):
        ended = live.perform(command, learned.bundle, root / "live")
    with _timed("replay of the logs just written"):
        views = [_replayed(episode.log) for episode in ended]
    with _timed("the same seeds with each protection on and off, in lock-step"):
        table = _table(command, learned.bundle, views)
    notes = [*live.shortfalls(ended), *(f"{v.name}: the replay differs" for v in views if v.replay is None or not v.replay.ok)]
    contents = Contents("robot_stack demo", views, as_rows(table), _trainings(learned), notes=notes)
    page = write_report(contents, root / "report.html")
    print(_summary(views, table, notes))
    print(f"report: {page} ({time.monotonic() - begin:.0f} s)")
    return page


@contextmanager
def _timed(what: str) -> Iterator[None]:
    begin = time.monotonic()
    print(f"== {what}", flush=True)
    yield
    print(f"   {time.monotonic() - begin:.0f} s", flush=True)


def protected(command: DemoCommand, learned: Learned) -> DemoCommand:
    """`command` with everything that was learned in place."""
    safety = replace(command.safety, barrier=str(learned.barrier))
    return replace(command, safety=safety, monitor=replace(command.monitor, model=str(learned.monitor)))


def _replayed(path: Path) -> EpisodeView:
    log = read_log(path)
    return episode_view(log, replay_verdicts(log, safety_of(log)))


def _table(command: DemoCommand, bundle: Path, views: Sequence[EpisodeView]) -> list[Cell]:
    """The protections table, with the latency of a decision as it was measured in the live episodes."""
    measured = np.concatenate([view.latencies[DECISION] for view in views if DECISION in view.latencies])
    rates = Rates(policy_latency_s=tuple(float(s) for s in measured))
    seeds = range(FIRST_TABLE_SEED, FIRST_TABLE_SEED + command.demo.table_seeds)
    setup = setup_of(command, rates)
    conditions = [Condition(name, name) for name in (*live.SCENARIOS, "intruder")]
    return list(cells(run_table(Trial(setup, bundle), conditions, seeds, command.demo.processes)))


def _trainings(learned: Learned) -> list[Training]:
    """What each learned part says of itself, on data it was not trained on."""
    manifest = load_bundle(learned.bundle).manifest
    barrier = json.loads(learned.barrier.with_suffix(".json").read_text())
    monitor = json.loads((learned.monitor / "monitor.json").read_text())
    return [
        Training("policy: error of a chunk on held-out demonstrations, rad", dict(manifest.figures)),
        Training("policy: ONNX against PyTorch on recorded observations", dict(manifest.parity)),
        Training("barrier (V-OCBF), held-out motions", _numbers(barrier)),
        Training("monitor, held-out pictures", _numbers(monitor)),
    ]


def _numbers(values: dict[str, object]) -> dict[str, float | str]:
    return {name: value for name, value in values.items() if isinstance(value, int | float)}


def _summary(views: Sequence[EpisodeView], table: Sequence[Cell], notes: Sequence[str]) -> str:
    """The report as a short table for the terminal."""
    lines = ["", f"{'protections':<22}{'scenario':<12}{'success':>9}{'violation':>11}{'stopped':>9}{'filtered':>10}"]
    for c in table:
        share = f"{c.success}/{c.n}", f"{c.violation}/{c.n}", f"{c.stopped}/{c.n}"
        lines.append(f"{c.variant:<22}{c.scenario:<12}{share[0]:>9}{share[1]:>11}{share[2]:>9}{c.limited:>9.0%}")
    lines.append("")
    for view in views:
        replay = "not replayed" if view.replay is None else f"{view.replay.equal} of {view.replay.ticks} verdicts bit-equal"
        lines.append(f"{view.scenario:<10} ended {view.final_mode:<9} {view.duration_s:5.1f} s, {replay}; {view.ending}")
    return "\n".join([*lines, *(f"NOTE {note}" for note in notes)])
