"""Predicted values against realised returns."""

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import DQN
from stable_baselines3.common.env_util import make_vec_env

from sb3_dqn_ext import IQN, ComposableDQN
from sb3_dqn_ext.callbacks import OverestimationCallback


class Countdown(gym.Env):
    """
    Every step is worth 1; the observation is the number of steps left of ``length``. A time limit, or the game, ends it.

    :param length: steps of an episode
    :param truncates: whether the end is a time limit
    """

    def __init__(self, length: int = 4, truncates: bool = False) -> None:
        self.length, self.truncates = length, truncates
        self.observation_space, self.action_space = spaces.Box(0, 100, (1,), np.float32), spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        self.left = self.length
        return np.array([self.left], np.float32), {}

    def step(self, action):
        self.left -= 1
        over = self.left == 0
        return np.array([self.left], np.float32), 1.0, over and not self.truncates, over and self.truncates, {}


@pytest.mark.parametrize("cls", [ComposableDQN, IQN, DQN])
def test_figures_against_what_is_known(cls: type) -> None:
    env = make_vec_env(Countdown, 1)
    model = cls("MlpPolicy", env, gamma=0.5, learning_starts=1000, seed=0, device="cpu")
    callback = OverestimationCallback(make_vec_env(Countdown, 2), eval_freq=10, n_eval_episodes=3)
    logged = {}
    model.learn(25, callback=callback)
    assert [record.step for record in callback.history] == [10, 20]
    expected = np.mean([2 * (1 - 0.5**left) for left in (4, 3, 2, 1)])  # of a geometric series
    states = th.tensor([[4.0], [3.0], [2.0], [1.0]])
    for record in callback.history:
        assert record.realised == pytest.approx(expected)
        assert record.predicted == pytest.approx(float(model.q_net(states).max(dim=1).values.mean().detach()), rel=1e-5)
    logged = model.logger.name_to_value
    assert logged["value/overestimation"] == pytest.approx(callback.history[-1].predicted - expected)


def test_states_just_before_a_time_limit_do_not_count() -> None:
    make_env = lambda: Countdown(length=10, truncates=True)  # noqa: E731
    model = ComposableDQN("MlpPolicy", make_vec_env(make_env, 1), gamma=0.5, learning_starts=1000, seed=0, device="cpu")
    callback = OverestimationCallback(make_env(), eval_freq=5, n_eval_episodes=1)  # a plain environment will do
    model.learn(5, callback=callback)
    # 0.5**5 < 0.05 < 0.5**4: states with at least five steps left count
    assert callback.history[0].realised == pytest.approx(np.mean([2 * (1 - 0.5**left) for left in (10, 9, 8, 7, 6, 5)]))


def test_nothing_is_claimed_where_every_return_is_cut_short() -> None:
    make_env = lambda: Countdown(length=3, truncates=True)  # noqa: E731
    model = ComposableDQN("MlpPolicy", make_vec_env(make_env, 1), gamma=0.99, learning_starts=1000, seed=0, device="cpu")
    callback = OverestimationCallback(make_vec_env(make_env, 1), eval_freq=5, n_eval_episodes=1)
    model.learn(5, callback=callback)
    assert callback.history == [] and "value/predicted" not in model.logger.name_to_value


@pytest.mark.parametrize("arguments", [{"eval_freq": 0}, {"n_eval_episodes": 0}])
def test_bad_numbers(arguments: dict) -> None:
    with pytest.raises(ValueError, match="must be 1 or more"):
        OverestimationCallback(make_vec_env(Countdown, 1), **arguments)
