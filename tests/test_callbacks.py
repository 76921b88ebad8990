import csv
import io
import signal
import sys
from collections.abc import Iterator

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import DQN
from stable_baselines3.common.callbacks import BaseCallback, LogEveryNTimesteps
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import configure

from sb3_dqn_ext.callbacks import (
    EpisodeLogCallback,
    ProgressCallback,
    StopOnScoreCallback,
    StopOnTimeCallback,
    ThroughputCallback,
    learn_until_interrupted,
)
from sb3_dqn_ext.progress import RecentRate

SHOW_CURSOR, HIDE_CURSOR = "\x1b[?25h", "\x1b[?25l"


class ShortGame(gym.Env):
    """Reward 1 a step, five steps a game; ``fails_at`` raises in that step of the training."""

    observation_space = spaces.Box(0.0, 1.0, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, fails_at: int = -1) -> None:
        self.time, self.total, self.fails_at = 0, 0, fails_at

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self.time, self.total = self.time + 1, self.total + 1
        if self.total == self.fails_at:
            raise RuntimeError("the emulator died")
        return self.observation_space.sample(), 1.0, self.time == 5, False, {}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class At(BaseCallback):
    """Calls a function at one step; notes whether training ended the proper way."""

    def __init__(self, step: int, action) -> None:
        super().__init__()
        self.step, self.action, self.ended = step, action, False

    def _on_step(self) -> bool:
        if self.num_timesteps == self.step:
            self.action()
        return True

    def _on_training_end(self) -> None:
        self.ended = True


class Logged(BaseCallback):
    """Keeps every value recorded under a key."""

    def __init__(self, *keys: str) -> None:
        super().__init__()
        self.values: dict[str, list[float]] = {key: [] for key in keys}

    def _on_step(self) -> bool:
        for key, values in self.values.items():
            if key in self.logger.name_to_value:
                values.append(self.logger.name_to_value[key])
        return True


def make_model(env=None) -> DQN:
    env = ShortGame() if env is None else env
    small = dict(net_arch=[8])
    return DQN("MlpPolicy", env, learning_starts=20, batch_size=4, train_freq=1, policy_kwargs=small, seed=0, device="cpu")


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C as at a terminal, wherever the tests run (shells ignore it in background jobs)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def test_recent_rate_forgets_the_past():
    rate = RecentRate(window=10.0)
    rate.update(0.0, 0)
    assert rate.value == 0.0
    for second in range(1, 31):  # 100 steps/s for 10 s, then 10 steps/s
        rate.update(float(second), 100 * min(second, 10) + 10 * max(second - 10, 0))
        if second == 10:
            assert rate.value == 100.0
    assert rate.value == 10.0


def test_progress_lines_state_steps_score_and_epsilon():
    out = io.StringIO()
    model = make_model()
    model.learn(100, callback=ProgressCallback(line_every=0.0, file=out))
    lines = out.getvalue().splitlines()
    assert len(lines) == 101  # every step and the end
    assert lines[49].startswith("50/100 steps (50%), ")
    assert lines[-1].startswith("100/100 steps (100%), ")
    assert "score 5.0 (last 10 games)" in lines[-1] and "epsilon 0.05" in lines[-1] and "0:00:00 left" in lines[-1]
    assert "score" not in lines[3]  # no game finished yet


def test_progress_shows_the_mean_of_the_last_games_only():
    out = io.StringIO()
    model = make_model(gym.make("CartPole-v1"))
    history = EpisodeLogCallback()
    model.learn(300, callback=[ProgressCallback(n_games=3, file=out), history])
    assert len(history.episodes) > 3
    assert f"score {np.mean([game.score for game in history.episodes[-3:]]):,.1f} (last 3 games)" in out.getvalue()


def test_progress_is_sparing_with_lines():
    out = io.StringIO()
    make_model().learn(100, callback=ProgressCallback(line_every=3600.0, file=out))
    assert len(out.getvalue().splitlines()) == 1


