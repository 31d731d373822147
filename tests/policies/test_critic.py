"""The critic against dynamic programming on a chain of cells, its gradient against autograd, and what corruption does to it."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from policies.checkpoint import load_checkpoint
from policies.critic import CRITIC, Critic, Ensemble, load_critic, quantile, save_critic
from policies.riql import Transitions, fit, huber
from policies.transitions import n_step, transitions_of
from robot_stack.config.schema import CriticSettings
from robot_stack.errors import ConfigError, DataError, PolicyError

CELLS, GAMMA, CHUNKS = 6, 0.9, list(product((-1.0, 1.0), repeat=2))
"""A line of cells, the last of which ends the episode and earns 1. A chunk is two steps to the left or right."""
IQL = CriticSettings(
    critics=2, quantile=0.0, huber=0.0, expectile=0.9, width=64, batch=64, steps=800, polyak=0.03, lr=3e-3, weight_decay=0.0
)
TRUE_Q_BOUND, OPTIMAL_V_BOUND = 0.05, 0.15
"""The second is larger by what the expectile 0.9 of four chunks is below their maximum: 0.1 at the far end."""


def step(cell, chunk):
    """What the chunk earns from `cell`, the discount of what follows, and the cell it leads to."""
    earned, gamma = 0.0, 1.0
    for a in chunk:
        cell = max(0, cell + int(a))
        if cell == CELLS - 1:
            return earned + gamma, 0.0, cell
        gamma *= GAMMA
    return earned, gamma, cell


def chain(copies=1):
    """Every chunk in every cell, `copies` times."""
    rows = [(cell, chunk, *step(cell, chunk)) for cell in range(CELLS - 1) for chunk in CHUNKS] * copies
    cells, chunks, earned, discount, after = zip(*rows, strict=True)
    eye, r = torch.eye(CELLS), torch.tensor(earned)
    return Transitions(eye[list(cells)], torch.tensor(chunks), r, torch.tensor(discount), eye[list(after)], r)


def expectile(x, tau):
    """The tau-expectile of x (n,): where it balances."""
    low, high = x.min(), x.max()
    for _ in range(60):
        middle = 0.5 * (low + high)
        pull = np.where(x > middle, tau, 1.0 - tau) @ (x - middle)
        low, high = (middle, high) if pull > 0 else (low, middle)
    return low


def solved(best):
    """Q (cells, chunks) and V (cells,) where V is `best` of Q, by dynamic programming."""
    v = np.zeros(CELLS)
    for _ in range(200):
        q = np.array([[r + g * v[after] for r, g, after in (step(c, chunk) for chunk in CHUNKS)] for c in range(CELLS - 1)])
        v[:-1] = [best(row) for row in q]
    return q, v


@pytest.fixture(scope="module")
def learned():
    return fit(chain(), None, IQL)


def test_q_is_what_dynamic_programming_says_of_the_same_expectile(learned):
    q, v = solved(lambda row: expectile(row, IQL.expectile))
    data = chain()
    np.testing.assert_allclose(learned.critic.value(data.s, data.a).reshape(q.shape), q, atol=TRUE_Q_BOUND)
    np.testing.assert_allclose(learned.critic.state_value(torch.eye(CELLS)[:-1]), v[:-1], atol=TRUE_Q_BOUND)


def test_its_best_chunk_is_the_optimal_one_and_its_value_nearly_the_optimal_value(learned):
    q, v = solved(np.max)
    data = chain()
    found = learned.critic.value(data.s, data.a).reshape(q.shape).numpy()
    assert all(q[cell, found[cell].argmax()] == pytest.approx(q[cell].max()) for cell in range(CELLS - 1))
    np.testing.assert_allclose(learned.critic.state_value(torch.eye(CELLS)[:-1]), v[:-1], atol=OPTIMAL_V_BOUND)


def test_the_same_data_and_seed_give_the_same_critic(learned):
    short = replace(IQL, steps=50)
    first, second, other = (fit(chain(), None, s).critic for s in (short, short, replace(short, seed=1)))
    assert torch.equal(first.q.between, second.q.between) and not torch.equal(first.q.between, other.q.between)


def test_a_quantile_of_critics_and_hubers_loss_survive_corrupted_rewards():
    data, random = chain(copies=30), np.random.default_rng(0)
    bad = torch.from_numpy(random.random(len(data)) < 0.3)
    noise = torch.from_numpy(random.uniform(-10.0, 10.0, len(data))).float()
    corrupted = replace(data, r=torch.where(bad, noise, data.r))
    q, _ = solved(lambda row: expectile(row, IQL.expectile))
    clean, error = chain(), {}
    for name, settings in {"iql": IQL, "riql": replace(IQL, critics=5, quantile=0.25, huber=0.1)}.items():
        critic = fit(corrupted, None, replace(settings, batch=256, steps=600)).critic
        error[name] = float(np.abs(critic.value(clean.s, clean.a).reshape(q.shape).numpy() - q).mean())
    assert error["riql"] < 0.25 * error["iql"]


def test_the_written_gradient_is_that_of_autograd():
    torch.manual_seed(0)
    q = Ensemble(4, 3, 16, 5).double()
    s, a = torch.randn(1, 4, dtype=torch.float64), torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(q(s, a).mean(0).sum(), a)
    values, gradient = q.with_gradient(s, a)
    torch.testing.assert_close(gradient, expected)
    torch.testing.assert_close(values, q(s, a))


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.25, 0.5, 1.0])
def test_the_quantile_is_torchs(alpha):
    q = torch.randn(5, 9)
    torch.testing.assert_close(quantile(q, alpha), torch.quantile(q, alpha, dim=0))
    assert quantile(q[:1], alpha).tolist() == q[0].tolist()


def test_hubers_loss_is_the_papers():
    x = torch.tensor([-3.0, -0.1, 0.0, 0.2, 5.0])
    expected = torch.where(x.abs() < 0.5, x.square() / (2 * 0.5), x.abs() - 0.25)
    torch.testing.assert_close(huber(x, 0.5), expected.mean())
    torch.testing.assert_close(huber(x, 0.0), x.square().mean())


def test_a_chunk_earns_what_its_steps_earn_and_nothing_comes_after_the_end():
    r, left, after = n_step(np.array([1.0, 0.0, 0.0, 2.0]), steps=2, discount=0.5)
    assert r.tolist() == [1.0, 0.0, 1.0, 2.0]
    assert left.tolist() == [0.25, 0.25, 0.0, 0.0]
    assert after.tolist() == [2, 3, 3, 3]


def test_a_critic_comes_back_from_its_file_and_a_cut_one_is_refused(learned, tmp_path):
    save_critic(tmp_path, learned.critic, {"checkpoint": "here"})
    critic, about = load_critic(tmp_path)
    data = chain()
    assert about == {"checkpoint": "here"} and critic.settings == IQL
    assert torch.equal(critic.value(data.s, data.a), learned.critic.value(data.s, data.a))
    (tmp_path / CRITIC).write_bytes((tmp_path / CRITIC).read_bytes()[:-9])
    with pytest.raises(PolicyError, match="train the critic again"):
        load_critic(tmp_path)


def test_states_that_never_change_are_not_blown_up():
    critic = Critic(2, 1, IQL)
    critic.fit_statistics(torch.tensor([[1.0, 2.0], [1.0, 4.0]]), torch.zeros(2, 1))
    assert critic.states(torch.tensor([[1.0, 3.0]])).tolist() == [[0.0, 0.0]] and critic.a_std.item() == 1.0


def test_an_episode_becomes_transitions_of_the_policys_own_view(checkpoint, episodes):
    policy, card = load_checkpoint(checkpoint)
    good = replace(episodes[0], constants={"success": True})
    data = transitions_of(policy, good, CriticSettings(modes=4, discount=0.9))
    assert data.s.shape == (20, card.settings.width + 3) and data.a.shape == (20, 4 * 3)
    assert data.r.tolist() == pytest.approx([0.0] * 12 + [0.9**i for i in range(7, -1, -1)])
    assert data.discount.tolist() == pytest.approx([0.9**8] * 12 + [0.0] * 8)
    assert torch.equal(data.after[0], data.s[8])
    assert data.earned.tolist() == pytest.approx([0.9**i for i in range(19, -1, -1)])


def test_an_episode_that_nobody_judged_is_named_with_the_next_step(checkpoint, episodes):
    with pytest.raises(DataError, match="next: robot-stack relabel rewards"):
        transitions_of(load_checkpoint(checkpoint)[0], episodes[0], CriticSettings())


def test_data_that_cannot_be_learned_from_is_refused():
    data = chain()
    with pytest.raises(PolicyError, match="found r not finite"):
        fit(replace(data, r=data.r * float("nan")), None, IQL)
    with pytest.raises(PolicyError, match="found 1 transitions"):
        fit(data.at(torch.tensor([0])), None, IQL)


@pytest.mark.parametrize("wrong", [{"expectile": 0.0}, {"discount": 1.5}, {"quantile": 2.0}, {"critics": 0}, {"holdout": 1.0}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ConfigError, match="critic.*allowed"):
        CriticSettings(**wrong)
