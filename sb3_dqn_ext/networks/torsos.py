"""Convolutional features extractors that end after the convolutions, where the papers' streams begin."""

from typing import ClassVar

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn


class ConvTorso(BaseFeaturesExtractor):
    """
    Convolutions with ReLU, flattened: uint8 or float [B, C, H, W] scaled to [0, 1] -> float32 [B, features_dim].

    SB3's ``NatureCNN`` holds a hidden layer of 512 units besides; here the hidden layers belong to the streams, so that
    dueling streams part straight after the convolutions.

    :param observation_space: images, channels first
    :param normalized_image: whether the images are floats already, so that dtype and bounds need no check
    :raises ValueError: when the observations are not images, or too small for the convolutions
    """

    # (channels, kernel size, stride) of each convolution
    layers: ClassVar[tuple[tuple[int, int, int], ...]]
    # hidden layers of each stream when ``net_arch`` is not given
    default_net_arch: ClassVar[list[int]]

    def __init__(self, observation_space: spaces.Box, normalized_image: bool = False) -> None:
        if not is_image_space(observation_space, check_channels=False, normalized_image=normalized_image):
            raise ValueError(
                f"{type(self).__name__} needs images, channels first, of dtype uint8 in [0, 255], got {observation_space}. "
                "Use MlpPolicy for vectors; for images that are floats already, pass "
                "policy_kwargs=dict(normalize_images=False)."
            )
        channels, *size = observation_space.shape
        convolutions: list[nn.Module] = []
        for out_channels, kernel, stride in self.layers:
            convolutions += [nn.Conv2d(channels, out_channels, kernel, stride), nn.ReLU()]
            channels, size = out_channels, [(n - kernel) // stride + 1 for n in size]
            if min(size) < 1:
                raise ValueError(
                    f"Images of shape {observation_space.shape} are too small for {type(self).__name__}: use 84x84."
                )
        super().__init__(observation_space, channels * int(np.prod(size)))
        self.cnn = nn.Sequential(*convolutions, nn.Flatten())

    def forward(self, observations: th.Tensor) -> th.Tensor:
        """
        :param observations: float32 [B, C, H, W]
        :return: float32 [B, features_dim]
        """
        return self.cnn(observations)


class NatureConv(ConvTorso):
    """The three convolutions of Mnih et al. 2015 (Nature), 3,136 features of 84x84 pixels."""

    layers = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
    default_net_arch: ClassVar[list[int]] = [512]


class DataEfficientConv(ConvTorso):
    """
    The two convolutions of data-efficient Rainbow (van Hasselt et al. 2019, arXiv 1906.05243, appendix), 576 features of
    84x84 pixels. Made for 100k steps, and 6.6 times fewer operations than Nature's: the choice for a CPU.
    """

    layers = ((32, 5, 5), (64, 5, 5))
    default_net_arch: ClassVar[list[int]] = [256]
