"""The table of success, from outcomes planted here; what a stopped run goes on with; the settings each row is trained with."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the table trains policies (extra `train`)")
pytest.importorskip("mujoco", reason="the table plays episodes (extra `sim`)")

from benchmarks import bench_policy_success as bench
from benchmarks.bench_policy_success import FIRST_SEED, FLOW, ONE_STEP, POLICIES, Cell, cells, command_of, open_jobs
from robot_stack.replay.protections import difference, wilson
from robot_stack.types import Mode


def planted(policy: str, selector: str, wins: list[bool]) -> list[dict[str, Any]]:
    card = {"weights": 250_000, "steps": 2000, "calls": 10}
    row = {"policy": policy, "selector": selector, "duration_s": 6.0, "made": policy}
    return [row | card | {"seed": FIRST_SEED + i, "success": won} for i, won in enumerate(wins)]


OUTCOMES = [
    *planted(FLOW, "none", [True] * 6 + [False] * 4),
    *planted(FLOW, "TACO", [True] * 8 + [False] * 2),
    *planted(ONE_STEP, "none", [False] + [True] * 4),
]


def test_counts_intervals_and_paired_differences_are_those_of_the_outcomes() -> None:
    none, one, taco = bench.table_rows(OUTCOMES)
    assert (none["success"], none["n"], none["interval"]) == (6, 10, [round(x, 3) for x in wilson(6, 10)])
    assert none["interval"] == [0.313, 0.832]
    ends = [round(100 * x, 1) for x in difference([True] * 8 + [False] * 2, [True] * 6 + [False] * 4)]
    assert taco["less_none"] == {"n": 10, "points": 20.0, "interval": ends}
    assert one["less_flow"]["n"] == 5 and one["less_flow"]["points"] == pytest.approx(-20.0)


def test_the_table_says_how_many_were_played_and_what_was_not() -> None:
    text = bench.markdown(bench.table_rows(OUTCOMES), bench.one_step(OUTCOMES[:10], Path()))
    lines = {line.split(" | ")[0].removeprefix("| "): line for line in text.splitlines() if line.startswith("| ")}
    assert "| 6 of 10 (31 to 83) | 8 of 10 (49 to 94) | not measured | +20 (" in lines[FLOW]
    assert "| 4 of 5 (38 to 96) | not measured |" in lines[ONE_STEP] and "-20 (" in lines[ONE_STEP]
    assert lines["vla"].count("not measured") == 3 and lines["bc, one mean"].count("not measured") >= 1
    assert "One step against 10: not measured yet." in text
    assert set(POLICIES) <= set(lines)
    assert len(bench.missing(bench.table_rows(OUTCOMES))) == len(list(cells())) - 3


def test_a_stopped_run_goes_on_where_it_was_and_all_cells_grow_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[tuple[str, int, int]] = []

    def play(bundle: Path, candidates: int, seed: int, seams: str) -> Any:
        played.append((bundle.parent.name, candidates, seed))
        if len(played) == 30:
            raise KeyboardInterrupt
        return bench.Outcome(seed, "nominal", seed % 2 == 0, 0.1, 0.1, 5.0, Mode.POLICY, 0.0, 0.0, None, None)

    def made_of(policy: str, selector: str, root: Path) -> Path:
        (root / policy).mkdir(exist_ok=True)
        (root / policy / "card.json").write_text(json.dumps({"steps": 1, "weights": 2, "calls": 3}))
        return root / policy

    monkeypatch.setattr(bench, "play", play)
    monkeypatch.setattr(bench, "made_of", made_of)
    monkeypatch.setattr(bench, "ROUND", 2)
    with pytest.raises(KeyboardInterrupt):
        bench.evaluate(tmp_path, 4)
    assert played[:4] == [(policy, 1, FIRST_SEED + i) for policy in (FLOW, ONE_STEP) for i in range(2)]
    with (tmp_path / bench.LEDGER).open("a") as ledger:
        ledger.write('\n{"policy": "flow, 10 st')
    rows = bench.evaluate(tmp_path, 4)
    assert len(rows) == 4 * len(list(cells())) and len(played) == len(rows) + 1
    assert len({(row["policy"], row["selector"], row["seed"]) for row in rows}) == len(rows)
    assert len(bench.evaluate(tmp_path, 4)) == len(rows) == len(played) - 1
    assert list(open_jobs(rows, 4, len(POLICIES))) == [] and len(list(open_jobs(rows, 5, 2))) == len(list(cells(2))) == 2 * len(
        bench.SELECTORS
    )


def test_outcomes_of_other_settings_do_not_count(tmp_path: Path) -> None:
    row = planted(FLOW, "none", [True])[0]
    keys = ("old", bench.key_of(FLOW))
    (tmp_path / bench.LEDGER).write_text("\n".join(json.dumps(row | {"key": key}) for key in keys))
    assert len(bench.evaluate(tmp_path, 0)) == 1


@pytest.mark.parametrize("name", POLICIES)
def test_every_row_is_trained_with_settings_that_exist_for_the_same_time(name: str) -> None:
    command = command_of(name)
    assert command.policy.name == name.split(",")[0] and command.train.minutes == bench.SECONDS / 60.0


def test_heads_that_sample_in_more_steps_are_the_same_network() -> None:
    ten, one = (command_of(name) for name in (FLOW, "flow, 1 step"))
    assert (ten.policy.steps, one.policy.steps) == (10, 1) and ten.train == one.train
    assert Cell("bc, one mean", "TACO") not in list(cells())
