"""How each kind of head learns."""

from collections.abc import Callable
from typing import NamedTuple

import torch as th

from sb3_dqn_ext.learning.losses import absolute_error, cross_entropy, huber, quantile_huber
from sb3_dqn_ext.learning.targets import categorical_backup, expected_backup


class ValueRule(NamedTuple):
    """
    How one kind of head learns; a new kind is a new row of :data:`VALUE_RULES`.

    :param backup: (rewards [B], discounts [B], next-action weights [B, A], next values [B, A, N'], their support) ->
        targets [B, N']
    :param loss: (values [B, N], their support, targets [B, N']) -> [B]
    :param td_error: (values [B, N], targets [B, N']) -> [B], >= 0, the priority
    """

    backup: Callable[[th.Tensor, th.Tensor, th.Tensor, th.Tensor, th.Tensor], th.Tensor]
    loss: Callable[[th.Tensor, th.Tensor, th.Tensor], th.Tensor]
    td_error: Callable[[th.Tensor, th.Tensor], th.Tensor]


def _expected_backup(
    rewards: th.Tensor, discounts: th.Tensor, next_weights: th.Tensor, next_values: th.Tensor, support: th.Tensor
) -> th.Tensor:
    return expected_backup(rewards, discounts, next_weights, next_values)


def _huber(values: th.Tensor, support: th.Tensor, targets: th.Tensor) -> th.Tensor:
    return huber(values, targets)


def _cross_entropy(logits: th.Tensor, support: th.Tensor, targets: th.Tensor) -> th.Tensor:
    return cross_entropy(logits, targets)


_QUANTILES = ValueRule(_expected_backup, quantile_huber, absolute_error)
VALUE_RULES = {
    "scalar": ValueRule(_expected_backup, _huber, absolute_error),
    "categorical": ValueRule(categorical_backup, _cross_entropy, cross_entropy),
    "quantile": _QUANTILES,
    "implicit_quantile": _QUANTILES,
}
