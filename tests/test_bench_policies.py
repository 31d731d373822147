"""The table of policies, from rows made up here, and the settings each of its rows is trained with."""

import pytest

pytest.importorskip("torch", reason="the table trains policies (extra `train`)")

from benchmarks.bench_policies import POLICIES, in_turns, markdown
from robot_stack.config.commands import TrainCommand
from robot_stack.config.load import load


def made_up(name: str) -> dict[str, object]:
    errors = {f"policy, {kind}, {n} rows": n / 1000 for n in (32, 64) for kind in ("one sample", "mean of 16")}
    baselines = {f"{method}, {n} rows": n / 500 for n in (32, 64) for method in ("hold", "ridge")}
    ratios = {"n32_over_n1": 2.04, "exported_over_eager": 3.0, "selector_share": 0.051, "latency_ms": {"n1": 1.5}}
    counts = {"weights": 1_200_000, "steps": 7, "chunks": 9, "calls": 8}
    return {"policy": name, "error": errors, "baselines": baselines} | counts | ratios


def test_the_table_has_every_policy_and_every_baseline_once() -> None:
    lines = markdown([made_up(name) for name in POLICIES]).splitlines()
    for name in (*POLICIES, "hold", "ridge"):
        assert sum(line.startswith(f"| {name} |") for line in lines) == 1
    row = next(line for line in lines if line.startswith("| vla |"))
    assert row == "| vla | 1.2 M | 7 | 0.0320 | 0.0320 | 0.0640 | 0.0640 | 8 | 1.5 | 2.0 | 3.0 | 5 % |"


@pytest.mark.parametrize("name", POLICIES)
def test_every_row_is_trained_with_settings_that_exist(name: str) -> None:
    command = load(TrainCommand, ["dataset=", *POLICIES[name]])
    assert command.policy.rows == 64 and name.startswith(command.policy.name)


def test_calls_that_are_compared_take_turns() -> None:
    order: list[str] = []
    found = in_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, turns=2)
    assert order == ["a", "b"] * 4 and set(found) == {"a", "b"}
