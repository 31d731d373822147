"""What kinds of LeRobot's policies become bundles is said without LeRobot."""

import json

import pytest

pytest.importorskip("torch", reason="needs torch: pip install 'robot_stack[train]'")

from policies.adapters.lerobot_policy import load_lerobot
from robot_stack.errors import PolicyError


@pytest.mark.parametrize("kind", ["pi0", "pi05"])
def test_pi0_is_refused_with_its_reason_and_what_to_do(kind, make, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"type": kind}))
    wanted = rf"type: found '{kind}', allowed act, diffusion, smolvla: .*own branch of transformers.*; next: LeRobot's smolvla"
    with pytest.raises(PolicyError, match=wanted):
        load_lerobot(tmp_path, make(1))


def test_another_kind_is_refused_with_those_that_are_allowed(make, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"type": "tdmpc"}))
    with pytest.raises(PolicyError, match=r"config.json: type: found 'tdmpc', allowed act, diffusion, smolvla$"):
        load_lerobot(tmp_path, make(1))


def test_a_checkpoint_older_than_its_processors_is_refused(make, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"type": "smolvla"}))
    with pytest.raises(PolicyError, match=r"policy_preprocessor.json: missing: saved before LeRobot 0.4; next: its migrate"):
        load_lerobot(tmp_path, make(1))
