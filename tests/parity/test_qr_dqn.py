"""Updates of QRDQN equal those of sb3-contrib's QR-DQN on the same data."""

from collections.abc import Iterable

import numpy as np
import pytest
import sb3_contrib
import torch as th
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.logger import Logger

from sb3_dqn_ext import QRDQN

N_QUANTILES, N_ACTIONS = 13, 2


def in_our_order(parameters: Iterable[th.Tensor]) -> list[th.Tensor]:
    """sb3-contrib's last layer has its outputs in the order [N, A], ours in [A, N]."""
    *hidden, weight, bias = (parameter.detach().clone() for parameter in parameters)
    return [*hidden, *(last.unflatten(0, (N_QUANTILES, N_ACTIONS)).transpose(0, 1).flatten(0, 1) for last in (weight, bias))]


def make(cls: type):
    """A model with 64 random transitions and a silent logger."""
    model = cls(
        "MlpPolicy", "CartPole-v1", learning_rate=1e-3, buffer_size=64, replay_buffer_class=ReplayBuffer, gamma=0.9, seed=0,
        max_grad_norm=10, device="cpu",
        policy_kwargs={"n_quantiles": N_QUANTILES, "optimizer_class": th.optim.Adam, "optimizer_kwargs": {"foreach": False}},
    )  # fmt: skip
    model.set_logger(Logger(folder=None, output_formats=[]))
    rng = np.random.default_rng(0)
    for _ in range(64):
        obs, next_obs, action = rng.normal(size=(1, 4)), rng.normal(size=(1, 4)), rng.integers(2, size=1)
        model.replay_buffer.add(obs, next_obs, action, 3 * rng.normal(size=1), np.array([rng.random() < 0.2]), [{}])
    return model


@pytest.mark.parametrize("n_updates", [1, 20])
def test_updates_equal_sb3_contribs(n_updates: int) -> None:
    theirs, ours = make(sb3_contrib.QRDQN), make(QRDQN)
    th.manual_seed(1)
    with th.no_grad():  # another target network than the online one
        for parameter in theirs.quantile_net_target.parameters():
            parameter.add_(0.3 * th.randn(parameter.shape))
        for their_net, our_net in ((theirs.quantile_net, ours.q_net), (theirs.quantile_net_target, ours.q_net_target)):
            for value, parameter in zip(in_our_order(their_net.parameters()), our_net.parameters(), strict=True):
                parameter.copy_(value)
    before = [parameter.detach().clone() for parameter in ours.q_net.parameters()]
    for model in (theirs, ours):
        np.random.seed(5)
        model.train(gradient_steps=n_updates, batch_size=16)
    expected = in_our_order(theirs.quantile_net.parameters())
    for value, parameter, old in zip(expected, ours.q_net.parameters(), before, strict=True):
        th.testing.assert_close(parameter.detach(), value, rtol=1e-5, atol=1e-6)
        assert not th.equal(parameter, old)
