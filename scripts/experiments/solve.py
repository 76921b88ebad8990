"""
Trains from the blocks of zoo_configs/ and counts how many runs solve their environment.

A run ends early when an evaluation of 20 games, without exploration, reaches the target. As in RL Zoo, the model that scored
best in the evaluations is kept; it then plays 100 games that neither training nor choice has seen. Solved means a mean of 475
in CartPole-v1 and of 200 in LunarLander-v3.

    python scripts/experiments/solve.py --env LunarLander-v3 --algos rainbow iqn --seeds 0 1
"""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from experiment import add_jobs, finish, make_parser, panels, run_all
from stable_baselines3.common.callbacks import EvalCallback, StopTrainingOnRewardThreshold
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from zoo import ALGORITHMS, make_model, read_config

from sb3_dqn_ext.report.curves import GREY

SOLVED = {"CartPole-v1": 475.0, "LunarLander-v3": 200.0}
EVALUATION_SEED, FINAL_SEED = 10_000, 20_000


def run(algo: str, env_id: str, seed: int, n_games: int) -> dict[str, Any]:
    """
    :param algo: a key of ``ALGORITHMS``
    :param env_id: a key of ``SOLVED``
    :param seed: of model and environment
    :param n_games: to judge by
    :return: what came of it
    """
    model, steps = make_model(algo, env_id, seed)
    evaluation = make_vec_env(env_id, 4, seed=EVALUATION_SEED + seed)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        callback = EvalCallback(
            evaluation,
            callback_on_new_best=StopTrainingOnRewardThreshold(SOLVED[env_id]),
            n_eval_episodes=20,
            eval_freq=max(steps // 12 // model.n_envs, 1),
            best_model_save_path=folder,
            log_path=folder,
            verbose=0,
        )
        model.learn(steps, callback=callback)
        seconds = time.perf_counter() - start
        best = ALGORITHMS[algo].load(Path(folder) / "best_model.zip")
    final = make_vec_env(env_id, 4, seed=FINAL_SEED + seed)
    mean, std = evaluate_policy(best, final, n_games)
    last, _ = evaluate_policy(model, final, 10)
    return {
        "algo": algo,
        "env": env_id,
        "seed": seed,
        "steps": model.num_timesteps,
        "seconds": round(seconds, 1),
        "best_mean": round(float(mean), 2),
        "best_std": round(float(std), 2),
        "last_mean": round(float(last), 2),
        "evaluation_steps": [int(step) for step in callback.evaluations_timesteps],
        "evaluation_means": [round(float(np.mean(results)), 2) for results in callback.evaluations_results],
        "config": read_config(algo, env_id),
        "solved": bool(mean >= SOLVED[env_id]),
    }


def main(argv: list[str] | None = None) -> int:
    """
    :param argv: arguments after the script's name, those of the process by default
    :return: exit status, 0 when every algorithm solves every environment with one seed at least
    """
    parser = make_parser(__file__, __doc__ or "")
    parser.add_argument("--env", nargs="+", choices=SOLVED, default=list(SOLVED), metavar="ID", help=f"of {', '.join(SOLVED)}")
    parser.add_argument(
        "--algos", nargs="+", choices=ALGORITHMS, default=list(ALGORITHMS), metavar="NAME", help="default: all"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="default: 0")
    parser.add_argument("--games", type=int, default=100, help="to judge a run by (default: %(default)s)")
    add_jobs(parser)
    options = parser.parse_args(argv)
    # What other calls measured with the same blocks stays, so that a table of many hours can be made piece by piece.
    path = options.output.with_suffix(".json")
    rows = json.loads(path.read_text())["runs"] if path.exists() else []
    rows = [row for row in rows if row["config"] == read_config(row["algo"], row["env"])]
    tasks = [(algo, env_id, seed, options.games) for env_id in options.env for algo in options.algos for seed in options.seeds]
    for row in run_all(run, tasks, options.jobs):
        print(
            f"{row['env']:15} {row['algo']:16} seed {row['seed']}: best {row['best_mean']:.1f} +- {row['best_std']:.1f}, "
            f"last {row['last_mean']:.1f}, {row['steps']} steps in {row['seconds']:.0f} s",
            flush=True,
        )
        rows = [other for other in rows if identity(other) != identity(row)] + [row]
        write(options.output, rows)
    return write(options.output, rows)


def identity(row: dict[str, Any]) -> tuple[Any, ...]:
    """
    :param row: a run
    :return: what tells it from others
    """
    return row["env"], row["algo"], row["seed"]


def write(output: Path, rows: list[dict[str, Any]]) -> int:
    """
    :param output: path without suffix
    :param rows: all runs so far
    :return: exit status
    """
    rows = sorted(rows, key=lambda row: (row["env"], list(ALGORITHMS).index(row["algo"]), row["seed"]))
    environments = list(dict.fromkeys(row["env"] for row in rows))
    figure, axes = panels([f"{env_id}, evaluations during training" for env_id in environments], width=7, height=5)
    for axis, env_id in zip(axes, environments, strict=True):
        for index, algo in enumerate(ALGORITHMS):
            curves = [row for row in rows if (row["env"], row["algo"]) == (env_id, algo)]
            for number, row in enumerate(curves):
                axis.plot(
                    row["evaluation_steps"],
                    row["evaluation_means"],
                    marker=".",
                    lw=1.4,
                    label=algo if number == 0 else None,
                    color=f"C{index % 10}",
                    ls="-" if index < 10 else "--",
                )
        axis.axhline(SOLVED[env_id], color=GREY, lw=1, ls=":", label="solved")
        axis.set_xlabel("environment steps")
        axis.set_ylabel("mean score of 20 games")
        axis.legend(ncol=2)
    pairs = dict.fromkeys((row["env"], row["algo"]) for row in rows)
    claims = {
        f"{algo} solves {env_id}": any(row["solved"] for row in rows if (row["env"], row["algo"]) == (env_id, algo))
        for env_id, algo in pairs
    }
    return finish(output, {"runs": rows}, figure, claims)


if __name__ == "__main__":
    raise SystemExit(main())
