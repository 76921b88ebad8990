"""Targets and losses: literal values and identities."""

import numpy as np
import pytest
import torch as th
from hypothesis import given, settings
from hypothesis import strategies as st

from sb3_dqn_ext.learning.losses import absolute_error, cross_entropy, huber, quantile_huber
from sb3_dqn_ext.learning.targets import (
    categorical_backup,
    expected_backup,
    greedy_weights,
    munchausen_bonus,
    project,
    scaled_log_policy,
    soft_weights,
)

Q_ONLINE = th.tensor([[1.0, 3.0, 2.0], [5.0, 4.0, 0.0], [2.0, 2.0, 1.0]])
Q_TARGET = th.tensor([[10.0, 20.0, 40.0], [-1.0, 7.0, 3.0], [1.0, 6.0, 9.0]])
REWARDS = th.tensor([1.0, -2.0, 0.5])
DISCOUNTS = th.tensor([0.9, 0.81, 0.0])


def test_greedy_weights_take_the_first_best() -> None:
    assert greedy_weights(Q_ONLINE).tolist() == [[0, 1, 0], [1, 0, 0], [1, 0, 0]]


def test_dqn_target_is_the_maximum() -> None:
    targets = expected_backup(REWARDS, DISCOUNTS, greedy_weights(Q_TARGET), Q_TARGET.unsqueeze(2))
    th.testing.assert_close(targets, th.tensor([[1 + 0.9 * 40], [-2 + 0.81 * 7], [0.5]]))


def test_double_dqn_target_selects_online_and_evaluates_with_the_target() -> None:
    targets = expected_backup(REWARDS, DISCOUNTS, greedy_weights(Q_ONLINE), Q_TARGET.unsqueeze(2))
    th.testing.assert_close(targets, th.tensor([[1 + 0.9 * 20], [-2 + 0.81 * -1], [0.5]]))


def test_double_equals_single_when_both_networks_agree() -> None:
    single = expected_backup(REWARDS, DISCOUNTS, greedy_weights(Q_TARGET), Q_TARGET.unsqueeze(2))
    double = expected_backup(REWARDS, DISCOUNTS, greedy_weights(3 * Q_TARGET + 1), Q_TARGET.unsqueeze(2))
    assert th.equal(single, double)


def test_backup_averages_each_output_by_itself() -> None:
    weights = th.tensor([[0.25, 0.75]])
    values = th.tensor([[[0.0, 4.0], [8.0, 12.0]]])
    targets = expected_backup(th.tensor([1.0]), th.tensor([0.5]), weights, values)
    assert targets.tolist() == [[1 + 0.5 * 6, 1 + 0.5 * 10]]


def test_huber_and_absolute_error_literals() -> None:
    values, targets = th.tensor([[0.0], [0.0], [0.0], [2.0]]), th.tensor([[0.5], [1.0], [-3.0], [2.0]])
    assert huber(values, targets).tolist() == [0.125, 0.5, 2.5, 0.0]
    assert absolute_error(values, targets).tolist() == [0.5, 1.0, 3.0, 0.0]


def test_project_literals() -> None:
    atoms = th.tensor([-1.0, 0.0, 1.0, 2.0])
    literals = [  # returns, their probabilities -> those of the atoms
        ([0.0] * 4, [0.4, 0.3, 0.2, 0.1], [0.0, 1.0, 0.0, 0.0]),  # falls on an atom
        ([0.25, 0.25, 1.0, 2.0], [0.5, 0.3, 0.0, 0.2], [0.0, 0.6, 0.2, 0.2]),
        ([-9.0, 7.0, 2.0, -1.0], [0.1, 0.2, 0.3, 0.4], [0.5, 0.0, 0.0, 0.5]),  # beyond the atoms, and on the outermost
        ([-0.5, 1.5, 0.0, 0.0], [0.4, 0.6, 0.0, 0.0], [0.2, 0.2, 0.3, 0.3]),
    ]
    for returns, probabilities, expected in literals:
        projected = project(th.tensor([returns]), th.tensor([probabilities]), atoms)
        th.testing.assert_close(projected, th.tensor([expected]))


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 60), st.integers(-400, 300), st.integers(1, 900), st.integers(0, 2**31))
def test_project_against_the_papers_loop(n_atoms: int, low: int, width: int, seed: int) -> None:
    """Algorithm 1 of the C51 paper, atom by atom in float64; mass is conserved, and inside the support the mean as well."""
    v_min, v_max = low / 10, (low + width) / 10
    atoms = th.linspace(v_min, v_max, n_atoms)
    rng = np.random.default_rng(seed)
    returns = rng.uniform(v_min - 1, v_max + 1, size=(3, n_atoms))
    returns[0] = rng.uniform(v_min, v_max, size=n_atoms)
    probabilities = rng.dirichlet(np.ones(n_atoms), size=3)
    expected = np.zeros((3, n_atoms))
    spacing = (v_max - v_min) / (n_atoms - 1)
    for row in range(3):
        for j in range(n_atoms):
            b = (np.clip(returns[row, j], v_min, v_max) - v_min) / spacing
            lower, upper = int(np.floor(b)), min(int(np.floor(b)) + 1, n_atoms - 1)
            expected[row, lower] += probabilities[row, j] * (1 - (b - lower))
            expected[row, upper] += probabilities[row, j] * (b - lower)
    projected = project(th.as_tensor(returns).float(), th.as_tensor(probabilities).float(), atoms)
    np.testing.assert_allclose(projected, expected, atol=2e-4)
    np.testing.assert_allclose(projected.sum(dim=1), 1.0, atol=1e-5)
    scale = max(abs(v_min), abs(v_max))
    assert float(projected[0].double() @ atoms.double()) == pytest.approx(returns[0] @ probabilities[0], abs=1e-4 * scale)


