"""Noisy layers: moments of the noise, and which noise is drawn when."""

import math

import pytest
import torch as th

from sb3_dqn_ext.networks import Draw, NoisyLinear
from sb3_dqn_ext.networks.noisy import factorised_noise


def make_layer(sigma0: float = 0.5) -> NoisyLinear:
    th.manual_seed(0)
    return NoisyLinear(16, 8, sigma0)


def test_initial_values_are_the_papers() -> None:
    layer = make_layer()
    for mean in (layer.weight, layer.bias):
        assert mean.abs().max() <= 16**-0.5
    for sigma in (layer.weight_sigma, layer.bias_sigma):
        assert th.equal(sigma, th.full_like(sigma, 0.5 / math.sqrt(16)))


def test_moments_of_the_factorised_noise() -> None:
    th.manual_seed(0)
    noise = factorised_noise([400_000], th.zeros(1))
    # E f(e)^2 = E |e| = sqrt(2 / pi); E f(e)^4 = E e^2 = 1
    assert float(noise.mean()) == pytest.approx(0.0, abs=0.005)
    assert float((noise**2).mean()) == pytest.approx(math.sqrt(2 / math.pi), rel=0.01)
    assert float((noise**4).mean()) == pytest.approx(1.0, rel=0.02)


def test_output_has_the_moments_of_noisy_weights() -> None:
    """Mean and variance of y, whose weights' noise has variance 2 / pi and whose bias' noise sqrt(2 / pi)."""
    layer, n = make_layer(), 100_000
    x = th.randn(16)
    y = layer(x.expand(n, 16), Draw.PER_OBSERVATION).detach()
    with th.no_grad():
        mean = layer.weight @ x + layer.bias
        variance = (2 / math.pi) * (layer.weight_sigma**2 @ x**2) + math.sqrt(2 / math.pi) * layer.bias_sigma**2
    th.testing.assert_close(y.mean(dim=0), mean, atol=0.02, rtol=0)
    # Noise of weight and bias share eps_out, so that the variance has a covariance term too, of mean zero over eps_in.
    th.testing.assert_close(y.var(dim=0), variance, rtol=0.05, atol=0)


@pytest.mark.parametrize("shape", [(5, 16), (5, 3, 16)])
def test_equals_the_layer_with_the_noisy_matrix(shape: tuple[int, ...]) -> None:
    """The definition, with the whole noisy matrix, from the same random numbers."""
    layer = make_layer()
    x = th.randn(shape)
    th.manual_seed(7)
    y = layer(x, Draw.SHARED)
    th.manual_seed(7)
    eps_in, eps_out = th.randn(16), th.randn(8)
    f = lambda e: e.sign() * e.abs().sqrt()  # noqa: E731
    weight = layer.weight + layer.weight_sigma * th.outer(f(eps_out), f(eps_in))
    bias = layer.bias + layer.bias_sigma * f(eps_out)
    th.testing.assert_close(y, x @ weight.T + bias)


def test_gradients_are_those_of_the_noisy_matrix() -> None:
    layer, x = make_layer(), th.randn(5, 16)
    th.manual_seed(7)
    layer(x, Draw.SHARED).square().sum().backward()
    th.manual_seed(7)
    eps_in, eps_out = th.randn(16), th.randn(8)
    f = lambda e: e.sign() * e.abs().sqrt()  # noqa: E731
    noise = th.outer(f(eps_out), f(eps_in))
    weight = (layer.weight + layer.weight_sigma * noise).detach().requires_grad_()
    bias = (layer.bias + layer.bias_sigma * f(eps_out)).detach().requires_grad_()
    (x @ weight.T + bias).square().sum().backward()
    assert weight.grad is not None and bias.grad is not None
    for ours, expected in [
        (layer.weight.grad, weight.grad),
        (layer.weight_sigma.grad, weight.grad * noise),
        (layer.bias.grad, bias.grad),
        (layer.bias_sigma.grad, bias.grad * f(eps_out)),
    ]:
        assert ours is not None
        th.testing.assert_close(ours, expected)


def test_which_noise_is_drawn() -> None:
    layer = make_layer()
    x = th.ones(4, 16)
    assert th.equal(layer(x), layer(x, Draw.NONE))
    assert th.equal(layer(x), th.nn.functional.linear(x, layer.weight, layer.bias))
    shared = layer(x, Draw.SHARED)
    assert th.equal(shared[0], shared[3])
    assert not th.equal(shared, layer(x, Draw.SHARED))  # a new one in each pass
    own = layer(x, Draw.PER_OBSERVATION)
    assert not any(th.equal(own[0], own[i]) for i in range(1, 4))


def test_without_sigma_there_is_no_noise() -> None:
    layer, x = make_layer(sigma0=0.0), th.randn(3, 16)
    assert th.equal(layer(x, Draw.SHARED), layer(x))
