"""Each rule of the gate fires on what it is about, and on nothing else."""

from dataclasses import replace

import pytest

from robot_stack.config.gate import GateSettings
from robot_stack.errors import ConfigError
from robot_stack.replay.behaviour import Behaviour
from robot_stack.replay.gate.evidence import Estimate, Evidence, Paired, shown_worse, whole
from robot_stack.replay.gate.probes import Compared
from robot_stack.replay.gate.rules import RULES, Finding, Fired, fired, verdict
from robot_stack.replay.gate.simulation import decided, worst_episodes
from robot_stack.replay.gate.undo import Undone
from robot_stack.replay.lockstep import Outcome
from robot_stack.replay.verdicts import Report
from robot_stack.types import Mode

SETTINGS = GateSettings()
GOOD = Compared(
    spots=32,
    episodes=8,
    not_finite=0,
    error=(0.017, 0.017),
    standing=0.08,
    error_ratio=(0.95, 1.0, 1.06),
    distance=0.0016,
    floor=0.0016,
    seam=(0.017, 0.017),
    jerk=(31.0, 31.0),
    undone=(Undone("time_shift", "1 rows late", 0.0016, 0.01, 0.0016),),
    camera_use={"scene": (0.04, 0.04)},
    statistics=(0.5, 0.5, "elbow"),
    worst=(),
)
SAME = Behaviour("a", "logs/a", 500, 5.0, {"same": 500}, {}, {}, 0.0, (2.0, 2.0), ())


def outcome(seed: int, success: bool = True, violation: bool = False, stop_s: float | None = None) -> Outcome:
    clearance = -0.01 if violation else 0.1
    return Outcome(seed, "nominal", success, clearance, clearance, 5.0, Mode.POLICY, 0.1, 0.0, None, stop_s)


def paired(one: list[Outcome], other: list[Outcome]) -> Paired:
    return Paired("nominal", tuple(one), tuple(other))


EQUAL = paired([outcome(s) for s in range(60)], [outcome(s) for s in range(60)])
FINE = Evidence(SETTINGS, compared=GOOD, behaviours=(SAME,), latency_s=(0.03, 0.03), trials=(EQUAL,), complete=True)


def bad(**fields: object) -> Evidence:
    return replace(FINE, compared=replace(GOOD, **fields))  # type: ignore[arg-type]


def through(**fields: object) -> Evidence:
    return replace(FINE, behaviours=(replace(SAME, **fields),))  # type: ignore[arg-type]


def tried(**fields: object) -> Evidence:
    """Ten pairs of sixty in which only the candidate had what `fields` say."""
    one = [replace(o, **fields) if o.seed < 10 else o for o in EQUAL.candidate]  # type: ignore[arg-type]
    return replace(FINE, trials=(replace(EQUAL, candidate=tuple(one)),))


CASES = {
    "damaged": Evidence(SETTINGS, damaged="model.onnx: cut"),
    "not_finite": bad(not_finite=1),
    "statistics": bad(statistics=(3.0, 0.5, "elbow")),
    "camera_order": bad(undone=(Undone("camera_order", "scene and wrist", 0.08, 0.001, 0.0016),)),
    "joint_sign": bad(undone=(Undone("joint_sign", "elbow, output", 0.2, 0.01, 0.002),)),
    "time_shift": bad(undone=(Undone("time_shift", "1 rows late", 0.01, 0.0001, 0.0016),)),
    "late_pictures": bad(undone=(Undone("late_pictures", "all cameras, one frame", 0.007, 0.0001, 0.0016),)),
    "stale_frames": bad(camera_use={"scene": (0.0, 0.04)}),
    "no_better_than_standing": bad(error=(0.09, 0.017)),
    "not_bit_equal": replace(FINE, verdicts=(Report("a", 100, 99, 0, 0, None, 1),)),
    "let_through": through(counts={"same": 490, "let through": 10}, gone={"keep_out": 10}),
    "reacts_later": through(guarded_s=(2.0, 2.01)),
    "success_lower": tried(success=False),
    "touches_more": tried(approach=-0.01),
    "too_slow": replace(FINE, latency_s=(0.3, 0.29)),
    "stops_more": through(counts={"same": 400, "stopped": 100}, new={"keep_out": 100}),
    "stopped_more": tried(stop_s=3.0),
    "slower": replace(FINE, latency_s=(0.09, 0.03), latency_ratio=3.0),
    "worse_on_recordings": bad(error_ratio=(1.3, 1.5, 1.9)),
    "rough": bad(jerk=(100.0, 31.0)),
    "estimated_worse": replace(FINE, estimates=(Estimate("FQE", 0.5, 0.8, (-0.4, -0.1)),)),
    "undecided": replace(FINE, trials=(paired([outcome(0)], [outcome(0)]),)),
}