def test_categorical_backup_shifts_discounts_and_projects() -> None:
    atoms = th.tensor([0.0, 1.0, 2.0])
    logits = th.tensor([[[0.2, 0.3, 0.5], [1.0, 1e-30, 1e-30]]]).log()
    targets = categorical_backup(th.tensor([0.5]), th.tensor([0.5]), th.tensor([[1.0, 0.0]]), logits, atoms)
    # 0.5 + 0.5 * (0, 1, 2) = (0.5, 1, 1.5) with (0.2, 0.3, 0.5)
    th.testing.assert_close(targets, th.tensor([[0.1, 0.1 + 0.3 + 0.25, 0.25]]))
    terminal = categorical_backup(th.tensor([1.0]), th.tensor([0.0]), th.tensor([[0.0, 1.0]]), logits, atoms)
    th.testing.assert_close(terminal, th.tensor([[0.0, 1.0, 0.0]]))


def test_cross_entropy_literal() -> None:
    logits = th.tensor([[0.0, 0.0], [2.0, 0.0]])
    targets = th.tensor([[0.3, 0.7], [1.0, 0.0]])
    th.testing.assert_close(cross_entropy(logits, targets), th.tensor([np.log(2), np.log(1 + np.exp(-2))]).float())


def test_quantile_huber_against_the_definition() -> None:
    """Values and gradients of equation 10, pair by pair, for fixed fractions and for each sample's own."""
    rng = np.random.default_rng(0)
    for taus in (th.tensor([0.25, 0.75, 0.9]), th.as_tensor(rng.random((4, 3))).float()):
        values = th.as_tensor(rng.normal(size=(4, 3), scale=2)).float().requires_grad_()
        targets = th.as_tensor(rng.normal(size=(4, 5), scale=2)).float()
        expected = []
        for b in range(4):
            loss = th.tensor(0.0)
            for i in range(3):
                for j in range(5):
                    d = targets[b, j] - values[b, i]
                    huber_loss = d**2 / 2 if abs(d) <= 1 else abs(d) - 0.5
                    tau = taus[i] if taus.dim() == 1 else taus[b, i]
                    loss = loss + abs(tau - float(d < 0)) * huber_loss / 5
            expected.append(loss)
        definition = th.stack(expected)
        ours = quantile_huber(values, taus, targets)
        th.testing.assert_close(ours, definition)
        (gradient,) = th.autograd.grad(definition.sum(), values)
        (our_gradient,) = th.autograd.grad(ours.sum(), values)
        th.testing.assert_close(our_gradient, gradient)


def test_quantile_huber_is_minimal_near_the_quantiles() -> None:
    """What it is for: descending it from anywhere finds the quantiles of the targets."""
    targets = th.linspace(0, 100, 1001).unsqueeze(0)  # wide against the Huber threshold
    taus = th.tensor([0.1, 0.5, 0.9])
    values = th.zeros(1, 3, requires_grad=True)
    optimizer = th.optim.Adam([values], lr=1.0)
    for step in range(1500):
        optimizer.param_groups[0]["lr"] = 0.995**step
        optimizer.zero_grad()
        quantile_huber(values, taus, targets).sum().backward()
        optimizer.step()
    th.testing.assert_close(values.detach(), th.tensor([[10.0, 50.0, 90.0]]), atol=1.0, rtol=0)


def test_munchausen_terms_against_the_definition() -> None:
    q_values = th.tensor([[1.0, 1.02, 0.9], [0.0, 0.0, 5.0]])
    alpha, tau, clip = 0.9, 0.03, -1.0
    policy = np.exp(q_values.double().numpy() / tau - (q_values.double().numpy() / tau).max(axis=1, keepdims=True))
    policy /= policy.sum(axis=1, keepdims=True)
    th.testing.assert_close(soft_weights(q_values, tau), th.as_tensor(policy).float())
    bonus = munchausen_bonus(q_values, th.tensor([0, 1]), alpha, tau, clip)
    # The second would be 0.03 * log(exp(-166)) = -5: clipped
    th.testing.assert_close(bonus, th.tensor([alpha * tau * np.log(policy[0, 0]), -alpha]).float())
    soft_value = (soft_weights(q_values, tau) * (q_values - scaled_log_policy(q_values, tau))).sum(dim=1)
    th.testing.assert_close(soft_value, tau * th.logsumexp(q_values / tau, dim=1))  # the log-sum-exp identity


def test_soft_terms_become_the_greedy_ones_as_the_temperature_falls() -> None:
    weights = soft_weights(Q_TARGET, 1e-3)
    th.testing.assert_close(weights, greedy_weights(Q_TARGET))
    best = Q_TARGET - scaled_log_policy(Q_TARGET, 1e-3)
    th.testing.assert_close((weights * best).sum(dim=1), Q_TARGET.max(dim=1).values)
