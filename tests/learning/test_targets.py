"""Targets and losses: literal values and identities."""

import torch as th

from sb3_dqn_ext.learning.losses import absolute_error, huber
from sb3_dqn_ext.learning.targets import expected_backup, greedy_weights

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
