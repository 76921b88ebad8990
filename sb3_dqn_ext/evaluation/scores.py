"""Scores of whole games: of an agent, of the same agent with some exploration left, and of a random one."""

from dataclasses import asdict, dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.type_aliases import PolicyPredictor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

ATARI_EPSILON = 0.01  # the papers use 0.05 (DQN) to 0.001 (Rainbow): enough to press FIRE, too little to cost points

State = tuple[np.ndarray, ...] | None
Observation = np.ndarray | dict[str, np.ndarray]


@dataclass(frozen=True)
class GameScores:
    """
    Results of finished games.

    :param scores: sum of the raw rewards, game by game
    :param lengths: their lengths as ``info["episode"]["l"]`` states them (environment steps)
    """

    scores: tuple[float, ...]
    lengths: tuple[int, ...]

    @property
    def mean(self) -> float:
        """Mean score."""
        return float(np.mean(self.scores))

    @property
    def std(self) -> float:
        """Standard deviation of the scores (of the population, as ``evaluate_policy`` returns it)."""
        return float(np.std(self.scores))

    @property
    def median(self) -> float:
        """Median score."""
        return float(np.median(self.scores))

    def to_dict(self) -> dict[str, float | list[float] | list[int]]:
        """For JSON: the games and their mean, std and median."""
        return {"mean": self.mean, "std": self.std, "median": self.median, **asdict(self)}


class EpsilonGreedyAgent:
    """
    Plays another agent's greedy actions, or with probability epsilon, drawn for each environment, a uniform one.

    The draws come from its own generator and the other agent stays untouched (SB3's ``predict`` would use the model's
    current training epsilon, one draw for all environments, and NumPy's global generator).

    :param model: anything with SB3's ``predict``; None plays at random throughout
    :param action_space: where random actions are drawn from
    :param epsilon: probability of a random action
    :param seed: of the generator
    """

    def __init__(
        self, model: PolicyPredictor | None, action_space: spaces.Space[Any], epsilon: float, seed: int | None = None
    ) -> None:
        if not isinstance(action_space, spaces.Discrete):
            raise ValueError(f"action_space={action_space} is not Discrete: only discrete actions can be drawn for a DQN")
        if not 0.0 <= epsilon <= 1.0:
            raise ValueError(f"epsilon={epsilon} must be a probability, between 0 and 1")
        self._model = model
        self._actions = action_space
        self._epsilon = epsilon
        self._rng = np.random.default_rng(seed)

    def predict(
        self,
        observation: Observation,
        state: State = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, State]:
        """
        :param observation: of E environments, ``[E, ...]``
        :param state: passed on to the agent
        :param episode_start: passed on to the agent
        :param deterministic: ignored: epsilon alone decides
        :return: int64 ``[E]`` actions, and the agent's next state
        """
        first = next(iter(observation.values())) if isinstance(observation, dict) else observation
        n_envs = len(first)
        start = int(self._actions.start)
        actions = self._rng.integers(start, start + int(self._actions.n), size=n_envs)
        explore = self._rng.random(n_envs) < self._epsilon
        if self._model is None or explore.all():
            return actions, state
        greedy, state = self._model.predict(observation, state, episode_start, deterministic=True)
        return np.where(explore, actions, greedy), state


def make_agent(
    model: PolicyPredictor | None, env: VecEnv, epsilon: float | None = None, seed: int | None = None
) -> EpsilonGreedyAgent:
    """
    The agent that ``evaluate_games`` judges and ``record_video`` films.

    :param model: anything with SB3's ``predict``; None is the random agent
    :param env: the environments it will play in
    :param epsilon: probability of a random action; by default ``ATARI_EPSILON`` where observations are images, else 0
    :param seed: of the random draws
    """
    if epsilon is None:
        epsilon = ATARI_EPSILON if is_image_space(env.observation_space) else 0.0
    return EpsilonGreedyAgent(model, env.action_space, epsilon, seed)


def evaluate_games(
    model: PolicyPredictor | None,
    env: gym.Env[Any, Any] | VecEnv,
    n_games: int = 10,
    seed: int | None = None,
    *,
    epsilon: float | None = None,
) -> GameScores:
    """
    Plays whole games by SB3's ``evaluate_policy``, which gives each environment its share of the games beforehand, so
    that short games do not get more than theirs.

    :param model: anything with SB3's ``predict``; None is the random agent
    :param env: not the training environment, as it is reset. Scores are raw where ``Monitor`` or ``AtariVecEnv`` reports them
    :param n_games: number of games
    :param seed: of the environment and of the exploration; the same seed plays the same games
    :param epsilon: probability of a random action; by default ``ATARI_EPSILON`` where observations are images, else 0
    :return: what was played
    """
    if n_games < 1:
        raise ValueError(f"n_games={n_games} must be at least 1")
    if not isinstance(env, VecEnv):
        gym_env = env if is_wrapped(env, Monitor) else Monitor(env)
        env = DummyVecEnv([lambda: gym_env])
    if seed is not None:
        env.seed(seed)
    agent = make_agent(model, env, epsilon, seed)
    scores, lengths = evaluate_policy(agent, env, n_games, return_episode_rewards=True)
    assert isinstance(scores, list) and isinstance(lengths, list)
    return GameScores(tuple(float(score) for score in scores), tuple(int(length) for length in lengths))
