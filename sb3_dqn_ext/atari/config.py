"""The settings of an Atari vector environment, checked once."""

import operator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sb3_dqn_ext.atari.games import Game

_INT32_MAX = 2**31 - 1
MAX_SEED = 2**32 - 1  # SB3 draws seeds from the range of uint32


@dataclass(frozen=True)
class AtariConfig:
    """
    Everything that :func:`~sb3_dqn_ext.atari.make.make_atari_vec_env` was asked for; see there for the meanings.
    The defaults live there too.

    :raises ValueError: naming argument, value and remedy
    """

    env_id: str
    game: Game
    n_envs: int
    frame_skip: int
    repeat_action_probability: float
    noop_max: int
    episodic_life: bool
    clip_reward: bool
    frame_stack: int
    screen_size: int
    full_action_space: bool
    max_num_frames_per_episode: int
    num_threads: int
    render_mode: str | None

    def __post_init__(self) -> None:
        for name, low in (
            ("n_envs", 1),
            ("frame_skip", 1),
            ("noop_max", 0),
            ("frame_stack", 1),
            ("screen_size", 1),
            ("max_num_frames_per_episode", 1),
            ("num_threads", 0),
        ):
            object.__setattr__(self, name, checked_int(name, getattr(self, name), low, _INT32_MAX))
        for name in ("episodic_life", "clip_reward", "full_action_space"):
            if not isinstance(getattr(self, name), bool | np.bool_):
                raise ValueError(f"{name}={getattr(self, name)!r} is not a bool; pass True or False.")
        if self.screen_size <= self.frame_stack:
            # SB3 takes the smallest dimension of an image for its channels.
            raise ValueError(
                f"screen_size={self.screen_size} must be larger than frame_stack={self.frame_stack}, or else "
                "Stable-Baselines3 can't tell the stack from the picture; 84 is the usual size."
            )
        if self.render_mode not in (None, "rgb_array"):
            raise ValueError(
                f"render_mode={self.render_mode!r} is not available; pass None or 'rgb_array' "
                "(with the latter, env.render('human') opens a window)."
            )
        self._check_probability()

    def _check_probability(self) -> None:
        value: Any = self.repeat_action_probability
        try:
            in_range = not isinstance(value, (bool, str)) and 0.0 <= float(value) < 1.0
        except (TypeError, ValueError):
            in_range = False
        if not in_range:
            raise ValueError(
                f"repeat_action_probability={value!r} is not a number in [0, 1); "
                "pass 0.0 (no sticky actions), 0.25 (Machado et al., 2018), or None for what the id means."
            )


def checked_int(name: str, value: Any, low: int, high: int) -> int:
    """
    Return ``value`` as an int within bounds.

    :param name: the argument's name, for the message
    :param value: what the user gave
    :param low: smallest value allowed
    :param high: largest value allowed
    :return: the value
    :raises ValueError: if it is no integer (bools and floats are not) or out of bounds
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or not low <= number <= high:
        raise ValueError(f"{name}={value!r} must be an integer from {low} to {high}.")
    return number


def check_seed(seed: int | None) -> None:
    """
    Check a seed.

    :param seed: what the user gave; None is allowed
    :raises ValueError: if it is no integer or out of bounds
    """
    if seed is not None:
        checked_int("seed", seed, 0, MAX_SEED)
