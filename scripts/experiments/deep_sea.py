"""
Deep sea (Osband et al. 2019, arXiv 1703.07608, section 4): a triangle of N rows in which only N moves to the right in a row
reach the reward, each costing a little. Random play gets there once in 2^N episodes, so epsilon-greedy fails; noisy layers
(Fortunato et al. 2018) go on trying what they are uncertain about.

    python scripts/experiments/deep_sea.py

Both agents are the same DQN, one layer on the cell's indicator, but for the exploration: what is shown is the noise itself.
All mean weights begin at zero, because random ones are as good as optimism: with them epsilon-greedy found the treasure of 10
rows with 6 of 9 seeds in 600 episodes. Even with zeros it finds it with most seeds when it may explore for 500 episodes: the
question is who does within 200. The noise begins at four times the paper's 0.5; with two hidden layers of 64 noisy units and
sizes from 0.5 to 5 the treasure was not found in 800 to 1,500 episodes (one seed each), nor with 14 to 24 rows in 400 to 800
by either agent. A seed succeeds when an evaluation of the greedy policy collects the reward. The number of episodes and the
claims were settled with seeds 0 to 19; the figures are of other seeds.
"""

import math
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from experiment import add_jobs, finish, make_parser, panels, run_all
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

from sb3_dqn_ext import ComposableDQN, NoisyDQN
from sb3_dqn_ext.report.curves import GREY, ORANGE

AGENTS = ("epsilon-greedy", "noisy")
SIGMA0 = 2.0
FIRST_SEED = 20


