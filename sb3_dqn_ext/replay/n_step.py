"""n-step windows over stored transitions."""

from typing import NamedTuple

import numpy as np

# How a stored transition ends its window. The newest transition of an unfinished episode counts as TRUNCATED until the
# next one continues it, so that no window ever crosses the write head.
CONTINUES, TERMINAL, TRUNCATED = 0, 1, 2


class NStepWindow(NamedTuple):
    """
    :param returns: float32 [B], sum of gamma**k * reward_k over the window
    :param discounts: float32 [B], gamma**length, 0 where the window ended in a terminal state
    :param lengths: int64 [B], number of rewards in the window, 1 to T
    :param terminal: bool [B], whether the window ended in a terminal state
    """

    returns: np.ndarray
    discounts: np.ndarray
    lengths: np.ndarray
    terminal: np.ndarray


def n_step_window(rewards: np.ndarray, ends: np.ndarray, gamma: float) -> NStepWindow:
    """
    Sum the rewards from each transition up to the end of its window (Sutton 1988; Rainbow, arXiv 1710.02298, eq. 2).

    ::

        step       t      t+1     t+2          T = 3
        rewards    r0     r1      r2
        ends       0      0       0        ->  r0 + g*r1 + g^2*r2,  bootstrap g^3 from the state after t+2
        ends       0      TRUNC   .        ->  r0 + g*r1,           bootstrap g^2 from the state after t+1
        ends       0      TERM    .        ->  r0 + g*r1,           no bootstrap

    :param rewards: float32 [B, T], the reward of each of the T transitions
    :param ends: uint8 [B, T], one of ``CONTINUES``, ``TERMINAL``, ``TRUNCATED``
    :param gamma: discount of one step
    :return: returns, discounts, lengths and which windows are terminal
    """
    n_rows, horizon = rewards.shape
    if horizon == 1:  # every window is one transition long
        lengths = np.ones(n_rows, dtype=np.int64)
        terminal = ends[:, 0] == TERMINAL
        returns = rewards[:, 0].astype(np.float32)
    else:
        ended = ends != CONTINUES
        lengths = np.where(ended.any(axis=1), ended.argmax(axis=1) + 1, horizon)
        steps = np.arange(horizon)
        powers = np.power(np.float32(gamma), steps, dtype=np.float32)
        returns = np.where(steps < lengths[:, None], rewards * powers, 0).sum(axis=1, dtype=np.float32)
        terminal = ends[np.arange(n_rows), lengths - 1] == TERMINAL
    discounts = np.where(terminal, 0.0, np.power(gamma, lengths)).astype(np.float32)
    return NStepWindow(returns, discounts, lengths, terminal)
