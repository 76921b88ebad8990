"""
Rainbow against plain DQN, and each of its six components switched off in turn (Hessel et al. 2018, figures 1 and 3), on two
small environments: environment steps until three evaluations in a row, without exploration, reach the target on average.

    python scripts/experiments/rainbow_ablation.py --seeds 5

All agents share the settings below (learning rate, network, batch, updates per step). Of the learning rates 5e-4, 1e-3 and
3e-3 the last did best in trial runs, for Rainbow and DQN alike.
Agents without noise explore with epsilon, from 1 to 0.02 over the first 3,000 environment steps. A run that does not get
there counts with the most steps that it may take, so differences are understated.
"""

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from experiment import add_jobs, bootstrap_interval, finish, make_parser, panels, run_all
from stable_baselines3.common.callbacks import BaseCallback, EveryNTimesteps
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv

from sb3_dqn_ext import ComposableDQN, Rainbow
from sb3_dqn_ext.report.curves import BLUE, GREY, ORANGE


class Catch(gym.Env):
    """
    A ball falls from a random place in the top row, one of 10, of 5 columns; the paddle in the bottom row moves left, stays
    or moves right. 1 for catching it, -1 for missing it, at the end (bsuite's catch, Osband et al. 2020, arXiv 1908.03568).
    """

    rows, columns = 10, 5

    def __init__(self) -> None:
        self.action_space = gym.spaces.Discrete(3)
        self.observation_space = gym.spaces.Box(0, 1, (self.rows * self.columns,), np.float32)

    def _observation(self) -> np.ndarray:
        board = np.zeros((self.rows, self.columns), dtype=np.float32)
        board[self.ball_row, self.ball_column] = board[-1, self.paddle] = 1
        return board.reshape(-1)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """
        :param seed: of the ball's columns
        :param options: not used
        :return: the board with a new ball
        """
        super().reset(seed=seed)
        self.ball_row, self.ball_column, self.paddle = 0, int(self.np_random.integers(self.columns)), self.columns // 2
        return self._observation(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        """
        :param action: 0 left, 1 stay, 2 right
        :return: board, reward, whether the ball is down, False, {}
        """
        self.paddle = min(max(self.paddle + int(action) - 1, 0), self.columns - 1)
        self.ball_row += 1
        down = self.ball_row == self.rows - 1
        reward = (1.0 if self.paddle == self.ball_column else -1.0) if down else 0.0
        return self._observation(), reward, down, False, {}


class Task(NamedTuple):
    """
    :param make_env: gives the environment
    :param target: mean score that counts as learned
    :param eval_freq: environment steps between two
    :param max_steps: environment steps after which a run is given up
    :param v_min: smallest discounted return
    :param v_max: largest
    """

    make_env: Callable[[], gym.Env]
    target: float
    eval_freq: int
    max_steps: int
    v_min: float
    v_max: float


TASKS = {
    "CartPole-v1": Task(lambda: gym.make("CartPole-v1"), 195.0, 500, 12_000, 0.0, 100.0),
    "Catch": Task(Catch, 0.9, 250, 12_000, -1.0, 1.0),
}
EVALUATION_SEED = 10_000  # games that nobody trained on
EPSILON: dict[str, Any] = {"exploration_initial_eps": 1.0, "exploration_final_eps": 0.02}
# What differs from Rainbow: arguments, and those of the policy
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "Rainbow": ({}, {}),
    "no double": ({"double_q": False}, {}),
    "no priority": ({"prioritized_replay": False}, {}),
    "no dueling": ({}, {"dueling": False}),
    "no multi-step": ({"n_steps": 1}, {}),
    "no distribution": ({}, {"head": "scalar"}),
    "no noise": (EPSILON, {"noisy": False}),
}
PLAIN = "DQN"


def make_agent(variant: str, env_id: str, seed: int) -> ComposableDQN:
    """
    :param variant: a key of ``VARIANTS``, or ``PLAIN``
    :param env_id: a key of ``TASKS``
    :param seed: of model and environment
    :return: the agent
    """
    task = TASKS[env_id]
    shared: dict[str, Any] = {
        "env": make_vec_env(task.make_env, 4, seed=seed),
        "learning_rate": 3e-3,
        "buffer_size": 50_000,
        "learning_starts": 500,
        "batch_size": 32,
        "train_freq": 1,
        "gradient_steps": 2,
        "target_update_interval": 500,
        "exploration_fraction": 3_000 / task.max_steps,
        "seed": seed,
        "device": "cpu",
    }
    if variant == PLAIN:
        return ComposableDQN("MlpPolicy", **shared, **EPSILON)
    arguments, policy_kwargs = VARIANTS[variant]
    if policy_kwargs.get("head") != "scalar":
        policy_kwargs = policy_kwargs | {"v_min": task.v_min, "v_max": task.v_max}
    return Rainbow("MlpPolicy", **shared, **arguments, policy_kwargs=policy_kwargs)


