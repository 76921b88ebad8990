from functools import partial
from typing import NamedTuple

import cv2
import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import DQN
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_dqn_ext.report.video import CAPTION_HEIGHT, compose, record_video


class Dot(gym.Env):
    """A white dot moves right over a 21x17 black field; a game is two lives of four steps, reward 0.75 a step."""

    observation_space = spaces.Box(0.0, 1.0, (1,), np.float32)
    action_space = spaces.Discrete(2)
    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, render_mode: str | None = "rgb_array") -> None:
        self.render_mode, self.time, self.closed = render_mode, 0, False

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.time += 1
        return np.zeros(1, np.float32), 0.75, self.time == 8, False, {}

    def render(self):
        picture = np.zeros((21, 17, 3), np.uint8)
        picture[10, 2 * self.time] = 255
        return picture

    def close(self) -> None:
        self.closed = True


class OneLife(gym.Wrapper):
    """Tells the agent of a lost life as of an end, and goes on with the same game, as Atari's wrappers do."""

    def step(self, action):
        *result, terminated, truncated, info = self.env.step(action)
        return *result, terminated or self.unwrapped.time == 4, truncated, info

    def reset(self, **kwargs):
        return (np.zeros(1, np.float32), {}) if self.unwrapped.time == 4 else self.env.reset(**kwargs)


class Film(NamedTuple):
    frames: np.ndarray
    fps: float
    codec: str
    pixel_format: str


def decode(path) -> Film:
    capture = cv2.VideoCapture(str(path))

    def four_letters(prop: int) -> str:
        return int(capture.get(prop)).to_bytes(4, "little").decode()

    about = capture.get(cv2.CAP_PROP_FPS), four_letters(cv2.CAP_PROP_FOURCC), four_letters(cv2.CAP_PROP_CODEC_PIXEL_FORMAT)
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1])
    capture.release()
    return Film(np.array(frames), *about)


def test_a_whole_game_is_filmed(tmp_path):
    path = tmp_path / "new" / "dot.mp4"
    assert record_video(None, Dot, path, seed=0) == (6.0,)
    frames, fps, codec, pixel_format = decode(path)
    # One frame a step and the last one held for a second; 17x21 enlarged 30 times, below the caption
    assert frames.shape == (8 + 10, 21 * 30 + CAPTION_HEIGHT, 17 * 30, 3)
    assert (fps, codec, pixel_format) == (10, "h264", "I420")
    dots = [frame[CAPTION_HEIGHT:, :, 0].max(axis=0).argmax() // 30 for frame in frames]
    assert dots == [0, 2, 4, 6, 8, 10, 12, 14] + [14] * 10
    assert list(path.parent.iterdir()) == [path]


def test_the_caption_shows_the_score(tmp_path):
    record_video(None, Dot, tmp_path / "dot.mp4")
    frames = decode(tmp_path / "dot.mp4").frames
    right, left = frames[:, :CAPTION_HEIGHT, 300:].astype(int), frames[:, :CAPTION_HEIGHT, :250].astype(int)
    assert right[0].max() > 150 and abs(right[0] - right[7]).max() > 100  # score 0, score 5
    assert left[0].max() > 150 and abs(left[0] - left[7]).max() < 100  # random agent


def test_lost_lives_do_not_end_the_game(tmp_path):
    env = DummyVecEnv([lambda: OneLife(Monitor(Dot()))])
    assert record_video(None, env, tmp_path / "dot.mp4") == (6.0,)
    assert len(decode(tmp_path / "dot.mp4").frames) == 18
    assert not env.envs[0].unwrapped.closed  # it is the caller's


def test_several_games_and_a_limit(tmp_path):
    assert record_video(None, Dot(), tmp_path / "two.mp4", n_games=2, fps=5) == (6.0, 6.0)
    assert len(decode(tmp_path / "two.mp4").frames) == 2 * (8 + 5)
    assert record_video(None, Dot(), tmp_path / "cut.mp4", max_steps=3) == ()
    assert len(decode(tmp_path / "cut.mp4").frames) == 3


def test_an_environment_made_for_the_film_is_closed(tmp_path):
    made = Dot()
    record_video(None, lambda: made, tmp_path / "dot.mp4")
    assert made.closed


@pytest.mark.parametrize("env_id", ["CartPole-v1", "CliffWalking-v1"])
def test_gymnasium_games(tmp_path, env_id):
    env = make_vec_env(env_id, env_kwargs={"render_mode": "rgb_array"})
    model = DQN("MlpPolicy", env, policy_kwargs=dict(net_arch=[8]))
    record_video(model, env, tmp_path / "film.mp4", max_steps=8, fps=30, epsilon=0.5)
    frames = decode(tmp_path / "film.mp4").frames
    assert len(frames) >= 8 and (frames[0] != frames[7]).any()


def test_odd_sizes_become_even():
    frame = compose(np.full((641, 723, 3), 9, np.uint8), "a", "b")
    assert frame.shape == (CAPTION_HEIGHT + 642, 724, 3) and (frame[CAPTION_HEIGHT:-1, :-1] == 9).all()


def test_pixels_are_repeated_not_blurred():
    picture = np.random.default_rng(0).integers(0, 256, (210, 160, 3), np.uint8)
    assert (compose(picture, "a", "b")[CAPTION_HEIGHT + 1 :: 3, 1::3] == picture).all()


def test_no_pictures_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r'render_mode=None .*render_mode="rgb_array"'):
        record_video(None, partial(Dot, render_mode=None), tmp_path / "dot.mp4")


def test_the_extra_is_named_when_ffmpeg_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr("sb3_dqn_ext.report.video.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'imageio_ffmpeg and PIL: pip install "sb3_dqn_ext\[video\]"'):
        record_video(None, Dot, tmp_path / "dot.mp4")


def test_a_game_that_breaks_leaves_no_file(tmp_path):
    class Broken(Dot):
        def step(self, action):
            raise RuntimeError("the emulator died")

    with pytest.raises(RuntimeError, match="the emulator died"):
        record_video(None, Broken, tmp_path / "dot.mp4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("argument", ["n_games", "max_steps"])
def test_an_empty_film_is_refused(tmp_path, argument):
    with pytest.raises(ValueError, match=f"{argument}=0"):
        record_video(None, Dot, tmp_path / "dot.mp4", **{argument: 0})
