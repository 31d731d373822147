"""The parts of `bench loop`: a human takes over from a policy, and once around with next to nothing."""

import numpy as np
import pytest

pytest.importorskip("drivers.sim_world", reason="needs mujoco: pip install 'robot_stack[sim]'")
torch = pytest.importorskip("torch", reason="needs torch: pip install 'robot_stack[train]'")

from benchmarks import bench_loop, state_arm  # noqa: E402
from drivers.scenario import SCENARIOS  # noqa: E402
from robot_stack.replay.lockstep import Episode  # noqa: E402
from robot_stack.types import Mode, Step  # noqa: E402


def test_a_human_takes_over_from_the_policy_and_what_it_does_is_a_lesson():
    policy = state_arm.StatePolicy(20).eval()
    policy.net[-1].weight.data.zero_()
    policy.net[-1].bias.data.zero_()
    crew = state_arm.crew_of(policy, state_arm.SETUP, 3, take_over_s=0.6)
    lesson, modes = state_arm.Lesson(crew.world, Mode.TELEOP), []

    def sink(topic, t_ns, value):
        lesson(topic, t_ns, value)
        modes.extend([value.verdict.mode] if isinstance(value, Step) else [])

    assert Episode(crew, SCENARIOS["nominal"], 3, sink).run(1.6).final_mode is Mode.TELEOP
    assert modes.count(Mode.POLICY) == 60 and modes.count(Mode.TELEOP) == 80 and Mode.FALLBACK not in modes
    found = lesson.episode("correction")
    assert len(found) == 16 and np.abs(found.action[-1] - found.q[0]).max() > 0.05 and found.columns["places"].shape == (16, 6)


@pytest.mark.slow
def test_once_around_with_next_to_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "DEMONSTRATIONS": 2,
        "DEPLOYED": 3,
        "CORRECTED": 2,
        "SEEDS": range(1),
        "EVALUATED": range(1000, 1002),
    }.items():
        monkeypatch.setattr(bench_loop, name, value)
    clone = state_arm.clone
    monkeypatch.setattr(state_arm, "clone", lambda episodes, seed: clone(episodes, seed, steps=100))
    result = bench_loop.main()
    assert [row["n"] for row in result.extra["rows"]] == [2] * 4 and result.extra["signals"][0]["corrected"]["episodes"] == 2