class StopWhenSolved(BaseCallback):
    """
    Stops when the last three evaluations of ten games reach the target on average.

    :param env: to play in, without exploration
    :param target: mean score
    """

    def __init__(self, env: VecEnv, target: float) -> None:
        super().__init__()
        self.env, self.target = env, target
        self.means: deque[float] = deque(maxlen=3)

    def _on_step(self) -> bool:
        self.means.append(float(evaluate_policy(self.model, self.env, 10)[0]))  # type: ignore[arg-type]
        return len(self.means) < 3 or float(np.mean(self.means)) < self.target


def steps_to_solve(variant: str, env_id: str, seed: int) -> tuple[str, str, int, int]:
    """
    :param variant: a key of ``VARIANTS``, or ``PLAIN``
    :param env_id: a key of ``TASKS``
    :param seed: of model and environment
    :return: the arguments, and environment steps, ``max_steps`` where the target was not reached
    """
    task = TASKS[env_id]
    model = make_agent(variant, env_id, seed)
    evaluation = make_vec_env(task.make_env, 10, seed=EVALUATION_SEED + seed)
    model.learn(task.max_steps, callback=EveryNTimesteps(task.eval_freq, StopWhenSolved(evaluation, task.target)))
    return variant, env_id, seed, min(model.num_timesteps, task.max_steps)


def judge(steps: dict[str, dict[str, list[int]]]) -> dict[str, bool]:
    """
    :param steps: environment -> variant -> steps to solve, one for each seed
    :return: what is claimed, and whether it holds
    """
    claims = {}
    for env_id, variants in steps.items():
        _, high = bootstrap_interval(differences(variants))
        claims[f"{env_id}: Rainbow needs fewer steps than DQN (95% interval of the difference below 0)"] = high < 0
        for variant in VARIANTS:
            solved = np.mean(np.array(variants[variant]) < TASKS[env_id].max_steps)
            claims[f"{env_id}: {variant} learns (most seeds solve it)"] = bool(solved > 0.5)
    return claims


def differences(variants: dict[str, list[int]]) -> np.ndarray:
    """
    :param variants: variant -> steps to solve
    :return: Rainbow less DQN, seed by seed
    """
    return np.array(variants["Rainbow"], dtype=float) - np.array(variants[PLAIN], dtype=float)


def main(argv: list[str] | None = None) -> int:
    """
    :param argv: arguments after the script's name, those of the process by default
    :return: exit status, 0 when every claim holds
    """
    parser = make_parser(__file__, __doc__ or "")
    add_jobs(parser)
    parser.add_argument("--seeds", type=int, default=5, help="runs of each agent (default: %(default)s)")
    parser.add_argument("--env", nargs="+", choices=TASKS, default=list(TASKS), metavar="ID", help=f"of {', '.join(TASKS)}")
    options = parser.parse_args(argv)
    names = [*VARIANTS, PLAIN]
    steps = {env_id: {name: [0] * options.seeds for name in names} for env_id in options.env}
    tasks = [(name, env_id, seed) for seed in range(options.seeds) for env_id in options.env for name in names]
    for variant, env_id, seed, n_steps in run_all(steps_to_solve, tasks, options.jobs):
        steps[env_id][variant][seed] = n_steps
        print(f"{env_id:12} {variant:16} seed {seed}: {n_steps:6} steps", flush=True)
    return report(options.output, steps)


def report(output: Path, steps: dict[str, dict[str, list[int]]]) -> int:
    """
    :param output: path without suffix
    :param steps: environment -> variant -> steps to solve
    :return: exit status
    """
    figure, axes = panels([f"{env_id}: steps to a mean score of {TASKS[env_id].target:g}" for env_id in steps], width=6.5)
    intervals: dict[str, dict[str, tuple[float, float]]] = {}
    for axis, (env_id, variants) in zip(axes, steps.items(), strict=True):
        intervals[env_id] = {name: bootstrap_interval(np.array(values)) for name, values in variants.items()}
        for row, (name, values) in enumerate(reversed(variants.items())):
            low, high = intervals[env_id][name]
            color = {"Rainbow": ORANGE, PLAIN: GREY}.get(name, BLUE)
            axis.plot([low, high], [row, row], color=color, lw=5, alpha=0.35, solid_capstyle="butt")
            axis.plot(values, [row] * len(values), "o", color=color, ms=4, alpha=0.7)
            axis.plot([np.mean(values)], [row], "|", color=color, ms=16, mew=2.5)
            print(f"{env_id:12} {name:16} mean {np.mean(values):8.0f} [{low:.0f}, {high:.0f}]")
        axis.set_yticks(range(len(variants)), list(reversed(variants)))
        axis.set_xlabel("environment steps; bar: 95% bootstrap interval of the mean")
        low, high = bootstrap_interval(differences(variants))
        print(f"{env_id:12} Rainbow - DQN: {differences(variants).mean():.0f} steps [{low:.0f}, {high:.0f}]")
    figures = {
        "steps": steps,
        "intervals": intervals,
        "tasks": {env_id: {**TASKS[env_id]._asdict(), "make_env": env_id} for env_id in steps},
    }
    return finish(output, figures, figure, judge(steps))


if __name__ == "__main__":
    raise SystemExit(main())
