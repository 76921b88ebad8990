"""
LunarLander: Double DQN with Huber loss lands between the flags.

The lander scores for coming closer and slower, +100 for landing, -100 for crashing, and pays for fuel: 200 counts as
solved, a random agent gets -166. With seed 0 the best network is that of step 130,000 and scores 250 in 100 fresh games (the
last one 235). That took 13 minutes on one CPU core that others used, too.

You will see
- epsilon falling linearly, in every step, over the first quarter of the training, and then staying at 0.02;
- four landers training one network, and the mean score of the last 100 games rising (learning_curve.png);
- SB3's EvalCallback keeping the best network: here the last one is often worse. The evaluations choose it, then 100 fresh
  games judge it (the best of many measurements flatters itself), and trained.mp4 shows it;
- a network of your own: LeakyReLU between the layers is one word in policy_kwargs;
- --continue-from runs/lunar_lander/best_model.zip: training a saved model on. Its replay buffer is not in the zip, so
  that it first fills a new one with games of its own, and it explores no more than it did in the end.
"""

import argparse
import time
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
from common import compare_with_random, make_parser, start_run
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from torch import nn

from sb3_dqn_ext import DoubleDQN
from sb3_dqn_ext.callbacks import EpisodeLogCallback, ProgressCallback, learn_until_interrupted
from sb3_dqn_ext.report.curves import Evaluations, Reference, Series, plot_learning_curve

N_ENVS = 4
EVAL_EVERY, EVAL_GAMES = 10_000, 20
FINAL_EPSILON = 0.02
REFILL = 5_000  # steps
SOLVED = 200


def make_env() -> gym.Env[Any, Any]:
    return gym.make("LunarLander-v3", render_mode="rgb_array")  # at most 1,000 steps, about 20 seconds of flight


def make_model(options: argparse.Namespace) -> DoubleDQN:
    env = make_vec_env(make_env, n_envs=N_ENVS, seed=options.seed)
    if options.continue_from is not None:
        exploit = dict(exploration_initial_eps=FINAL_EPSILON, learning_starts=0)
        model = DoubleDQN.load(options.continue_from, env=env, custom_objects=exploit, seed=options.seed)
        gradient_steps, model.gradient_steps = model.gradient_steps, 0
        model.learn(REFILL)  # plays without learning
        model.gradient_steps = gradient_steps
        return model
    return DoubleDQN(
        "MlpPolicy",
        env,
        learning_rate=5e-4,
        buffer_size=100_000,
        learning_starts=2_000,
        batch_size=128,
        train_freq=1,  # after each step of the four landers ...
        gradient_steps=2,  # ... two updates
        gamma=0.99,
        tau=0.005,
        target_update_interval=N_ENVS,
        exploration_fraction=0.25,
        exploration_initial_eps=1.0,
        exploration_final_eps=FINAL_EPSILON,
        policy_kwargs=dict(net_arch=[256, 256], activation_fn=nn.LeakyReLU),
        seed=options.seed,
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__file__, __doc__ or "", steps=200_000)
    parser.add_argument("--continue-from", metavar="MODEL.zip", help="train a saved model on instead of a new one")
    parser.add_argument("--games", type=int, default=100, help="fresh games for the final score (default: %(default)s)")
    options = start_run(parser, argv)
    folder = options.folder

    model = make_model(options)
    history = EpisodeLogCallback(folder)
    evaluation = EvalCallback(
        make_vec_env(make_env, n_envs=10, seed=options.seed + 1_000),
        n_eval_episodes=EVAL_GAMES,
        eval_freq=max(min(EVAL_EVERY, options.steps) // N_ENVS, 1),  # counted in steps of all four landers at once
        log_path=str(folder),
        best_model_save_path=str(folder),
        verbose=1,
    )
    start = time.monotonic()
    # model.learn, which the first Ctrl-C ends as if the steps were done
    learn_until_interrupted(model, options.steps, [history, evaluation, ProgressCallback(n_games=100)])
    seconds = time.monotonic() - start
    model.save(folder / "model.zip")

    summary = compare_with_random(model, make_env, options, seconds, n_games=options.games, film=1_500)
    steps = [game.step for game in history.episodes]
    plot_learning_curve(
        folder / "learning_curve.png",
        f"LunarLander, seed {options.seed}",
        Series(steps, [game.score for game in history.episodes]),
        smooth=100,
        evaluations=Evaluations.from_games(evaluation.evaluations_timesteps, evaluation.evaluations_results),
        references=[Reference(SOLVED, "solved"), Reference(summary.random.mean, "random agent")],
        epsilon=Series(steps, [game.epsilon for game in history.episodes]),
    )


if __name__ == "__main__":
    main()
