"""With every extension off, the updates are those of SB3's DQN."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.envs import FakeImageEnv
from stable_baselines3.common.logger import Logger

from sb3_dqn_ext import ComposableDQN
from sb3_dqn_ext.policies import DQNExtPolicy


def fill(buffer: ReplayBuffer, space: spaces.Box, n_actions: int, rng: np.random.Generator) -> None:
    for _ in range(64):
        obs, next_obs = (np.array([sample_box(space, rng)]) for _ in range(2))
        done = rng.random() < 0.2
        infos = [{"TimeLimit.truncated": bool(done and rng.random() < 0.5)}]
        buffer.add(obs, next_obs, np.array([rng.integers(n_actions)]), rng.normal(size=1), np.array([done]), infos)


def sample_box(space: spaces.Box, rng: np.random.Generator) -> np.ndarray:
    if space.dtype == np.uint8:
        return rng.integers(0, 256, size=space.shape, dtype=np.uint8)
    return rng.normal(size=space.shape).astype(np.float32)


def train_both(policy: str, env: gym.Env, n_steps: int, n_updates: int = 50, **kwargs: Any) -> tuple[dict, dict]:
    """Some updates of each from the same weights, on the same draws of the same data."""
    buffer_class = ReplayBuffer if n_steps == 1 else NStepReplayBuffer
    buffer_kwargs = {} if n_steps == 1 else {"n_steps": n_steps, "gamma": 0.97}
    weights = []
    for cls in (DQN, ComposableDQN):
        model = cls(
            policy, env, buffer_size=64, replay_buffer_class=buffer_class, replay_buffer_kwargs=buffer_kwargs, gamma=0.97,
            learning_rate=1e-3, max_grad_norm=0.5, seed=3, device="cpu", **kwargs,
        )  # fmt: skip
        model.set_logger(Logger(folder=None, output_formats=[]))
        # An untouched target network equals the online one; a different one makes the target matter.
        th.manual_seed(1)
        with th.no_grad():
            for parameter in model.q_net_target.parameters():
                parameter.add_(0.1 * th.randn(parameter.shape))
        fill(model.replay_buffer, env.observation_space, int(env.action_space.n), np.random.default_rng(0))
        np.random.seed(5)
        model.train(gradient_steps=n_updates, batch_size=16)
        weights.append({name: value.clone() for name, value in model.q_net.state_dict().items()})
    return weights[0], weights[1]


@pytest.mark.parametrize("n_steps", [1, 3])
def test_mlp_updates_equal_sb3s(n_steps: int) -> None:
    theirs, ours = train_both("MlpPolicy", gym.make("CartPole-v1"), n_steps)
    assert theirs.keys() == ours.keys()
    for name in theirs:
        # Not bit for bit: SB3's Adam runs one operation at a time, ours fused, which rounds once instead of several times.
        th.testing.assert_close(ours[name], theirs[name], rtol=0, atol=1e-6)


def test_mlp_updates_are_exact_with_sb3s_adam() -> None:
    theirs, ours = train_both("MlpPolicy", gym.make("CartPole-v1"), 1, policy_kwargs={"optimizer_kwargs": {"foreach": False}})
    for name in theirs:
        th.testing.assert_close(ours[name], theirs[name], rtol=0, atol=0)


IMAGES = FakeImageEnv(screen_height=40, screen_width=40, n_channels=4, discrete=True, channel_first=True)


def test_cnn_updates_are_exact_with_sb3s_memory_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    make_q_net = DQNExtPolicy.make_q_net
    monkeypatch.setattr(DQNExtPolicy, "make_q_net", lambda self: make_q_net(self).to(memory_format=th.contiguous_format))
    theirs, ours = train_both("CnnPolicy", IMAGES, 1, policy_kwargs={"optimizer_kwargs": {"foreach": False}})
    for name in theirs:
        th.testing.assert_close(ours[name], theirs[name], rtol=0, atol=0)


def test_cnn_update_differs_by_rounding_with_ours() -> None:
    # Channels-last convolutions add in another order. Over many updates on random images such differences grow without bound
    # (a unit's sign flips), so one update is compared, and Adam's eps raised: it divides by the size of each gradient, and
    # where that is all rounding any sign is as right as the other.
    theirs, ours = train_both("CnnPolicy", IMAGES, 1, n_updates=1, policy_kwargs={"optimizer_kwargs": {"eps": 1e-3}})
    for name in theirs:
        th.testing.assert_close(ours[name], theirs[name], rtol=0, atol=1e-6)


def test_the_comparison_can_fail() -> None:
    theirs, ours = train_both("MlpPolicy", gym.make("CartPole-v1"), 1)
    _, other = train_both("MlpPolicy", gym.make("CartPole-v1"), 3)
    assert max(float((ours[name] - other[name]).abs().max()) for name in theirs) > 1e-3


def test_same_seed_same_initial_weights_as_sb3() -> None:
    theirs = DQN("MlpPolicy", "CartPole-v1", seed=9, device="cpu").q_net.state_dict()
    ours = ComposableDQN("MlpPolicy", "CartPole-v1", seed=9, device="cpu").q_net.state_dict()
    for name in theirs:
        assert th.equal(theirs[name], ours[name])


def test_sb3s_weights_can_be_taken_over() -> None:
    theirs = DQN("MlpPolicy", "CartPole-v1", seed=9, device="cpu")
    ours = ComposableDQN("MlpPolicy", "CartPole-v1", seed=1, device="cpu")
    ours.set_parameters(theirs.get_parameters())
    obs = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    assert (ours.predict(obs, deterministic=True)[0] == theirs.predict(obs, deterministic=True)[0]).all()
