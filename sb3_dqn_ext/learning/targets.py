"""The parts of a TD target: next-action weights, bonuses, backups. Pure functions."""

import torch as th
from torch.nn import functional as F


def greedy_weights(q_values: th.Tensor) -> th.Tensor:
    """
    The policy that takes the best action, the first of them where several are (Mnih et al. 2015).

    Given the online network's values it selects for Double DQN (van Hasselt et al. 2016, arXiv 1509.06461, eq. 4), given the
    target network's for DQN.

    :param q_values: float32 [B, A]
    :return: float32 [B, A], one-hot
    """
    return F.one_hot(q_values.argmax(dim=1), q_values.shape[1]).to(q_values.dtype)


def soft_weights(q_values: th.Tensor, tau: float) -> th.Tensor:
    """
    The policy softmax(q / tau) (Vieillard, Pietquin & Geist 2020, Munchausen, arXiv 2007.14430, section 3).

    :param q_values: float32 [B, A]
    :param tau: temperature, > 0
    :return: float32 [B, A]
    """
    return (q_values / tau).softmax(dim=1)


def scaled_log_policy(q_values: th.Tensor, tau: float) -> th.Tensor:
    """
    tau * log of :func:`soft_weights`: minus the entropy bonus of each action, and what the Munchausen bonus is made of.

    :param q_values: float32 [B, A]
    :param tau: temperature, > 0
    :return: float32 [B, A], <= 0
    """
    return tau * (q_values / tau).log_softmax(dim=1)


def munchausen_bonus(q_values: th.Tensor, actions: th.Tensor, alpha: float, tau: float, clip: float) -> th.Tensor:
    """
    alpha * max(tau * log pi(action), clip), what is added to the reward (Munchausen, arXiv 2007.14430, eq. 1 and section 4).

    :param q_values: float32 [B, A], of the target network where the action was taken
    :param actions: int64 [B]
    :param alpha: scale
    :param tau: temperature, > 0
    :param clip: the paper's l_0, <= 0
    :return: float32 [B], from alpha * clip to 0
    """
    taken = scaled_log_policy(q_values, tau).gather(1, actions.unsqueeze(1)).squeeze(1)
    return alpha * taken.clamp(min=clip)


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


def categorical_backup(
    rewards: th.Tensor, discounts: th.Tensor, next_weights: th.Tensor, next_logits: th.Tensor, atoms: th.Tensor
) -> th.Tensor:
    """
    The distribution of r + discount * Z(s', a'), a' from pi, projected onto the atoms (C51, arXiv 1707.06887, eq. 7).

    :param rewards: float32 [B], n-step sum
    :param discounts: float32 [B], 0 after a terminal state
    :param next_weights: float32 [B, A], the policy pi at the next observation
    :param next_logits: float32 [B, A, N]
    :param atoms: float32 [N], evenly spaced, ascending
    :return: float32 [B, N], probabilities
    """
    probabilities = (next_weights.unsqueeze(2) * next_logits.softmax(dim=2)).sum(dim=1)
    return project(rewards.unsqueeze(1) + discounts.unsqueeze(1) * atoms, probabilities, atoms)


def project(returns: th.Tensor, probabilities: th.Tensor, atoms: th.Tensor) -> th.Tensor:
    """
    Share each probability out between the two atoms beside its return, in proportion to nearness (C51, eq. 7); returns
    beyond the atoms count as the outermost ones.

    With b the return's position among the atoms: floor(b) gets 1 - (b - floor(b)), the next one b - floor(b), which is
    nothing when the return falls on an atom.

    :param returns: float32 [B, N]
    :param probabilities: float32 [B, N], of these returns
    :param atoms: float32 [N], evenly spaced, ascending
    :return: float32 [B, N], probabilities of the atoms
    """
    last = len(atoms) - 1
    b = ((returns - atoms[0]) * (last / (atoms[-1] - atoms[0]))).clamp(0, last)
    lower = b.floor()
    upper_share = b - lower
    index = lower.long()
    projected = th.zeros_like(probabilities)
    projected.scatter_add_(1, index, probabilities * (1 - upper_share))
    return projected.scatter_add_(1, (index + 1).clamp(max=last), probabilities * upper_share)
