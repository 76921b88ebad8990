"""
DQN against Double DQN in LunarLander: what the networks predict in the states of evaluation games, and what the greedy policy
then gets (van Hasselt et al. 2016, figure 3), by the OverestimationCallback that any training can attach.

    python scripts/experiments/predicted_return.py --seeds 3

Both train from the LunarLander block of zoo_configs/composable_dqn.yml; only ``double_q`` differs.
"""

from typing import Any

import numpy as np
from experiment import add_jobs, bootstrap_interval, finish, make_parser, panels, run_all
from stable_baselines3.common.env_util import make_vec_env
from zoo import make_model

from sb3_dqn_ext.callbacks import OverestimationCallback
from sb3_dqn_ext.report.curves import BLUE, ORANGE

ENV = "LunarLander-v3"
AGENTS = {"composable_dqn": ("DQN", ORANGE), "double_dqn": ("Double DQN", BLUE)}
EVALUATION_SEED = 10_000  # games that nobody trained on


def run(algo: str, seed: int, steps: int) -> tuple[str, int, list[tuple[int, float, float]]]:
    """
    :param algo: a key of ``AGENTS``
    :param seed: of model and environment
    :param steps: environment steps
    :return: algo, seed, and step, predicted and realised return of each evaluation
    """
    model, _ = make_model(algo, ENV, seed)
    callback = OverestimationCallback(
        make_vec_env(ENV, 4, seed=EVALUATION_SEED + seed), eval_freq=steps // 8, n_eval_episodes=8
    )
    model.learn(steps, callback=callback)
    return algo, seed, [tuple(record) for record in callback.history]


def overestimation(curves: list[list[tuple[int, float, float]]]) -> np.ndarray:
    """
    :param curves: of each seed, evaluations
    :return: float [seeds], mean over the second half of the training of predicted less realised
    """
    return np.array(
        [np.mean([predicted - realised for _, predicted, realised in curve[len(curve) // 2 :]]) for curve in curves]
    )


def main(argv: list[str] | None = None) -> int:
    """
    :param argv: arguments after the script's name, those of the process by default
    :return: exit status, 0 when every claim holds
    """
    parser = make_parser(__file__, __doc__ or "")
    add_jobs(parser)
    parser.add_argument("--steps", type=int, default=48_000, help="environment steps of a run (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each agent (default: %(default)s)")
    options = parser.parse_args(argv)
    curves: dict[str, list[Any]] = {algo: [None] * options.seeds for algo in AGENTS}
    tasks = [(algo, seed, options.steps) for seed in range(options.seeds) for algo in AGENTS]
    for algo, seed, curve in run_all(run, tasks, options.jobs):
        curves[algo][seed] = curve
        print(f"{AGENTS[algo][0]:12} seed {seed}: overestimates by {overestimation([curve])[0]:.2f}", flush=True)
    figure, (axis,) = panels([f"{ENV}: discounted return, mean of {options.seeds} seeds"], width=7.5)
    for algo, (name, color) in AGENTS.items():
        steps, predicted, realised = np.mean(curves[algo], axis=0).T
        axis.plot(steps, predicted, color=color, lw=2, label=f"{name}, predicted")
        axis.plot(steps, realised, color=color, lw=2, ls=":", label=f"{name}, realised")
    axis.set_xlabel("environment steps")
    axis.set_ylabel("mean over the states of evaluation games")
    axis.legend()
    less = overestimation(curves["composable_dqn"]) - overestimation(curves["double_dqn"])
    low, high = bootstrap_interval(less)
    print(f"DQN overestimates by {less.mean():.2f} [{low:.2f}, {high:.2f}] more than Double DQN")
    claims = {"Double DQN overestimates less, seed by seed (every one)": bool((less > 0).all())}
    return finish(options.output, {"env": ENV, "curves": curves, "difference": less.tolist()}, figure, claims)


if __name__ == "__main__":
    raise SystemExit(main())
