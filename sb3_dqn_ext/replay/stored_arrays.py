"""The arrays that SB3's buffers expose, made on request for code that inspects them."""

from typing import TYPE_CHECKING

import numpy as np
from stable_baselines3.common.buffers import NStepReplayBuffer

from sb3_dqn_ext.replay.n_step import CONTINUES, TERMINAL, TRUNCATED

if TYPE_CHECKING:
    from sb3_dqn_ext.replay.buffer import Storage


class StoredArrays(NStepReplayBuffer):
    """
    ``observations``, ``actions`` and the others as SB3's ``ReplayBuffer`` has them: [buffer_size, E, ...], zero where nothing
    is stored yet. Unlike SB3's they are copies in the order of time, oldest first, and as large as SB3's: for inspection, not
    for training. Only transitions that can be sampled are in them; where the environments hold different numbers, the newest.
    """

    # Flat slots of each environment's newest frame and newest transition, and whether that one ended its episode; all [E].
    _head: np.ndarray
    _newest: np.ndarray
    _newest_done: np.ndarray

    @property
    def storage(self) -> "Storage":
        """The memory of the transitions."""
        raise NotImplementedError

    def _actions(self, slots: np.ndarray) -> np.ndarray:
        return self.storage.actions[slots].astype(np.int64)

    def _slots(self) -> np.ndarray:
        """
        :return: int64 [T, E] flat slots of the transitions, oldest first
        """
        ring, tree = self.storage.ring, self.storage.tree
        columns = []
        for env in range(self.n_envs):
            begin, first, end = ring.offset[env] + np.array([0, ring.first[env], ring.capacity])
            split = max(self._head[env] + 1, first)
            slots = np.concatenate([np.arange(begin, first), np.arange(split, end), np.arange(first, split)])
            columns.append(slots[tree.get(slots) > 0])
        n_rows = min(self.buffer_size, *(len(column) for column in columns))
        return np.stack([column[len(column) - n_rows :] for column in columns], axis=1)

    def _fill(self, values: np.ndarray) -> np.ndarray:
        """
        :param values: [T, E, ...]
        :return: [buffer_size, E, ...]
        """
        out = np.zeros((self.buffer_size, *values.shape[1:]), dtype=values.dtype)
        out[: len(values)] = values
        return out

    def _gather_all(self, slots: np.ndarray) -> np.ndarray:
        return self._fill(self.storage.ring.gather(slots.reshape(-1)).reshape(*slots.shape, *self.obs_shape))

    def _ends(self, slots: np.ndarray) -> np.ndarray:
        # The newest transition did not end its episode only because nothing has continued it yet.
        return np.where(np.isin(slots, self._newest[~self._newest_done]), CONTINUES, self.storage.ends[slots])

    @property
    def observations(self) -> np.ndarray:  # type: ignore[override]
        """[buffer_size, E, *obs_shape]"""
        return self._gather_all(self._slots())

    @property
    def next_observations(self) -> np.ndarray:  # type: ignore[override]
        """[buffer_size, E, *obs_shape]; where a terminal state ended the episode, the observation before it"""
        slots = self._slots()
        return self._gather_all(self.storage.ring.forward(slots, np.where(self._ends(slots) == TERMINAL, 0, 1)))

    @property
    def actions(self) -> np.ndarray:  # type: ignore[override]
        """int64 [buffer_size, E, 1]"""
        return self._fill(self._actions(self._slots())[..., None])

    @property
    def rewards(self) -> np.ndarray:  # type: ignore[override]
        """float32 [buffer_size, E], of one step"""
        return self._fill(self.storage.rewards[self._slots()])

    @property
    def dones(self) -> np.ndarray:  # type: ignore[override]
        """float32 [buffer_size, E], 1 where an episode ended, for whatever reason"""
        return self._fill((self._ends(self._slots()) != CONTINUES).astype(np.float32))

    @property
    def timeouts(self) -> np.ndarray:  # type: ignore[override]
        """float32 [buffer_size, E], 1 where a time limit ended the episode, or, from the next ``add`` on, a reset "
        "cut it off"""
        return self._fill((self._ends(self._slots()) == TRUNCATED).astype(np.float32))
