"""AtariVecEnv on real games, against slow models and the bare emulator."""

import os
import subprocess
import sys
import threading
import types
import warnings
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
import torch as th
from ale_py import ALEInterface, LoggerMode
from ale_py.roms import get_rom_path
from ale_py.vector_env import AtariVectorEnv
from gymnasium.wrappers import TimeLimit
from stable_baselines3 import DQN
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecVideoRecorder,
    is_vecenv_wrapped,
)
from stable_baselines3.common.vec_env.vec_transpose import VecTransposeImage

from sb3_dqn_ext.atari import AtariVecEnv, make_atari_vec_env
from sb3_dqn_ext.atari.emulators import thread_plan
from sb3_dqn_ext.atari.games import Game, game_names, resolve_game

GREY = np.array([0.2989, 0.5870, 0.1140])


def within(seconds: float, function: Callable[[], Any]) -> Any:
    """Call in a thread, so that a native call that hangs fails the test instead of stopping it for ever."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append((True, function()))
        except BaseException as error:
            outcome.append((False, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert outcome, f"hung for {seconds} s"
    returned, value = outcome[0]
    if not returned:
        raise value
    return value


def random_actions(env: AtariVecEnv, n_steps: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(env.action_space.n, size=(n_steps, env.num_envs))


class RawGames:
    """The native environment with one frame per observation: whole games, unclipped, no stacking, no life logic."""

    def __init__(self, game: str, n_envs: int, seed: int, **kwargs: Any):
        self.env = AtariVectorEnv(game, n_envs, reward_clipping=False, stack_num=1, **kwargs)
        self.frames, info = self.env.reset(seed=seed)
        self.lives = info["lives"]

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Frames and lives before a game over is reset, which is done after them."""
        frames, rewards, over, _, info = self.env.step(actions)
        self.frames, lives = frames[:, 0], info["lives"]
        self.fresh = self.env.reset(options={"reset_mask": over})[0][:, 0] if over.any() else self.frames
        return self.frames, rewards, over, lives


# --- which game ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "env_id, game",
    [
        ("PongNoFrameskip-v4", Game("pong", 0.0)),
        ("PongNoFrameskip-v0", Game("pong", 0.25)),
        ("ALE/Pong-v5", Game("pong", 0.25)),
        ("pong", Game("pong", 0.0)),
        ("ALE/TicTacToe3D-v5", Game("tic_tac_toe_3d", 0.25)),
        ("MsPacmanNoFrameskip-v4", Game("ms_pacman", 0.0)),
    ],
)
def test_ids(env_id, game):
    assert resolve_game(env_id) == game


@pytest.mark.parametrize(
    "env_id, named",
    [
        ("breakot", "'breakout'"),
        ("ALE/Breakot-v5", "'ALE/Breakout-v5'"),
        ("MsPackmanNoFrameskip-v4", "'MsPacmanNoFrameskip-v4'"),
        ("MsPacman", "'ms_pacman'"),
        ("Pong-v4", "'PongNoFrameskip-v4'"),  # skips 2 to 4 frames at random
        ("PongDeterministic-v4", "'ALE/Pong-v5'"),
        ("Pong-ramNoFrameskip-v4", "'PongNoFrameskip-v4'"),
        ("CartPole-v1", "Nearest names"),
        ("", "Nearest names"),
        ("combat", "no one-player mode"),  # ALE would end the process
        ("ALE/Combat-v5", "no one-player mode"),
        (None, "not a string"),
    ],
)
def test_unknown_game_is_refused_with_the_nearest_names(env_id, named):
    with pytest.raises(ValueError, match="env_id=") as error:
        make_atari_vec_env(env_id)
    assert named in str(error.value)


def test_game_names_are_roms_that_exist():
    assert len(game_names()) > 100
    assert all(get_rom_path(name) for name in game_names())


