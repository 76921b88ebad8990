"""One gradient step: forward, backward, clip, optimise."""

from typing import Any, NamedTuple

import torch as th

from sb3_dqn_ext.learning.execution import EXECUTIONS
from sb3_dqn_ext.learning.rules import VALUE_RULES
from sb3_dqn_ext.learning.targets import greedy_weights, munchausen_bonus, scaled_log_policy, soft_weights
from sb3_dqn_ext.networks import Draw
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


class Munchausen(NamedTuple):
    """
    Numbers of Munchausen DQN (Vieillard, Pietquin & Geist 2020, arXiv 2007.14430).

    :param alpha: scale of the log-policy that is added to the reward
    :param tau: temperature of the policy, in units of the reward
    :param clip: smallest tau * log-policy that is added (l_0)
    """

    alpha: float
    tau: float
    clip: float


class BackupTerms(NamedTuple):
    """
    What a target is made of.

    :param rewards: float32 [B], with the bonus
    :param next_weights: float32 [B, A], the policy at the next observation
    :param next_values: float32 [B, A, N], with the entropy bonus
    """

    rewards: th.Tensor
    next_weights: th.Tensor
    next_values: th.Tensor


class LearnStep:
    """
    Minimise the TD error of a batch. Never reads a value back from the device.

    :param policy: the networks and their optimizer
    :param double_q: let the online network select the next action (van Hasselt et al. 2016)
    :param max_grad_norm: clip the gradient to this Euclidean norm
    :param munchausen: if given, back up its soft values in place of the greedy ones
    :param bf16: run the networks' matrix products in bfloat16 (parameters and targets stay float32)
    :param execution: ``eager``, ``compile`` or ``cuda_graph``
    """

    def __init__(
        self,
        policy: DQNExtPolicy,
        double_q: bool,
        max_grad_norm: float,
        munchausen: Munchausen | None = None,
        bf16: bool = False,
        execution: str = "eager",
    ) -> None:
        self.q_net, self.q_net_target = policy.q_net, policy.q_net_target
        self.optimizer = policy.optimizer
        self.parameters = list(policy.q_net.parameters())
        self.rule = VALUE_RULES[policy.q_net.head.kind]
        self.max_grad_norm = max_grad_norm
        self.munchausen = munchausen
        self.device_type, self.bf16 = policy.device.type, bf16
        self.backup_terms = (
            self._soft_terms if munchausen is not None else self._double_terms if double_q else self._greedy_terms
        )
        self.execution = execution
        self.reset()

    def reset(self) -> None:
        """Compile or capture anew, because the optimizer's state was replaced."""
        self.update = EXECUTIONS[self.execution](self.loss, self.descend, self.optimizer)

    def __getstate__(self) -> dict[str, Any]:
        # What is compiled or captured refers to these networks, a copy has its own.
        return {name: value for name, value in vars(self).items() if name != "update"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.reset()

    def __call__(self, batch: Batch) -> TDOutput:
        """
        :param batch: B transitions
        :return: figures of the update
        """
        return TDOutput(*self.update(batch))

    def loss(self, batch: Batch) -> tuple[th.Tensor, th.Tensor, th.Tensor]:
        """
        :param batch: B transitions
        :return: the fields of :class:`TDOutput`, the loss with its gradient
        """
        with th.autocast(self.device_type, dtype=th.bfloat16, enabled=self.bf16):
            # Before the targets: autocast then rounds the online network's weights once for both passes, with gradient.
            values, support = self.q_net.learned(batch.observations, Draw.SHARED)
            targets = self._targets(batch)
        values = th.take_along_dim(values.float(), batch.actions[:, None, None], dim=1).squeeze(1)
        loss = (batch.weights * self.rule.loss(values, support, targets)).mean()
        values = values.detach()
        return loss, self.rule.td_error(values, targets), self.q_net.head.expectation(values).mean()

    def descend(self, loss: th.Tensor) -> None:
        """
        :param loss: float32 [], to go down its gradient
        """
        self.optimizer.zero_grad()
        loss.backward()
        th.nn.utils.clip_grad_norm_(self.parameters, self.max_grad_norm)
        self.optimizer.step()

    @th.no_grad()
    def _targets(self, batch: Batch) -> th.Tensor:
        """
        :param batch: B transitions
        :return: float32 [B, N]
        """
        (next_values, support), next_q = self.q_net_target.bootstrapped(batch.next_observations, Draw.SHARED)
        terms = self.backup_terms(batch, next_values.float(), next_q.float())
        return self.rule.backup(terms.rewards, batch.discounts, terms.next_weights, terms.next_values, support)

    def _greedy_terms(self, batch: Batch, next_values: th.Tensor, next_q: th.Tensor) -> BackupTerms:
        return BackupTerms(batch.rewards, greedy_weights(next_q), next_values)

    def _double_terms(self, batch: Batch, next_values: th.Tensor, next_q: th.Tensor) -> BackupTerms:
        return BackupTerms(
            batch.rewards, greedy_weights(self.q_net(batch.next_observations, Draw.SHARED).float()), next_values
        )

    def _soft_terms(self, batch: Batch, next_values: th.Tensor, next_q: th.Tensor) -> BackupTerms:
        assert self.munchausen is not None
        alpha, tau, clip = self.munchausen
        q_values = self.q_net_target(batch.observations, Draw.SHARED).float()
        return BackupTerms(
            batch.rewards + munchausen_bonus(q_values, batch.actions, alpha, tau, clip),
            soft_weights(next_q, tau),
            next_values - scaled_log_policy(next_q, tau).unsqueeze(2),
        )
