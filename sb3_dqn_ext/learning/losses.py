"""Losses and TD errors per sample, before importance weights and the mean over the batch. Pure functions."""

import torch as th
from torch.nn import functional as F


def huber(values: th.Tensor, targets: th.Tensor) -> th.Tensor:
    """
    Huber loss with threshold 1: d**2 / 2 where \\|d\\| <= 1, else \\|d\\| - 1/2, the error clipping of Mnih et al. 2015.

    :param values: float32 [B, 1]
    :param targets: float32 [B, 1], constant
    :return: float32 [B]
    """
    return F.smooth_l1_loss(values, targets, reduction="none").squeeze(1)


def absolute_error(values: th.Tensor, targets: th.Tensor) -> th.Tensor:
    """
    \\|mean target - mean value\\|, the priority of proportional prioritization (Schaul et al. 2016, arXiv 1511.05952, section
    3.3); the means are the expected returns where there are several quantiles.

    :param values: float32 [B, N]
    :param targets: float32 [B, N'], N' may differ from N
    :return: float32 [B], >= 0
    """
    return (targets.mean(dim=1) - values.mean(dim=1)).abs()


def cross_entropy(logits: th.Tensor, targets: th.Tensor) -> th.Tensor:
    """
    - sum over i of target_i * log softmax(logits)_i: the Kullback-Leibler divergence of C51 up to a constant of the target
    (Bellemare et al. 2017, arXiv 1707.06887, algorithm 1).

    :param logits: float32 [B, N]
    :param targets: float32 [B, N], probabilities, constant
    :return: float32 [B], >= 0
    """
    return -(targets * logits.log_softmax(dim=1)).sum(dim=1)


def quantile_huber(values: th.Tensor, taus: th.Tensor, targets: th.Tensor) -> th.Tensor:
    """
    Quantile Huber loss with threshold 1, summed over the quantiles and averaged over the targets: sum over i of mean over j
    of \\|tau_i - [d_ij < 0]\\| * huber(d_ij), d_ij = target_j - value_i (QR-DQN, arXiv 1710.10044, eq. 10; IQN, arXiv
    1806.06923, eq. 3).

    :param values: float32 [B, N]
    :param taus: float32 [N] or [B, N], the fraction of each value
    :param targets: float32 [B, N'], constant
    :return: float32 [B]
    """
    errors = targets.unsqueeze(1) - values.unsqueeze(2)  # [B, N, N']
    losses = F.smooth_l1_loss(errors, th.zeros_like(errors), reduction="none")
    asymmetry = (taus.unsqueeze(-1) - (errors.detach() < 0).to(errors.dtype)).abs()
    return (asymmetry * losses).mean(dim=2).sum(dim=1)