@pytest.mark.parametrize(
    "argument, value",
    [
        ("n_envs", 0),
        ("n_envs", 2.0),
        ("n_envs", True),
        ("seed", -1),
        ("seed", 2**32),
        ("seed", 0.5),
        ("frame_skip", 0),
        ("frame_skip", (2, 5)),
        ("repeat_action_probability", 1.0),
        ("repeat_action_probability", -0.1),
        ("repeat_action_probability", float("nan")),
        ("repeat_action_probability", "0.25"),
        ("noop_max", -1),
        ("episodic_life", "no"),
        ("clip_reward", None),
        ("frame_stack", 0),
        ("screen_size", 0),
        ("screen_size", 4),
        ("full_action_space", 1),
        ("max_num_frames_per_episode", 0),
        ("max_num_frames_per_episode", None),
        ("num_threads", -1),
        ("render_mode", "human"),
    ],
)
def test_bad_argument_is_refused_by_name_and_value(argument, value):
    with pytest.raises(ValueError) as error:
        make_atari_vec_env("pong", **{argument: value})
    assert f"{argument}={value!r}" in str(error.value)


# --- observations -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frame_skip", [1, 3, 4])
def test_frames_are_those_of_the_emulator(frame_skip):
    """Some acts, the larger of the last two greys, area-resized: rebuilt from the bare emulator."""
    env = make_atari_vec_env("PongNoFrameskip-v4", 1, seed=3, noop_max=0, frame_skip=frame_skip)
    observations = env.reset()
    ALEInterface.setLoggerMode(LoggerMode.Error)
    ale = ALEInterface()
    ale.setFloat("repeat_action_probability", 0.0)
    ale.loadROM(get_rom_path("pong"))
    ale.reset_game()
    ale.act(1)  # FIRE

    def resized(frame: np.ndarray) -> np.ndarray:
        return cv2.resize(frame, (84, 84), interpolation=cv2.INTER_AREA)

    np.testing.assert_array_equal(observations[0, -1], resized(ale.getScreenGrayscale()))
    for actions in random_actions(env, 100):
        greys = []
        for _ in range(frame_skip):
            ale.act(ale.getMinimalActionSet()[actions[0]])
            greys.append(ale.getScreenGrayscale())
        observations, *_ = env.step(actions)
        np.testing.assert_array_equal(observations[0, -1], resized(np.maximum.reduce(greys[-2:])))


@pytest.mark.parametrize("frame_stack", [1, 4])
def test_stacks_dones_and_lives_follow_the_slow_model(frame_stack):
    """
    Breakout with sticky actions through life losses and game overs. The model keeps a list of frames of the learner's
    episode, cleared at every done; the frames come from native games that know nothing of stacks or lives.
    """
    n_envs = 3
    env = make_atari_vec_env("ALE/Breakout-v5", n_envs, seed=7, frame_stack=frame_stack)
    raw = RawGames("breakout", n_envs, seed=7, repeat_action_probability=0.25)

    def stacked(frames: list[np.ndarray]) -> np.ndarray:
        padding = [np.zeros((84, 84), np.uint8)] * frame_stack
        return np.stack((padding + frames)[-frame_stack:])

    observations = env.reset()
    episodes = [[frame[0]] for frame in raw.frames]
    lives_before = raw.lives
    seen = {"life": 0, "game": 0}
    for env_index in range(n_envs):
        np.testing.assert_array_equal(observations[env_index], stacked(episodes[env_index]))
    for actions in random_actions(env, 300):
        observations, _, dones, infos = env.step(actions)
        frames, _, over, lives = raw.step(actions)
        for i in range(n_envs):
            lost = bool(0 < lives[i] < lives_before[i])
            assert dones[i] == (lost or over[i])
            assert infos[i]["lives"] == lives[i]
            assert infos[i]["TimeLimit.truncated"] is False
            assert ("terminal_observation" in infos[i]) == dones[i]
            assert ("episode" in infos[i]) == over[i]
            episodes[i].append(frames[i])
            if dones[i]:
                seen["game" if over[i] else "life"] += 1
                np.testing.assert_array_equal(infos[i]["terminal_observation"], stacked(episodes[i]))
                episodes[i] = [raw.fresh[i]]  # after a lost life, the very same frame
            np.testing.assert_array_equal(observations[i], stacked(episodes[i]))
            lives_before[i] = 5 if over[i] else lives[i]
        assert env.get_attr("lives") == lives_before.tolist()
    assert seen["life"] >= 5 and seen["game"] >= 2, seen


