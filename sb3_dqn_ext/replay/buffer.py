"""The replay buffer: SB3's face over frame rings, n-step windows and priorities."""

import warnings
from typing import Any, NamedTuple

import numpy as np
import psutil
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import BaseBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

from sb3_dqn_ext.replay.batch import Batch
from sb3_dqn_ext.replay.frames import FrameRing, FrameStack
from sb3_dqn_ext.replay.n_step import CONTINUES, TERMINAL, TRUNCATED, NStepWindow, n_step_window
from sb3_dqn_ext.replay.stored_arrays import StoredArrays
from sb3_dqn_ext.replay.sum_tree import SumTree


class Storage(NamedTuple):
    """What is allocated when the first transition arrives. The arrays have one entry for each flat slot of the frame ring."""

    ring: FrameRing
    tree: SumTree  # priority of the transition that starts in each slot; 0 where none may be sampled
    actions: np.ndarray  # int32
    rewards: np.ndarray  # float32
    ends: np.ndarray  # uint8: CONTINUES, TERMINAL or TRUNCATED


BYTES_BESIDE_FRAME = 4 + 4 + 1 + 1 + 9  # action, reward, end, age; the tree's leaf and its share of the parents


class FrameReplayBuffer(StoredArrays):
    """
    Single-frame, n-step, prioritized, multi-environment replay with correct time limits, all at once.

    A frame is stored once, whatever the stack depth: 1M Atari transitions take 7.1 GB where SB3's buffer takes 56 GB. The
    memory is taken as the buffer fills, beginning with the first transition (a model that only predicts needs none).
    Sampling is uniform with ``alpha=0`` and prioritized otherwise (Schaul et al. 2016, arXiv 1511.05952), on one code path.

    An episode that ends by a time limit, or is cut off when ``learn()`` resets the environment, keeps its last observation to
    bootstrap from, at the cost of one slot, so that the buffer holds one transition less. A wrapper that begins episodes with
    repeated frames instead of zeros costs ``frame_stack - 1`` slots an episode. Nothing bootstraps from a terminal
    observation, so none is kept: there
    ``next_observations`` holds the observation before it.

    :param buffer_size: number of transitions to hold, over all environments together
    :param observation_space: any space but ``Dict``
    :param action_space: a ``Discrete`` space
    :param device: where batches go
    :param n_envs: number of environments
    :param optimize_memory_usage: accepted and without effect, because this buffer always stores each frame once
    :param handle_timeout_termination: treat time limits (``info["TimeLimit.truncated"]``) as truncation and bootstrap
    :param n_steps: length of the n-step window, at least 1
    :param gamma: discount of one environment step
    :param frame_stack: depth of the frame stacking in the observations, 1 if there is none. The algorithms find it from
        the environment's wrappers when you don't pass it. Checked at every transition.
    :param stack_axis: axis along which frames are stacked, 0 (channels first) or -1 (channels last)
    :param alpha: priority exponent, 0 for uniform sampling
    :param eps: added to the absolute TD error before the exponent
    :param reserved_size: keep the first so many transitions (over all environments together) for ever; fewer, with a warning,
        where so many episodes were cut off that their last observations filled the buffer
    :param seed: seed of the sampling; if None it is drawn from NumPy's global generator
    :raises ValueError: when an argument is out of range
    """

    _storage: Storage | None

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        device: th.device | str = "auto",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
        handle_timeout_termination: bool = True,
        *,
        n_steps: int = 1,
        gamma: float = 0.99,
        frame_stack: int | None = None,
        stack_axis: int = 0,
        alpha: float = 0.0,
        eps: float = 1e-6,
        reserved_size: int = 0,
        seed: int | None = None,
    ) -> None:
        # Not SB3's own __init__, which would allocate its own storage.
        BaseBuffer.__init__(self, buffer_size, observation_space, action_space, device, n_envs=n_envs)
        _check(isinstance(action_space, spaces.Discrete), "action_space", action_space, "use a Discrete space")
        _check(not isinstance(observation_space, spaces.Dict), "observation_space", observation_space, "use DictReplayBuffer")
        _check(n_steps >= 1, "n_steps", n_steps, "use 1 or more")
        _check(0 <= gamma <= 1, "gamma", gamma, "use a number from 0 to 1")
        _check(0 <= alpha <= 1, "alpha", alpha, "use 0 (uniform) to 1 (fully prioritized)")
        _check(eps > 0, "eps", eps, "use a small positive number, or transitions without error would never be replayed again")
        _check(
            frame_stack is None or 1 <= frame_stack <= 256,
            "frame_stack",
            frame_stack,
            "use the depth of the stack, 1 for none",
        )
        _check(stack_axis in (0, -1), "stack_axis", stack_axis, "use 0 (channels first) or -1 (channels last)")
        _check(
            0 <= reserved_size < max(buffer_size, 1),
            "reserved_size",
            reserved_size,
            f"use less than {buffer_size=} transitions",
        )
        self.buffer_size = max(buffer_size // n_envs, 1)
        self.optimize_memory_usage = optimize_memory_usage
        self.handle_timeout_termination = handle_timeout_termination
        self.n_steps = n_steps
        self.gamma = gamma
        self.alpha = alpha
        self.eps = eps
        self.reserved_size = reserved_size
        self.frame_stack: FrameStack | None = None
        self.seed(seed)
        self.reset()
        if frame_stack is not None:
            self.set_frame_stack(FrameStack(frame_stack, stack_axis))

    def seed(self, seed: int | None = None) -> None:
        """
        :param seed: seed of the sampling; if None it is drawn from NumPy's global generator
        """
        self._rng = np.random.default_rng(np.random.randint(2**31) if seed is None else seed)

    def set_frame_stack(self, stack: FrameStack) -> None:
        """
        Say how observations are stacked, before the first transition.

        :param stack: depth and axis, as :func:`find_frame_stack` finds them
        :raises ValueError: when the observations can't be stacked so, or transitions are stored that are stacked otherwise
        """
        if self.frame_stack == stack:
            return
        stack.frame_shape(self.obs_shape)
        if self._n_adds > 0:
            raise ValueError(
                f"The replay buffer holds transitions with {self.frame_stack}, the environment stacks {stack}: create "
                "a new model, or call replay_buffer.reset() to forget them."
            )
        self.frame_stack = stack
        self._storage = None

    def reset(self) -> None:
        """Forget all transitions and give their memory back."""
        super().reset()
        self._storage = None
        self.max_priority = 1.0  # largest (error + eps)**alpha so far
        self._n_adds = 0
        self._reserving = np.full(self.n_envs, self.reserved_size > 0)
        # Per environment, as flat slots: the newest frame, the newest transition, where the next episode begins.
        self._head = self._newest = self._free = np.zeros(self.n_envs, dtype=np.int64)
        self._open = np.zeros(self.n_envs, dtype=bool)  # whether an episode is under way
        self._newest_done = np.ones(self.n_envs, dtype=bool)  # whether the newest transition ended one

    @property
    def storage(self) -> Storage:
        """The memory, allocated at the first use (so that a model that only predicts needs none)."""
        if self._storage is None:
            self._storage = self._allocate()
        return self._storage

    def _allocate(self) -> Storage:
        stack = self.frame_stack or FrameStack()
        # The transitions, the newest observation, and the frames that the stacks of the oldest transitions have lost.
        capacity = self.buffer_size + stack.depth
        if self.reserved_size > 0:
            capacity += 2 * stack.depth + 2  # what the reused part needs at least, see _close_reserved
        n_slots = capacity * self.n_envs
        dtype = np.dtype(self.observation_space.dtype)
        frame_bytes = int(np.prod(stack.frame_shape(self.obs_shape))) * dtype.itemsize
        needed, memory = n_slots * (frame_bytes + BYTES_BESIDE_FRAME), psutil.virtual_memory()
        message = f"buffer_size={self.buffer_size * self.n_envs} needs {needed / 1e9:.1f} GB when full, but this machine has"
        if needed > memory.total:
            raise ValueError(f"{message} only {memory.total / 1e9:.1f} GB of memory: reduce buffer_size.")
        if needed > memory.available:
            warnings.warn(f"{message} only {memory.available / 1e9:.1f} GB of memory free.", stacklevel=2)
        ring = FrameRing(capacity, self.n_envs, self.obs_shape, dtype, stack)
        self._head = self._newest = self._free = ring.offset
        return Storage(
            ring=ring,
            tree=SumTree(n_slots),
            actions=np.zeros(n_slots, dtype=np.int32),
            rewards=np.zeros(n_slots, dtype=np.float32),
            ends=np.zeros(n_slots, dtype=np.uint8),
        )

    # Adding

    def add(
        self,
        obs: np.ndarray,
        next_obs: np.ndarray,
        action: np.ndarray,
        reward: np.ndarray,
        done: np.ndarray,
        infos: list[dict[str, Any]],
    ) -> None:
        """
        Store one transition of each environment.

        ::

            slot        ... h          h+1
            before      ... obs        (oldest)          h = head: the newest frame, not yet a transition
            after       ... obs, a, r  next_obs          h+1 = head

        :param obs: [E, *obs_shape], what the agent saw
        :param next_obs: [E, *obs_shape], what followed; the terminal observation where an episode ended
        :param action: int [E] or [E, 1]
        :param reward: float [E]
        :param done: bool [E], whether the episode ended here
        :param infos: one dict per environment; ``TimeLimit.truncated`` marks a truncation
        :raises ValueError: when the observations are not stacked as ``frame_stack`` says, or the memory does not suffice
        """
        ring, tree, actions, rewards, ends = self.storage
        frames, next_frames = self._frames_of(obs), self._frames_of(next_obs)
        done = np.array(done, dtype=bool)
        truncated = np.zeros(self.n_envs, dtype=bool)
        if self.handle_timeout_termination:
            truncated[:] = [bool(info.get("TimeLimit.truncated", False)) for info in infos]
        terminal = done & ~truncated
        self._check_stacking(frames, next_frames, terminal)

        # An observation that is not the last one's successor begins an episode, announced or not.
        self._cut(self._open & (ring.frames[self._head] != frames[:, -1]).reshape(self.n_envs, -1).any(axis=1))
        ends[self._newest[self._open]] = CONTINUES
        for env in np.flatnonzero(~self._open):
            self._begin_episode(int(env), frames[env])

        rows = self._newest = self._head
        actions[rows] = np.reshape(action, self.n_envs)
        rewards[rows] = np.reshape(reward, self.n_envs)
        ends[rows] = np.where(terminal, TERMINAL, TRUNCATED)
        self._head = ring.forward(rows, 1)
        self._claim(self._head)
        ring.write(self._head, next_frames[:, -1], np.minimum(ring.age[rows] + 1, ring.stack.depth - 1))
        tree.set(rows, np.full(self.n_envs, self.max_priority))

        self._open = np.ones(self.n_envs, dtype=bool)
        self._newest_done = done | truncated
        self._cut(self._newest_done)
        self._free = np.where(terminal, self._head, self._free)  # nothing needs a terminal observation
        self._n_adds += 1
        self._close_reserved()
        self.pos = self._n_adds % self.buffer_size
        self.full = self._n_adds >= self.buffer_size

    def end_trajectory(self) -> None:
        """Let no window pass from what is stored to what comes: the environments were reset, or the buffer was loaded."""
        self._cut(self._open)

    def _cut(self, envs: np.ndarray) -> None:
        """
        End the running episodes as by a truncation: the newest frame stays, the next episode begins behind it.

        :param envs: bool [E]
        """
        if envs.any():
            self._free = np.where(envs, self.storage.ring.forward(self._head, 1), self._free)
            self._open = self._open & ~envs

    def _begin_episode(self, env: int, frames: np.ndarray) -> None:
        """
        Write the frames of an episode's first observation; those that are zero because nothing preceded them cost no slot.

        :param env: environment index
        :param frames: [depth, *frame_shape], oldest first
        """
        ring = self.storage.ring
        frames = frames[next((i for i, frame in enumerate(frames[:-1]) if frame.any()), len(frames) - 1) :]
        ages = np.arange(len(frames))
        slots = ring.forward(np.repeat(self._free[env], len(frames)), ages)
        self._claim(slots)
        ring.write(slots, frames, ages)
        self._head = self._head.copy()  # `_newest` still refers to the old array
        self._head[env] = slots[-1]

    def _claim(self, slots: np.ndarray) -> None:
        """
        Make invalid what starts in slots that are about to be overwritten, and the stacks that reach back to them.

        :param slots: int64 [K] flat slots
        """
        ring, tree = self.storage.ring, self.storage.tree
        lost = np.unique(ring.forward(slots[:, None], np.arange(ring.stack.depth)))
        tree.set(lost, np.zeros(len(lost)))

    def _close_reserved(self) -> None:
        """Once the reserved transitions are in, let each ring go round only behind them."""
        if not self._reserving.any():
            return
        ring = self.storage.ring
        # Truncations and stacks that don't begin with zeros take slots too: the reused part must hold a stack and a successor,
        # and the next transition may take depth + 1 slots.
        left = ring.offset + ring.capacity - self._head
        closing = self._reserving & ((self._n_adds * self.n_envs >= self.reserved_size) | (left <= 2 * ring.stack.depth + 2))
        if closing.any() and self._n_adds * self.n_envs < self.reserved_size:
            warnings.warn(
                f"Only {self._n_adds} of {self.reserved_size // self.n_envs} transitions of environments "
                f"{np.flatnonzero(closing)} are reserved, because the observations that truncated episodes end with need the "
                "space: enlarge buffer_size.",
                stacklevel=2,
            )
        self._cut(self._open & closing)
        ring.first = np.where(closing, self._free - ring.offset, ring.first)
        self._reserving &= ~closing

    def _frames_of(self, observations: np.ndarray) -> np.ndarray:
        """
        :param observations: [E, *obs_shape]; for Discrete spaces also [E]
        :return: [E, depth, *frame_shape] in the dtype of the observation space
        """
        shape = (self.n_envs, *self.obs_shape)
        observations = np.asarray(observations, dtype=self.observation_space.dtype)
        if observations.shape != shape:
            if observations.size != self.n_envs:  # only a single number may come without its axis
                raise ValueError(
                    f"The observations have shape {observations.shape}, the observation space says {shape}. If a "
                    "wrapper keeps the originals from before VecTransposeImage (VecNormalize does), put "
                    "VecTransposeImage inside it."
                )
            observations = observations.reshape(shape)
        return self.storage.ring.stack.split(observations)

    def _check_stacking(self, frames: np.ndarray, next_frames: np.ndarray, terminal: np.ndarray) -> None:
        """
        :param frames: [E, depth, *frame_shape]
        :param next_frames: [E, depth, *frame_shape], each one frame further
        :param terminal: bool [E], where nothing reads the next observation
        :raises ValueError: when they are not
        """
        if np.array_equal(frames[:, 1:], next_frames[:, :-1]):
            return
        wrong = (frames[:, 1:] != next_frames[:, :-1]).reshape(self.n_envs, -1).any(axis=1) & ~terminal
        if wrong.any():
            raise ValueError(
                f"The observations of environment {wrong.argmax()} are not a stack of {frames.shape[1]} frames moving on by "
                "one frame a step, so storing single frames would replay something the agent never saw. If a wrapper changes "
                "stacked observations, or they are not stacked, pass replay_buffer_kwargs=dict(frame_stack=1)."
            )

    # Sampling

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """
        Sample as SB3's buffers do, without importance weights.

        :param batch_size: number of transitions
        :param env: to normalize observations and rewards
        :return: tensors [B, ...]; ``discounts`` is gamma**length of each window, ``dones`` its terminal flag
        """
        return self._get_samples(self._draw(batch_size), env=env)

    def sample_batch(self, batch_size: int, env: VecNormalize | None = None, beta: float = 1.0) -> tuple[Batch, np.ndarray]:
        """
        Sample with importance weights ``(N * P(i))**-beta / max`` (Schaul et al. 2016, section 3.4; max over the batch).

        :param batch_size: number of transitions
        :param env: to normalize observations and rewards
        :param beta: strength of the correction, 0 to 1
        :return: the batch, and int64 [B] to give to :meth:`update_priorities`
        """
        slots = self._draw(batch_size)
        window, observations, next_observations = self._gather(slots, env)
        weights = np.ones(batch_size, dtype=np.float32)
        if self.alpha > 0:
            # The constant N / total of (N * P(i)) cancels against the maximum.
            relative = self.storage.tree.get(slots)
            weights = ((relative / relative.min()) ** -beta).astype(np.float32)
        batch = Batch(
            observations=self.to_torch(observations, copy=False),
            actions=self.to_torch(self._actions(slots), copy=False),
            rewards=self.to_torch(window.returns, copy=False),
            discounts=self.to_torch(window.discounts, copy=False),
            next_observations=self.to_torch(next_observations, copy=False),
            weights=self.to_torch(weights, copy=False),
        )
        return batch, slots

    def update_priorities(self, slots: np.ndarray, td_errors: np.ndarray) -> None:
        """
        Set the priority of sampled transitions to ``(td_error + eps)**alpha``. Call it before adding: a slot that was
        overwritten and can't be sampled yet keeps priority 0, one that can be gets the old error.

        :param slots: int64 [B] from :meth:`sample_batch`
        :param td_errors: float32 [B], >= 0
        :raises ValueError: when an error is not finite
        """
        tree = self.storage.tree
        priorities = (np.asarray(td_errors, dtype=np.float64) + self.eps) ** self.alpha
        valid = tree.get(slots) > 0
        tree.set(slots[valid], priorities[valid])
        self.max_priority = max(self.max_priority, float(priorities.max()))

    def _draw(self, batch_size: int) -> np.ndarray:
        if self._n_adds == 0:
            raise ValueError("The replay buffer is empty: store transitions before you sample.")
        return self.storage.tree.sample(batch_size, self._rng)

    def _gather(self, slots: np.ndarray, env: VecNormalize | None) -> tuple[NStepWindow, Any, Any]:
        """
        :param slots: int64 [B]
        :param env: to normalize observations and rewards
        :return: the windows that start there, the observations before and after them
        """
        ring, _, _, rewards, ends = self.storage
        steps = ring.forward(slots[:, None], np.arange(self.n_steps))
        window = n_step_window(self._normalize_reward(rewards[steps], env), ends[steps], self.gamma)
        last = ring.forward(slots, window.lengths - window.terminal)
        return window, self._normalize_obs(ring.gather(slots), env), self._normalize_obs(ring.gather(last), env)

    def _get_samples(self, batch_inds: np.ndarray, env: VecNormalize | None = None) -> ReplayBufferSamples:
        window, observations, next_observations = self._gather(batch_inds, env)
        return ReplayBufferSamples(
            observations=self.to_torch(observations, copy=False),
            actions=self.to_torch(self._actions(batch_inds)[:, None], copy=False),
            next_observations=self.to_torch(next_observations, copy=False),
            dones=self.to_torch(window.terminal[:, None].astype(np.float32), copy=False),
            rewards=self.to_torch(window.returns[:, None], copy=False),
            discounts=self.to_torch((self.gamma**window.lengths).astype(np.float32)[:, None], copy=False),
        )


def _check(holds: bool, name: str, value: object, remedy: str) -> None:
    if not holds:
        raise ValueError(f"{name}={value} is not possible for a FrameReplayBuffer: {remedy}.")
