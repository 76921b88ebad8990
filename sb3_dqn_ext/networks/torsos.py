"""Torsos: features extractors that end where the papers' streams begin, straight after the convolutions."""

from typing import ClassVar

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.preprocessing import get_flattened_obs_dim, is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm


def check_images(torso: str, observation_space: spaces.Space, normalized_image: bool) -> None:
    """
    :param torso: name of the features extractor
    :param observation_space: what it is to see
    :param normalized_image: whether the images are floats already, so that dtype and bounds need no check
    :raises ValueError: when the observations are not images with the channels first
    """
    if not is_image_space(observation_space, check_channels=False, normalized_image=normalized_image):
        raise ValueError(
            f"{torso} needs images, channels first, of dtype uint8 in [0, 255], got {observation_space}. Use MlpPolicy for "
            "vectors; for images that are floats already, pass policy_kwargs=dict(normalize_images=False)."
        )


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
        check_images(type(self).__name__, observation_space, normalized_image)
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


class ImpalaConv(BaseFeaturesExtractor):
    """
    The residual convolutions of IMPALA (Espeholt et al. 2018, arXiv 1802.01561, figure 3, right), as Beyond the Rainbow has
    them (Clark et al. 2024, arXiv 2411.03820): twice as wide, the residual convolutions spectrally normalized (Gogianu et
    al. 2021, arXiv 2105.05246), and max-pooled to 6x6 whatever the size of the images.

    float32 [B, C, H, W] in [0, 1] -> float32 [B, 32 * width * pool_size**2], 2,304 features by default.

    :param observation_space: images, channels first
    :param normalized_image: whether the images are floats already, so that dtype and bounds need no check
    :param width: multiplies the channels 16, 32, 32 of the three blocks
    :param normalize_spectrum: divide the weights of the residual convolutions by their largest singular value
    :param pool_size: height and width of the pooled features
    :raises ValueError: when the observations are not images, or an argument is less than 1
    """

    default_net_arch: ClassVar[list[int]] = [512]

    def __init__(
        self,
        observation_space: spaces.Box,
        normalized_image: bool = False,
        width: int = 2,
        normalize_spectrum: bool = True,
        pool_size: int = 6,
    ) -> None:
        check_images(type(self).__name__, observation_space, normalized_image)
        if width < 1 or pool_size < 1:
            raise ValueError(f"width={width} and pool_size={pool_size} must be 1 or more.")
        super().__init__(observation_space, 32 * width * pool_size**2)
        channels = observation_space.shape[0]
        blocks: list[nn.Module] = []
        for out_channels in (16 * width, 32 * width, 32 * width):
            blocks += [
                nn.Conv2d(channels, out_channels, 3, padding=1),
                nn.MaxPool2d(3, 2, padding=1),
                ResidualBlock(out_channels, normalize_spectrum),
                ResidualBlock(out_channels, normalize_spectrum),
            ]
            channels = out_channels
        self.cnn = nn.Sequential(*blocks, nn.AdaptiveMaxPool2d(pool_size), nn.ReLU(), nn.Flatten())

    def forward(self, observations: th.Tensor) -> th.Tensor:
        """
        :param observations: float32 [B, C, H, W]
        :return: float32 [B, features_dim]
        """
        return self.cnn(observations)


class ResidualBlock(nn.Module):
    """
    x + conv(relu(conv(relu(x)))), 3x3 (He et al. 2016, with the activations first).

    :param channels: of input and output
    :param normalize_spectrum: divide the weights by their largest singular value
    """

    def __init__(self, channels: int, normalize_spectrum: bool) -> None:
        super().__init__()
        convolutions: list[nn.Module] = [nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2)]
        if normalize_spectrum:
            convolutions = [spectral_norm(convolution) for convolution in convolutions]
        first, second = convolutions
        self.residual = nn.Sequential(nn.ReLU(), first, nn.ReLU(), second)

    def forward(self, x: th.Tensor) -> th.Tensor:
        """
        :param x: float32 [B, C, H, W]
        :return: float32 [B, C, H, W]
        """
        return x + self.residual(x)


class MlpTorso(BaseFeaturesExtractor):
    """
    One hidden layer for vectors: what the implicit quantile head multiplies by its embedding, which the bare observation,
    often a few numbers, is too small for.

    :param observation_space: any space that SB3 flattens
    :param units: of the hidden layer
    """

    default_net_arch: ClassVar[list[int]] = [64]

    def __init__(self, observation_space: spaces.Space, units: int = 64) -> None:
        super().__init__(observation_space, units)
        self.mlp = nn.Sequential(nn.Flatten(), nn.Linear(get_flattened_obs_dim(observation_space), units), nn.ReLU())

    def forward(self, observations: th.Tensor) -> th.Tensor:
        """
        :param observations: float32 [B, ...]
        :return: float32 [B, units]
        """
        return self.mlp(observations)