def test_progress_continues_with_reset_num_timesteps_false():
    out = io.StringIO()
    model = make_model()
    progress = ProgressCallback(line_every=0.0, file=out)
    model.learn(50, callback=progress)
    model.learn(30, callback=progress, reset_num_timesteps=False)
    lines = out.getvalue().splitlines()
    assert lines[51].startswith("51/80 steps (64%)") and lines[-1].startswith("80/80 steps (100%)")


def test_progress_states_the_true_number_of_steps_after_an_early_stop():
    out = io.StringIO()
    make_model().learn(1000, callback=[ProgressCallback(file=out), StopOnScoreCallback(5.0, n_games=4)])
    assert out.getvalue().startswith("20/1,000 steps (2%)")


def test_progress_counts_time_left_from_the_budget():
    out = io.StringIO()
    make_model().learn(50, callback=ProgressCallback(line_every=0.0, time_budget=0.0, file=out))
    assert all(line.endswith("0:00:00 left") for line in out.getvalue().splitlines())


def test_progress_on_a_terminal_draws_a_bar_and_gives_the_terminal_back():
    out, streams = Terminal(), (sys.stdout, sys.stderr)
    progress = ProgressCallback(file=out)
    progress.refresh_every = 0.0
    make_model().learn(100, callback=progress)
    assert "━" in out.getvalue() and "100/100 steps" in out.getvalue() and "epsilon" in out.getvalue()
    assert out.getvalue().rindex(SHOW_CURSOR) > out.getvalue().rindex(HIDE_CURSOR)
    assert (sys.stdout, sys.stderr) == streams


