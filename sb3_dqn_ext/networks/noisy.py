"""Noisy layers: weights with learned noise, which explores in place of epsilon."""

from enum import Enum

import torch as th
from torch import nn
from torch.nn import functional as F


class Draw(Enum):
    """Which randomness a forward pass draws: the noise of noisy layers, and the fractions of the implicit quantile head."""

    NONE = "none"  # deterministic: mean weights, evenly spaced fractions
    SHARED = "shared"  # one noise for the whole batch: learning
    PER_OBSERVATION = "per_observation"  # each observation its own noise: acting in several environments


class NoisyLinear(nn.Module):
    """
    Linear layer with factorised Gaussian noise (Fortunato et al. 2018, arXiv 1706.10295, eqs. 9 to 11):
    ``y = (mu_w + sigma_w * f(eps_out) f(eps_in)^T) x + mu_b + sigma_b * f(eps_out)``, f(e) = sgn(e) sqrt(\\|e\\|).

    Computed as ``mu_w x + f(eps_out) * (sigma_w (f(eps_in) * x) + sigma_b) + mu_b``, so that no noisy matrix is built, and
    each observation can have its own noise at the same price. The noise comes from torch's global generator, which
    ``seed`` sets.

    :param in_features: size of each input
    :param out_features: size of each output
    :param sigma0: initial noise; sigma starts at sigma0 / sqrt(in_features) (section 3.2)
    """

    def __init__(self, in_features: int, out_features: int, sigma0: float = 0.5) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.sigma0 = sigma0
        self.weight = nn.Parameter(th.empty(out_features, in_features))
        self.bias = nn.Parameter(th.empty(out_features))
        self.weight_sigma = nn.Parameter(th.empty(out_features, in_features))
        self.bias_sigma = nn.Parameter(th.empty(out_features))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the means anew and set sigma to its initial value."""
        bound = self.in_features**-0.5
        for mean in (self.weight, self.bias):
            nn.init.uniform_(mean, -bound, bound)
        for sigma in (self.weight_sigma, self.bias_sigma):
            nn.init.constant_(sigma, self.sigma0 * bound)

    def forward(self, x: th.Tensor, draw: Draw = Draw.NONE) -> th.Tensor:
        """
        :param x: float32 [B, ..., in_features]
        :param draw: without noise, with one noise for all, or with one for each of the B
        :return: float32 [B, ..., out_features]
        """
        mean = F.linear(x, self.weight, self.bias)
        if draw is Draw.NONE:
            return mean
        rows = [len(x)] + [1] * (x.dim() - 2) if draw is Draw.PER_OBSERVATION else []
        noise_in = factorised_noise([*rows, self.in_features], x)
        noise_out = factorised_noise([*rows, self.out_features], x)
        return mean + noise_out * F.linear(x * noise_in, self.weight_sigma, self.bias_sigma)

    def extra_repr(self) -> str:
        """
        :return: the constructor's arguments
        """
        return f"{self.in_features}, {self.out_features}, sigma0={self.sigma0}"


def factorised_noise(shape: list[int], like: th.Tensor) -> th.Tensor:
    """
    f(e) = sgn(e) sqrt(\\|e\\|) of standard normal e.

    :param shape: of the result
    :param like: whose dtype and device it gets
    :return: random numbers of mean 0 and variance sqrt(2 / pi)
    """
    normal = th.randn(shape, dtype=like.dtype, device=like.device)
    return normal.sign() * normal.abs().sqrt()
