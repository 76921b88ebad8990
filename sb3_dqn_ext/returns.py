"""Discounted returns of finished episodes, to hold against what the networks predict or can represent."""

import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np


def discounted_returns(rewards: np.ndarray, gamma: float) -> np.ndarray:
    """
    G_t = r_t + gamma * G_{t+1} from every step to the end.

    :param rewards: float [T]
    :param gamma: discount of one step
    :return: float64 [T]
    """
    returns = np.zeros(len(rewards))
    following = 0.0
    for step in range(len(rewards) - 1, -1, -1):
        returns[step] = following = rewards[step] + gamma * following
    return returns


class FinishedEpisode(NamedTuple):
    """
    :param env: index of the environment
    :param returns: float64 [T], realised from each step of the episode to its end
    :param truncated: whether a time limit ended it, so that the last returns are cut short
    """

    env: int
    returns: np.ndarray
    truncated: bool


class EpisodeReturns:
    """
    Collects rewards step by step and gives the returns of each episode at its end.

    :param n_envs: E
    :param gamma: discount of one step
    """

    def __init__(self, n_envs: int, gamma: float) -> None:
        self.gamma = gamma
        self.rewards: list[list[float]] = [[] for _ in range(n_envs)]

    def add(self, rewards: np.ndarray, dones: np.ndarray, infos: list[dict]) -> Iterator[FinishedEpisode]:
        """
        :param rewards: float [E]
        :param dones: bool [E]
        :param infos: one dict per environment; ``TimeLimit.truncated`` marks a time limit
        :return: the episodes that ended at this step
        """
        for env, reward in enumerate(rewards):
            self.rewards[env].append(float(reward))
            if dones[env]:
                returns = discounted_returns(np.array(self.rewards[env]), self.gamma)
                self.rewards[env] = []
                yield FinishedEpisode(env, returns, bool(infos[env].get("TimeLimit.truncated", False)))


class SupportCheck:
    """
    Warns once when episodes' discounted returns leave [v_min, v_max] by more than half its width, so that a categorical head
    cannot represent them.

    :param v_min: smallest return of the head
    :param v_max: largest
    :param n_envs: E
    :param gamma: discount of one step
    """

    def __init__(self, v_min: float, v_max: float, n_envs: int, gamma: float) -> None:
        self.v_min, self.v_max, self.gamma = v_min, v_max, gamma
        self.begin(n_envs)
        self.lowest, self.highest = np.inf, -np.inf
        self.warned = False

    def begin(self, n_envs: int) -> None:
        """
        New episodes begin, because the environments were reset.

        :param n_envs: E
        """
        self.episodes = EpisodeReturns(n_envs, self.gamma)

    def add(self, rewards: np.ndarray, dones: np.ndarray, infos: list[dict]) -> None:
        """
        :param rewards: float [E], as the learner sees them
        :param dones: bool [E]
        :param infos: one dict per environment
        """
        if self.warned:
            return
        for episode in self.episodes.add(rewards, dones, infos):
            self.lowest = min(self.lowest, episode.returns.min())
            self.highest = max(self.highest, episode.returns.max())
        margin = (self.v_max - self.v_min) / 2
        if self.lowest < self.v_min - margin or self.highest > self.v_max + margin:
            self.warned = True
            warnings.warn(
                f"Discounted returns from {self.lowest:.4g} to {self.highest:.4g} were observed, but the categorical head's "
                f"atoms end at v_min={self.v_min:g} and v_max={self.v_max:g}, so it cannot tell such returns apart. Pass "
                "policy_kwargs=dict(v_min=..., v_max=...) that hold them, or scale the rewards.",
                stacklevel=2,
            )
