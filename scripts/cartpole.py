"""
CartPole: DQN from the first step to a balanced pole, with the settings of the TF-Agents DQN tutorial.

A cart balances a pole. Each step that the pole stands scores 1, and after 200 steps the game is over, so that 200 is the
best score. A random agent drops the pole after 25 or so. With seed 0 the evaluation reaches 200 at step 5,000; the training
takes 50 seconds on one CPU core, films and plot another 10.

You will see
- a network of two layers (100, 50) learn from 20,000 steps: 100 random ones first, then one update of 64 transitions
  in each step, out of a replay buffer that holds everything (100,000);
- what SB3's EvalCallback is for: every 1,000 steps the agent plays 10 games without exploring. learning_curve.png shows
  them (orange) beside the games that it trained on (blue), in which every tenth action is random;
- that the score is no steady climb. The best network is kept, and judged on fresh games, next to the last one;
- the time limit done right: at step 200 the pole still stands, thus the value of what would follow is bootstrapped.
  To the agent the limit is a truncation, not the end of the world.

The algorithm is Double DQN, whose target network follows by 1% in every step. The tutorial's plain DQN copies it in every
step, so that it has none.
"""

import time
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
from common import compare_with_random, make_parser, start_run
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.env_util import make_vec_env

from sb3_dqn_ext import DoubleDQN
from sb3_dqn_ext.callbacks import EpisodeLogCallback, ProgressCallback
from sb3_dqn_ext.report.curves import Evaluations, Reference, Series, plot_learning_curve

MAX_STEPS = 200  # CartPole-v1 allows 500, the tutorial's CartPole-v0 200


def make_env() -> gym.Env[Any, Any]:
    return gym.make("CartPole-v1", max_episode_steps=MAX_STEPS, render_mode="rgb_array")


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__file__, __doc__ or "", steps=20_000)
    options = start_run(parser, argv)
    folder = options.folder

    model = DoubleDQN(
        "MlpPolicy",
        make_env(),
        learning_rate=1e-3,
        buffer_size=100_000,
        learning_starts=100,
        batch_size=64,
        train_freq=1,
        target_update_interval=1,  # the target network follows softly, by 1% in every step
        tau=0.01,
        exploration_initial_eps=0.1,  # constant, as in the tutorial
        exploration_final_eps=0.1,
        policy_kwargs=dict(net_arch=[100, 50]),
        seed=options.seed,
    )
    history = EpisodeLogCallback(folder)
    evaluation = EvalCallback(
        make_vec_env(make_env, seed=options.seed + 1_000),  # not the training environment: it would be reset amid a game
        n_eval_episodes=10,
        eval_freq=min(1_000, options.steps),
        log_path=str(folder),
        best_model_save_path=str(folder),
        verbose=1,
    )
    start = time.monotonic()
    model.learn(options.steps, callback=[history, evaluation, ProgressCallback()])
    seconds = time.monotonic() - start
    model.save(folder / "model.zip")

    summary = compare_with_random(model, make_env, options, seconds, n_games=20)
    plot_learning_curve(
        folder / "learning_curve.png",
        f"CartPole, {MAX_STEPS} steps at most, seed {options.seed}",
        Series([game.step for game in history.episodes], [game.score for game in history.episodes]),
        smooth=10,
        evaluations=Evaluations.from_games(evaluation.evaluations_timesteps, evaluation.evaluations_results),
        references=[Reference(MAX_STEPS, "maximum"), Reference(summary.random.mean, "random agent")],
        ylabel="steps per game = score",
    )


if __name__ == "__main__":
    main()
