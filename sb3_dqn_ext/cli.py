"""The ``sb3-dqn`` command: argument parsing only. Each command imports what it runs when it runs."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from sb3_dqn_ext.demo_config import DemoConfig

EXAMPLES = """\
examples:
  sb3-dqn demo                                   the short demo, ten minutes on two cores
  sb3-dqn demo --game breakout --steps 1000000   a longer run of another game
  sb3-dqn demo --help                            what can be set
"""

DEMO_DESCRIPTION = """\
Trains a DQN (double, dueling, prioritized, 10-step) on an Atari game from pixels, lets it and a random agent
play whole games, and writes a run folder: model.zip, learning_curve.png, trained.mp4, random.mp4, summary.md,
summary.json, episodes.csv, training.csv, and TensorBoard logs in tb/.

Ctrl-C ends the training early; what was learned is evaluated and kept all the same.
"""

DEMO_EXAMPLES = """\
examples:
  sb3-dqn demo --game pong --steps 1000000 --seed 0 --output runs/pong-long
  sb3-dqn demo --game ALE/SpaceInvaders-v5 --minutes 30
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser with every command; a new one is a function like ``_add_demo``, called here."""
    parser = argparse.ArgumentParser(
        prog="sb3-dqn",
        description="The DQN family for Stable-Baselines3, from pixels to a film of the trained agent.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sb3-dqn {_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    _add_demo(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """
    :param argv: arguments after the program's name, those of the process by default
    :return: exit status: 0 done, 2 the user can put it right, 130 aborted by Ctrl-C
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    options = build_parser().parse_args(arguments)
    try:
        options.run(options, shlex.join(["sb3-dqn", *arguments]))
    except (ValueError, ImportError) as error:
        print(f"sb3-dqn: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("sb3-dqn: aborted", file=sys.stderr)
        return 130
    return 0


def _version() -> str:
    try:
        return version("sb3_dqn_ext")
    except PackageNotFoundError:
        return "(not installed)"


def _add_demo(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "demo",
        help="train on an Atari game from pixels and compare with a random agent",
        description=DEMO_DESCRIPTION,
        epilog=DEMO_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--game", default=DemoConfig.game, help="any of ALE's games: pong, ALE/Pong-v5, ... (default: %(default)s)")
    add("--steps", type=int, default=DemoConfig.steps, help="environment steps, 4 frames each (default: %(default)s)")
    add("--minutes", type=float, help="stop training after that many minutes (default: when the steps are done)")
    add("--seed", type=int, default=DemoConfig.seed, help="same seed, same run (default: %(default)s)")
    add("--n-envs", type=int, default=DemoConfig.n_envs, help="games played at once (default: %(default)s)")
    add("--eval-games", type=int, default=DemoConfig.n_eval_games, help="games for the comparison (default: %(default)s)")
    add("--output", help="run folder; never overwritten, a number is appended (default: runs/GAME)")
    parser.set_defaults(run=_run_demo)


def _run_demo(options: argparse.Namespace, command: str) -> None:
    config = DemoConfig(
        game=options.game,
        steps=options.steps,
        seed=options.seed,
        n_envs=options.n_envs,
        output=options.output,
        n_eval_games=options.eval_games,
        max_minutes=options.minutes,
    )
    from sb3_dqn_ext.demo import run_demo

    run_demo(config, command)
