"""
Double DQN under the microscope: four panels that show how it learns, and flags that break it, one part at a time.

CartPole with its full limit of 500 steps; the target is 475 in the evaluation, where training stops. The panels show the
reward with its running mean, the loss with the updates of the target network, the mean Q-value and epsilon. With
gamma 0.99 and 1 per step no true value exceeds 1 / (1 - 0.99) = 100.

  python scripts/double_dqn_diagnostics.py                          the target within some 10,000 steps
  python scripts/double_dqn_diagnostics.py --no-stop                what happens if it goes on
  python scripts/double_dqn_diagnostics.py --no-replay              a buffer of one batch: the last 64 steps
  python scripts/double_dqn_diagnostics.py --no-double --no-stop    the plain maximum: compare the mean Q-value
  python scripts/double_dqn_diagnostics.py --prioritized            replay in proportion to the TD error
  python scripts/double_dqn_diagnostics.py --buffer 1000 --no-stop                   a short memory ...
  python scripts/double_dqn_diagnostics.py --buffer 1000 --no-stop --reserved 1000   ... that keeps its first steps, too

Catastrophic forgetting: without replay the network learns from its newest steps alone, which resemble each other. What
it learns of them overwrites what it knew of other states, so that the reward rises and falls again. A good agent with
a short memory soon remembers upright poles only, and forgets how to save a falling one; the reserved first steps, in which
it acted at random, keep reminding it.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import gymnasium as gym
from common import compare_with_random, make_parser, positive, start_run
from stable_baselines3.common.callbacks import EvalCallback, LogEveryNTimesteps, StopTrainingOnRewardThreshold
from stable_baselines3.common.env_util import make_vec_env

from sb3_dqn_ext import ComposableDQN
from sb3_dqn_ext.callbacks import EpisodeLogCallback, ProgressCallback
from sb3_dqn_ext.report.curves import Reference, Series, plot_diagnostics

TARGET = 475
BATCH_SIZE = 64
GAMMA = 0.99
TARGET_UPDATE_INTERVAL = 100
LOG_EVERY = 25


def make_env() -> gym.Env:
    return gym.make("CartPole-v1", render_mode="rgb_array")


def add_flags(parser: argparse.ArgumentParser) -> None:
    flag = argparse.BooleanOptionalAction
    parser.add_argument("--double", action=flag, default=True, help="the online network selects the next action")
    parser.add_argument("--prioritized", action="store_true", help="prioritized replay")
    parser.add_argument("--buffer", type=positive, default=50_000, help="transitions kept (default: %(default)s)")
    parser.add_argument("--no-replay", action="store_true", help=f"a buffer of one batch, {BATCH_SIZE} transitions")
    parser.add_argument("--reserved", type=int, default=0, metavar="N", help="keep the first N transitions for ever, too")
    parser.add_argument("--no-stop", action="store_true", help=f"go on when the target of {TARGET} is reached")


def make_model(options: argparse.Namespace) -> ComposableDQN:
    recent = BATCH_SIZE if options.no_replay else options.buffer
    return ComposableDQN(
        "MlpPolicy",
        make_env(),
        learning_rate=1e-3,
        buffer_size=recent + options.reserved,
        replay_buffer_kwargs=dict(reserved_size=options.reserved),
        learning_starts=1_000,
        batch_size=BATCH_SIZE,
        train_freq=1,
        gamma=GAMMA,
        target_update_interval=TARGET_UPDATE_INTERVAL,
        exploration_fraction=0.2,
        exploration_final_eps=0.05,
        double_q=options.double,
        prioritized_replay=options.prioritized,
        policy_kwargs=dict(net_arch=[64, 64]),
        seed=options.seed,
    )


def describe(options: argparse.Namespace) -> str:
    parts = ["Double DQN" if options.double else "DQN", "prioritized" if options.prioritized else ""]
    parts += [f"buffer of {BATCH_SIZE if options.no_replay else options.buffer:,}"]
    parts += [f"first {options.reserved:,} steps reserved" if options.reserved else "", f"seed {options.seed}"]
    return "CartPole: " + ", ".join(part for part in parts if part)


def plot(path: Path, options: argparse.Namespace, history: EpisodeLogCallback, random_score: float) -> None:
    games, updates = history.episodes, history.training
    steps, update_steps = [game.step for game in games], [record.step for record in updates]
    plot_diagnostics(
        path,
        describe(options),
        scores=Series(steps, [game.score for game in games]),
        loss=Series(update_steps, [record.loss for record in updates]),
        q_mean=Series(update_steps, [record.q_mean for record in updates]),
        epsilon=Series(steps, [game.epsilon for game in games]),
        target_updates=range(TARGET_UPDATE_INTERVAL, max(update_steps, default=0) + 1, TARGET_UPDATE_INTERVAL),
        references=[Reference(TARGET, "target"), Reference(random_score, "random")],
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__file__, __doc__ or "", steps=30_000)
    add_flags(parser)
    options = start_run(parser, argv)
    folder = options.folder

    model = make_model(options)
    history = EpisodeLogCallback(folder)
    stop = None if options.no_stop else StopTrainingOnRewardThreshold(TARGET, verbose=1)
    evaluation = EvalCallback(
        make_vec_env(make_env, seed=options.seed + 1_000),
        callback_on_new_best=stop,
        n_eval_episodes=10,
        eval_freq=min(1_000, options.steps),
        log_path=str(folder),
        best_model_save_path=str(folder),
        verbose=1,
    )
    start = time.monotonic()
    callbacks = [history, evaluation, LogEveryNTimesteps(LOG_EVERY), ProgressCallback()]
    # Loss and mean Q are logged every few steps by the callback, not every few games, whose length varies
    model.learn(options.steps, callback=callbacks, log_interval=options.steps)
    seconds = time.monotonic() - start
    model.save(folder / "model.zip")

    summary = compare_with_random(model, make_env, options, seconds, n_games=20)
    plot(folder / "learning_curve.png", options, history, summary.random.mean)


if __name__ == "__main__":
    main()
