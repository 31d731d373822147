"""The selector that ranks by Q: better candidates, never far away, and the exported graph says what PyTorch says."""

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch

from policies.bundle import MODEL, load_bundle
from policies.checkpoint import load_checkpoint
from policies.chunk_policy import cosine_modes
from policies.engines.onnx_runtime import OnnxRuntimeEngine
from policies.export import Decision, export_bundle
from policies.onnx_policy import OnnxPolicy
from policies.q_rank import MARGIN, QRank, train_critic, train_q_rank
from policies.recorded import observation_at
from policies.riql import Transitions, fit
from policies.transitions import modes_of, observed, transitions_of
from robot_stack.config.commands import ExportCommand
from robot_stack.config.load import load
from robot_stack.config.schema import CriticSettings, QRankSettings
from robot_stack.errors import ConfigError, PolicyError

LEARN = CriticSettings(modes=4, critics=3, width=32, batch=64, steps=300, check_every=100, lr=3e-3, discount=0.95)
RANK = QRankSettings(critic=LEARN, steps=2)
ALL, NO_PLAN = torch.eye(LEARN.modes), torch.zeros(1, dtype=torch.int64)


@pytest.fixture(scope="module")
def judged(make):
    """Who moves joint 0 up does the task."""
    return [replace(e, constants={"success": bool(e.action[-1, 0] > 0.0)}) for e in make(12)]


@pytest.fixture(scope="module")
def edited(checkpoint, judged):
    return train_q_rank(checkpoint, judged, replace(RANK, edit=0.3))


@pytest.fixture(scope="module")
def selector(edited, settings):
    """The same critic without the edit policy."""
    return QRank(edited.critic, settings.rows, RANK, edited.margin / MARGIN)


@pytest.fixture(scope="module")
def ranked(checkpoint, judged, edited, tmp_path_factory):
    return export_bundle(checkpoint, tmp_path_factory.mktemp("export") / "bundle", edited, judged)


def standardised(checkpoint, selector, judged):
    data = transitions_of(load_checkpoint(checkpoint)[0], judged[0], LEARN)
    return selector.critic.states(data.s), selector.critic.actions(data.a)


@pytest.mark.parametrize("which", ["selector", "edited"])
def test_a_candidate_gets_no_worse_and_goes_no_further_than_allowed(which, checkpoint, judged, request):
    selector = request.getfixturevalue(which)
    s, z = standardised(checkpoint, selector, judged)
    u, q = selector.improved(s, z, ALL)
    before = selector.critic.score(s, z)
    assert bool((q >= before - selector.margin).all()) and float((q - before).mean()) > selector.margin
    moved = u.norm(dim=1)
    limit = RANK.bound if which == "selector" else max(RANK.bound, 0.3 * z.shape[1] ** 0.5)
    assert 0.0 < float(moved.max()) <= limit * 1.001


def test_without_steps_and_edits_candidates_stay_as_they_are(checkpoint, judged, selector, settings):
    still = QRank(selector.critic, settings.rows, replace(RANK, steps=0), 1.0)
    s, z = standardised(checkpoint, still, judged)
    u, q = still.improved(s, z, ALL)
    assert not u.any() and torch.equal(q, still.critic.score(s, z))


def test_only_the_modes_that_were_judged_are_moved(checkpoint, judged, selector):
    policy, card = load_checkpoint(checkpoint)
    delta = torch.randn(5, card.settings.rows, 3)
    better, _ = selector.judged(torch.randn(1, card.settings.width), torch.randn(1, 3), delta, NO_PLAN)
    moved = better - delta
    assert float(moved.abs().max()) > 1e-4
    torch.testing.assert_close(selector.basis.T @ (selector.basis @ moved), moved, atol=1e-5, rtol=0)


@pytest.mark.parametrize("given", [1, 3, 4])
@pytest.mark.parametrize("which", ["selector", "edited"])
def test_given_rows_stay_as_they_are_bit_for_bit_and_the_others_are_judged_as_they_will_be_played(which, given, request):
    selector, draw = request.getfixturevalue(which), torch.Generator().manual_seed(given)
    condition, joints = torch.randn(1, 32, generator=draw), torch.randn(1, 3, generator=draw)
    delta = torch.randn(6, 8, 3, generator=draw)
    better, q = selector.judged(condition, joints, delta, torch.tensor([given]))
    assert better[:, :given].numpy().tobytes() == delta[:, :given].numpy().tobytes()
    assert float((better - delta)[:, given:].abs().amax((1, 2)).min()) > 1e-4
    before, after = (
        selector.critic.value(observed(condition, joints), modes_of(selector.basis, rows)) for rows in (delta, better)
    )
    torch.testing.assert_close(after, q, atol=1e-4, rtol=1e-4)
    assert bool((q >= before - selector.margin).all()) and float((q - before).mean()) > selector.margin


