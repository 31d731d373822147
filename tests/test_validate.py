"""`robot-stack validate` on a tiny bundle: equal bundles raise no alarm, planted faults are named, the page stands alone."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the bundle is exported here (extra `train`)")
pytest.importorskip("onnx", reason="faults are planted into its graph (extra `train`)")
pytest.importorskip("drivers.sim_world", reason="the logs are recorded in the simulated world (extra `sim`)")

import onnx

from benchmarks.planted import FAULTS, Planted, another_seed, rewritten
from drivers.scenario import SCENARIOS
from policies.bundle import Manifest
from robot_stack import cli
from robot_stack.config.commands import ValidateCommand
from robot_stack.config.gate import GateSettings
from robot_stack.config.robot_file import load_robot
from robot_stack.errors import ConfigError, PolicyError
from robot_stack.learn import load_episodes
from robot_stack.replay.crew import Setup, autonomous, recording, teleoperated
from robot_stack.replay.gate.judge import Case, Judged, judge
from robot_stack.replay.gate.rules import Finding
from robot_stack.replay.lockstep import Episode, Rates
from robot_stack.validate import validate

QUICK = GateSettings(observations=10, pairs=0)
IN_GRAPH = [f for f in FAULTS if f.rule in ("joint_sign", "time_shift")]
"""Untrained, the bundle hardly looks at pictures: faults of cameras are planted into a trained one, in `bench regressions`."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gate") / "bundle"
    blind = folder.with_name("blind")
    subprocess.run([sys.executable, str(Path(__file__).parent / "graph_bundle.py"), str(blind)], check=True)
    return rewritten(blind, folder, attentive)


def attentive(model: onnx.ModelProto, manifest: Manifest) -> Manifest:
    """Untrained, the policy is all noise: a little noise only, and layers that start at zero drawn at random."""
    rng = np.random.default_rng(0)
    for tensor in model.graph.initializer:
        if "denoiser" in tensor.name and tensor.name.endswith("weight") and len(tensor.dims) == 2:
            drawn = rng.standard_normal(tuple(tensor.dims)) / np.sqrt(tensor.dims[1])
            tensor.CopyFrom(onnx.numpy_helper.from_array(drawn.astype(np.float32), tensor.name))
        if tensor.name.endswith(("gather.weight", "keypoints.weight", "fuse.0.weight")):
            loud = 8.0 * onnx.numpy_helper.to_array(tensor)
            tensor.CopyFrom(onnx.numpy_helper.from_array(loud, tensor.name))
    little = onnx.numpy_helper.from_array(np.array(1e-3, np.float32), "little")
    model.graph.initializer.append(little)
    for node in model.graph.node:
        node.input[:] = ["less_noise" if name == "noise" else name for name in node.input]
    model.graph.node.insert(0, onnx.helper.make_node("Mul", ["noise", "little"], ["less_noise"]))
    return manifest


@pytest.fixture(scope="module")
def logs(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of the policy, one in which the camera freezes, one of a human whom the filter slows."""
    folder = tmp_path_factory.mktemp("logs")
    setup = Setup(load_robot("sim_arm"), rates=Rates(camera_hz=15.0))
    for name, limit_s in (("nominal", 1.2), ("frozen", 2.6)):
        with recording(folder / name, setup, name, {"seed": 3}) as sink:
            Episode(autonomous(setup, bundle), SCENARIOS[name], 3, sink).run(limit_s)
    with recording(folder / "human", setup, "nominal", {"seed": 5}) as sink:
        Episode(teleoperated(setup, seed=5), SCENARIOS["nominal"], 5, sink).run(3.0)
    return folder


def tried(bundle: Path, against: Path, logs: Path, config: str = "") -> Judged:
    episodes = load_episodes(logs, 20.0, None)
    return judge(Case(bundle, against, episodes, tuple(sorted(logs.iterdir())) if config else (), config), QUICK)


@pytest.mark.parametrize("fault", IN_GRAPH, ids=lambda f: f.name)
def test_a_fault_planted_into_the_graph_is_named(fault: Planted, bundle: Path, logs: Path, tmp_path: Path) -> None:
    assert fault.edit is not None
    judged = tried(rewritten(bundle, tmp_path / "planted", fault.edit), bundle, logs)
    assert fault.rule in {f.rule for f in judged.fired} and judged.finding is Finding.REJECT


@pytest.mark.parametrize("fault", [f for f in FAULTS if f.config], ids=lambda f: f.name)
def test_a_fault_planted_into_the_settings_is_named(fault: Planted, bundle: Path, logs: Path) -> None:
    judged = tried(bundle, bundle, logs, fault.config)
    assert fault.rule in {f.rule for f in judged.fired} and judged.finding is Finding.REJECT, judged.notes


@pytest.mark.parametrize("seed", range(1, 4))
def test_the_same_export_with_other_noise_is_not_alarmed_about(seed: int, bundle: Path, logs: Path, tmp_path: Path) -> None:
    judged = tried(rewritten(bundle, tmp_path / "equal", another_seed(seed)), bundle, logs)
    assert [f.rule for f in judged.fired] == ["undecided"] and judged.finding is Finding.HOLD


def test_a_damaged_bundle_is_rejected_and_a_damaged_one_that_runs_now_is_an_error(
    bundle: Path, logs: Path, tmp_path: Path
) -> None:
    broken = Path(shutil.copytree(bundle, tmp_path / "broken"))
    (broken / "model.onnx").write_bytes(b"cut")
    assert [f.rule for f in tried(broken, bundle, logs).fired] == ["damaged"]
    with pytest.raises(PolicyError, match="the file was cut"):
        tried(bundle, broken, logs)


def test_the_command_re_simulates_writes_a_page_and_says_it_by_its_exit_code(bundle: Path, logs: Path, tmp_path: Path) -> None:
    gate = GateSettings(observations=8, pairs=1, least=1, processes=1)
    said, code = validate(ValidateCommand(str(bundle), str(bundle), str(logs), out=str(tmp_path / "out"), gate=gate))
    page = (tmp_path / "out" / "verdict.html").read_text(encoding="utf-8")
    found = json.loads((tmp_path / "out" / "verdict.json").read_text())
    assert code == 4 and said.startswith("HOLD") and "undecided: nominal: after 1 pairs" in said
    assert [row["n"] for row in found["safety"]] == [1, 1] and all(r["equal"] == r["ticks"] for r in found["verdicts"])
    outside = [u for u in re.findall(r'src="([^"]{1,20})', page) if not u.startswith("data:image/")]
    assert "<script" not in page and not outside and 'href="../../' in page.replace("&#34;", '"')


def test_a_rejection_is_exit_code_3(bundle: Path, logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["validate", str(bundle), f"against={bundle}", f"logs={logs}", "config=safety.use_filter=false", f"out={tmp_path}"]
    assert cli.main([*asked, "gate.pairs=0", "gate.observations=6"]) == 3
    assert "let_through" in capsys.readouterr().out


def test_a_scenario_or_setting_that_does_not_exist_is_refused_before_anything_runs(bundle: Path, logs: Path) -> None:
    with pytest.raises(ConfigError, match="storm"):
        validate(ValidateCommand(str(bundle), str(bundle), str(logs), suite=["storm"]))
    with pytest.raises(ConfigError, match=r"safety\.keepout"):
        validate(ValidateCommand(str(bundle), str(bundle), str(logs), config="safety.keepout=1"))
