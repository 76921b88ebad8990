"""
Space Invaders from pixels: what an agent sees, what it can do, and how it learns to score.

You will see
- the observation space (four grey pictures of 84 x 84, so that movement can be seen) and the meaning of the actions;
- a random agent on film, before anything is learned (random.mp4);
- double, dueling, prioritized DQN with 3-step returns learning from eight games at once;
- learning_curve.png, drawn anew after every evaluation: score and length of the games, with mean and standard deviation of
  the evaluation games, and epsilon. Open it while the agent learns.

The learner is told the sign of each reward, and that a lost life is the end, which makes learning easier. The
evaluation plays whole games and counts real points.

The default is short, and enough to beat the random agent: with seed 0 the best network scored 237 ± 158 in ten fresh games
and the last one 254 ± 126, where the random agent had 127 ± 67. It took 10 minutes on one CPU core that others used, too.
For a good player give it a night: --steps 5000000. Ctrl-C ends the training and keeps what was learned.
"""

import argparse
import time
from collections.abc import Sequence
from contextlib import closing

import numpy as np
from common import EVALUATION_SEED, compare_with_random, make_parser, positive, start_run
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.vec_env import VecEnv

from sb3_dqn_ext import AtariVecEnv, PrioritizedDQN, make_atari_vec_env
from sb3_dqn_ext.callbacks import EpisodeLogCallback, ProgressCallback, learn_until_interrupted
from sb3_dqn_ext.evaluation.scores import GameScores, evaluate_games
from sb3_dqn_ext.report.curves import GREEN, Evaluations, Panel, Reference, Series, plot_panels
from sb3_dqn_ext.report.video import record_video

GAME = "SpaceInvadersNoFrameskip-v4"
N_ENVS = 8


def make_env() -> AtariVecEnv:
    """One game as people play it: all lives, real points, pictures."""
    return make_atari_vec_env(GAME, n_envs=1, episodic_life=False, clip_reward=False, render_mode="rgb_array")


def show_spaces(env: AtariVecEnv) -> None:
    print(f"observations: {env.observation_space}\nactions:      {env.action_space}")
    print("\n".join(f"  {action} {meaning}" for action, meaning in enumerate(env.action_meanings)), flush=True)


def make_model(env: VecEnv, options: argparse.Namespace) -> PrioritizedDQN:
    return PrioritizedDQN(
        "DataEfficientCnnPolicy",  # a network for CPUs; with a GPU and days try "CnnPolicy"
        env,
        learning_rate=1e-4,
        buffer_size=min(options.steps, 500_000),
        learning_starts=min(2_000, options.steps // 10),
        batch_size=32,
        train_freq=1,
        gradient_steps=options.gradient_steps,
        n_steps=3,
        target_update_interval=2_000,
        exploration_fraction=min(0.5, 100_000 / options.steps),
        exploration_final_eps=0.01,
        policy_kwargs=dict(dueling=True),
        seed=options.seed,
    )


class PlotCallback(BaseCallback):
    """Draws what is known so far; ``EvalCallback`` calls it after each evaluation."""

    def __init__(self, options: argparse.Namespace, history: EpisodeLogCallback, random: GameScores) -> None:
        super().__init__()
        self.options, self.history = options, history
        self.random_score = Reference(random.mean, "random agent")
        self.random_length = Reference(float(np.mean(random.lengths)), "random agent")

    def _on_step(self) -> bool:
        evaluation, games = self.parent, self.history.episodes
        assert isinstance(evaluation, EvalCallback)
        times = evaluation.evaluations_timesteps
        steps, points = [game.step for game in games], [game.score for game in games]
        scores = Evaluations.from_games(times, evaluation.evaluations_results)
        lengths = Evaluations.from_games(times, evaluation.evaluations_length)
        durations = Series(steps, [game.length for game in games])
        plot_panels(
            self.options.folder / "learning_curve.png",
            [
                Panel("score", Series(steps, points), "training game", 20, scores, [self.random_score]),
                Panel("steps per game", durations, "training game", 20, lengths, [self.random_length]),
                Panel("epsilon", Series(steps, [game.epsilon for game in games]), color=GREEN),
            ],
            f"Space Invaders, seed {self.options.seed}",
        )
        return True


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__file__, __doc__ or "", steps=30_000)
    parser.add_argument("--gradient-steps", type=positive, default=8, help="updates per 8 steps (default: %(default)s)")
    parser.add_argument("--eval-every", type=positive, help="steps between evaluations (default: a sixth of --steps)")
    parser.add_argument("--games", type=positive, default=10, help="games in each evaluation (default: %(default)s)")
    options = start_run(parser, argv)
    folder = options.folder

    with closing(make_env()) as env:
        show_spaces(env)
        record_video(None, env, folder / "random.mp4", fps=30, seed=options.seed)
        random = evaluate_games(None, env, options.games, options.seed + EVALUATION_SEED)
    print(f"The random agent (see {folder / 'random.mp4'}) scores {random.mean:.1f} ± {random.std:.1f}", flush=True)
    model = make_model(make_atari_vec_env(GAME, N_ENVS, seed=options.seed), options)
    history = EpisodeLogCallback(folder)
    evaluation = EvalCallback(
        make_atari_vec_env(GAME, N_ENVS, seed=options.seed + 1_000, episodic_life=False, clip_reward=False),
        callback_after_eval=PlotCallback(options, history, random),
        n_eval_episodes=options.games,
        eval_freq=max((options.eval_every or options.steps // 6) // N_ENVS, 1),
        log_path=str(folder),
        best_model_save_path=str(folder),
        verbose=1,
    )
    start = time.monotonic()
    # model.learn, which the first Ctrl-C ends as if the steps were done
    learn_until_interrupted(model, options.steps, [history, evaluation, ProgressCallback()])
    seconds = time.monotonic() - start
    model.save(folder / "model.zip")
    compare_with_random(model, make_env, options, seconds, n_games=options.games, film=1_500, fps=30)


if __name__ == "__main__":
    main()
