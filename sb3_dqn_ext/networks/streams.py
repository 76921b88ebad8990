"""Streams: the hidden layers between the torso and the head, one stream or two (dueling), of plain or noisy layers."""

import torch as th
from stable_baselines3.common.torch_layers import create_mlp
from torch import nn

from sb3_dqn_ext.networks.noisy import Draw, NoisyLinear


class Stream(nn.Sequential):
    """
    Layers one after another, some of which may be noisy. The last one always runs in float32: values of a hundred rounded
    to bfloat16 are whole halves apart, and the differences between actions would be lost.
    """

    def forward(self, x: th.Tensor, draw: Draw = Draw.NONE) -> th.Tensor:
        """
        :param x: float32 [B, ..., F]
        :param draw: the noise of noisy layers
        :return: float32 [B, ..., outputs]
        """
        *hidden, last = self
        for layer in hidden:
            x = layer(x, draw) if isinstance(layer, NoisyLinear) else layer(x)
        with th.autocast(x.device.type, enabled=False):
            x = x.float()
            return last(x, draw) if isinstance(last, NoisyLinear) else last(x)


class DuelingStreams(nn.Module):
    """
    A value and an advantage stream: V(s) + A(s, a) - mean over a' of A(s, a') (Wang et al. 2016, arXiv 1511.06581, eq. 9).

    Works for any number of outputs per action, each centred by itself.

    :param value: maps features [B, ..., F] to [B, ..., N]
    :param advantage: maps features [B, ..., F] to [B, ..., A * N]
    :param n_actions: A
    """

    def __init__(self, value: Stream, advantage: Stream, n_actions: int) -> None:
        super().__init__()
        self.value = value
        self.advantage = advantage
        self.n_actions = n_actions

    def forward(self, features: th.Tensor, draw: Draw = Draw.NONE) -> th.Tensor:
        """
        :param features: float32 [B, ..., F]
        :param draw: the noise of noisy layers
        :return: float32 [B, ..., A * N]
        """
        advantage = self.advantage(features, draw).unflatten(-1, (self.n_actions, -1))
        value = self.value(features, draw).unsqueeze(-2)
        return (value + advantage - advantage.mean(dim=-2, keepdim=True)).flatten(-2)


def make_streams(
    features_dim: int,
    n_actions: int,
    n_outputs: int,
    net_arch: list[int],
    activation_fn: type[nn.Module],
    dueling: bool,
    sigma0: float | None = None,
) -> Stream | DuelingStreams:
    """
    Build what lies between the features and a head.

    :param features_dim: F
    :param n_actions: A
    :param n_outputs: N, outputs per action
    :param net_arch: units of each hidden layer, in each stream
    :param activation_fn: activation after each hidden layer
    :param dueling: two streams in place of one
    :param sigma0: initial noise of noisy layers; if None, the layers are plain
    :return: module from float32 [B, ..., F] to float32 [B, ..., A * N]; one plain stream has the parameter names of SB3's DQN
    """

    def stream(output_dim: int) -> Stream:
        layers = create_mlp(features_dim, output_dim, net_arch, activation_fn)
        if sigma0 is not None:
            layers = [
                NoisyLinear(layer.in_features, layer.out_features, sigma0) if isinstance(layer, nn.Linear) else layer
                for layer in layers
            ]
        return Stream(*layers)

    if dueling:
        return DuelingStreams(stream(n_outputs), stream(n_actions * n_outputs), n_actions)
    return stream(n_actions * n_outputs)
