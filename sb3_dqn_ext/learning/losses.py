"""Losses per sample, before importance weights and the mean over the batch. Pure functions."""

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
    \\|d\\|, the priority of proportional prioritization (Schaul et al. 2016, arXiv 1511.05952, section 3.3).

    :param values: float32 [B, 1]
    :param targets: float32 [B, 1]
    :return: float32 [B], >= 0
    """
    return (targets - values).abs().squeeze(1)