def test_a_lost_life_is_no_done_unless_asked_for():
    env = make_atari_vec_env("breakout", 2, seed=0, episodic_life=False)
    env.reset()
    lives = env.lives
    lost = 0
    for actions in random_actions(env, 250):
        _, _, dones, infos = env.step(actions)
        lost += int(((env.lives < lives) & ~dones).sum())
        assert all(("episode" in info) == done for info, done in zip(infos, dones, strict=True))
        lives = env.lives
    assert lost > 0


def test_the_step_to_zero_lives_is_no_done_while_the_game_goes_on():
    """As in SB3's EpisodicLifeEnv. Frogger's last life counts as 0."""
    env = make_atari_vec_env("frogger", 1, seed=0)
    env.reset()
    dones_at = {}
    for actions in random_actions(env, 300):
        before = env.lives[0]
        _, _, dones, infos = env.step(actions)
        if infos[0]["lives"] < before:
            dones_at[infos[0]["lives"]] = bool(dones[0])
            assert "episode" not in infos[0]
    assert dones_at == {3: True, 2: True, 1: True, 0: False}


def test_observations_are_never_written_again():
    env = make_atari_vec_env("breakout", 2, seed=1)
    kept = [env.reset()]
    copies = [kept[0].copy()]
    for actions in random_actions(env, 250):
        observations, _, dones, infos = env.step(actions)
        assert not any(np.shares_memory(observations, older) for older in kept[-3:])
        kept.append(observations)
        copies.append(observations.copy())
        for i in np.flatnonzero(dones):
            terminal = infos[i]["terminal_observation"]
            assert not np.shares_memory(terminal, observations)
            kept.append(terminal)
            copies.append(terminal.copy())
    assert len(kept) > 251  # there were dones
    for array, copy in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_spaces_and_types():
    env = make_atari_vec_env("pong", 2, seed=0, frame_stack=3, screen_size=42, full_action_space=True)
    assert env.observation_space.shape == (3, 42, 42) and env.observation_space.dtype == np.uint8
    assert env.action_space.n == 18 == len(env.action_meanings)
    observations = env.reset()
    assert observations.shape == (2, 3, 42, 42) and observations.dtype == np.uint8
    observations, rewards, dones, infos = env.step([0, 17])
    assert observations.shape == (2, 3, 42, 42) and observations.dtype == np.uint8
    assert rewards.shape == (2,) and rewards.dtype == np.float32
    assert dones.shape == (2,) and dones.dtype == bool
    assert type(infos) is list and infos[0] is not infos[1]


# --- scores and ends ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clip_reward", [True, False])
def test_rewards_and_scores_against_unclipped_games(clip_reward):
    """Asterix: 50 points at a time, and three lives."""
    n_envs = 3
    env = make_atari_vec_env("asterix", n_envs, seed=11, clip_reward=clip_reward)
    raw = RawGames("asterix", n_envs, seed=11)
    env.reset()
    scores, steps, times = np.zeros(n_envs), np.zeros(n_envs, int), [0.0]
    games = life_losses = 0
    for actions in random_actions(env, 360):
        _, rewards, dones, infos = env.step(actions)
        _, raw_rewards, over, _ = raw.step(actions)
        scores += raw_rewards
        steps += 1
        np.testing.assert_array_equal(rewards, np.clip(raw_rewards, -1, 1) if clip_reward else raw_rewards)
        for i in np.flatnonzero(dones & ~over):
            life_losses += 1
            assert "episode" not in infos[i]
        for i in np.flatnonzero(over):
            games += 1
            episode = infos[i]["episode"]
            assert (episode["r"], episode["l"]) == (scores[i], steps[i])
            assert scores[i] >= 50
            times.append(episode["t"])
            scores[i] = steps[i] = 0
        np.testing.assert_array_equal(env.game_scores, scores)
        assert env.get_attr("game_steps") == steps.tolist()
    assert games >= 3 and life_losses >= 6
    assert times == sorted(times)


