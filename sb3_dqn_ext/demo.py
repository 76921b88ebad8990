"""The main job: train on an Atari game from pixels, compare with a random agent, and keep everything worth looking at."""

import time
from contextlib import closing
from pathlib import Path

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from sb3_dqn_ext.algorithms import PrioritizedDQN
from sb3_dqn_ext.atari import make_atari_vec_env
from sb3_dqn_ext.callbacks import (
    EpisodeLogCallback,
    ProgressCallback,
    StopOnTimeCallback,
    ThroughputCallback,
    learn_until_interrupted,
)
from sb3_dqn_ext.demo_config import DemoConfig
from sb3_dqn_ext.evaluation.scores import GameScores, evaluate_games
from sb3_dqn_ext.report.curves import Evaluations, Reference, Series, plot_learning_curve, require_plots
from sb3_dqn_ext.report.run_folder import prepare_run_folder
from sb3_dqn_ext.report.summary import RunSummary
from sb3_dqn_ext.report.video import record_video, require_video

EVALUATION_SEED_OFFSET = 10_000  # games that no training environment has started from


def make_model(env: VecEnv, config: DemoConfig, tensorboard_log: Path | None = None) -> PrioritizedDQN:
    """
    The agent of the demo: double, dueling, prioritized, 10-step, on the small torso made for CPUs, because many cheap
    updates learn more in ten minutes than few dear ones. This is the one place for its hyper-parameters.

    :param env: training environment
    :param config: for the seed and the length of the training
    :param tensorboard_log: folder for TensorBoard
    """
    return PrioritizedDQN(
        "DataEfficientCnnPolicy",
        env,
        learning_rate=1e-4,
        buffer_size=min(config.steps, 200_000),
        learning_starts=min(1_600, config.steps // 20),
        batch_size=32,
        train_freq=1,
        gradient_steps=-1,  # as many updates as environment steps
        n_steps=10,  # long returns tell of a reward sooner, as in data-efficient Rainbow (which has 20)
        target_update_interval=2_000,
        exploration_fraction=min(0.3, 50_000 / config.steps),
        exploration_final_eps=0.01,
        policy_kwargs=dict(dueling=True),
        tensorboard_log=None if tensorboard_log is None else str(tensorboard_log),
        seed=config.seed,
    )


def run_demo(config: DemoConfig, command: str | None = None) -> RunSummary:
    """
    Trains, evaluates and writes the run folder. Ctrl-C ends the training only: what was learned is evaluated and kept.

    :param config: what to do
    :param command: how the user started it, for the summary
    :return: what is in ``summary.json``
    """
    require_video()
    require_plots()
    with closing(make_atari_vec_env(config.game, n_envs=config.n_envs, seed=config.seed)) as env:
        folder = prepare_run_folder(config.wanted_folder)
        model = make_model(env, config, folder / "tb")
        history = EpisodeLogCallback(folder)
        print(
            f"Learning {config.game} from pixels for {config.steps:,} steps, {config.n_envs} games at once."
            f"\nResults go to {folder}. Ctrl-C stops early and keeps what was learned.",
            flush=True,
        )
        seconds, stopped_by = _train(model, config, history)
    model.save(folder / "model.zip")
    random, trained = _evaluate(None, config), _evaluate(model, config)
    summary = RunSummary(
        config.game,
        type(model).__name__,
        config.seed,
        command or f"run_demo({config!r})",
        model.num_timesteps,
        seconds,
        stopped_by,
        trained,
        random,
    )
    _plot(folder, summary, history, model, config)
    _film(model, folder, config, f"{summary.algorithm}, {summary.steps:,} steps")
    summary.write(folder)
    print(_closing_words(folder, summary))
    return summary


def _train(model: BaseAlgorithm, config: DemoConfig, history: EpisodeLogCallback) -> tuple[float, str]:
    budget = None if config.max_minutes is None else 60 * config.max_minutes
    callbacks: list[BaseCallback] = [history, ThroughputCallback(), ProgressCallback(time_budget=budget)]
    if budget is not None:
        callbacks.append(StopOnTimeCallback(budget))
    start = time.monotonic()
    interrupted = learn_until_interrupted(model, config.steps, callbacks)
    seconds = time.monotonic() - start
    return seconds, "Ctrl-C" if interrupted else "steps done" if model.num_timesteps >= config.steps else "time limit"


def _evaluate(model: BaseAlgorithm | None, config: DemoConfig) -> GameScores:
    print(f"Playing {config.n_eval_games} games with the {'random' if model is None else 'trained'} agent ...", flush=True)
    n_envs = min(config.n_envs, config.n_eval_games)
    with closing(make_atari_vec_env(config.game, n_envs=n_envs, episodic_life=False, clip_reward=False)) as env:
        return evaluate_games(model, env, config.n_eval_games, config.seed + EVALUATION_SEED_OFFSET)


def _film(model: BaseAlgorithm, folder: Path, config: DemoConfig, name: str) -> None:
    print("Filming both agents ...", flush=True)
    for agent, label, file in ((model, name, "trained.mp4"), (None, "random agent", "random.mp4")):
        env = make_atari_vec_env(config.game, n_envs=1, episodic_life=False, clip_reward=False, render_mode="rgb_array")
        seed = config.seed + EVALUATION_SEED_OFFSET
        with closing(env):
            # Twice the console's speed: a game of Pong lasts minutes
            record_video(agent, env, folder / file, name=label, max_steps=config.video_steps, fps=30, seed=seed)


def _plot(folder: Path, summary: RunSummary, history: EpisodeLogCallback, model: PrioritizedDQN, config: DemoConfig) -> None:
    steps = [game.step for game in history.episodes]
    # From the schedule: games end too seldom to show it
    every = [summary.steps * i / 200 for i in range(201)]
    plot_learning_curve(
        folder / "learning_curve.png",
        f"{summary.algorithm} on {summary.game}, seed {summary.seed}",
        Series(steps, [game.score for game in history.episodes]),
        smooth=10,
        evaluations=Evaluations.from_games([summary.steps], [summary.trained.scores]),
        references=[Reference(summary.random.mean, "random agent")],
        epsilon=Series(every, [model.exploration_schedule(1 - step / config.steps) for step in every]),
    )


def _closing_words(folder: Path, summary: RunSummary) -> str:
    minutes, seconds = divmod(round(summary.seconds), 60)
    agents = (("trained", summary.trained), ("random", summary.random))
    scores = [f"  {f'{name} agent':14}{games.mean:9,.1f} ± {games.std:,.1f}" for name, games in agents]
    return "\n".join(
        [
            "",
            f"{summary.game}, mean score of {len(summary.trained.scores)} games after {summary.steps:,} steps"
            f" ({minutes} min {seconds} s, {summary.steps_per_second:,.0f} steps/s; ended by: {summary.stopped_by})",
            *scores,
            "",
            f"See {folder / 'trained.mp4'} and {folder / 'random.mp4'},",
            f"    {folder / 'learning_curve.png'}, {folder / 'summary.md'};",
            f'    {summary.algorithm}.load("{folder / "model.zip"}") is the agent,',
            f"    tensorboard --logdir {folder / 'tb'} shows the logs.",
        ]
    )
