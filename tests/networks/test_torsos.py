"""Torsos: sizes, spectral norm, and its copy in the target network."""

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.envs import FakeImageEnv

from sb3_dqn_ext import BTR, ComposableDQN
from sb3_dqn_ext.networks import ImpalaConv, MlpTorso


def images(size: int = 84, channels: int = 4) -> spaces.Box:
    return spaces.Box(0, 255, (channels, size, size), np.uint8)


@pytest.mark.parametrize(("width", "size"), [(1, 84), (2, 84), (2, 40)])
def test_impala_has_the_papers_size(width: int, size: int) -> None:
    torso = ImpalaConv(images(size), width=width)
    assert torso(th.rand(2, 4, size, size)).shape == (2, 32 * width * 36)
    convolutions = [module for module in torso.modules() if isinstance(module, th.nn.Conv2d)]
    assert len(convolutions) == 15
    assert [c.out_channels for c in convolutions] == [16 * width] * 5 + [32 * width] * 10


def test_spectral_norm_is_on_the_residual_convolutions_only() -> None:
    torso = ImpalaConv(images(40, 1)).train()
    for _ in range(60):  # each forward pass in training mode is one power iteration
        torso(th.rand(1, 1, 40, 40))
    norms = {
        name: float(th.linalg.matrix_norm(module.weight.detach().flatten(1), ord=2))
        for name, module in torso.eval().named_modules()
        if isinstance(module, th.nn.Conv2d)
    }
    assert sum("residual" in name for name in norms) == 12
    for name, norm in norms.items():
        if "residual" in name:
            assert norm == pytest.approx(1.0, rel=0.02), name
    assert any(abs(norm - 1) > 0.1 for name, norm in norms.items() if "residual" not in name)
    plain = ImpalaConv(images(40, 1), normalize_spectrum=False)
    assert not any("parametrizations" in name for name, _ in plain.named_modules())


def test_target_copies_hold_the_spectral_norm() -> None:
    env = FakeImageEnv(screen_height=36, screen_width=36, n_channels=1, discrete=True)
    model = BTR("ImpalaCnnPolicy", env, learning_starts=4, train_freq=1, batch_size=4, buffer_size=100,
                target_update_interval=25, learning_rate=1e-2, seed=0, device="cpu")  # fmt: skip
    model.learn(25)
    observation = th.as_tensor(model.observation_space.sample()[None])
    assert not th.equal(model.q_net(observation), model.q_net_target(observation))
    model._n_calls = 24
    model._on_step()
    assert th.equal(model.q_net(observation), model.q_net_target(observation))
    assert model.q_net_target.training is False


def test_looking_at_values_changes_nothing() -> None:
    env = FakeImageEnv(screen_height=36, screen_width=36, n_channels=1, discrete=True)
    model = ComposableDQN("ImpalaCnnPolicy", env, learning_starts=4, buffer_size=100, batch_size=4, seed=0, device="cpu")
    model.learn(12)
    before = {name: value.clone() for name, value in model.q_net.state_dict().items()}
    model.q_net(th.as_tensor(model.observation_space.sample()[None]))
    assert all(th.equal(before[name], value) for name, value in model.q_net.state_dict().items())


@pytest.mark.parametrize("arguments", [{"width": 0}, {"pool_size": 0}])
def test_bad_sizes(arguments: dict) -> None:
    with pytest.raises(ValueError, match="must be 1 or more"):
        ImpalaConv(images(), **arguments)


def test_impala_refuses_vectors() -> None:
    with pytest.raises(ValueError, match="ImpalaConv needs images"):
        ImpalaConv(spaces.Box(-1, 1, (4,)))


def test_mlp_torso_flattens_any_space() -> None:
    assert MlpTorso(spaces.Box(-1, 1, (2, 3)))(th.rand(5, 2, 3)).shape == (5, 64)
    assert MlpTorso(spaces.Discrete(6), units=8)(th.nn.functional.one_hot(th.tensor([1, 5]), 6).float()).shape == (2, 8)
