"""What the latency table says of samples made up here; the measuring itself is `robot-stack bench policy_latency`."""

import pytest

pytest.importorskip("torch", reason="the figure trains and exports policies (extra `train`)")

from benchmarks.bench_policy_latency import (
    CANDIDATES,
    COMPILED,
    DEFAULT,
    MANY,
    POLICIES,
    STEPS,
    UNSHARED,
    Cell,
    _ratios,
    _result,
    _rows,
)


def made_up() -> dict[Cell, list[float]]:
    """Ours takes 2 + N / 16 ms, PyTorch four times that, without a shared prefix 2 ms more a candidate; the selector 0.1."""
    samples: dict[Cell, list[float]] = {}
    for policy in POLICIES:
        for n in CANDIDATES:
            ours = 2.0 + n / 16.0
            samples |= {(policy, "ours", n): [ours] * 3, (policy, "PyTorch", n): [4.0 * ours] * 3}
            for engine in ("ONNX Runtime", "OpenVINO"):
                samples |= {(policy, engine, n): [ours] * 3, (policy, engine + UNSHARED, n): [ours + 2.0 * (n - 1)] * 3}
        samples |= {(policy, "selector alone", DEFAULT): [0.1] * 3, (policy, "torch.compile", COMPILED): [9.0] * 3}
    return samples | {(f"vla, {steps} steps", "ours", n): [1.0 * n] for steps in STEPS for n in (1, MANY)}


def test_the_ratios_with_a_target_are_those_of_medians() -> None:
    found = _ratios(made_up())
    assert found["exported_over_eager"] == 4.0 and found["vla_n32_over_n1"] == pytest.approx(4.0 / 2.0625)
    assert found["selector_share"] == pytest.approx(0.1 / 3.0) and found["vla_n32_over_n1_of_steps"] == dict.fromkeys(STEPS, 32.0)
    assert found["saved_by_sharing"]["vla"][1] == 0.0 and found["saved_by_sharing"]["vla"][32] == pytest.approx(62.0 / 66.0)


def test_a_row_has_the_median_for_each_number_of_candidates() -> None:
    row = next(row for row in _rows(made_up()) if row["policy"] == "vla" and row["engine"] == "ours")
    assert row == {"policy": "vla", "engine": "ours"} | {f"n{n}": round(2.0 + n / 16.0, 3) for n in CANDIDATES}


def test_the_stored_figure_compares_engines_at_one_number_of_candidates() -> None:
    stored = _result("vla", made_up(), {}).as_dict()
    assert (stored["name"], stored["p50"], stored["extra"]["N"]) == ("policy_latency", 4.0, MANY)
    assert stored["against"]["PyTorch"]["ratio"] == 0.25 and stored["against"]["torch.compile"]["p50"] == 9.0