@pytest.mark.parametrize("limit, n_steps", [(200, 50), (197, 50), (201, 51)])
def test_truncation_by_frames(limit, n_steps):
    env = make_atari_vec_env("ALE/Pong-v5", 2, seed=5, max_num_frames_per_episode=limit)
    unlimited = make_atari_vec_env("ALE/Pong-v5", 2, seed=5)
    env.reset()
    unlimited.reset()
    for step, actions in enumerate(random_actions(env, n_steps), start=1):
        observations, _, dones, infos = env.step(actions)
        reference, *_ = unlimited.step(actions)
        assert dones.tolist() == [step == n_steps] * 2
    for i in range(2):
        assert infos[i]["TimeLimit.truncated"] is True
        assert infos[i]["episode"]["l"] == n_steps
        # A real picture, not one that ale-py pooled with a frame of the step before.
        np.testing.assert_array_equal(infos[i]["terminal_observation"], reference[i])
        assert not observations[i, :-1].any() and observations[i, -1].any()
    _, _, dones, infos = env.step([0, 0])
    assert not dones.any() and infos[0]["TimeLimit.truncated"] is False
    assert env.game_steps.tolist() == [1, 1]


def test_a_life_lost_in_the_last_frame_is_terminal_and_not_truncated():
    """As in SB3, where EpisodicLifeEnv says terminated: the learner must not bootstrap."""
    env = make_atari_vec_env("breakout", 1, seed=2)
    env.reset()
    actions = random_actions(env, 300)
    lost_at = next(step for step, action in enumerate(actions, start=1) if env.step(action)[2][0])
    env = make_atari_vec_env("breakout", 1, seed=2, max_num_frames_per_episode=4 * lost_at)
    env.reset()
    for action in actions[:lost_at]:
        _, _, dones, infos = env.step(action)
    assert dones[0] and infos[0]["TimeLimit.truncated"] is False
    assert infos[0]["episode"]["l"] == lost_at and env.lives[0] == 5


class ScriptedPolicy:
    """The part of a model that evaluate_policy uses."""

    def __init__(self, n_actions: int):
        self.rng = np.random.default_rng(0)
        self.n_actions = n_actions

    def predict(self, observations, **_):
        return self.rng.integers(self.n_actions, size=len(observations)), None


