"""One gradient step: forward, backward, clip, optimise."""

from collections.abc import Callable
from typing import NamedTuple

import torch as th

from sb3_dqn_ext.learning.losses import absolute_error, huber
from sb3_dqn_ext.learning.targets import expected_backup, greedy_weights
from sb3_dqn_ext.policies import DQNExtPolicy
from sb3_dqn_ext.replay import Batch


class TDOutput(NamedTuple):
    """
    What an update tells, detached and still on the device.

    :param loss: float32 [], mean over the batch, weighted
    :param td_error: float32 [B], >= 0: what becomes the priority
    :param q_mean: float32 [], mean of the replayed actions' values before the update
    """

    loss: th.Tensor
    td_error: th.Tensor
    q_mean: th.Tensor


class ValueRule(NamedTuple):
    """
    How one kind of head learns; a new kind is a new row of :data:`VALUE_RULES`.

    :param backup: (rewards [B], discounts [B], next-action weights [B, A], next values [B, A, N]) -> targets [B, N]
    :param loss: (values [B, N], targets [B, N]) -> [B]
    :param td_error: (values [B, N], targets [B, N]) -> [B], >= 0
    """

    backup: Callable[[th.Tensor, th.Tensor, th.Tensor, th.Tensor], th.Tensor]
    loss: Callable[[th.Tensor, th.Tensor], th.Tensor]
    td_error: Callable[[th.Tensor, th.Tensor], th.Tensor]


VALUE_RULES = {"scalar": ValueRule(expected_backup, huber, absolute_error)}


class LearnStep:
    """
    Minimise the TD error of a batch. Never reads a value back from the device.

    :param policy: the networks and their optimizer
    :param double_q: let the online network select the next action (van Hasselt et al. 2016)
    :param max_grad_norm: clip the gradient to this Euclidean norm
    :param bf16: run the networks' matrix products in bfloat16 (parameters and targets stay float32)
    """

    def __init__(self, policy: DQNExtPolicy, double_q: bool, max_grad_norm: float, bf16: bool = False) -> None:
        self.q_net, self.q_net_target = policy.q_net, policy.q_net_target
        self.optimizer = policy.optimizer
        self.parameters = list(policy.q_net.parameters())
        self.rule = VALUE_RULES[policy.q_net.head.kind]
        self.double_q = double_q
        self.max_grad_norm = max_grad_norm
        self.autocast = th.autocast(policy.device.type, dtype=th.bfloat16, enabled=bf16)

    def __call__(self, batch: Batch) -> TDOutput:
        """
        :param batch: B transitions
        :return: figures of the update
        """
        with self.autocast:
            # Before the targets: autocast then rounds the online network's weights once for both passes, with gradient.
            values = self.q_net.values(batch.observations).float()
            targets = self._targets(batch)
        values = th.take_along_dim(values, batch.actions[:, None, None], dim=1).squeeze(1)
        loss = (batch.weights * self.rule.loss(values, targets)).mean()

        self.optimizer.zero_grad()
        loss.backward()
        th.nn.utils.clip_grad_norm_(self.parameters, self.max_grad_norm)
        self.optimizer.step()
        values = values.detach()
        return TDOutput(loss.detach(), self.rule.td_error(values, targets), values.mean())

    @th.no_grad()
    def _targets(self, batch: Batch) -> th.Tensor:
        """
        :param batch: B transitions
        :return: float32 [B, N]
        """
        next_values = self.q_net_target.values(batch.next_observations).float()
        if self.double_q:
            selector = self.q_net(batch.next_observations).float()
        else:
            selector = self.q_net_target.head.q_values(next_values)
        return self.rule.backup(batch.rewards, batch.discounts, greedy_weights(selector), next_values)
