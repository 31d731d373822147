"""`robot-stack validate` on a tiny bundle: equal bundles raise no alarm, planted faults are named, the page stands alone."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
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
from robot_stack.replay.gate.command import validate
from robot_stack.replay.gate.judge import Case, Judged, judge
from robot_stack.replay.gate.rules import Finding
from robot_stack.replay.gate.simulation import Known
from robot_stack.replay.lockstep import Episode, Outcome, Rates
from robot_stack.types import Mode

QUICK = GateSettings(observations=10, pairs=0)
SEEDS = range(QUICK.seed, QUICK.seed + 40)
NOTHING = Planted("nothing", "")
LOOKED_AT = [f for f in FAULTS if f.rule != "success_lower"]
MEAN, STD = [0.0, 0.3, 0.1, 0.0, -0.4, 0.0, 0.03], [0.5, 0.2, 0.2, 0.3, 0.3, 0.5, 0.01]
LOUD = 3000.0


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gate") / "bundle"
    blind = folder.with_name("blind")
    subprocess.run([sys.executable, str(Path(__file__).parents[1] / "graph_bundle.py"), str(blind)], check=True)
    return rewritten(blind, folder, attentive)


def attentive(model: onnx.ModelProto, manifest: Manifest) -> Manifest:
    """Untrained, the policy is all noise and hardly looks at pictures: a little noise only, layers that start at zero drawn at
    random, pictures made loud, and the statistics of an arm at work."""
    rng = np.random.default_rng(0)
    statistics = {**manifest.statistics, "joint_mean": MEAN, "joint_std": STD}
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if "denoiser" in tensor.name and tensor.name.endswith("weight") and len(tensor.dims) == 2:
            values = rng.standard_normal(values.shape) / np.sqrt(values.shape[1])
        if tensor.name.endswith("fuse.0.weight"):
            values = values * np.where(np.arange(values.shape[1]) < values.shape[1] - len(MEAN), LOUD, 1.0)
        if (name := tensor.name.rpartition(".")[2]) in ("joint_mean", "joint_std"):
            values = np.array(statistics[name])
        tensor.CopyFrom(
            onnx.numpy_helper.from_array(values.astype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)), tensor.name)
        )
    little = onnx.numpy_helper.from_array(np.array(1e-4, np.float32), "little")
    model.graph.initializer.append(little)
    for node in model.graph.node:
        node.input[:] = ["less_noise" if name == "noise" else name for name in node.input]
    model.graph.node.insert(0, onnx.helper.make_node("Mul", ["noise", "little"], ["less_noise"]))
    return replace(manifest, statistics=statistics)


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


def tried(bundle: Path, against: Path, logs: Path, fault: Planted = NOTHING, known: Known | None = None) -> Judged:
    """The verdict on `bundle`; with `known` outcomes also those of the simulated world, where nothing is played."""
    episodes = load_episodes(logs, 20.0, None)
    setup = None if known is None else Setup(load_robot("sim_arm"))
    folders = tuple(sorted(logs.iterdir())) if fault.config else ()
    case = Case(bundle, against, episodes, folders, fault.config, setup, opened=fault.opened)
    return judge(case, QUICK if known is None else replace(QUICK, pairs=40), known)


@pytest.mark.parametrize("fault", LOOKED_AT, ids=lambda f: f.name)
def test_a_planted_fault_is_caught_by_the_rule_that_names_it(fault: Planted, bundle: Path, logs: Path, tmp_path: Path) -> None:
    candidate = bundle if fault.edit is None else rewritten(bundle, tmp_path / "planted", fault.edit)
    judged = tried(candidate, bundle, logs, fault)
    assert fault.rule in {f.rule for f in judged.fired} and judged.finding is Finding.REJECT, judged.notes


def played(bundle: Path, seeds: range, failed: int) -> Known:
    """Outcomes on `seeds` of which the first `failed` are failures."""
    return {
        (str(bundle), "nominal", seed): Outcome(seed, "nominal", i >= failed, 0.1, 0.1, 5.0, Mode.POLICY, 0.1, 0.0, None, None)
        for i, seed in enumerate(seeds)
    }


def test_a_policy_that_succeeds_less_often_is_rejected_for_that(bundle: Path, logs: Path, tmp_path: Path) -> None:
    worse = rewritten(bundle, tmp_path / "worse", another_seed(1))
    judged = tried(worse, bundle, logs, known=played(bundle, SEEDS, 1) | played(worse, SEEDS, 12))
    assert [f.rule for f in judged.fired] == ["success_lower"] and len(judged.evidence.trials[0].candidate) == 10


@pytest.mark.parametrize("seed", range(1, 4))
def test_the_same_export_with_other_noise_is_not_alarmed_about(seed: int, bundle: Path, logs: Path, tmp_path: Path) -> None:
    equal = rewritten(bundle, tmp_path / "equal", another_seed(seed))
    judged = tried(equal, bundle, logs, known=played(bundle, SEEDS, 2) | played(equal, SEEDS, 2))
    assert judged.fired == () and judged.finding is Finding.PROMOTE


def test_what_the_logs_earned_is_estimated_on_request_and_said_when_it_cannot_be(bundle: Path, logs: Path) -> None:
    episodes = load_episodes(logs, 20.0, None)
    wide = np.random.default_rng(0)
    paid = [
        replace(e, action=e.action + wide.uniform(-2, 2, e.action.shape), columns={"progress": np.linspace(0.0, 1.0, len(e))})
        for e in episodes
    ]
    asked = replace(QUICK, reward="progress")
    (one,) = judge(Case(bundle, bundle, paid), asked).evidence.estimates
    assert one.name == "FQE" and one.candidate == one.against and one.difference[0] <= 0.0 <= one.difference[1]
    assert "no off-policy estimate" in judge(Case(bundle, bundle, episodes), asked).notes[0]


def test_a_damaged_bundle_is_rejected_and_a_damaged_one_that_runs_now_is_an_error(
    bundle: Path, logs: Path, tmp_path: Path
) -> None:
    broken = Path(shutil.copytree(bundle, tmp_path / "broken"))
    (broken / "model.onnx").write_bytes(b"cut")
    assert [f.rule for f in tried(broken, bundle, logs).fired] == ["damaged"]
    with pytest.raises(PolicyError, match="the file was cut"):
        tried(bundle, broken, logs)


def test_the_command_re_simulates_a_suite_writes_pages_and_says_it_by_its_exit_code(
    bundle: Path, logs: Path, tmp_path: Path
) -> None:
    gate = GateSettings(observations=8, pairs=2, least=1, processes=1, played_again=1)
    out = tmp_path / "out"
    said, code = validate(ValidateCommand(str(bundle), str(bundle), str(logs), suite=["dynamics"], out=str(out), gate=gate))
    page, found = (out / "verdict.html").read_text(encoding="utf-8"), json.loads((out / "verdict.json").read_text())
    assert code == 4 and said.startswith("HOLD") and "undecided: 2 conditions: after 2 pairs" in said
    assert [row["n"] for row in found["safety"]] == [1, 1, 1, 1] and all(r["equal"] == r["ticks"] for r in found["verdicts"])
    outside = [u for u in re.findall(r'src="([^"]{1,20})', page) if not u.startswith("data:image/")]
    assert "<script" not in page and not outside and "No off-policy evidence was asked for" in page
    cards = re.findall(r'<section class="card" id="([^"]+)"', (out / "episodes.html").read_text(encoding="utf-8"))
    links = re.findall(r'href="episodes.html#([^"]+)"', page)
    assert links and set(links) == set(cards) and {"nominal", "frozen", "human", found["worst"][0]["episode"]} == set(cards)


def test_a_rejection_is_exit_code_3(bundle: Path, logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["validate", str(bundle), f"against={bundle}", f"logs={logs}", "config=safety.use_filter=false", f"out={tmp_path}"]
    assert cli.main([*asked, "gate.pairs=0", "gate.observations=6"]) == 3
    assert "let_through" in capsys.readouterr().out


def test_a_scenario_or_setting_that_does_not_exist_is_refused_before_anything_runs(bundle: Path, logs: Path) -> None:
    with pytest.raises(ConfigError, match="storm"):
        validate(ValidateCommand(str(bundle), str(bundle), str(logs), suite=["storm"]))
    with pytest.raises(ConfigError, match=r"safety\.keepout"):
        validate(ValidateCommand(str(bundle), str(bundle), str(logs), config="safety.keepout=1"))
