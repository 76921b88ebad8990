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

from sb3_dqn_ext.evaluation.scores import GameScores, evaluate_games
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
) -> RunSummary:
    """
    The trained and the random agent play the same fresh games and are filmed; ``summary.json`` and ``summary.md`` keep it.

    Where ``EvalCallback`` kept a best model in the folder, that is the agent which counts; the last one is shown beside it.

    :param model: the agent as it is after training
    :param make_env: the environment, with pictures and without clipped rewards
    :param options: of ``start_run``
    :param seconds: how long the training took
    :param n_games: games that each agent plays
    :param film: environment steps after which a film ends, even before the third game does
    :param fps: environment steps that a film shows per second; by default what the environment states
    :return: the scores
    """
    folder, seed, algorithm = options.folder, options.seed + EVALUATION_SEED, type(model).__name__
    agents = {"trained agent": model, "random agent": None}
    if (folder / "best_model.zip").exists():
        best = type(model).load(folder / "best_model.zip")
        agents = {f"best, of step {best.num_timesteps:,}": best, "last": model, "random agent": None}
    trained = next(agent for agent in agents.values() if agent is not None)

    print(f"\n{f'{n_games} fresh games each':24}{'mean score':>11}{'std':>8}{'lowest':>8}{'highest':>9}{'mean length':>13}")
    scores: list[GameScores] = []
    for name, agent in agents.items():
        with closing(make_env()) as env:
            games = evaluate_games(agent, env, n_games, seed)  # by SB3's evaluate_policy
        lowest, highest, length = min(games.scores), max(games.scores), sum(games.lengths) / n_games
        print(f"{name:24}{games.mean:11,.1f}{games.std:8,.1f}{lowest:8,.0f}{highest:9,.0f}{length:13,.1f}", flush=True)
        scores.append(games)
    label = f"{algorithm} after {trained.num_timesteps:,} steps"
    record_video(trained, make_env, folder / "trained.mp4", name=label, n_games=3, max_steps=film, fps=fps, seed=seed)
    if not (folder / "random.mp4").exists():
        record_video(None, make_env, folder / "random.mp4", n_games=3, max_steps=film, fps=fps, seed=seed)

    steps = model.num_timesteps
    stopped_by = "steps done" if steps >= options.steps else "Ctrl-C or a callback"
    summary = RunSummary(
        options.name, algorithm, options.seed, options.command, steps, seconds, stopped_by, scores[0], scores[-1]
    )
    summary.write(folder)
    print(f"\nLearned for {steps:,} steps in {seconds:,.0f} s. Plot, films, models and summary are in {folder}", flush=True)
    return summary