@pytest.mark.parametrize("n_envs", [1, 3])
def test_evaluate_policy_reports_raw_scores_of_whole_games(n_envs):
    env = make_atari_vec_env("breakout", n_envs, seed=21)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores, lengths = evaluate_policy(ScriptedPolicy(4), env, n_eval_episodes=3, return_episode_rewards=True)
    raw, policy = RawGames("breakout", n_envs, seed=21), ScriptedPolicy(4)
    games: list[list[tuple[float, int]]] = [[] for _ in range(n_envs)]
    running = np.zeros((n_envs, 2))
    while min(map(len, games)) < 3 // n_envs:
        _, rewards, over, _ = raw.step(policy.predict(running)[0])
        running += np.stack([rewards, np.ones(n_envs)], axis=1)
        for i in np.flatnonzero(over):
            games[i].append((running[i, 0], int(running[i, 1])))
            running[i] = 0
    expected = sorted(game for of_one in games for game in of_one[: 3 // n_envs])
    assert sorted(zip(scores, lengths, strict=True)) == expected


# --- randomness ---------------------------------------------------------------------------------------------------------


def play(env: AtariVecEnv, n_steps: int) -> list[np.ndarray]:
    """What there is to see, enough steps of Breakout for several game overs."""
    seen = [env.reset()]
    for actions in random_actions(env, n_steps, seed=5):
        observations, rewards, dones, infos = env.step(actions)
        seen += [observations, rewards, dones, np.array([info["lives"] for info in infos])]
    assert n_steps < 250 or (env.game_steps < n_steps).all()
    return seen


def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_one_seed_reproduces_everything_with_and_without_pictures():
    env = make_atari_vec_env("ALE/Breakout-v5", 2, seed=13)
    first = play(env, 250)
    second = play(env, 30)  # goes on with the random streams
    again = make_atari_vec_env("ALE/Breakout-v5", 2, seed=13, num_threads=1, render_mode="rgb_array")
    assert same(first, play(again, 250))
    assert same(second, play(again, 30))
    assert not same(first[: len(second)], second)


def test_seed_takes_effect_at_the_next_reset_and_counts_up():
    env = make_atari_vec_env("ALE/Breakout-v5", 2, seed=13)
    first = play(env, 40)
    assert env.seed(14) == [14, 15]
    shifted = play(env, 40)
    # game 0 of the second run has the seed of game 1 of the first
    np.testing.assert_array_equal(shifted[0][0], first[0][1])
    assert not same(first, shifted)
    env.seed(13)
    assert same(first, play(env, 40))
    with pytest.raises(ValueError, match="seed=-3"):
        env.seed(-3)


def test_without_a_seed_games_differ():
    envs = [make_atari_vec_env("ALE/Breakout-v5", 2) for _ in range(2)]  # within one second, too
    runs = [play(env, 60) for env in envs]
    assert not same(*runs)
    assert any(not np.array_equal(seen[0], seen[1]) for seen in runs[0])
    seeds = envs[0].seed()
    assert seeds[1] == seeds[0] + 1 and envs[1].seed() != seeds
    assert not same(runs[0], play(envs[0], 60))


def test_seeds_of_sb3s_range_work():
    env = make_atari_vec_env("pong", 2, seed=2**32 - 1)  # ale-py takes int32 only
    assert env.reset().any()
    assert env.step([0, 0])[0].any()


def test_noop_max_is_the_number_of_different_starts():
    starts = {}
    for noop_max in (0, 30):
        env = make_atari_vec_env("freeway", 4, seed=0, noop_max=noop_max)  # cars move from the start
        starts[noop_max] = {observation.tobytes() for observation in env.reset()}
    assert len(starts[0]) == 1 < len(starts[30])


# --- never a hang -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_twins() -> tuple[AtariVecEnv, AtariVecEnv]:
    """Two environments in the same state; loading ROMs is what takes the time of these tests."""
    envs = make_atari_vec_env("pong", 2, seed=0), make_atari_vec_env("pong", 2, seed=0)
    for env in envs:
        env.reset()
    return envs


@pytest.mark.parametrize(
    "actions, message",
    [
        ([0, 6], r"actions\[1\]=6 \(environment 1\).*0 to 5"),
        ([-1, 0], r"actions\[0\]=-1 \(environment 0\)"),
        ([2**40, 0], r"actions\[0\]="),
        ([0], "shape"),
        ([[0], [0]], "shape"),
        ([0.0, 1.0], "dtype"),
        ([True, False], "dtype"),
    ],
)
def test_bad_actions_are_an_error_and_the_games_go_on(two_twins, actions, message):
    env, reference = two_twins
    with pytest.raises(ValueError, match=message):
        within(30, lambda: env.step(np.array(actions)))
    expected, *_ = reference.step(np.array([2, 3], dtype=np.uint8))
    np.testing.assert_array_equal(within(30, lambda: env.step(np.array([2, 3])))[0], expected)


def test_calls_out_of_order_are_errors():
    env = make_atari_vec_env("pong", 2, seed=0)
    with pytest.raises(RuntimeError, match="reset"):
        env.step([0, 0])
    first = env.reset()
    with pytest.raises(RuntimeError, match="step_async"):
        within(30, env.step_wait)
    env.step_async([0, 0])
    with pytest.raises(RuntimeError, match="under way"):
        within(30, lambda: env.step_async([0, 0]))
    env.step_wait()
    env.step_async([0, 0])
    env.seed(0)
    np.testing.assert_array_equal(within(30, env.reset), first)  # drops the step
    within(30, lambda: env.step([0, 0]))


@pytest.mark.parametrize(
    "method, after_the_call, render_mode",
    [
        ("send", False, None),
        ("send", True, "rgb_array"),
        ("recv", False, "rgb_array"),
        ("recv", True, None),
        ("reset", False, None),
        ("reset", True, "rgb_array"),
    ],
)
def test_after_ctrl_c_a_reset_is_asked_for_and_works(monkeypatch, method, after_the_call, render_mode):
    env = make_atari_vec_env("pong", 1, seed=0, render_mode=render_mode, max_num_frames_per_episode=8)
    env.reset()
    games = env._emulators._games
    native = getattr(games, method)

    def interrupted(*args, **kwargs):
        if after_the_call:
            native(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(games, method, interrupted)
    with pytest.raises(KeyboardInterrupt):
        for _ in range(3):  # the second step ends the game, and so resets
            within(30, lambda: env.step([0]))
    monkeypatch.undo()
    with pytest.raises(RuntimeError, match="interrupted"):
        within(30, lambda: env.step([0]))
    env.seed(4)
    observations = within(30, env.reset)
    reference = make_atari_vec_env("pong", 1, seed=4, max_num_frames_per_episode=8)
    np.testing.assert_array_equal(observations, reference.reset())
    for _ in range(3):
        np.testing.assert_array_equal(within(30, lambda: env.step([2]))[0], reference.step([2])[0])


@pytest.mark.parametrize("in_flight", [True, False])
def test_close_is_final_and_may_be_repeated(in_flight):
    env = make_atari_vec_env("pong", 2, seed=0)
    env.reset()
    if in_flight:
        env.step_async([0, 0])
    within(30, env.close)
    env.close()
    for call in (lambda: env.step([0, 0]), env.step_wait, env.reset):
        with pytest.raises(RuntimeError, match="closed"):
            within(30, call)


def test_thread_plan():
    cores = os.sched_getaffinity(0)
    assert thread_plan(1000, 0)[0] == len(cores)
    assert thread_plan(1, 0)[0] == 1
    assert thread_plan(8, 3)[0] == 3
    assert thread_plan(8, len(cores) + 1)[1] == -1


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_threads_stay_on_the_cores_that_the_process_may_use():
    """ale-py ties threads to cores counted from 0, whatever taskset says."""
    script = """
import os
core = max(os.sched_getaffinity(0))
os.sched_setaffinity(0, {core})
from sb3_dqn_ext.atari import make_atari_vec_env
env = make_atari_vec_env("pong", 2, seed=0)
env.reset(); env.step([0, 0])
for thread in os.listdir("/proc/self/task"):
    assert os.sched_getaffinity(int(thread)) == {core}, (thread, core)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60, env={**os.environ, "OMP_NUM_THREADS": "1"})


# --- pictures -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frame_skip, n_steps, largest, least_games", [(1, 800, 1, 0), (4, 250, 60, 1)])
def test_pictures_show_the_same_games(frame_skip, n_steps, largest, least_games):
    """
    Breakout with sticky actions through life losses and game overs: the pictures made grey and small are the newest
    frames. With frame_skip 4 the maximum of two colours is not always the colour of the maximum.
    """
    env = make_atari_vec_env("ALE/Breakout-v5", 2, seed=3, frame_skip=frame_skip, render_mode="rgb_array")
    observations = env.reset()
    n_dones = n_games = 0
    one_step_late = 0.0
    small = np.zeros((2, 84, 84))
    for actions in random_actions(env, n_steps):
        images = env.get_images()
        assert all(image.shape == (210, 160, 3) and image.dtype == np.uint8 for image in images)
        one_step_late = max(one_step_late, np.abs(small - observations[:, -1]).mean())
        greys = [np.round(image @ GREY).astype(np.uint8) for image in images]
        small = np.stack([cv2.resize(grey, (84, 84), interpolation=cv2.INTER_AREA) for grey in greys]).astype(float)
        difference = np.abs(small - observations[:, -1])
        assert difference.max() <= largest and difference.mean() < 0.03
        observations, _, dones, infos = env.step(actions)
        n_dones += int(dones.sum())
        n_games += sum("episode" in info for info in infos)
    assert one_step_late > 0.3  # so a camera that lags would be noticed
    assert n_dones > n_games >= least_games


def test_render_tiles_and_keeps_its_own_copy():
    env = make_atari_vec_env("pong", 3, seed=0, render_mode="rgb_array")
    with pytest.raises(RuntimeError, match="reset"):
        env.get_images()
    env.reset()
    assert env.render().shape == (420, 320, 3)
    one = env.env_method("render", indices=1)[0]
    one[:] = 0
    assert env.get_images()[1].any()
    np.testing.assert_array_equal(env.render()[:210, 160:], env.get_images()[1])


def test_pictures_of_a_console_with_more_lines():
    env = make_atari_vec_env("air_raid", 1, seed=0, render_mode="rgb_array")
    env.reset()
    assert env.render().shape == (250, 160, 3)


def test_without_render_mode_render_warns_and_gives_nothing():
    env = make_atari_vec_env("pong", 1, seed=0)
    env.reset()
    with pytest.warns(UserWarning, match="render_mode"):
        assert env.render() is None
    with pytest.warns(UserWarning, match="render_mode"):
        assert env.get_images() == [None]


def test_vec_video_recorder(monkeypatch, tmp_path):
    """SB3's recorder, up to the moviepy call that writes the file."""
    written: list[tuple[list[np.ndarray], float, str]] = []

    class ImageSequenceClip:
        def __init__(self, frames, fps):
            self.frames, self.fps = list(frames), fps

        def write_videofile(self, path):
            written.append((self.frames, self.fps, path))

    module = types.ModuleType("moviepy.video.io.ImageSequenceClip")
    module.ImageSequenceClip = ImageSequenceClip  # type: ignore[attr-defined]
    for name in ("moviepy", "moviepy.video", "moviepy.video.io"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    venv = make_atari_vec_env("freeway", 2, seed=0, render_mode="rgb_array")
    env = VecVideoRecorder(venv, str(tmp_path), lambda step: step == 0, video_length=5)
    env.reset()
    for _ in range(6):
        env.step(np.zeros(2, dtype=int))
    env.close()
    ((frames, fps, path),) = written
    assert fps == 15 and path.endswith(".mp4")
    assert len(frames) == 6 and all(frame.shape == (420, 160, 3) for frame in frames)
    assert not np.array_equal(frames[0], frames[-1])


# --- what SB3 asks ------------------------------------------------------------------------------------------------------


def test_attributes_and_methods():
    env = make_atari_vec_env("ALE/Breakout-v5", 3, seed=0, frame_stack=2, max_num_frames_per_episode=10)
    env.reset()
    meanings = ["NOOP", "FIRE", "RIGHT", "LEFT"]
    assert env.get_attr("render_mode") == [None] * 3
    assert env.get_attr("frame_stack", indices=[0, 2]) == [2, 2]
    assert env.get_attr("lives", indices=-1) == [5]
    assert env.get_attr("spec")[0].id == "ALE/Breakout-v5"
    assert env.get_attr("spec")[0].max_episode_steps == 3
    assert env.get_attr("action_meanings", indices=1) == [meanings]
    assert env.env_method("get_action_meanings", indices=[1, 2]) == [meanings] * 2
    assert env.env_is_wrapped(Monitor) == [True] * 3
    assert env.env_is_wrapped(Monitor, indices=0) == [True]
    assert env.env_is_wrapped(TimeLimit) == [False] * 3
    assert env.has_attr("game") and not env.has_attr("_rng") and not env.has_attr("envs")
    with pytest.raises(AttributeError, match=r"no attribute 'ale'.*action_meanings"):
        env.get_attr("ale")
    with pytest.raises(AttributeError, match=r"compute_reward.*get_action_meanings"):
        env.env_method("compute_reward", 1)
    with pytest.raises(TypeError, match="no arguments"):
        env.env_method("get_action_meanings", 1)
    env.set_attr("level", 3, indices=[0, -1])
    assert env.get_attr("level", indices=[2, 0]) == [3, 3]
    assert not env.has_attr("level")  # game 1 has none
    with pytest.raises(AttributeError, match="frame_skip"):
        env.set_attr("frame_skip", 2)
    with pytest.raises(ValueError, match="options"):
        env.set_options({"reset_mask": [True, False, False]})
    env.set_options(None)


def test_reset_in_the_middle_of_a_game_starts_its_score_and_length_anew():
    env = make_atari_vec_env("asterix", 2, seed=11)
    env.reset()
    for actions in random_actions(env, 60):
        env.step(actions)
    assert env.game_scores.any() and env.game_steps.tolist() == [60, 60]
    env.reset()
    assert not env.game_scores.any() and not env.game_steps.any()


def test_reset_infos():
    env = make_atari_vec_env("breakout", 1, seed=0, max_num_frames_per_episode=4)
    env.reset()
    assert env.reset_infos == [{"lives": 5}]
    before = env.reset_infos[0]
    env.step([0])
    assert env.reset_infos == [{"lives": 5}] and env.reset_infos[0] is not before


def test_inside_sb3s_wrappers():
    env = VecNormalize(make_atari_vec_env("breakout", 2, seed=0), norm_obs=False)
    env.reset()
    observations, *_ = env.step(np.array([1, 1]))
    assert observations.dtype == np.uint8
    with pytest.warns(UserWarning, match="Monitor"):  # SB3 says so of every env that reports episodes already
        monitored = VecMonitor(make_atari_vec_env("breakout", 2, seed=0, max_num_frames_per_episode=8))
    monitored.reset()
    monitored.step(np.array([1, 1]))
    *_, infos = monitored.step(np.array([1, 1]))
    assert [info["episode"]["l"] for info in infos] == [2, 2]
    one_frame = make_atari_vec_env("breakout", 2, seed=0, frame_stack=1)
    assert VecFrameStack(one_frame, 4).observation_space.shape == (4, 84, 84)


def test_own_stack_equals_sb3s_frame_stack():
    """VecFrameStack over single frames, the reference for zeros at a done."""
    ours = make_atari_vec_env("ALE/Breakout-v5", 2, seed=17)
    sb3 = VecFrameStack(make_atari_vec_env("ALE/Breakout-v5", 2, seed=17, frame_stack=1), 4)
    np.testing.assert_array_equal(ours.reset(), sb3.reset())
    n_dones = 0
    for actions in random_actions(ours, 250):
        observations, rewards, dones, infos = ours.step(actions)
        sb3_observations, sb3_rewards, sb3_dones, sb3_infos = sb3.step(actions)
        np.testing.assert_array_equal(observations, sb3_observations)
        np.testing.assert_array_equal(rewards, sb3_rewards)
        np.testing.assert_array_equal(dones, sb3_dones)
        for i in np.flatnonzero(dones):
            np.testing.assert_array_equal(infos[i]["terminal_observation"], sb3_infos[i]["terminal_observation"])
            n_dones += 1
    assert n_dones >= 5


@pytest.fixture
def one_torch_thread():
    n_threads = th.get_num_threads()
    th.set_num_threads(1)
    yield
    th.set_num_threads(n_threads)


def test_sb3s_dqn_trains_on_it(one_torch_thread):
    env = make_atari_vec_env("breakout", 2, seed=0, max_num_frames_per_episode=200)
    model = DQN("CnnPolicy", env, buffer_size=500, learning_starts=100, batch_size=8, train_freq=8, seed=0)
    assert model.get_env() is env and not is_vecenv_wrapped(model.get_env(), VecTransposeImage)
    model.learn(240)
    assert model.num_timesteps >= 240 and model._n_updates > 0
    buffer = model.replay_buffer
    assert buffer is not None and buffer.timeouts.sum() > 0
    assert {episode["l"] for episode in model.ep_info_buffer} == {50}  # whole games, not lives
