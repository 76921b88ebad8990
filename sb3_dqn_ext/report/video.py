"""
Films an agent playing whole games, as an mp4 that every browser and phone plays.

SB3's ``VecVideoRecorder`` needs moviepy, keeps all frames in memory, stops after a number of steps instead of games and
leaves Atari at 160x210 pixels, so frames go to ffmpeg (which imageio-ffmpeg brings along) one by one here.
"""

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.type_aliases import PolicyPredictor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecMonitor, is_vecenv_wrapped

from sb3_dqn_ext.evaluation.scores import make_agent
from sb3_dqn_ext.files import atomic_path

WIDTH, HEIGHT = 720, 640  # what small pictures are enlarged to at most, by a whole factor
CAPTION_HEIGHT = 36
MAX_BYTES = 5_000_000

Frame = np.ndarray  # uint8 [H, W, 3]
AnyEnv = gym.Env[Any, Any] | VecEnv


def require_video() -> None:
    """Raises ``ImportError`` naming the remedy if films can't be made here; ask before a long training."""
    missing = [name for name in ("imageio_ffmpeg", "PIL") if find_spec(name) is None]
    if missing:
        raise ImportError(f'Videos need {" and ".join(missing)}: pip install "sb3_dqn_ext[video]"')


def record_video(
    model: PolicyPredictor | None,
    env: AnyEnv | Callable[[], AnyEnv],
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    n_games: int = 1,
    max_steps: int = 5_000,
    fps: int | None = None,
    seed: int | None = None,
    epsilon: float | None = None,
) -> tuple[float, ...]:
    """
    Films the first environment until it has played ``n_games`` whole games.

    :param model: anything with SB3's ``predict``; None is the random agent
    :param env: made with ``render_mode="rgb_array"``, or a function that makes it, which is then closed again. Rewards
        are shown as the environment gives them, so make Atari without clipping
    :param path: the mp4 file, written atomically
    :param name: of the agent, written above the picture
    :param n_games: number of games
    :param max_steps: environment steps after which the film ends, whatever the game does
    :param fps: pictures (environment steps) per second; by default what the environment states, else 30
    :param seed: of the environment and the random actions
    :param epsilon: as in ``evaluate_games``
    :return: scores of the games that were filmed to their end
    """
    require_video()
    for argument, value in (("n_games", n_games), ("max_steps", max_steps)):
        if value < 1:
            raise ValueError(f"{argument}={value} must be at least 1")
    with _opened(env) as venv:
        if venv.render_mode != "rgb_array":
            raise ValueError(f'render_mode={venv.render_mode!r} shows no pictures: make env with render_mode="rgb_array"')
        if seed is not None:
            venv.seed(seed)
        agent = make_agent(model, venv, epsilon, seed)
        fps = fps or int(getattr(venv, "metadata", {}).get("render_fps", 30))
        name = name or ("random agent" if model is None else type(model).__name__)
        with atomic_path(path) as draft, closing(_Film(draft, name, fps, longest=max_steps / fps + n_games)) as film:
            return _play(agent, venv, film, n_games, max_steps)


@contextmanager
def _opened(env: AnyEnv | Callable[[], AnyEnv]) -> Iterator[VecEnv]:
    made = env if isinstance(env, (gym.Env, VecEnv)) else env()
    venv = made if isinstance(made, VecEnv) else DummyVecEnv([lambda: made])
    try:
        yield venv
    finally:
        if made is not env:
            venv.close()


def _play(agent: PolicyPredictor, venv: VecEnv, film: "_Film", n_games: int, max_steps: int) -> tuple[float, ...]:
    # A lost life ends an episode but not the game; whoever counts the game's score reports its end
    counted = is_vecenv_wrapped(venv, VecMonitor) or venv.env_is_wrapped(Monitor)[0]
    scores: list[float] = []
    score = 0.0
    observation = venv.reset()
    for _ in range(max_steps):
        picture = venv.get_images()[0]
        assert picture is not None, "an environment in rgb_array mode returns pictures"
        film.add(picture, f"score {round(score):,}")
        actions, _ = agent.predict(observation)  # type: ignore[arg-type]
        observation, rewards, dones, infos = venv.step(actions)
        score += float(rewards[0])
        if dones[0] and ("episode" in infos[0] or not counted):
            scores.append(float(infos[0]["episode"]["r"]) if counted else score)
            # The environment shows the next game already, so the last picture before the end stands for a second
            film.add(picture, f"final score {round(scores[-1]):,}", seconds=1)
            score = 0.0
            if len(scores) == n_games:
                break
    return tuple(scores)


class _Film:
    """
    An mp4 file, encoded while pictures are added.

    :param path: of the file
    :param name: written on every picture
    :param fps: pictures per second
    :param longest: seconds that the film may last, for keeping it below ``MAX_BYTES``
    """

    def __init__(self, path: Path, name: str, fps: int, longest: float) -> None:
        self._path, self._name, self._fps = path, name, fps
        self._bits_per_second = int(8 * 0.9 * MAX_BYTES / longest)
        self._ffmpeg: Generator[None, Frame, None] | None = None

    def add(self, picture: Frame, text: str, seconds: float = 0) -> None:
        """
        :param picture: uint8 ``[H, W, 3]``
        :param text: right above the picture
        :param seconds: how long it is shown; 0 is one picture
        """
        frame = compose(picture, self._name, text)
        if self._ffmpeg is None:
            self._ffmpeg = self._open(frame)
        for _ in range(max(1, round(seconds * self._fps))):
            self._ffmpeg.send(frame)

    def _open(self, frame: Frame) -> Generator[None, Frame, None]:
        import imageio_ffmpeg

        height, width = frame.shape[:2]
        limit = ["-maxrate", str(self._bits_per_second), "-bufsize", str(2 * self._bits_per_second)]
        ffmpeg = imageio_ffmpeg.write_frames(
            self._path,
            (width, height),
            fps=self._fps,
            codec="libx264",
            quality=None,
            macro_block_size=2,
            output_params=["-crf", "23", *limit, "-movflags", "+faststart"],
        )
        ffmpeg.send(None)
        return ffmpeg

    def close(self) -> None:
        """Completes the file."""
        if self._ffmpeg is not None:
            self._ffmpeg.close()


def compose(picture: Frame, left: str, right: str) -> Frame:
    """
    The enlarged picture below a line of text.

    :param picture: uint8 ``[H, W, 3]``
    :param left: text
    :param right: text
    :return: uint8 ``[H', W', 3]``, both sizes even, as H.264 needs them
    """
    height, width = picture.shape[:2]
    scale = max(1, min(WIDTH // width, HEIGHT // height))
    # Whole pixels are repeated, not interpolated: Atari's are meant to be seen
    large = picture.repeat(scale, axis=0).repeat(scale, axis=1)
    height, width = large.shape[:2]
    frame = np.zeros((CAPTION_HEIGHT + height + height % 2, width + width % 2, 3), np.uint8)
    frame[:CAPTION_HEIGHT] = _caption(frame.shape[1], left, right)
    frame[CAPTION_HEIGHT : CAPTION_HEIGHT + height, :width] = large
    return frame


@lru_cache(maxsize=1)
def _caption(width: int, left: str, right: str) -> Frame:
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (width, CAPTION_HEIGHT), (24, 24, 28))
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(20)
    middle = CAPTION_HEIGHT // 2
    draw.text((10, middle), left, fill=(235, 235, 235), font=font, anchor="lm")
    draw.text((width - 10, middle), right, fill=(255, 200, 80), font=font, anchor="rm")
    return np.asarray(image)
