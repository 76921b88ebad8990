"""Streams of hidden layers, and the heads that read action values from what they put out."""

import torch as th
from stable_baselines3.common.torch_layers import create_mlp
from torch import nn


class DuelingStreams(nn.Module):
    """
    A value and an advantage stream: V(s) + A(s, a) - mean over a' of A(s, a') (Wang et al. 2016, arXiv 1511.06581, eq. 9).

    Works for any number of outputs per action, each centred by itself.

    :param value: maps features [B, F] to [B, N]
    :param advantage: maps features [B, F] to [B, A * N]
    :param n_actions: A
    """

    def __init__(self, value: nn.Module, advantage: nn.Module, n_actions: int) -> None:
        super().__init__()
        self.value = value
        self.advantage = advantage
        self.n_actions = n_actions

    def forward(self, features: th.Tensor) -> th.Tensor:
        """
        :param features: float32 [B, F]
        :return: float32 [B, A * N]
        """
        advantage = self.advantage(features).unflatten(1, (self.n_actions, -1))
        value = self.value(features).unsqueeze(1)
        return (value + advantage - advantage.mean(dim=1, keepdim=True)).flatten(1)


def make_streams(
    features_dim: int,
    n_actions: int,
    n_outputs: int,
    net_arch: list[int],
    activation_fn: type[nn.Module],
    dueling: bool,
) -> nn.Module:
    """
    Build what lies between the features and a head.

    :param features_dim: F
    :param n_actions: A
    :param n_outputs: N, outputs per action
    :param net_arch: units of each hidden layer, in each stream
    :param activation_fn: activation after each hidden layer
    :param dueling: two streams in place of one
    :return: module from float32 [B, F] to float32 [B, A * N]; one stream has the parameter names of SB3's DQN
    """

    def stream(output_dim: int) -> nn.Sequential:
        return nn.Sequential(*create_mlp(features_dim, output_dim, net_arch, activation_fn))

    if dueling:
        return DuelingStreams(stream(n_outputs), stream(n_actions * n_outputs), n_actions)
    return stream(n_actions * n_outputs)


class ValueHead(nn.Module):
    """
    What the N outputs per action mean. A head only names its outputs; ``learning`` holds how each kind is backed up and
    which loss it has, under the same ``kind``.
    """

    kind: str
    n_outputs: int

    def q_values(self, values: th.Tensor) -> th.Tensor:
        """
        :param values: float32 [B, A, N]
        :return: float32 [B, A], the expected return of each action
        """
        raise NotImplementedError


class ScalarHead(ValueHead):
    """The expected return itself, N = 1 (Mnih et al. 2015)."""

    kind = "scalar"
    n_outputs = 1

    def q_values(self, values: th.Tensor) -> th.Tensor:
        """
        :param values: float32 [B, A, 1]
        :return: float32 [B, A]
        """
        return values.squeeze(2)
