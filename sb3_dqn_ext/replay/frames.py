"""Rings of single frames, from which stacked observations are put together again."""

from typing import NamedTuple

import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import FrameStackObservation
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecFrameStack, VecTransposeImage


class FrameStack(NamedTuple):
    """
    How an observation is stacked: ``depth`` equal parts along ``axis``, the newest last.

    :param depth: number of frames in one observation, 1 when it is not stacked
    :param axis: 0 (channels first) or -1 (channels last)
    """

    depth: int = 1
    axis: int = 0

    def frame_shape(self, obs_shape: tuple[int, ...]) -> tuple[int, ...]:
        """
        :param obs_shape: shape of one stacked observation
        :return: shape of one frame
        """
        if self.depth == 1:
            return obs_shape
        if not obs_shape or obs_shape[self.axis] % self.depth != 0:
            raise ValueError(
                f"frame_stack={self.depth} contradicts the observation shape {obs_shape}: axis {self.axis} can't be cut into "
                f"{self.depth} equal frames. Pass replay_buffer_kwargs=dict(frame_stack=...) with the depth of your frame "
                "stacking wrapper, or 1 if there is none."
            )
        shape = list(obs_shape)
        shape[self.axis] //= self.depth
        return tuple(shape)

    def split(self, observations: np.ndarray) -> np.ndarray:
        """
        :param observations: [B, *obs_shape]
        :return: view [B, depth, *frame_shape], oldest frame first
        """
        if self.depth == 1:
            return observations[:, None]
        axis = self.axis % (observations.ndim - 1) + 1
        shape = observations.shape
        parts = observations.reshape(*shape[:axis], self.depth, shape[axis] // self.depth, *shape[axis + 1 :])
        return np.moveaxis(parts, axis, 1)

    def join(self, frames: np.ndarray) -> np.ndarray:
        """
        :param frames: [B, depth, *frame_shape], oldest frame first
        :return: [B, *obs_shape], the inverse of :meth:`split`
        """
        if self.depth == 1:
            return frames[:, 0]
        axis = self.axis % (frames.ndim - 2) + 1
        parts = np.moveaxis(frames, 1, axis)
        return parts.reshape(*parts.shape[:axis], parts.shape[axis] * parts.shape[axis + 1], *parts.shape[axis + 2 :])


def find_frame_stack(env: VecEnv) -> FrameStack:
    """
    Find how the environment stacks frames, from its wrappers.

    Known are our ``AtariVecEnv``, SB3's ``VecFrameStack`` and gymnasium's ``FrameStackObservation``. Anything else counts as
    not stacked, which is always correct and only costs memory.

    :param env: the environment as the algorithm sees it, with all wrappers
    :return: depth and axis of the stack
    """
    transposed = False
    while isinstance(env, VecEnvWrapper):
        if isinstance(env, VecTransposeImage):
            transposed = True
        elif isinstance(env, VecFrameStack) and isinstance(env.observation_space, spaces.Box):
            # VecTransposeImage, which SB3 puts outside, moves the stacked channels from the last axis to the first.
            return FrameStack(env.stacked_obs.n_stack, 0 if transposed or env.stacked_obs.channels_first else -1)
        env = env.venv
    depth = getattr(env, "frame_stack", None)
    if isinstance(depth, int):
        return FrameStack(depth, 0)
    try:
        if all(env.env_is_wrapped(FrameStackObservation)):
            return FrameStack(int(env.get_attr("stack_size")[0]), 0)
    except (AttributeError, NotImplementedError):
        pass  # other libraries' vector environments can't tell
    return FrameStack()


class FrameRing:
    """
    One ring of frames for each environment, each frame stored once.

    ::

        slot        0 .. first-1 | first ..                        capacity-1
                    kept forever | reused in turn
        one ring         [f7 f8 | f2* f3 f4 f5 f6]      age of f6 = 3, of f3 = 1, of f2 = 0 (first of its episode)
                              ^ head: the newest frame

    A slot's ``age`` says how many frames of the same episode precede it (at most depth - 1), so the stack of a slot is the
    frames of the ``age`` slots before it and itself; what is older is zero, as frame-stacking wrappers begin an episode.
    Slots are addressed flat: ``environment * capacity + slot``.

    :param capacity: slots for each environment
    :param n_envs: number of environments
    :param obs_shape: shape of one stacked observation
    :param dtype: dtype of the observations
    :param stack: how an observation is stacked
    """

    def __init__(self, capacity: int, n_envs: int, obs_shape: tuple[int, ...], dtype: np.dtype, stack: FrameStack) -> None:
        self.capacity = capacity
        self.stack = stack
        # Zeroed memory is taken from the machine only when it is written to: the buffer grows as it fills.
        self.frames = np.zeros((n_envs * capacity, *stack.frame_shape(obs_shape)), dtype=dtype)
        self.age = np.zeros(n_envs * capacity, dtype=np.uint8)
        self.offset = np.arange(n_envs) * capacity  # flat index of each environment's slot 0
        self.first = np.zeros(n_envs, dtype=np.int64)  # where the reused part of each ring begins
        self._older = np.arange(stack.depth - 1, -1, -1)  # distance of each stack position from the newest

    def forward(self, slots: np.ndarray, steps: np.ndarray | int) -> np.ndarray:
        """
        :param slots: int64 flat slots
        :param steps: how far to go, >= 0, of a shape that broadcasts against ``slots``
        :return: int64 flat slots, round the end of the ring
        """
        envs = slots // self.capacity
        first = self.first[envs]
        local = slots - self.offset[envs] + steps
        local = np.where(local >= self.capacity, first + (local - first) % (self.capacity - first), local)
        return self.offset[envs] + local

    def write(self, slots: np.ndarray, frames: np.ndarray, age: np.ndarray | int) -> None:
        """
        :param slots: int64 [K] flat slots
        :param frames: [K, *frame_shape]
        :param age: uint8 [K], number of frames of the same episode before each, at most depth - 1
        """
        self.frames[slots] = frames
        self.age[slots] = age

    def gather(self, slots: np.ndarray) -> np.ndarray:
        """
        :param slots: int64 [B] flat slots
        :return: [B, *obs_shape], a fresh array: the observations whose newest frames are in ``slots``
        """
        if self.stack.depth == 1:
            return np.take(self.frames, slots, axis=0)
        envs = slots // self.capacity
        local = (slots - self.offset[envs])[:, None] - self._older
        first = self.first[envs][:, None]
        wraps = (local < first) & (local[:, -1:] >= first)
        local = np.where(wraps, local + (self.capacity - first), local)
        # mode="wrap": what lies before slot 0 of the first ring is older than its episode and zeroed below.
        frames = np.take(self.frames, self.offset[envs][:, None] + local, axis=0, mode="wrap")
        missing = self._older > self.age[slots][:, None]
        if missing.any():
            frames[missing] = 0
        return self.stack.join(frames)
