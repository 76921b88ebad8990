"""What one update learns from, and the converter that makes it from the samples of any SB3 buffer."""

from typing import NamedTuple

import torch as th
from stable_baselines3.common.type_aliases import DictReplayBufferSamples, PyTorchObs, ReplayBufferSamples


class Batch(NamedTuple):
    """
    A minibatch of transitions, on the device of the learner. B is the batch size.

    :param observations: [B, ...] in the dtype of the observation space (a dict of them for Dict spaces)
    :param actions: int64 [B]
    :param rewards: float32 [B], the n-step sum of discounted rewards
    :param discounts: float32 [B], gamma**k after k rewards, 0 where the window ended in a terminal state
    :param next_observations: [B, ...], the observation to bootstrap from
    :param weights: float32 [B], importance weights; ones when sampling is uniform
    """

    observations: PyTorchObs
    actions: th.Tensor
    rewards: th.Tensor
    discounts: th.Tensor
    next_observations: PyTorchObs
    weights: th.Tensor


def batch_from_samples(samples: ReplayBufferSamples | DictReplayBufferSamples, gamma: float) -> Batch:
    """
    Convert what SB3's buffers sample (Dict observations and hindsight replay too) to a :class:`Batch`.

    :param samples: float32 ``rewards`` and ``dones`` [B, 1], ``actions`` [B, 1]; ``discounts`` [B, 1] or None
    :param gamma: the discount of one step, used where the buffer gives no discounts of its own
    :return: the same transitions, with the end of an episode folded into ``discounts``
    """
    rewards = samples.rewards.reshape(-1).float()
    # Dict samples have no ``discounts`` field in every SB3 version that we support.
    step_discounts = getattr(samples, "discounts", None)
    not_done = 1.0 - samples.dones.reshape(-1).float()
    return Batch(
        observations=samples.observations,
        actions=samples.actions.reshape(-1).long(),
        rewards=rewards,
        discounts=not_done * (gamma if step_discounts is None else step_discounts.reshape(-1)),
        next_observations=samples.next_observations,
        weights=th.ones_like(rewards),
    )
