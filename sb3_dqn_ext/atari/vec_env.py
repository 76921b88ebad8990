"""Atari games as a Stable-Baselines3 ``VecEnv``, over ale-py's native vector environment."""

import time
import warnings
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvIndices, VecEnvStepReturn

from sb3_dqn_ext.atari.config import MAX_SEED, AtariConfig, check_seed
from sb3_dqn_ext.atari.emulators import Emulators

# ale-py's seeds are int32; -1 means "no seed".
_N_SEEDS = 2**31
_INTERRUPTED = "The last call was interrupted: call reset() before stepping on."
_CONSOLE_FRAMES_PER_SECOND = 60

# What get_attr offers: the same for every game, or one value for each.
_SHARED_ATTRS = (
    "action_meanings",
    "action_space",
    "frame_skip",
    "frame_stack",
    "game",
    "metadata",
    "observation_space",
    "render_mode",
    "spec",
)
_PER_GAME_ATTRS = ("game_scores", "game_steps", "lives")


class AtariVecEnv(VecEnv):
    """
    Atari games for Stable-Baselines3, played by ale-py's native threads: frame skip, max-pooling, grey scale, resizing
    and frame stacking happen there. Build it with :func:`~sb3_dqn_ext.atari.make.make_atari_vec_env`.

    It takes the place of SB3's ``make_atari_env`` + ``VecFrameStack`` and means the same, with these differences:

    - Frames are resized from the palette's grey instead of a converted colour picture: up to 0.3% of pixels differ.
    - A game starts with one frame of FIRE, where the game has it, and then no-ops: together 0 to ``noop_max - 1`` frames
      (29 by default), but the FIRE always. SB3 draws 1 to ``noop_max`` no-ops and then steps with FIRE and action 2.
    - After a lost life the next episode starts in the very frame that ended the last one. SB3 takes a no-op step first
      and presses FIRE and action 2; here the agent itself must learn to serve (in Breakout, say).
    - With ``repeat_action_probability`` the emulator repeats actions per frame, as in ``ALE/*-v5``; SB3's wrapper does it
      per step.
    - ``info["episode"]`` needs no ``Monitor``: it holds the unclipped score of the whole game, and is there only when the
      game itself ended. ``env_is_wrapped(Monitor)`` is true, so that ``evaluate_policy`` uses it.

    Observations are uint8 [E, stack, screen, screen], oldest frame first, a new array in every step. Frames from before
    the episode's start are zeros.

    :param config: checked settings
    :param seed: seed of the first reset (game i gets ``seed + i``); None for random games
    """

    def __init__(self, config: AtariConfig, seed: int | None = None):
        self._config = config
        self.game: str = config.game.rom
        self.frame_stack: int = config.frame_stack
        self.frame_skip: int = config.frame_skip
        self.render_mode: str | None = config.render_mode  # before VecEnv.__init__, which asks for it
        # The first environment step by whose end a game is truncated; rounded up.
        self._max_game_steps: int = -(-config.max_num_frames_per_episode // config.frame_skip)
        self.spec = EnvSpec(config.env_id, max_episode_steps=self._max_game_steps)
        self._user_attrs: dict[str, dict[int, Any]] = {}
        self._emulators: Emulators | None = Emulators(config)
        self.action_meanings: list[str] = self._emulators.action_meanings
        super().__init__(
            config.n_envs,
            spaces.Box(0, 255, (config.frame_stack, config.screen_size, config.screen_size), np.uint8),
            spaces.Discrete(len(self.action_meanings)),
        )
        self.metadata: dict[str, Any] = dict(self.metadata)
        self.metadata["render_fps"] = max(1, round(_CONSOLE_FRAMES_PER_SECOND / config.frame_skip))
        self._rng = np.random.default_rng()  # seeds of games that nobody seeded
        self._t_start = time.perf_counter()
        self._needs_reset = "reset() must be called before the first step."
        self._lives = np.zeros(self.num_envs, dtype=np.int32)
        self._game_steps = np.zeros(self.num_envs, dtype=np.int64)
        self._game_scores = np.zeros(self.num_envs, dtype=np.int64)
        # How many frames of the running episode each stack holds; the older ones are zeros.
        self._frames_seen = np.ones(self.num_envs, dtype=np.int64)
        if seed is not None:
            self.seed(seed)

    @property
    def lives(self) -> np.ndarray:
        """Lives left, int32 [E]; 0 throughout in games without lives."""
        return self._lives.copy()

    @property
    def game_steps(self) -> np.ndarray:
        """Environment steps since each game's start, int64 [E]."""
        return self._game_steps.copy()

    @property
    def game_scores(self) -> np.ndarray:
        """Unclipped score since each game's start, int64 [E]."""
        return self._game_scores.copy()

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """
        Set the seeds that the next :meth:`reset` uses. Games that start after it need none: they go on with its random
        streams, so that one seed and the same actions reproduce everything.

        :param seed: 0 to 2**32 - 1, game i gets ``seed + i``; ale-py tells 2**31 seeds apart. None draws one.
        :return: the seed of each game
        """
        if seed is None:
            seed = int(self._rng.integers(MAX_SEED))
        check_seed(seed)
        return super().seed(seed)

    def set_options(self, options: list[dict] | dict | None = None) -> None:
        """
        Refuse reset options: Atari games have none.

        :param options: None or empty
        """
        if any(options if isinstance(options, list) else [options]):
            raise ValueError(f"options={options!r}: Atari games take no reset options; pass None.")
        super().set_options(None)

    def reset(self) -> np.ndarray:
        """
        Start all games anew; a step under way is dropped.

        :return: observations, uint8 [E, stack, screen, screen]
        """
        emulators = self._open_emulators()
        if self._seeds[0] is None and not (emulators.seeded and emulators.intact):
            self.seed()
        seeds = None if self._seeds[0] is None else np.array(self._seeds, dtype=np.int64) % _N_SEEDS
        self._needs_reset = _INTERRUPTED
        observations, lives = emulators.reset(seeds)
        self._reset_seeds()
        self._lives = lives
        self._game_steps[:] = 0
        self._game_scores[:] = 0
        self._frames_seen[:] = 1
        self.reset_infos = [{"lives": left} for left in lives.tolist()]
        self._needs_reset = ""
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        """
        Start one environment step (``frame_skip`` frames) of all games. They run in threads of their own while the
        caller does something else.

        :param actions: integers [E]
        """
        emulators = self._open_emulators()
        if self._needs_reset:
            raise RuntimeError(self._needs_reset)
        if emulators.in_flight:
            raise RuntimeError("A step is under way already: call step_wait() for its result, or reset() to drop it.")
        checked = self._checked_actions(actions)
        self._needs_reset = _INTERRUPTED
        emulators.send(checked)
        self._needs_reset = ""

    def _checked_actions(self, actions: np.ndarray) -> np.ndarray:
        # The native threads never answer to an action out of range: recv() would wait for ever.
        actions = np.asarray(actions)
        if actions.shape != (self.num_envs,) or actions.dtype.kind not in "iu":
            raise ValueError(
                f"actions have shape {actions.shape} and dtype {actions.dtype}; pass {self.num_envs} integers, one per game."
            )
        wrong = (actions < 0) | (actions >= len(self.action_meanings))
        if wrong.any():
            env = int(wrong.argmax())
            raise ValueError(
                f"actions[{env}]={actions[env]} (environment {env}) is out of range; "
                f"{self.game} takes 0 to {len(self.action_meanings) - 1}: {', '.join(self.action_meanings)}."
            )
        return actions.astype(np.int64)

    def step_wait(self) -> VecEnvStepReturn:
        """
        Wait for the step that :meth:`step_async` started. A finished game is started anew at once.

        :return: observations, uint8 [E, stack, screen, screen]; rewards, float32 [E]; dones, bool [E]; infos
        """
        emulators = self._open_emulators()
        if self._needs_reset:
            raise RuntimeError(self._needs_reset)
        if not emulators.in_flight:
            raise RuntimeError("No step is under way: call step_async(actions) before step_wait().")
        self._needs_reset = _INTERRUPTED
        observations, rewards, game_over, lives = emulators.recv()
        self._game_steps += 1
        self._game_scores += rewards
        truncated = ~game_over & (self._game_steps >= self._max_game_steps)
        game_ended = game_over | truncated
        dones = game_ended
        if self._config.episodic_life:
            # As in SB3's EpisodicLifeEnv: some games stay at 0 lives for a while before they are over.
            life_lost = (0 < lives) & (lives < self._lives)
            dones = game_ended | life_lost
            truncated &= ~life_lost
        self._lives = lives
        np.minimum(self._frames_seen + 1, self.frame_stack, out=self._frames_seen)
        for env in np.flatnonzero(self._frames_seen < self.frame_stack):
            observations[env, : self.frame_stack - self._frames_seen[env]] = 0
        infos: list[dict[str, Any]] = [{"lives": left, "TimeLimit.truncated": False} for left in lives.tolist()]
        if dones.any():
            self._end_episodes(observations, infos, dones, game_ended, truncated)
        learner_rewards = np.sign(rewards) if self._config.clip_reward else rewards
        self._needs_reset = ""
        return observations, learner_rewards.astype(np.float32), dones, infos

    def _end_episodes(
        self,
        observations: np.ndarray,
        infos: list[dict[str, Any]],
        dones: np.ndarray,
        game_ended: np.ndarray,
        truncated: np.ndarray,
    ) -> None:
        """
        File the last observations, and put the first ones of the new episodes in their place.

        :param observations: uint8 [E, stack, screen, screen], changed in place
        :param infos: one dict per game, changed in place
        :param dones: bool [E], the learner's episode ended
        :param game_ended: bool [E], the game itself ended; implies done
        :param truncated: bool [E], ended by the limit of frames and by nothing else
        """
        seconds = round(time.perf_counter() - self._t_start, 6)
        for env in np.flatnonzero(dones):
            infos[env]["TimeLimit.truncated"] = bool(truncated[env])
            infos[env]["terminal_observation"] = observations[env].copy()
            if game_ended[env]:
                score, steps = float(self._game_scores[env]), int(self._game_steps[env])
                infos[env]["episode"] = {"r": score, "l": steps, "t": seconds}
        if game_ended.any():
            fresh, self._lives = self._open_emulators().reset_games(game_ended)
            observations[game_ended] = fresh[game_ended]
            self._game_steps[game_ended] = 0
            self._game_scores[game_ended] = 0
        observations[dones, :-1] = 0
        self._frames_seen[dones] = 1
        for env in np.flatnonzero(dones):
            self.reset_infos[env] = {"lives": int(self._lives[env])}

    def close(self) -> None:
        """Stop the emulators. May be called again."""
        self._emulators = None

    def _open_emulators(self) -> Emulators:
        if self._emulators is None:
            raise RuntimeError("This AtariVecEnv was closed; make a new one.")
        return self._emulators

    def get_images(self) -> Sequence[np.ndarray | None]:
        """
        The games' pictures in colour and full size (most have 210x160 pixels), of the observations' newest frames: each
        colour channel is the larger of the step's last two frames, as in the observations.

        :return: uint8 [height, width, 3] for each game
        """
        if self.render_mode is None:
            warnings.warn("No pictures: pass render_mode='rgb_array' to make_atari_vec_env.", stacklevel=2)
            return [None] * self.num_envs
        frames = self._open_emulators().rgb_frames
        if frames is None:
            raise RuntimeError(self._needs_reset)
        return list(frames.copy())

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """
        Read an attribute of some games.

        :param attr_name: its name
        :param indices: which games, None for all
        :return: one value per game
        """
        games = self._get_indices(indices)
        if attr_name in _SHARED_ATTRS:
            return [getattr(self, attr_name) for _ in games]
        if attr_name in _PER_GAME_ATTRS:
            values = getattr(self, attr_name).tolist()
            return [values[env] for env in games]
        values = self._user_attrs.get(attr_name, {})
        try:
            return [values[range(self.num_envs)[env]] for env in games]
        except KeyError:
            known = ", ".join(sorted({*_SHARED_ATTRS, *_PER_GAME_ATTRS, *self._user_attrs}))
            raise AttributeError(f"Atari games have no attribute {attr_name!r}; they have {known}.") from None

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """
        Attach an attribute of your own to some games. What the games are made of can't be changed.

        :param attr_name: its name
        :param value: its value
        :param indices: which games, None for all
        """
        if attr_name in _SHARED_ATTRS or attr_name in _PER_GAME_ATTRS:
            raise AttributeError(f"{attr_name!r} can't be set to {value!r}; make a new environment with make_atari_vec_env.")
        for env in self._get_indices(indices):
            self._user_attrs.setdefault(attr_name, {})[range(self.num_envs)[env]] = value

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """
        Call a method of some games: ``get_action_meanings`` or ``render``.

        :param method_name: its name
        :param method_args: none are taken
        :param indices: which games, None for all
        :param method_kwargs: none are taken
        :return: one result per game
        """
        if method_name not in ("get_action_meanings", "render"):
            raise AttributeError(f"Atari games have no method {method_name!r}; they have get_action_meanings and render.")
        if method_args or method_kwargs:
            raise TypeError(f"{method_name} takes no arguments, got {method_args} {method_kwargs}.")
        if method_name == "get_action_meanings":
            return [list(self.action_meanings) for _ in self._get_indices(indices)]
        images = self.get_images()
        return [images[env] for env in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper], indices: VecEnvIndices = None) -> list[bool]:
        """
        Whether the games behave as if in this wrapper: true for ``Monitor``, whose ``info["episode"]`` they give.

        :param wrapper_class: the wrapper
        :param indices: which games, None for all
        :return: one answer per game
        """
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]
