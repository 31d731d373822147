import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'robot_stack[train]'")

from policies.chunk_policy import cosine_modes  # noqa: E402
from policies.inpaint import HARD, SPREAD, freedom, gains, guided, soft_mask  # noqa: E402

ROWS, MODES, JOINTS = 16, 6, 3
BASIS = cosine_modes(ROWS, MODES)
STD = np.random.default_rng(0).uniform(0.2, 2.0, (MODES, JOINTS))


def to_rows(modes):
    return torch.matmul(BASIS.double().T, modes.reshape(-1, MODES, JOINTS) * torch.tensor(STD))


def test_the_mask_holds_what_is_given_and_lets_go_of_the_rest_step_by_step():
    for given in range(1, ROWS // 2 + 1):
        w = soft_mask(ROWS, given)
        assert np.all(w[:given] == 1.0 - HARD)
        assert np.all(np.diff(w) <= 0.0)
        assert np.all(w[ROWS - given :] == 0.0) or given == ROWS // 2
        assert np.all((w >= 0.0) & (w < 1.0))


def test_a_given_row_has_no_freedom_and_those_after_it_more_and_more():
    table = freedom(ROWS)
    assert np.all(table[0] == 1.0)
    for given in range(1, ROWS // 2 + 1):
        assert np.all(table[given, :given] == 0.0) and np.all(table[given, given:] > 0.0)
        assert np.all(np.diff(table[given]) >= 0.0) and table[given, -1] == 1.0


@pytest.mark.parametrize("given", [1, 3, 5])
def test_given_rows_come_out_near_the_plan(given):
    rng = np.random.default_rng(given)
    modes, plan = (
        torch.tensor(rng.normal(size=(4, MODES * JOINTS))),
        to_rows(torch.tensor(rng.normal(size=(1, MODES * JOINTS))))[0],
    )
    gain = torch.tensor(gains(BASIS.double().numpy(), STD)[given])
    before, after = to_rows(modes) - plan, to_rows(guided(gain, plan, to_rows)(modes)) - plan
    assert float(after[:, :given].square().mean()) < 0.1 * float(before[:, :given].square().mean())


def test_the_correction_is_the_posterior_mean_of_a_linear_measurement():
    """Against an independent solution: normal equations of |x - x'|^2 / v + sum (rows - y)^2 / r."""
    given, j = 4, 1
    w = soft_mask(ROWS, given)
    seen = w > 0.0
    a = (BASIS.double().numpy() * STD[:, j : j + 1]).T[seen]
    r = np.trace(a @ a.T) / len(a) * (1 - w[seen]) / w[seen]
    miss = np.random.default_rng(1).normal(size=len(a))
    expected = np.linalg.solve(np.eye(MODES) / SPREAD + a.T @ (a / r[:, None]), a.T @ (miss / r))
    found = gains(BASIS.double().numpy(), STD)[given, j][:, seen] @ miss
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_without_a_plan_nothing_is_corrected():
    assert not gains(BASIS.double().numpy(), STD)[0].any()
