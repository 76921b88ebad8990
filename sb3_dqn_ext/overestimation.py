"""A callback that holds predicted values against the returns that the agent then gets."""

from typing import NamedTuple

import gymnasium as gym
import numpy as np
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
from stable_baselines3.dqn.policies import DQNPolicy

from sb3_dqn_ext.returns import EpisodeReturns

NEGLIGIBLE = 0.05  # discount beyond which the unseen rewards after a time limit are left out of account


class ValueRecord(NamedTuple):
    """
    One evaluation.

    :param step: environment steps of the training
    :param predicted: mean over the visited states of the greedy action's value
    :param realised: mean over the same states of the discounted return that followed
    """

    step: int
    predicted: float
    realised: float


class OverestimationCallback(BaseCallback):
    """
    Logs by how much the network overestimates: the value that it predicts in every state of some evaluation episodes, less
    the discounted return that the greedy policy then gets from there (van Hasselt et al. 2016, arXiv 1509.06461, section 5).

    Logs ``value/predicted``, ``value/realised`` and their difference ``value/overestimation``; ``history`` keeps them. Works
    with every algorithm of this package and SB3's DQN. States that a time limit follows so closely that their return is
    cut short (discount at the cut above 0.05) are left out. Munchausen's values contain its bonuses and so differ from
    the return by design.

    :param eval_env: environment that gives the observations and rewards of the training (clipped where those are)
    :param eval_freq: environment steps between two evaluations
    :param n_eval_episodes: episodes in each
    """

    def __init__(self, eval_env: VecEnv | gym.Env, eval_freq: int = 10_000, n_eval_episodes: int = 5) -> None:
        super().__init__()
        if eval_freq < 1 or n_eval_episodes < 1:
            raise ValueError(f"eval_freq={eval_freq} and n_eval_episodes={n_eval_episodes} must be 1 or more.")
        self.eval_env = eval_env if isinstance(eval_env, VecEnv) else DummyVecEnv([lambda: eval_env])
        self.eval_freq = eval_freq
        self.n_eval_episodes = n_eval_episodes
        self.history: list[ValueRecord] = []

    def _on_training_start(self) -> None:
        self._next = self.num_timesteps + self.eval_freq

    def _on_step(self) -> bool:
        if self.num_timesteps >= self._next:
            self._next += self.eval_freq
            self.evaluate()
        return True

    def evaluate(self) -> ValueRecord | None:
        """
        Play the episodes and log what was predicted and realised.

        :return: the figures, None when time limits cut every return short
        """
        predicted, realised = self._play()
        if len(predicted) == 0:
            return None
        record = ValueRecord(self.num_timesteps, float(predicted.mean()), float(realised.mean()))
        self.history.append(record)
        self.logger.record("value/predicted", record.predicted)
        self.logger.record("value/realised", record.realised)
        self.logger.record("value/overestimation", record.predicted - record.realised)
        return record

    def _play(self) -> tuple[np.ndarray, np.ndarray]:
        """
        :return: predicted and realised return of each state, float64 [states] both
        """
        gamma = self.model.gamma  # type: ignore[attr-defined]
        n_envs = self.eval_env.num_envs
        # As SB3's evaluate_policy: a fixed number from each environment, or short episodes would count more.
        left = (self.n_eval_episodes + np.arange(n_envs)) // n_envs
        values: list[list[float]] = [[] for _ in range(n_envs)]
        returns = EpisodeReturns(n_envs, gamma)
        predicted, realised = [np.zeros(0)], [np.zeros(0)]
        observations = self.eval_env.reset()
        while left.any():
            assert not isinstance(observations, tuple)
            actions, greedy_values = self._greedy(observations)
            observations, rewards, dones, infos = self.eval_env.step(actions)
            for env, value in enumerate(greedy_values):
                values[env].append(value)
            for env, episode, truncated in returns.add(rewards, dones, infos):
                remaining = np.arange(len(episode), 0, -1)
                seen = gamma**remaining <= NEGLIGIBLE if truncated else np.ones(len(episode), dtype=bool)
                if left[env] > 0:
                    predicted.append(np.array(values[env])[seen])
                    realised.append(episode[seen])
                    left[env] -= 1
                values[env] = []
        return np.concatenate(predicted), np.concatenate(realised)

    @th.no_grad()
    def _greedy(self, observations: np.ndarray | dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """
        :param observations: [E, ...]
        :return: the best actions, int64 [E], and their values, float32 [E]
        """
        policy = self.model.policy
        assert isinstance(policy, DQNPolicy)
        policy.set_training_mode(False)
        tensor, _ = policy.obs_to_tensor(observations)
        values, actions = policy.q_net(tensor).max(dim=1)
        return actions.numpy(force=True), values.numpy(force=True)