def test_progress_without_rich_prints_lines(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.live", None)
    out = Terminal()
    make_model().learn(10, callback=ProgressCallback(file=out))
    assert out.getvalue().startswith("10/10 steps (100%)") and "\x1b" not in out.getvalue()


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_progress_leaves_the_terminal_usable_after_an_exception(error):
    def fail() -> None:
        raise error

    out, streams = Terminal(), (sys.stdout, sys.stderr)
    progress = ProgressCallback(file=out)
    progress.refresh_every = 0.0
    with pytest.raises(error):
        make_model().learn(100, callback=[progress, At(50, fail)])
    assert out.getvalue().rindex(SHOW_CURSOR) > out.getvalue().rindex(HIDE_CURSOR)
    progress.close()
    assert (sys.stdout, sys.stderr) == streams
    written = len(out.getvalue())
    progress.close()
    assert len(out.getvalue()) == written


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_progress_survives_a_closed_stream(stream):
    out = stream()
    progress = ProgressCallback(line_every=0.0, file=out)
    progress.refresh_every = 0.0
    model = make_model()
    model.learn(50, callback=[progress, At(25, out.close)])
    assert model.num_timesteps == 50


def test_episode_log_agrees_with_monitor_and_with_its_file(tmp_path):
    model = make_model(gym.make("CartPole-v1"))
    history = EpisodeLogCallback(tmp_path)
    model.learn(200, callback=history)
    model.learn(100, callback=history, reset_num_timesteps=False)
    (monitor_scores,) = model.get_env().env_method("get_episode_rewards")
    (monitor_lengths,) = model.get_env().env_method("get_episode_lengths")
    assert [game.score for game in history.episodes] == monitor_scores
    assert [game.length for game in history.episodes] == monitor_lengths
    assert [game.step for game in history.episodes] == np.cumsum(monitor_lengths).tolist()
    assert history.episodes[0].epsilon > history.episodes[-1].epsilon == model.exploration_rate
    with (tmp_path / "episodes.csv").open() as file:
        header, *rows = csv.reader(file)
    assert header == ["step", "score", "length", "epsilon"]
    assert [(float(row[0]), float(row[1])) for row in rows] == [(game.step, game.score) for game in history.episodes]


def test_episode_log_counts_steps_of_all_environments():
    model = DQN("MlpPolicy", make_vec_env(ShortGame, n_envs=3), learning_starts=1000)
    history = EpisodeLogCallback()
    model.learn(30, callback=history)
    assert [game.step for game in history.episodes] == [15, 15, 15, 30, 30, 30]


def test_episode_log_keeps_what_the_logger_writes(tmp_path):
    model = make_model()
    history = EpisodeLogCallback(tmp_path)
    q_mean = At(40, lambda: model.logger.record("train/q_mean", 7.0))
    losses = Logged("train/loss")
    model.learn(60, callback=[history, q_mean, losses, LogEveryNTimesteps(10)], log_interval=None)
    assert [record.step for record in history.training] == [30, 40, 50, 60]
    assert history.training[1].q_mean == 7.0 and np.isnan(history.training[0].q_mean)
    assert set(record.loss for record in history.training) <= set(losses.values["train/loss"])
    assert len((tmp_path / "training.csv").read_text().splitlines()) == 5


def test_episode_log_lets_go_of_the_logger():
    model = make_model()
    model.set_logger(configure(None, []))
    history = EpisodeLogCallback()
    model.learn(40, callback=[history, LogEveryNTimesteps(10)], log_interval=None)
    assert [record.step for record in history.training] == [30, 40]
    model.learn(40, callback=LogEveryNTimesteps(10), log_interval=None)
    assert len(history.training) == 2 and model.logger.output_formats == []


def test_throughput_is_logged():
    logged = Logged("time/steps_per_second", "time/learning_share")
    make_model().learn(100, callback=[ThroughputCallback(window=0.0), logged], log_interval=None)
    assert len(logged.values["time/steps_per_second"]) > 10
    assert all(rate > 0 for rate in logged.values["time/steps_per_second"][1:])
    assert all(0 <= share <= 1 for share in logged.values["time/learning_share"])


@pytest.mark.parametrize("target, steps", [(5.0, 20), (5.1, 100)])
def test_stop_on_score_needs_that_many_games_and_the_target(target, steps):
    model = make_model()
    model.learn(100, callback=StopOnScoreCallback(target, n_games=4))
    assert model.num_timesteps == steps


def test_stop_on_score_says_why(capsys):
    make_model().learn(100, callback=StopOnScoreCallback(5.0, n_games=4, verbose=1))
    assert "Stopping at step 20: the last 4 games scored 5.00 on average" in capsys.readouterr().out


def test_stop_on_score_refuses_no_games():
    with pytest.raises(ValueError, match="n_games=0"):
        StopOnScoreCallback(1.0, n_games=0)


@pytest.mark.parametrize("seconds, steps", [(0.0, 1), (3600.0, 50)])
def test_stop_on_time(seconds, steps):
    model = make_model()
    model.learn(50, callback=StopOnTimeCallback(seconds))
    assert model.num_timesteps == steps


def test_learning_uninterrupted(ctrl_c):
    model = make_model()
    assert learn_until_interrupted(model, 50) is False
    assert model.num_timesteps == 50


def test_ctrl_c_ends_learning_between_two_steps(ctrl_c):
    model = make_model()
    interrupter = At(30, lambda: signal.raise_signal(signal.SIGINT))
    assert learn_until_interrupted(model, 100, interrupter, log_interval=10) is True
    assert model.num_timesteps == 31 and interrupter.ended
    assert learn_until_interrupted(model, 20, [interrupter], reset_num_timesteps=False) is False
    assert model.num_timesteps == 51


def test_a_second_ctrl_c_aborts(ctrl_c):
    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        learn_until_interrupted(make_model(), 100, At(30, twice))


def test_an_error_in_training_is_not_swallowed(ctrl_c):
    with pytest.raises(RuntimeError, match="the emulator died"):
        learn_until_interrupted(make_model(ShortGame(fails_at=40)), 100)