class DeepSea(gym.Env):
    """
    :param size: N, rows, and steps of an episode
    :param seed: which of the two actions goes right in each cell
    """

    def __init__(self, size: int, seed: int = 0) -> None:
        self.size = size
        self.right = np.random.default_rng(seed).integers(2, size=(size, size))
        self.action_space = spaces.Discrete(2)
        self.observation_space = spaces.Box(0, 1, (size * size,), np.float32)

    def _observation(self) -> np.ndarray:
        observation = np.zeros(self.size * self.size, dtype=np.float32)
        if self.row < self.size:
            observation[self.row * self.size + self.column] = 1
        return observation

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """
        :param seed: not needed, nothing is random
        :param options: not used
        :return: the upper left cell
        """
        super().reset(seed=seed)
        self.row = self.column = 0
        return self._observation(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        """
        :param action: right or left, by cell
        :return: observation, reward, whether the last row is left, False, {}
        """
        goes_right = action == self.right[self.row, self.column]
        treasure = goes_right and self.column == self.size - 1
        reward = float(treasure) - (0.01 / self.size if goes_right else 0.0)
        self.column = min(max(self.column + (1 if goes_right else -1), 0), self.size - 1)
        self.row += 1
        return self._observation(), reward, self.row == self.size, False, {}


class GreedyReturn(BaseCallback):
    """
    What the greedy policy would collect, at every 20 episodes.

    :param size: N
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.env, self.size = DeepSea(size), size
        self.returns: list[float] = []

    def _on_step(self) -> bool:
        if self.num_timesteps % (20 * self.size) == 0:
            self.returns.append(greedy_return(self.model, self.env))  # type: ignore[arg-type]
        return True


def greedy_return(model: ComposableDQN, env: DeepSea) -> float:
    """
    :param model: the agent
    :param env: one episode of which is played
    :return: its undiscounted return
    """
    observation, _ = env.reset()
    total, over = 0.0, False
    while not over:
        action, _ = model.predict(observation, deterministic=True)
        observation, reward, over, _, _ = env.step(int(action))
        total += reward
    return total


def run(agent: str, size: int, seed: int, n_episodes: int) -> tuple[str, int, list[float]]:
    """
    :param agent: one of ``AGENTS``
    :param size: N
    :param seed: of the agent
    :param n_episodes: episodes to learn from
    :return: agent, seed, the greedy policy's return at every 20 episodes
    """
    arguments: dict[str, Any] = {
        "env": make_vec_env(lambda: DeepSea(size), 1),
        "learning_rate": 1e-2,
        "learning_starts": 100,
        "buffer_size": 100_000,
        "batch_size": 64,
        "train_freq": 2,
        "target_update_interval": 100,
        "seed": seed,
        "device": "cpu",
    }
    if agent == "noisy":
        model: ComposableDQN = NoisyDQN("MlpPolicy", **arguments, policy_kwargs={"net_arch": [], "sigma0": SIGMA0})
    else:
        model = ComposableDQN(
            "MlpPolicy", **arguments, exploration_fraction=0.5, exploration_final_eps=0.05, policy_kwargs={"net_arch": []}
        )
    with th.no_grad():
        for network in (model.q_net, model.q_net_target):
            for name, parameter in network.named_parameters():
                if "sigma" not in name:
                    parameter.zero_()
    callback = GreedyReturn(size)
    model.learn(n_episodes * size, callback=callback)
    return agent, seed, callback.returns


def judge(returns: dict[str, list[list[float]]]) -> dict[str, bool]:
    """
    :param returns: agent -> seed -> returns of the greedy policy
    :return: what is claimed, and whether it holds
    """
    successes = {agent: int(sum(max(curve) > 0.5 for curve in curves)) for agent, curves in returns.items()}
    n_seeds = len(returns["noisy"])
    return {
        "noise: most seeds find the treasure": successes["noisy"] > n_seeds / 2,
        "epsilon-greedy: fewer than half do": successes["epsilon-greedy"] < n_seeds / 2,
        "the difference is no chance (Fisher's exact test, 5%)": p_value(
            successes["noisy"], successes["epsilon-greedy"], n_seeds
        )
        < 0.05,
    }


def p_value(successes: int, others: int, n_seeds: int) -> float:
    """
    Fisher's exact test of two success counts, one-sided.

    :param successes: of the first agent
    :param others: of the second
    :param n_seeds: runs of each
    :return: chance of a difference at least as large if both were alike
    """
    both = successes + others
    splits = sum(
        math.comb(both, k) * math.comb(2 * n_seeds - both, n_seeds - k) for k in range(successes, min(both, n_seeds) + 1)
    )
    return splits / math.comb(2 * n_seeds, n_seeds)


def main(argv: list[str] | None = None) -> int:
    """
    :param argv: arguments after the script's name, those of the process by default
    :return: exit status, 0 when every claim holds
    """
    parser = make_parser(__file__, __doc__ or "")
    add_jobs(parser)
    parser.add_argument("--size", type=int, default=10, help="rows of the sea (default: %(default)s)")
    parser.add_argument("--episodes", type=int, default=200, help="to learn from (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=20, help="runs of each agent (default: %(default)s)")
    options = parser.parse_args(argv)
    returns: dict[str, list[list[float]]] = {agent: [[]] * options.seeds for agent in AGENTS}
    tasks = [(agent, options.size, FIRST_SEED + index, options.episodes) for index in range(options.seeds) for agent in AGENTS]
    for agent, seed, curve in run_all(run, tasks, options.jobs):
        returns[agent][seed - FIRST_SEED] = curve
        print(f"{agent:15} seed {seed}: best greedy return {max(curve):.2f}, last {curve[-1]:.2f}", flush=True)
    figure, (axis,) = panels(
        [f"Deep sea, {options.size} rows: random play succeeds once in {2**options.size} episodes"], width=7
    )
    for agent, color in zip(AGENTS, (GREY, ORANGE), strict=True):
        found = np.mean(np.maximum.accumulate(returns[agent], axis=1) > 0.5, axis=0)
        axis.plot(20 * np.arange(1, len(found) + 1), found, color=color, lw=2, label=agent)
        print(f"{agent:15} {found[-1]:.0%} of {options.seeds} seeds find the treasure")
    axis.set_xlabel("episodes")
    axis.set_ylabel("share of seeds whose greedy policy has found it")
    axis.set_ylim(-0.03, 1.03)
    axis.legend()
    return finish(options.output, {"size": options.size, "greedy_returns": returns}, figure, judge(returns))


if __name__ == "__main__":
    raise SystemExit(main())
