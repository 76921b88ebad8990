"""What the tutorials share: their options, and at the end the comparison of the trained agent with a random one."""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import gymnasium as gym
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from sb3_dqn_ext.evaluation.scores import evaluate_games
from sb3_dqn_ext.report.curves import require_plots
from sb3_dqn_ext.report.run_folder import prepare_run_folder
from sb3_dqn_ext.report.summary import RunSummary
from sb3_dqn_ext.report.video import record_video, require_video

EVALUATION_SEED = 10_000  # added to the seed: games that nobody trained on, nor chose a model by


def make_parser(script: str, doc: str, steps: int) -> argparse.ArgumentParser:
    """
    :param script: the script's ``__file__``
    :param doc: its docstring, which ``--help`` shows
    :param steps: default number of environment steps
    :return: a parser with the options that every tutorial has
    """
    parser = argparse.ArgumentParser(
        prog=f"python scripts/{Path(script).name}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(name=Path(script).stem)
    parser.add_argument("--steps", type=positive, default=steps, help="environment steps to train for (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the network, the exploration and the games (default: 0)")
    parser.add_argument("--output", help="run folder; a number is appended to one in use (default: runs/NAME)")
    return parser


def positive(text: str) -> int:
    """An ``int`` of at least 1, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} must be at least 1")
    return number


def start_run(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """
    Parses the options, and finds out before the training whether its results can be written.

    :param parser: of ``make_parser``
    :param argv: arguments after the script's name, those of the process by default
    :return: the options, with ``folder`` to write to and the ``command`` that was given
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    options = parser.parse_args(arguments)
    options.command = shlex.join([*parser.prog.split(), *arguments])
    try:
        require_plots()
        require_video()
        options.folder = prepare_run_folder(options.output or Path("runs", options.name))
    except (ValueError, ImportError) as error:
        parser.error(str(error))
    return options


def compare_with_random(
    model: BaseAlgorithm,
    make_env: Callable[[], gym.Env[Any, Any] | VecEnv],
    options: argparse.Namespace,
    seconds: float,
    *,
    n_games: int,
    film: int = 1_000,
    fps: int | None = None,
    epsilon: float | None = None,
) -> RunSummary:
    """
    Both agents play the same fresh games, and are filmed; ``summary.json`` and ``summary.md`` keep the result.

    :param model: the trained agent
    :param make_env: the environment, with pictures and without clipped rewards
    :param options: of ``start_run``
    :param seconds: how long the training took
    :param n_games: games that each agent plays
    :param film: environment steps that a film lasts at most
    :param fps: environment steps that a film shows per second; by default what the environment states
    :param epsilon: probability of a random action of the trained agent, see ``evaluate_games``
    :return: the scores
    """
    folder, seed = options.folder, options.seed + EVALUATION_SEED
    print(f"\nBoth agents play {n_games} games and are filmed ...", flush=True)
    scores = []
    for agent, name in ((model, "trained"), (None, "random")):
        with closing(make_env()) as env:
            scores.append(evaluate_games(agent, env, n_games, seed, epsilon=epsilon))  # by SB3's evaluate_policy
        label = f"{name} {type(model).__name__}" if agent else "random agent"
        record_video(agent, make_env, folder / f"{name}.mp4", name=label, max_steps=film, fps=fps, seed=seed, epsilon=epsilon)
    steps = model.num_timesteps
    done = "steps done" if steps >= options.steps else "a callback"
    summary = RunSummary(
        options.name, type(model).__name__, options.seed, options.command, steps, seconds, done, scores[0], scores[1]
    )
    summary.write(folder)
    print(f"{'':9}{'mean score':>12}{'std':>8}{'worst':>8}{'best':>8}{'mean length':>13}")
    for name, games in zip(("trained", "random"), scores, strict=True):
        length = sum(games.lengths) / n_games
        worst, best = min(games.scores), max(games.scores)
        print(f"{name:9}{games.mean:12,.1f}{games.std:8,.1f}{worst:8,.0f}{best:8,.0f}{length:13,.1f}")
    print(f"{steps:,} steps in {seconds:,.0f} s. Films, plot, model and summary are in {folder}", flush=True)
    return summary
