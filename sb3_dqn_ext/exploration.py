"""Epsilon: its exponential schedule (the linear one is SB3's), and epsilon-greedy actions."""

import math

import numpy as np


def exponential_epsilon(step: int, initial_eps: float, final_eps: float, decay: float) -> float:
    """
    final + (initial - final) * exp(-step / decay).

    :param step: environment steps so far
    :param initial_eps: epsilon at step 0
    :param final_eps: what it tends to
    :param decay: environment steps after which the distance to ``final_eps`` has shrunk to 1/e
    :return: probability of a random action
    """
    return final_eps + (initial_eps - final_eps) * math.exp(-step / decay)


def explore(n_envs: int, epsilon: float, rng: np.random.Generator) -> np.ndarray:
    """
    :param n_envs: E
    :param epsilon: probability of a random action
    :param rng: where the randomness comes from
    :return: bool [E], each environment's own draw
    """
    return rng.random(n_envs) < epsilon