@pytest.mark.parametrize("name", CASES)
def test_a_rule_fires_on_what_it_is_about(name: str) -> None:
    found = fired(CASES[name])
    rule = next(r for r in RULES if r.name == name)
    assert Fired(name, rule.finding, next(f.why for f in found if f.rule == name)) in found
    assert {f.rule for f in found} <= {name, "undecided"}


def test_no_rule_fires_on_a_bundle_that_is_as_good() -> None:
    assert fired(FINE) == [] and verdict([]) is Finding.PROMOTE


def test_the_worst_finding_counts_and_comes_first() -> None:
    found = fired(bad(not_finite=1, error_ratio=(1.3, 1.5, 1.9)))
    assert [f.rule for f in found] == ["not_finite", "worse_on_recordings"] and verdict(found) is Finding.REJECT


def test_a_difference_alone_is_no_fault() -> None:
    shifts = (Undone("camera_order", "scene and wrist", 0.05, 0.09, 0.0016), Undone("joint_sign", "elbow", 0.05, 0.3, 0.002))
    assert fired(bad(distance=0.05, undone=shifts)) == []


def test_every_rule_but_those_on_manifests_has_a_case_here() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES) and {r.name for r in RULES} - set(CASES) == {"parity", "contract"}


def under(condition: str, failed: int, n: int = 20) -> Paired:
    """`n` pairs of which the candidate alone fails the first `failed`."""
    one = tuple(outcome(s, success=s >= failed) for s in range(n))
    return Paired(condition, one, tuple(outcome(s) for s in range(n)))


def test_harm_under_one_condition_of_a_suite_is_found_and_named() -> None:
    trials = (under("light", 0), under("dynamics", 12), under("noise", 0))
    (found,) = [f for f in fired(replace(FINE, trials=trials)) if f.rule == "success_lower"]
    assert "48 against 60 of 60 in 3 conditions" in found.why and "8 against 20 of 20 in dynamics" in found.why


def test_a_little_harm_under_every_condition_adds_up() -> None:
    trials = tuple(under(str(k), 2) for k in range(6))
    assert not decided((trials[0],), SETTINGS) and shown_worse(trials, "success", good=True)[0] > 20


def test_a_suite_is_taken_round_by_round() -> None:
    assert [o.seed for o in whole((under("a", 0, 3), under("b", 0, 3))).candidate] == [0, 0, 1, 1, 2, 2]


def test_a_condition_is_done_as_soon_as_it_is_decided_either_way() -> None:
    assert decided((EQUAL,), SETTINGS)
    assert decided(tried(success=False).trials, SETTINGS)
    assert not decided((paired([outcome(s) for s in range(10)], [outcome(s) for s in range(10)]),), SETTINGS)


def test_the_worst_episode_is_one_that_touched_then_one_the_other_bundle_could_do() -> None:
    one = [outcome(0), outcome(1, success=False), outcome(2, success=False), outcome(3, violation=True)]
    other = [outcome(0), outcome(1, success=False), outcome(2), outcome(3)]
    assert [bad.candidate.seed for bad in worst_episodes([paired(one, other)])] == [3, 2, 1]
    assert worst_episodes([under("light 70 %", 1)])[0].name == "light_70_percent_0"


@pytest.mark.parametrize("fields", [{"alpha": 1.0}, {"margin": 0.0}, {"least": 0}, {"worse": 0.5}])
def test_limits_that_make_no_sense_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="gate"):
        GateSettings(**fields)  # type: ignore[arg-type]
