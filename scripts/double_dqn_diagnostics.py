"""
Double DQN under the microscope: four panels that show how it learns, and flags that break it, one part at a time.

CartPole with its full limit of 500 steps. Every 1,000 steps EvalCallback plays 10 games without exploration, and when they
reach the target of 475 on average, StopTrainingOnRewardThreshold ends the training: with seeds 0, 1 and 2 after 13,000, 13,000
and 16,000 steps, within 25 to 39 seconds on one CPU core. The panels of learning_curve.png show
- the reward of the training games, lower than in the evaluation because they explore, with its running mean and the target;
- the loss with the updates of the target network. After each one there is something new to learn, so the loss jumps;
- the mean Q-value, a stairway: reward 1 and gamma 0.99 let it rise by 1 at most with each update of the target network,
  and no true value exceeds 1 / (1 - 0.99) = 100;
- epsilon.

Now break it:
  --no-stop                         go on for all of --steps: a target once reached is not kept for ever
  --no-replay --no-stop             a buffer of one batch, the last 64 steps: catastrophic forgetting, see below
  --no-double --no-stop             the plain maximum: compare the mean Q-value
  --prioritized                     replay in proportion to the TD error
  --buffer 1000 --no-stop           a short memory, and the same with
  --reserved 1000                   the first 1,000 steps, in which it acted at random, kept for ever

Catastrophic forgetting: without replay the network learns from its newest steps alone, which resemble each other. What
it learns of them overwrites what it knew of other states: with seed 0 and --no-replay --no-stop, games of 200 steps are
followed by games of 10 at about 11,000, 16,000 and 24,000 steps, where the loss leaps, and all is learned again. Reserved
memory is meant against that: early steps, in which the pole fell, are never overwritten. It is no cure: with --reserved 1000
the best network came at step 9,000 instead of 29,000 (seed 0), but games of 10 steps went on. Look for yourself.
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
