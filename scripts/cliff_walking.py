"""
CliffWalking: discrete observations, and how the exploration and the target network are changed over time.

A walker crosses a grid of 4 x 12 fields from the lower left to the lower right corner. Between them lies a cliff: each
step costs 1, a fall costs 100 and leads back to the start. The shortest way runs along the edge and scores -13, and
the greedy policy finds it (seed 0: after 10,000 steps). Takes a minute on one CPU core.

You will see
- that a discrete observation needs nothing special: SB3 turns field 36 of 48 into a one-hot vector for the network;
- epsilon falling exponentially, final + (initial - final) * exp(-step / decay): first falls, then the edge is learned;
- the target network following softly (a share tau of the difference in every step) or, with --hard N, by a copy every
  N steps. Try --tau 1, no target network at all, and --decay 100, hardly any exploration;
- episodes become short: learning_curve.png shows their lengths with the mean of the last 100.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
from common import compare_with_random, make_parser, start_run
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.env_util import make_vec_env

from sb3_dqn_ext import DoubleDQN
from sb3_dqn_ext.callbacks import EpisodeLogCallback, ProgressCallback
from sb3_dqn_ext.report.curves import GREEN, Evaluations, Panel, Reference, Series, plot_panels
from sb3_dqn_ext.report.run_folder import write_text

ROWS, COLUMNS = 4, 12
ARROWS = "^>v<"  # actions 0 to 3
SHORTEST = 13  # steps


def make_env() -> gym.Env[Any, Any]:
    # A walk has no end before the goal: a random walker needs thousands of steps. The limit is a truncation, after which
    # the agent still counts on what would have followed; it is not told that step 200 ends the world.
    return gym.make("CliffWalking-v1", max_episode_steps=200, render_mode="rgb_array")


def draw_path(model: DoubleDQN) -> tuple[str, float]:
    """The grid with the way that the greedy policy takes, and its score."""
    env = make_env()
    fields = list("." * (ROWS - 1) * COLUMNS + "S" + "#" * (COLUMNS - 2) + "G")
    field, _ = env.reset()
    score, over = 0.0, False
    while not over:
        action = int(model.predict(field, deterministic=True)[0])
        fields[field] = ARROWS[action]
        field, reward, terminated, truncated, _ = env.step(action)
        score, over = score + float(reward), terminated or truncated
    env.close()
    return "\n".join(" ".join(fields[row * COLUMNS :][:COLUMNS]) for row in range(ROWS)), score


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__file__, __doc__ or "", steps=20_000)
    parser.add_argument("--tau", type=float, default=0.01, help="share of the soft target updates (default: %(default)s)")
    parser.add_argument("--hard", type=int, metavar="N", help="copy the target network every N steps instead")
    parser.add_argument("--decay", type=float, default=3_000, help="epsilon's decay in steps (default: %(default)s)")
    options = start_run(parser, argv)
    folder: Path = options.folder

    model = DoubleDQN(
        "MlpPolicy",
        make_env(),
        learning_rate=1e-3,
        buffer_size=20_000,
        learning_starts=500,
        batch_size=64,
        train_freq=1,
        tau=options.tau if options.hard is None else 1.0,
        target_update_interval=1 if options.hard is None else options.hard,
        exploration_initial_eps=1.0,
        exploration_final_eps=0.02,
        exploration_decay=options.decay,
        policy_kwargs=dict(net_arch=[64]),
        seed=options.seed,
    )
    history = EpisodeLogCallback(folder)
    # Neither the environment nor the greedy policy is random, so that one episode tells all.
    evaluation = EvalCallback(make_vec_env(make_env), n_eval_episodes=1, eval_freq=1_000, log_path=str(folder), verbose=1)
    start = time.monotonic()
    model.learn(options.steps, callback=[history, evaluation, ProgressCallback()])
    seconds = time.monotonic() - start
    model.save(folder / "model.zip")

    path, score = draw_path(model)
    write_text(folder / "path.txt", path + "\n")
    print(f"\nThe way of the greedy policy scores {score:.0f}, the best possible is {-SHORTEST}:\n{path}")
    compare_with_random(model, make_env, options, seconds, n_games=10, film=100)

    steps = [episode.step for episode in history.episodes]
    lengths = Series(steps, [episode.length for episode in history.episodes])
    tested = Evaluations.from_games(evaluation.evaluations_timesteps, evaluation.evaluations_length)
    shortest = Reference(SHORTEST, "shortest path")
    target = f"soft target, tau {options.tau}" if options.hard is None else f"target copied every {options.hard} steps"
    plot_panels(
        folder / "learning_curve.png",
        [
            Panel("steps per episode", lengths, "episode", 100, tested, [shortest]),
            Panel("reward per episode", Series(steps, [episode.score for episode in history.episodes]), smooth=100),
            Panel("epsilon", Series(steps, [episode.epsilon for episode in history.episodes]), color=GREEN),
        ],
        f"CliffWalking, {target}, seed {options.seed}",
    )


if __name__ == "__main__":
    main()