@pytest.mark.parametrize("given", [1, 3, 4])
def test_with_given_rows_no_candidate_goes_further_than_allowed_either(given, checkpoint, judged, selector):
    s, z = standardised(checkpoint, selector, judged)
    kept = torch.matmul(selector.basis * selector.freedom[given], selector.basis.T)
    u, _ = selector.improved(s, z, kept)
    for moved in (u, selector._moved(kept, u)):
        assert 0.0 < float(moved.norm(dim=1).max()) <= RANK.bound * 1.001


@pytest.mark.timeout(900)  # two exports, where it runs alone
def test_in_the_exported_graph_given_rows_are_those_of_the_policy_bit_for_bit(ranked, bundle, judged):
    """The same policy exported without a selector says what they are."""
    feed = OnnxPolicy(ranked).feed(observation_at(judged[0], 5))
    feed["plan"] = judged[0].action[6:14].astype(np.float32)
    for given in range(5):
        feed["given"] = np.array([given])
        found, expected = (OnnxRuntimeEngine(at / MODEL).run(["candidates"], feed)[0] for at in (ranked, bundle))
        assert found[:, :given].tobytes() == expected[:, :given].tobytes()
        assert np.abs(found - expected)[:, given:].max() > 1e-3


def test_the_exported_graph_improves_and_ranks_as_pytorch_does(ranked):
    parity = load_bundle(ranked).manifest.parity
    assert parity["max_abs_rad"] < 1e-4 and parity["same_winner"] > 0.9


def test_the_graph_takes_the_candidate_with_the_largest_q(ranked, checkpoint, judged, edited):
    policy, seen = OnnxPolicy(ranked), observation_at(judged[0], 5)
    feed = policy.feed(seen)
    session = onnxruntime.InferenceSession(str(ranked / MODEL), providers=["CPUExecutionProvider"])
    chunk, winner, q, candidates = session.run(["chunk", "winner", "counts", "candidates"], feed)
    assert int(winner) == int(np.argmax(q))
    np.testing.assert_array_equal(chunk, candidates[winner])
    decision = Decision(load_checkpoint(checkpoint)[0], edited).eval()
    with torch.no_grad():
        expected = decision({name: torch.from_numpy(np.array(value)) for name, value in feed.items()})[2]
    np.testing.assert_allclose(q, expected, atol=1e-4)


def test_q_is_never_taken_for_a_pseudo_count(ranked, judged):
    policy = OnnxPolicy(ranked)
    assert policy.manifest.selector == "q_rank" and policy.manifest.figures["critic_step"] <= LEARN.steps
    assert policy.decide(observation_at(judged[0], 3)).counts is None


def test_of_two_ways_that_were_taken_the_one_that_earned_is_chosen_and_taken_further():
    """In all states half of the chunks go up, half down, and up is rewarded."""
    draw = torch.Generator().manual_seed(0)
    s, way = torch.randn(400, 4, generator=draw), torch.randint(0, 2, (400,), generator=draw) * 2.0 - 1.0
    basis, up = cosine_modes(8, 4), torch.linspace(0.0, 1.0, 8)[:, None] * torch.tensor([1.0, 0.0, 0.0])
    chunk = way[:, None, None] * up + 0.1 * torch.randn(400, 8, 3, generator=draw)
    data = Transitions(s, modes_of(basis, chunk), (way > 0).float(), torch.zeros(400), s, way)
    critic = fit(data, None, LEARN).critic
    chooser = QRank(critic, 8, RANK, float(critic.value(data.s, data.a).std()))
    candidates = torch.stack([-up, -up, up, -up])
    better, q = chooser.judged(torch.zeros(1, 2), torch.zeros(1, 2), candidates, NO_PLAN)
    assert int(q.argmax()) == 2 and float(q[2] - q[0]) > 0.5
    assert float((better - candidates)[0, -1, 0]) > 0.0


def test_one_episode_is_too_few_to_learn_a_critic(checkpoint, judged):
    with pytest.raises(PolicyError, match="found 1 episodes"):
        train_q_rank(checkpoint, judged[:1], RANK)


def test_a_share_of_the_episodes_only_judges(checkpoint, judged):
    policy = load_checkpoint(checkpoint)[0]
    parts = [transitions_of(policy, e, LEARN) for e in judged]
    learned, data = train_critic(parts, replace(LEARN, steps=20, holdout=0.25))
    assert len(data) == 9 * 20 and np.isfinite(learned.checks[-1].held)
    learned, data = train_critic(parts, replace(LEARN, steps=20, holdout=0.0))
    assert len(data) == 12 * 20 and np.isnan(learned.checks[-1].held)


def test_the_selector_is_chosen_by_name():
    command = load(ExportCommand, ["checkpoint=c", "dataset=d", "selector=q_rank", "q_rank.critic.critics=2", "q_rank.steps=0"])
    assert (command.selector, command.q_rank.critic.critics, command.q_rank.steps) == ("q_rank", 2, 0)
    with pytest.raises(ConfigError, match="selector: found 'best', allowed taco, q_rank, none"):
        load(ExportCommand, ["checkpoint=c", "dataset=d", "selector=best"])
