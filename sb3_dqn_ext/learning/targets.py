"""The parts of a TD target: which next action counts, and how values are backed up. Pure functions."""

import torch as th


def greedy_weights(q_values: th.Tensor) -> th.Tensor:
    """
    The policy that takes the best action, the first of them where several are (Mnih et al. 2015).

    Given the online network's values it selects for Double DQN (van Hasselt et al. 2016, arXiv 1509.06461, eq. 4), given the
    target network's for DQN.

    :param q_values: float32 [B, A]
    :return: float32 [B, A], one-hot
    """
    return th.nn.functional.one_hot(q_values.argmax(dim=1), q_values.shape[1]).to(q_values.dtype)


def expected_backup(rewards: th.Tensor, discounts: th.Tensor, next_weights: th.Tensor, next_values: th.Tensor) -> th.Tensor:
    """
    r + discount * sum over a of pi(a) * value(a), for each of the N outputs.

    :param rewards: float32 [B], n-step sum
    :param discounts: float32 [B], 0 after a terminal state
    :param next_weights: float32 [B, A], the policy pi at the next observation
    :param next_values: float32 [B, A, N]
    :return: float32 [B, N]
    """
    next_value = (next_weights.unsqueeze(2) * next_values).sum(dim=1)
    return rewards.unsqueeze(1) + discounts.unsqueeze(1) * next_value
