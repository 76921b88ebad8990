"""Heads: shapes with one stream and two, what is drawn, and what bad arguments are told."""

import inspect

import numpy as np
import pytest
import torch as th
from torch import nn

from sb3_dqn_ext.networks import HEADS, Draw, ValueHead, make_head, make_streams
from sb3_dqn_ext.networks.heads import CategoricalHead, ImplicitQuantileHead, midpoints

B, A, F = 5, 3, 8
SMALL = {
    "scalar": {},
    "categorical": {"n_atoms": 11, "v_min": -2.0, "v_max": 3.0},
    "quantile": {"n_quantiles": 7},
    "implicit_quantile": {"n_fractions": 4, "n_target_fractions": 6, "n_acting_fractions": 9, "n_cosines": 16},
}
N_LEARNED = {"scalar": 1, "categorical": 11, "quantile": 7, "implicit_quantile": 4}
N_TARGET = N_LEARNED | {"implicit_quantile": 6}


def make(kind: str, dueling: bool = False, noisy: bool = False) -> tuple[ValueHead, nn.Module, th.Tensor]:
    th.manual_seed(0)
    head = make_head(kind, F, SMALL[kind])
    streams = make_streams(F, A, head.n_outputs, [10], nn.ReLU, dueling, 0.5 if noisy else None)
    return head, streams, th.randn(B, F)


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize("kind", HEADS)
def test_shapes(kind: str, dueling: bool, noisy: bool) -> None:
    head, streams, features = make(kind, dueling, noisy)
    for draw in Draw:
        learned = head.learned(features, streams, draw)
        assert learned.values.shape == (B, A, N_LEARNED[kind])
        assert learned.support.shape[-1] == N_LEARNED[kind]
        target, q_values = head.bootstrapped(features, streams, draw)
        assert target.values.shape == (B, A, N_TARGET[kind])
        assert q_values.shape == head.q_values(features, streams, draw).shape == (B, A)


@pytest.mark.parametrize("kind", HEADS)
def test_dueling_centres_each_output_over_the_actions(kind: str) -> None:
    head, streams, features = make(kind, dueling=True)
    values = head.learned(features, streams, Draw.NONE).values
    inputs = features
    if isinstance(head, ImplicitQuantileHead):
        taus = midpoints(head.n_fractions)
        inputs = features.unsqueeze(1) * head.embedding(th.cos(taus.unsqueeze(1) * head.frequencies))
    value = streams.value(inputs)
    # The mean over the actions is the value stream, whatever the advantages are.
    th.testing.assert_close(values.mean(dim=1), value.reshape(B, -1))
    advantage = streams.advantage(inputs)
    per_action = advantage.transpose(1, 2) if advantage.dim() == 3 else advantage.unflatten(1, (A, -1))
    th.testing.assert_close(values - values.mean(dim=1, keepdim=True), per_action - per_action.mean(dim=1, keepdim=True))


@pytest.mark.parametrize("kind", HEADS)
def test_nothing_is_drawn_in_deterministic_passes(kind: str) -> None:
    head, streams, features = make(kind, noisy=True)
    state = th.random.get_rng_state()
    first = head.q_values(features, streams, Draw.NONE)
    assert th.equal(first, head.q_values(features, streams, Draw.NONE))
    assert th.equal(state, th.random.get_rng_state())
    assert not th.equal(first, head.q_values(features, streams, Draw.SHARED))


def test_expectations() -> None:
    categorical = CategoricalHead(F, n_atoms=3, v_min=-1.0, v_max=1.0)
    probabilities = th.tensor([[0.2, 0.3, 0.5]])
    assert float(categorical.expectation(probabilities.log())) == pytest.approx(0.3)
    assert categorical.support.tolist() == [-1.0, 0.0, 1.0]
    assert float(make_head("quantile", F, {"n_quantiles": 2}).expectation(th.tensor([1.0, 4.0]))) == 2.5
    assert make_head("quantile", F, {"n_quantiles": 4}).support.tolist() == [0.125, 0.375, 0.625, 0.875]


def test_implicit_quantiles_by_the_definition() -> None:
    """Equation 4 of the paper, one observation and one fraction at a time."""
    head, streams, features = make("implicit_quantile", dueling=True)
    assert isinstance(head, ImplicitQuantileHead)
    taus = th.rand(B, 4)
    values = head.at(taus, features, streams, Draw.NONE).values
    linear = head.embedding[0]
    for b in range(B):
        for n in range(4):
            cosines = th.tensor([np.cos(np.pi * i * float(taus[b, n])) for i in range(16)], dtype=th.float32)
            phi = (linear.weight @ cosines + linear.bias).relu()
            th.testing.assert_close(values[b, :, n], streams((features[b] * phi).unsqueeze(0))[0], rtol=1e-4, atol=1e-5)


def test_implicit_fractions_are_uniform_and_each_observation_has_its_own() -> None:
    head, streams, _ = make("implicit_quantile")
    support = head.learned(th.randn(20_000, F), streams, Draw.SHARED).support
    assert support.shape == (20_000, 4)
    histogram = th.histc(support, bins=10, min=0, max=1)
    assert float((histogram / support.numel() - 0.1).abs().max()) < 0.005
    assert not th.equal(support[0], support[1])


def test_the_target_and_its_policy_have_the_same_noise_but_other_fractions() -> None:
    head, streams, features = make("implicit_quantile", noisy=True)
    with th.no_grad():  # quantiles that do not depend on the fraction: what is left is the noise
        head.embedding[0].weight.zero_()
        head.embedding[0].bias.fill_(1.0)
    values, q_values = head.bootstrapped(features, streams, Draw.SHARED)
    th.testing.assert_close(values.values.mean(dim=2), q_values)
    assert not th.allclose(q_values, head.q_values(features, streams, Draw.SHARED))


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        ("categorial", {}, "use one of 'scalar', 'categorical'"),
        ("categorical", {"v_min": 1.0, "v_max": 1.0}, "v_min=1.0 must be less than v_max=1.0"),
        ("categorical", {"v_min": float("-inf")}, "v_min=-inf must be less"),
        ("categorical", {"n_atoms": 1}, "n_atoms=1 is not possible: use a whole number, 2 or more"),
        ("quantile", {"n_quantiles": 0}, "n_quantiles=0"),
        ("quantile", {"n_atoms": 51}, "'n_atoms' is not an argument of the policy, and head='quantile' takes n_quantiles"),
        ("scalar", {"n_atoms": 51}, "head='scalar' has no arguments"),
        ("implicit_quantile", {"n_cosines": 0}, "n_cosines=0"),
        ("implicit_quantile", {"n_acting_fractions": 2.5}, "n_acting_fractions=2.5"),
    ],
)
def test_bad_arguments(kind: str, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("'", ".")):
        make_head(kind, F, arguments)


def test_every_head_argument_has_a_default() -> None:
    for head in HEADS.values():
        for name, parameter in list(inspect.signature(head).parameters.items())[1:]:
            assert parameter.default is not inspect.Parameter.empty, name
